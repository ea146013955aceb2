//! What people say about groups and secrets: labels and descriptions. Public, and no content.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::name::text;

pub mod condition;

/// A text that is none of these.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// The key of a label.
    #[error(
        "{0:?} is no label's key: that is 1 to {max} of a-z, 0-9, '.', '_', '-' and '/', the first \
         and the last a letter or digit",
        max = Key::MAX
    )]
    Key(String),
    /// Over [`Line::MAX`] or [`Description::MAX`] characters.
    #[error("it has {count} characters, and may have {max}")]
    TooLong {
        /// How many it has.
        count: usize,
        /// How many it may have.
        max: usize,
    },
    /// A control character, or one that changes the direction of writing.
    #[error("it has the character {0:?}, which cannot be printed")]
    Unprintable(char),
    /// Too many labels.
    #[error("there would be {0} labels, and may be {max}", max = Labels::MAX)]
    TooMany(usize),
    /// Neither `KEY=VALUE` nor another condition.
    #[error("{0:?} is no condition on labels: write KEY=VALUE, KEY!=VALUE, KEY or !KEY")]
    Condition(String),
}

/// Whether a terminal or a log shows it as itself.
fn is_printable(c: char) -> bool {
    let turns =
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !c.is_control() && !turns && !matches!(c, '\u{2028}' | '\u{2029}')
}

fn check(text: &str, max: usize, also: &[char]) -> Result<(), Error> {
    let count = text.chars().count();
    if count > max {
        return Err(Error::TooLong { count, max });
    }
    let mut odd = text.chars().filter(|c| !is_printable(*c));
    match odd.find(|c| !also.contains(c)) {
        Some(c) => Err(Error::Unprintable(c)),
        None => Ok(()),
    }
}

text! {
    /// One line of text; may be empty.
    #[derive(Default)]
    Line(Box<str>), Error, |text| check(text, Line::MAX, &[])
}

text! {
    /// What something is for, in as many lines as it takes; may be empty.
    #[derive(Default)]
    Description(Box<str>), Error, |text| check(text, Description::MAX, &['\n', '\t'])
}

text! {
    /// What a label is about, such as `team` or `example.org/cost-centre`.
    Key(Box<str>), Error, check_key
}

impl Line {
    /// The most characters.
    pub const MAX: usize = 255;

    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Description {
    /// The most characters.
    pub const MAX: usize = 1000;

    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Key {
    /// The most characters.
    pub const MAX: usize = 63;
}

fn check_key(text: &str) -> Result<(), Error> {
    let edge = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let edges = bytes.first().is_some_and(edge) && bytes.last().is_some_and(edge);
    let inner = bytes
        .iter()
        .all(|byte| edge(byte) || b"._/-".contains(byte));
    if edges && inner && bytes.len() <= Key::MAX {
        Ok(())
    } else {
        Err(Error::Key(text.chars().take(Key::MAX + 1).collect()))
    }
}

/// Labels by key. Most things have few, and a node of a map would have room for eleven.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<Key, Line>", into = "BTreeMap<Key, Line>")]
pub struct Labels(Box<[(Key, Line)]>);

impl Labels {
    /// The most labels of one thing.
    pub const MAX: usize = 32;

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of one.
    pub fn get(&self, key: &Key) -> Option<&Line> {
        let at = self.0.binary_search_by(|(known, _)| known.cmp(key)).ok()?;
        self.0.get(at).map(|(_, value)| value)
    }

    /// All of them, by key.
    pub fn as_slice(&self) -> &[(Key, Line)] {
        &self.0
    }

    /// These, without those of the keys in `removed` and with those in `set`.
    ///
    /// # Errors
    ///
    /// If these would be too many.
    pub fn with(&self, set: &Self, removed: &[Key]) -> Result<Self, Error> {
        let kept = self.0.iter().filter(|(key, _)| !removed.contains(key));
        let all: BTreeMap<_, _> = kept.chain(&set.0).cloned().collect();
        all.try_into()
    }
}

impl TryFrom<BTreeMap<Key, Line>> for Labels {
    type Error = Error;

    fn try_from(labels: BTreeMap<Key, Line>) -> Result<Self, Error> {
        match labels.len() {
            count if count > Self::MAX => Err(Error::TooMany(count)),
            _ => Ok(Self(labels.into_iter().collect())),
        }
    }
}

impl From<Labels> for BTreeMap<Key, Line> {
    fn from(labels: Labels) -> Self {
        labels.0.into_iter().collect()
    }
}

/// What is said about a group or a secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct About {
    /// For people.
    #[serde(skip_serializing_if = "Description::is_empty")]
    pub description: Description,
    /// For programs.
    #[serde(skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
}

/// What is to be said from now on, as far as it is to be something else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Said {
    /// In place of the description.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<Description>,
    /// Over those labels that there are.
    #[serde(skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// The keys of labels that go.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub removed_labels: Vec<Key>,
}

impl Said {
    /// What is said after it was said of what `before` is said about.
    ///
    /// # Errors
    ///
    /// If there would be too many labels.
    pub fn over(&self, before: &About) -> Result<About, Error> {
        let description = self.description.as_ref();
        Ok(About {
            description: description.unwrap_or(&before.description).clone(),
            labels: before.labels.with(&self.labels, &self.removed_labels)?,
        })
    }
}

#[cfg(test)]
mod tests;
