//! Secrets and their versions as they are stored, and the life that a version has.

use std::{fmt, num::NonZeroU32, str::FromStr};

use serde::{Serialize, Serializer};

use super::{Kind, Properties, request::REQUEST};
use crate::{
    envelope::{SealedDigest, WrappedDek},
    group::Millis,
    label::About,
    name::{KeyId, SecretId, VersionId},
};

/// What is stored about a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    /// Its group and name.
    pub id: SecretId,
    /// Its type; all versions have the same.
    pub kind: Kind,
    /// The version that a request without a number gets, once there is one.
    pub current: Option<u32>,
    /// The version that was current before.
    pub previous: Option<u32>,
    /// A version that was written to become current later.
    pub pending: Option<u32>,
    /// How many versions are kept; all if `None`.
    pub keep: Option<NonZeroU32>,
    /// What is said about it.
    pub about: About,
    /// When its first version was written.
    pub created: Millis,
    /// User id of the operator who wrote that.
    pub created_by: u32,
}

impl Secret {
    /// The number that `which` stands for, if there is one.
    pub fn number(&self, which: Which) -> Option<u32> {
        match which {
            Which::Current => self.current,
            Which::Previous => self.previous,
            Which::Pending => self.pending,
            Which::Number(number) => Some(number),
        }
    }

    /// Whether version `number` has a part to play that keeps it from being retired.
    pub(crate) fn names(&self, number: u32) -> bool {
        [self.current, self.previous, self.pending].contains(&Some(number))
    }
}

/// A version as callers name it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Which {
    /// The current one.
    #[default]
    Current,
    /// The one that was current before.
    Previous,
    /// The one that is to become current.
    Pending,
    /// The one of this number.
    Number(u32),
}

/// A text that names no version.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is no version: a number, current, previous or pending is wanted")]
pub struct NoVersion(String);

impl FromStr for Which {
    type Err = NoVersion;

    fn from_str(text: &str) -> Result<Self, NoVersion> {
        match text {
            "current" => Ok(Self::Current),
            "previous" => Ok(Self::Previous),
            "pending" => Ok(Self::Pending),
            // One way to write each number, so that equal references are equal texts.
            digits => match digits.parse() {
                Ok(number) if digits.starts_with(|first: char| matches!(first, '1'..='9')) => {
                    Ok(Self::Number(number))
                }
                _ => Err(NoVersion(text.to_owned())),
            },
        }
    }
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Current => f.write_str("current"),
            Self::Previous => f.write_str("previous"),
            Self::Pending => f.write_str("pending"),
            Self::Number(number) => write!(f, "{number}"),
        }
    }
}

impl Serialize for Which {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => to.serialize_u32(*number),
            word => to.collect_str(word),
        }
    }
}

/// What is stored about a version, besides its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Its secret and number.
    pub id: VersionId,
    /// Bytes of content, before encoding.
    pub size: u64,
    /// The sealed content that belongs to it.
    pub sealed: SealedDigest,
    /// Generation of the master key that protected when its data key was made.
    pub dek_generation: u32,
    /// The newest generation of a compromised master key that an earlier data key of it was made
    /// Generation of the compromised master key because of which that took the place of an earlier
    /// one: the content may be known.
    pub exposed: Option<u32>,
    /// Tells whether other content is the same.
    pub fingerprint: Fingerprint,
    /// What anyone may know of the content.
    pub properties: Properties,
    /// Whether it is delivered.
    pub state: VersionState,
    /// Until when it is delivered, if not for ever.
    pub valid_until: Option<Millis>,
    /// When it was written.
    pub created: Millis,
    /// User id of the operator who wrote it.
    pub created_by: u32,
}

impl Version {
    /// The request for a certificate, PEM, if its content is a key without one.
    pub fn request(&self) -> Option<&str> {
        let mut properties = self.properties.iter();
        let (_, pem) = properties.find(|(name, _)| name == REQUEST)?;
        Some(pem)
    }

    /// The names and values of its properties. A request is none of them: it is a page of
    /// text, which has a call of its own.
    pub fn published(&self) -> impl Iterator<Item = (&str, &str)> {
        let request = self.request();
        let properties = self.properties.iter();
        let pairs = properties.map(|(name, value)| (name.as_str(), value.as_str()));
        pairs.filter(move |(_, value)| Some(*value) != request)
    }
}

/// HMAC-SHA-256 of a secret's content under a key that only the running daemon has: of no
/// use to whoever would guess the content, and another one in every other secret.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The one with these bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// Where a version is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionState {
    /// It is a key that waits for its certificate. It is never delivered, nor current.
    Requested,
    /// It is delivered.
    Enabled,
    /// It is not delivered, until it is enabled again.
    Disabled,
    /// It is not delivered, and will be destroyed at this time, unless it is restored
    /// before.
    Doomed(Millis),
    /// Its data key is gone, and its content with it. What is stored about it stays.
    Destroyed,
}

impl VersionState {
    /// The name that is stored and shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
            Self::Doomed(_) => "doomed",
            Self::Destroyed => "destroyed",
        }
    }

    /// When it is to be destroyed.
    pub fn doom(self) -> Option<Millis> {
        match self {
            Self::Doomed(at) => Some(at),
            _ => None,
        }
    }

    /// The state of that name, with the time that goes with it.
    pub fn from_parts(name: &str, doom: Option<Millis>) -> Option<Self> {
        match (name, doom) {
            ("requested", None) => Some(Self::Requested),
            ("enabled", None) => Some(Self::Enabled),
            ("disabled", None) => Some(Self::Disabled),
            ("doomed", Some(at)) => Some(Self::Doomed(at)),
            ("destroyed", None) => Some(Self::Destroyed),
            _ => None,
        }
    }
}

impl fmt::Display for VersionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A version's data key under one group master key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrap {
    /// The version.
    pub version: VersionId,
    /// The group master key.
    pub gmk: KeyId,
    /// The wrapped data key.
    pub wrapped: WrappedDek,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_named_by_number_or_part() {
        for text in ["current", "previous", "pending", "1", "4294967295"] {
            assert_eq!(text.parse::<Which>().unwrap().to_string(), text);
        }
        for text in ["", "0", "01", "-1", "+1", "newest", "4294967296"] {
            assert!(text.parse::<Which>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn states_survive_their_parts_and_half_of_one_is_none() {
        for state in [
            VersionState::Requested,
            VersionState::Enabled,
            VersionState::Disabled,
            VersionState::Doomed(7),
            VersionState::Destroyed,
        ] {
            assert_eq!(
                VersionState::from_parts(state.name(), state.doom()),
                Some(state)
            );
        }
        assert_eq!(VersionState::from_parts("doomed", None), None);
        assert_eq!(VersionState::from_parts("enabled", Some(7)), None);
    }
}
