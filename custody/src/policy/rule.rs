//! Grants as people write them.

use std::{collections::BTreeSet, fmt, num::NonZeroU64, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    caller::{Evidence, fact::Needs},
    group::Millis,
    name::{self, GroupName, RuleId, SecretName},
    secret::Kind,
    selector::Selector,
};

/// A grant as an operator wrote it: callers that satisfy every selector may have the
/// secrets of a group whose names match, on its terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name.
    pub id: RuleId,
    /// The group it is about.
    pub group: GroupName,
    /// Which of the group's secrets.
    pub patterns: Patterns,
    /// What a caller must satisfy.
    pub selectors: Selectors,
    /// What else holds.
    pub terms: Terms,
    /// When it was written.
    pub created: Millis,
    /// User id of the operator who wrote it.
    pub created_by: u32,
}

/// The name of a secret, or the beginning of several.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Pattern {
    /// Just this one.
    Exactly(SecretName),
    /// Every name that begins so; all of them, if empty.
    Prefix(String),
}

impl Pattern {
    /// Whether it covers `name`.
    pub fn matches(&self, name: &SecretName) -> bool {
        match self {
            Self::Exactly(exactly) => exactly == name,
            Self::Prefix(prefix) => name.as_str().starts_with(prefix.as_str()),
        }
    }

    /// Whether it covers every name there can be.
    pub fn is_everything(&self) -> bool {
        matches!(self, Self::Prefix(prefix) if prefix.is_empty())
    }
}

impl FromStr for Pattern {
    type Err = name::Error;

    fn from_str(text: &str) -> Result<Self, name::Error> {
        let Some(prefix) = text.strip_suffix('*') else {
            return text.parse().map(Self::Exactly);
        };
        // A beginning may end in punctuation, which a whole name may not.
        if !prefix.is_empty() {
            format!("{prefix}x").parse::<SecretName>()?;
        }
        Ok(Self::Prefix(prefix.to_owned()))
    }
}

impl TryFrom<String> for Pattern {
    type Error = name::Error;

    fn try_from(text: String) -> Result<Self, name::Error> {
        text.parse()
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.to_string()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(name) => write!(f, "{name}"),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
        }
    }
}

/// What makes no grant, whatever it is meant for.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Senseless {
    /// Nothing says who the caller is.
    #[error(
        "a grant needs something that tells its caller from others, such as unix:uid, \
         systemd:id, container:id or k8s:pod-uid; a group, an executable or a claim is shared \
         by too many"
    )]
    NoIdentity,
    /// Two selectors that no process satisfies together.
    #[error("no caller satisfies both {0} and {1}")]
    Contradiction(Selector, Selector),
    /// No pattern, or too many.
    #[error("a grant names 1 to {max} secrets or patterns, not {0}", max = Patterns::MAX)]
    Patterns(usize),
    /// Too many selectors.
    #[error("a grant has at most {max} selectors, not {0}", max = Selectors::MAX)]
    ManySelectors(usize),
    /// A field that the type does not have, or that cannot be one.
    #[error("there is no field {0:?}")]
    Field(String),
    /// The window closes before it opens.
    #[error("the grant would end before it begins")]
    NoTime,
    /// A rate of nothing, or one that cannot be kept count of.
    #[error("a rate is 1 to {max} deliveries in at least a second and at most a day", max = Rate::MAX)]
    Rate,
}

/// Which secrets: at least one pattern, sorted, each once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Pattern>")]
pub struct Patterns(Vec<Pattern>);

impl Patterns {
    /// The most patterns of one grant.
    pub const MAX: usize = 100;

    /// Sorts `patterns` and drops repetitions.
    ///
    /// # Errors
    ///
    /// If there is none, or there are too many.
    pub fn new(mut patterns: Vec<Pattern>) -> Result<Self, Senseless> {
        patterns.sort();
        patterns.dedup();
        match patterns.len() {
            1..=Self::MAX => Ok(Self(patterns)),
            count => Err(Senseless::Patterns(count)),
        }
    }

    /// Whether one of them covers `name`.
    pub fn cover(&self, name: &SecretName) -> bool {
        self.0.iter().any(|pattern| pattern.matches(name))
    }

    /// The patterns, sorted.
    pub fn as_slice(&self) -> &[Pattern] {
        &self.0
    }
}

impl TryFrom<Vec<Pattern>> for Patterns {
    type Error = Senseless;

    fn try_from(patterns: Vec<Pattern>) -> Result<Self, Senseless> {
        Self::new(patterns)
    }
}

/// What a process must satisfy, all of it: at least one selector that identifies;
/// sorted, each once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Selector>")]
pub struct Selectors(Vec<Selector>);

impl Selectors {
    /// The most selectors of one grant.
    pub const MAX: usize = 50;

    /// Sorts `selectors` and drops repetitions.
    ///
    /// # Errors
    ///
    /// If they identify nobody, or nobody could satisfy them.
    pub fn new(mut selectors: Vec<Selector>) -> Result<Self, Senseless> {
        selectors.sort();
        selectors.dedup();
        if selectors.len() > Self::MAX {
            return Err(Senseless::ManySelectors(selectors.len()));
        }
        if !selectors.iter().any(Selector::identifies) {
            return Err(Senseless::NoIdentity);
        }
        for pair in selectors.windows(2) {
            let alike = std::mem::discriminant(&pair[0]) == std::mem::discriminant(&pair[1]);
            if alike && !pair[0].is_plural() {
                return Err(Senseless::Contradiction(pair[0].clone(), pair[1].clone()));
            }
        }
        Ok(Self(selectors))
    }

    /// Whether the process satisfies all of them.
    pub fn match_all(&self, evidence: &Evidence) -> bool {
        !self.0.is_empty() && self.0.iter().all(|selector| selector.matches(evidence))
    }

    /// What must be looked up before it can be told whether a process satisfies them: if
    /// those that are known already fail, nothing.
    pub fn needs(&self, evidence: &Evidence) -> Needs {
        let fails = |selector: &Selector| selector.need().is_none() && !selector.matches(evidence);
        if self.0.iter().any(fails) {
            return Needs::default();
        }
        self.0.iter().filter_map(Selector::need).collect()
    }

    /// The selectors, sorted.
    pub fn as_slice(&self) -> &[Selector] {
        &self.0
    }
}

impl TryFrom<Vec<Selector>> for Selectors {
    type Error = Senseless;

    fn try_from(selectors: Vec<Selector>) -> Result<Self, Senseless> {
        Self::new(selectors)
    }
}

/// What a grant gives, besides which secrets to whom. By default everything, always.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// Only secrets of this type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// Only these fields; all if empty.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub fields: BTreeSet<String>,
    /// Not before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Millis>,
    /// Not from this time on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Millis>,
    /// So many deliveries in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<NonZeroU64>,
    /// So many deliveries in any span of time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
}

/// So many deliveries in any span of so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// Deliveries.
    pub uses: u32,
    /// Seconds.
    pub seconds: u32,
}

/// The longest span of a rate, in seconds.
const DAY: u32 = 86_400;

impl Rate {
    /// The most deliveries that are kept count of one by one.
    pub const MAX: u32 = 1000;

    /// The span, in milliseconds.
    pub fn span(self) -> Millis {
        Millis::from(self.seconds) * 1000
    }
}

impl Terms {
    /// Whether they make sense.
    ///
    /// # Errors
    ///
    /// What does not.
    pub fn check(&self) -> Result<(), Senseless> {
        let known = |field: &&String| match self.kind {
            Some(kind) => kind.may_have(field),
            None => Kind::all().any(|kind| kind.may_have(field)),
        };
        if let Some(field) = self.fields.iter().find(|field| !known(field)) {
            return Err(Senseless::Field(field.clone()));
        }
        if self
            .not_after
            .is_some_and(|end| self.not_before.unwrap_or(0) >= end)
        {
            return Err(Senseless::NoTime);
        }
        let fine =
            |rate: Rate| (1..=Rate::MAX).contains(&rate.uses) && (1..=DAY).contains(&rate.seconds);
        if self.rate.is_some_and(|rate| !fine(rate)) {
            return Err(Senseless::Rate);
        }
        Ok(())
    }

    /// Whether deliveries are kept count of.
    pub fn are_counted(&self) -> bool {
        self.uses.is_some() || self.rate.is_some()
    }
}

#[cfg(test)]
mod tests;
