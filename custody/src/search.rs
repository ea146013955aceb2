//! What groups and secrets are looked for by: names, types, labels, and what is public of
//! versions. Content is never looked at.

use regex::{Regex, RegexBuilder};

use crate::{
    label::{Labels, Line, condition::Condition},
    secret::{
        Kind,
        version::{Secret, Version},
    },
    state::view::{GroupView, SecretView},
};

/// What separates the parts of a property that is a list, such as the names in a certificate.
const SEPARATOR: &str = ", ";

/// A text in which `*` stands for any characters, and upper and lower case are the same.
#[derive(Clone, Debug)]
pub struct Glob(Regex);

/// A text that is no [`Glob`].
#[derive(Debug, thiserror::Error)]
pub enum NoGlob {
    /// Over [`Glob::MAX`] characters.
    #[error("it has {0} characters, and may have {max}", max = Glob::MAX)]
    TooLong(usize),
    /// It would take too much to look for it.
    #[error("it cannot be looked for")]
    Unusable(#[from] regex::Error),
}

impl Glob {
    /// The most characters.
    pub const MAX: usize = 255;

    /// One that matches what is like `text` from beginning to end.
    ///
    /// # Errors
    ///
    /// If it is too long.
    pub fn whole(text: &str) -> Result<Self, NoGlob> {
        Self::new(text, r"\A", r"\z")
    }

    /// One that matches what has something like `text` anywhere.
    ///
    /// # Errors
    ///
    /// If it is too long.
    pub fn within(text: &str) -> Result<Self, NoGlob> {
        Self::new(text, "", "")
    }

    fn new(text: &str, begin: &str, end: &str) -> Result<Self, NoGlob> {
        let count = text.chars().count();
        if count > Self::MAX {
            return Err(NoGlob::TooLong(count));
        }
        let pieces: Vec<_> = text.split('*').map(regex::escape).collect();
        let pattern = [begin, &pieces.join(".*"), end].concat();
        let regex = RegexBuilder::new(&pattern)
            .case_insensitive(true)
            .dot_matches_new_line(true)
            .build()?;
        Ok(Self(regex))
    }

    /// Whether it matches `text`.
    pub fn matches(&self, text: &str) -> bool {
        self.0.is_match(text)
    }

    /// Whether it matches `value` or a part of it, if that is a list.
    fn matches_part(&self, value: &str) -> bool {
        self.matches(value)
            || value.contains(SEPARATOR) && value.split(SEPARATOR).any(|part| self.matches(part))
    }
}

/// Which groups are wanted: those for which all of this holds.
#[derive(Clone, Debug, Default)]
pub struct Groups {
    /// What the name is like.
    pub name: Option<Glob>,
    /// The part of the organisation.
    pub business_group: Option<Line>,
    /// Such as `production`.
    pub environment: Option<Line>,
    /// What the labels are like.
    pub labels: Vec<Condition>,
}

impl Groups {
    /// Whether `group` is wanted.
    pub fn want(&self, group: GroupView<'_>) -> bool {
        let row = group.row();
        let purpose = &row.purpose;
        let is = |wanted: &Option<Line>, there: &Line| {
            wanted.as_ref().is_none_or(|wanted| wanted == there)
        };
        is(&self.business_group, &purpose.business_group)
            && is(&self.environment, &purpose.environment)
            && is_like(self.name.as_ref(), row.name.as_str())
            && hold(&self.labels, &purpose.about.labels)
    }
}

/// Which secrets are wanted: those for which all of this holds.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    /// What the name is like.
    pub name: Option<Glob>,
    /// The type.
    pub kind: Option<Kind>,
    /// What the labels are like.
    pub labels: Vec<Condition>,
    /// What properties of one version are like: of a list, one part.
    pub properties: Vec<(String, Glob)>,
    /// What is somewhere in the name, the description, a label or a property.
    pub text: Option<Glob>,
}

impl Secrets {
    /// Whether `secret` is wanted; `None` if not. If properties or a text are, these are the
    /// numbers of the versions that have them, whatever their state.
    pub fn find(&self, secret: SecretView<'_>) -> Option<Vec<u32>> {
        let row = secret.row();
        let is_it = self.kind.is_none_or(|kind| kind == row.kind)
            && is_like(self.name.as_ref(), row.id.name.as_str())
            && hold(&self.labels, &row.about.labels);
        if !is_it {
            return None;
        }
        if self.properties.is_empty() && self.text.is_none() {
            return Some(Vec::new());
        }
        let is_said = self.text.as_ref().is_none_or(|text| says(row, text));
        let versions = secret.versions().map(|version| version.row());
        let found: Vec<_> = versions
            .filter(|version| self.has_properties(version))
            .filter(|version| match &self.text {
                Some(text) if self.properties.is_empty() || !is_said => publishes(version, text),
                _ => true,
            })
            .map(|version| version.id.number)
            .collect();
        let suffices = is_said && self.properties.is_empty();
        (suffices || !found.is_empty()).then_some(found)
    }

    fn has_properties(&self, version: &Version) -> bool {
        self.properties.iter().all(|(wanted, glob)| {
            let mut published = version.published();
            published.any(|(name, value)| name == wanted && glob.matches_part(value))
        })
    }
}

fn is_like(wanted: Option<&Glob>, text: &str) -> bool {
    wanted.is_none_or(|wanted| wanted.matches(text))
}

fn hold(conditions: &[Condition], labels: &Labels) -> bool {
    conditions.iter().all(|condition| condition.holds(labels))
}

/// Whether `text` is in what people say about a secret.
fn says(secret: &Secret, text: &Glob) -> bool {
    let labels = secret.about.labels.as_slice().iter();
    let mut labels = labels.flat_map(|(key, value)| [key.as_str(), value.as_str()]);
    text.matches(secret.id.name.as_str())
        || text.matches(secret.about.description.as_str())
        || labels.any(|said| text.matches(said))
}

fn publishes(version: &Version, text: &Glob) -> bool {
    version.published().any(|(_, value)| text.matches(value))
}

#[cfg(test)]
mod tests;
