//! Grants as people write them, and the decision they lead to.

use std::{fmt, marker::PhantomData, str::FromStr};

use serde::Serialize;

use crate::{
    caller::{Caller, Evidence},
    envelope::{SealedContent, SealedDigest, WrappedDek, Wrapping},
    group::{KeyState, Millis},
    journal::Receipt,
    name::{self, GroupName, KeyId, RuleId, SecretName, VersionId},
    release::Claim,
    secret::Kind,
    selector::Selector,
};

/// A grant as an operator wrote it: callers that satisfy every selector may have the
/// secrets of a group whose names match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name.
    pub id: RuleId,
    /// The group it is about.
    pub group: GroupName,
    /// Which of the group's secrets.
    pub pattern: Pattern,
    /// What a caller must satisfy: never empty, sorted, each once.
    pub selectors: Selectors,
    /// When it was written.
    pub created: Millis,
    /// User id of the operator who wrote it.
    pub created_by: u32,
}

/// The name of a secret, or the beginning of several.
#[derive(Clone, Debug, PartialEq, Eq)]
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

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(name) => write!(f, "{name}"),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
        }
    }
}

/// The selectors of one grant: at least one, at least one of which identifies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Selectors(Vec<Selector>);

/// Selectors that make no grant.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Weak {
    /// Nothing says who the caller is.
    #[error(
        "a grant needs a uid (unix:uid:N) or a unit (systemd:id:UNIT); \
         a group or an executable is shared by too many"
    )]
    NoIdentity,
    /// Two selectors that no process satisfies together.
    #[error("no caller satisfies both {0} and {1}")]
    Contradiction(Selector, Selector),
}

impl Selectors {
    /// Sorts `selectors` and drops repetitions.
    ///
    /// # Errors
    ///
    /// If they identify nobody, or nobody could satisfy them.
    pub fn new(mut selectors: Vec<Selector>) -> Result<Self, Weak> {
        selectors.sort();
        selectors.dedup();
        if !selectors.iter().any(Selector::identifies) {
            return Err(Weak::NoIdentity);
        }
        for pair in selectors.windows(2) {
            if std::mem::discriminant(&pair[0]) == std::mem::discriminant(&pair[1]) {
                return Err(Weak::Contradiction(pair[0].clone(), pair[1].clone()));
            }
        }
        Ok(Self(selectors))
    }

    /// Whether the caller satisfies all of them.
    pub fn match_all(&self, evidence: &Evidence) -> bool {
        !self.0.is_empty() && self.0.iter().all(|selector| selector.matches(evidence))
    }

    /// The selectors, sorted.
    pub fn as_slice(&self) -> &[Selector] {
        &self.0
    }
}

/// What a caller asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The group.
    pub group: GroupName,
    /// The secret's name in it.
    pub name: SecretName,
    /// The version; the current one if `None`.
    pub version: Option<u32>,
}

mod sealed {
    pub trait Sealed {}
}

/// Something a caller asks to do with a secret. Each is a type, so that a grant for
/// one cannot be spent on another.
pub trait Operation: sealed::Sealed {
    /// The name in the journal.
    const NAME: &'static str;

    /// Whether it wants the token to unwrap.
    const REVEALS: bool;
}

/// Release of content to the caller.
#[derive(Debug)]
pub enum Deliver {}

impl sealed::Sealed for Deliver {}

impl Operation for Deliver {
    const NAME: &'static str = "deliver";
    const REVEALS: bool = true;
}

/// Telling the caller which version is current.
#[derive(Debug)]
pub enum Notify {}

impl sealed::Sealed for Notify {}

impl Operation for Notify {
    const NAME: &'static str = "notify";
    const REVEALS: bool = false;
}

/// The outcome of a policy check, not yet written down.
pub type Decision<Op> = Result<Grant<Op>, Box<Denial>>;

/// No. Why is for the journal, not for the caller.
#[derive(Debug)]
pub struct Denial {
    /// Who asked.
    pub evidence: Evidence,
    /// Name of the operation.
    pub operation: &'static str,
    /// What they asked for.
    pub wanted: Wanted,
    /// Why not.
    pub reason: Reason,
}

/// Why a request was denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// No grant matches this caller and this name.
    NoGrant,
    /// A grant matches, and there is no such secret.
    NoSuchSecret,
    /// The secret has no such version.
    NoSuchVersion,
    /// No master key that wraps the version is in a state to reveal it.
    KeyState(KeyState),
}

/// What a decision found in the state.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) rule: RuleId,
    pub(crate) version: VersionId,
    pub(crate) kind: Kind,
    pub(crate) sealed: SealedDigest,
    pub(crate) gmk: KeyId,
    pub(crate) wrapping: Wrapping,
    pub(crate) wrapped: WrappedDek,
}

/// Proof that policy allowed a caller to do `Op` to one version.
///
/// Only [`State::decide`](crate::state::State::decide) makes one:
///
/// ```compile_fail,E0451
/// use custody::{caller::Caller, policy::{Deliver, Grant}};
/// fn forge(caller: Caller) -> Grant<Deliver> {
///     Grant { caller, found: todo!(), op: core::marker::PhantomData } // fields are private
/// }
/// ```
///
/// and a grant is not yet a permit: nothing can be claimed with it.
///
/// ```compile_fail,E0599
/// use custody::{envelope::SealedContent, policy::{Deliver, Grant}};
/// fn skip_the_record(grant: Grant<Deliver>, sealed: SealedContent) {
///     grant.claim(sealed); // only a Permit can
/// }
/// ```
#[derive(Debug)]
#[must_use = "a grant is good for nothing until it is recorded"]
pub struct Grant<Op> {
    pub(crate) caller: Caller,
    pub(crate) found: Found,
    pub(crate) op: PhantomData<Op>,
}

impl<Op> Grant<Op> {
    /// The version it is about; its ciphertext may be read while the grant is being
    /// recorded.
    pub fn version(&self) -> &VersionId {
        &self.found.version
    }
}

/// A grant that is on record.
///
/// Only [`record`](crate::journal::record) makes one:
///
/// ```compile_fail,E0451
/// use custody::{journal::Receipt, policy::{Deliver, Grant, Permit}};
/// fn forge(grant: Grant<Deliver>, receipt: Receipt) -> Permit<Deliver> {
///     Permit { grant, receipt } // fields are private
/// }
/// ```
///
/// it is spent once:
///
/// ```compile_fail,E0382
/// use custody::{envelope::SealedContent, policy::{Deliver, Permit}};
/// fn twice(permit: Permit<Deliver>, a: SealedContent, b: SealedContent) {
///     let _ = permit.claim(Some(a));
///     let _ = permit.claim(Some(b)); // moved
/// }
/// ```
///
/// and a permit for one operation is good for no other:
///
/// ```compile_fail,E0599
/// use custody::{envelope::SealedContent, policy::{Notify, Permit}};
/// fn more_than_allowed(permit: Permit<Notify>, sealed: SealedContent) {
///     let _ = permit.claim(Some(sealed)); // only Permit<Deliver> can
/// }
/// ```
#[derive(Debug)]
#[must_use = "an unspent permit was recorded for nothing"]
pub struct Permit<Op> {
    pub(crate) grant: Grant<Op>,
    pub(crate) receipt: Receipt,
}

/// Sealed content that is not the one its version was written with.
#[derive(Debug, thiserror::Error)]
#[error("the stored content of {version} is {what}")]
pub struct Tampered {
    /// The version.
    pub version: VersionId,
    /// What is wrong with it.
    pub what: Wrong,
}

/// What is wrong with stored content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// There is none.
    Missing,
    /// It is not what the version's row says.
    Other,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "missing",
            Self::Other => "not the one that was written",
        })
    }
}

impl Permit<Deliver> {
    /// Joins the permit with the content stored for its version.
    ///
    /// # Errors
    ///
    /// If `stored` is missing, or not the content that the version was written with.
    pub fn claim(self, stored: Option<SealedContent>) -> Result<Claim, Tampered> {
        let Self { grant, receipt } = self;
        let found = grant.found;
        let tampered = |what| Tampered {
            version: found.version.clone(),
            what,
        };
        let sealed = stored.ok_or_else(|| tampered(Wrong::Missing))?;
        if sealed.digest() != found.sealed {
            return Err(tampered(Wrong::Other));
        }
        Ok(Claim {
            caller: grant.caller,
            version: found.version,
            kind: found.kind.name(),
            gmk: found.gmk,
            wrapping: found.wrapping,
            wrapped: found.wrapped,
            sealed,
            receipt,
        })
    }
}

impl<Op> Permit<Op> {
    /// Where the grant is recorded.
    pub fn receipt(&self) -> Receipt {
        self.receipt
    }
}

impl Permit<Notify> {
    /// Which version is current.
    pub fn version(self) -> VersionId {
        self.grant.found.version
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_name_or_a_beginning() {
        let name = |text: &str| text.parse::<SecretName>().unwrap();
        let pattern = |text: &str| text.parse::<Pattern>().unwrap();
        assert!(pattern("tls").matches(&name("tls")));
        assert!(!pattern("tls").matches(&name("tls2")));
        assert!(pattern("tls-*").matches(&name("tls-a")));
        assert!(!pattern("tls-*").matches(&name("tls")));
        assert!(pattern("*").matches(&name("x")));
        for text in ["", "a*b", "**", "a/*", "/"] {
            assert!(text.parse::<Pattern>().is_err(), "{text}");
        }
        for text in ["tls", "tls-*", "*"] {
            assert_eq!(pattern(text).to_string(), text);
        }
    }

    #[test]
    fn a_grant_must_say_who() {
        let parse = |texts: &[&str]| {
            Selectors::new(texts.iter().map(|text| text.parse().unwrap()).collect())
        };
        assert_eq!(parse(&[]), Err(Weak::NoIdentity));
        assert_eq!(parse(&["unix:path:/bin/a"]), Err(Weak::NoIdentity));
        assert_eq!(parse(&["unix:gid:1"]), Err(Weak::NoIdentity));
        assert!(matches!(
            parse(&["unix:uid:1", "unix:uid:2"]),
            Err(Weak::Contradiction(..))
        ));
        let selectors = parse(&["unix:gid:2", "unix:uid:1", "unix:uid:1"]).unwrap();
        assert_eq!(selectors.as_slice().len(), 2);
    }
}
