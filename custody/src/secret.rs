//! Secrets, their versions, and the types that say what they hold.
//!
//! A type is one file below `secret/` and one line in `TYPES`; nothing else knows
//! which types there are.

use std::{collections::BTreeSet, fmt, ptr};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    canonical::Encoder,
    envelope::{Content, SealedDigest, WrappedDek},
    group::Millis,
    name::{KeyId, SecretId, VersionId},
};

mod blob;
mod keystore;
mod password;

/// Every type there is.
const TYPES: [&dyn Type; 3] = [&keystore::Keystore, &password::Password, &blob::Blob];

/// What a type of secret holds and refuses.
trait Type: Sync {
    /// The name that is stored and shown.
    fn name(&self) -> &'static str;

    /// Its fields, all of which a secret must have, in the order of delivery.
    fn fields(&self) -> &'static [&'static str];

    /// Checks the values of the fields, and says what anyone may know of them.
    fn inspect(&self, values: &Fields) -> Result<Properties, Refused>;
}

/// Public metadata: names and values, in the order they are shown.
pub type Properties = Vec<(String, String)>;

/// Content that a type does not take.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refused {
    /// No type of that name.
    #[error("there is no type {name:?}; there are {}", Kind::names().join(", "))]
    NoSuchType {
        /// The name asked for.
        name: String,
    },
    /// A field that the type needs.
    #[error("a {kind} needs the field {field:?}")]
    Missing {
        /// The type.
        kind: &'static str,
        /// The field.
        field: &'static str,
    },
    /// A field that the type does not have.
    #[error("a {kind} has no field {field:?}; it has {}", .known.join(", "))]
    Unknown {
        /// The type.
        kind: &'static str,
        /// The field.
        field: String,
        /// The fields it has.
        known: &'static [&'static str],
    },
    /// A field that was given more than once.
    #[error("the field {0:?} is given twice")]
    Twice(String),
    /// Nothing in a field that must hold something.
    #[error("the field {0:?} is empty")]
    Empty(&'static str),
    /// More than [`Content::MAX_LEN`].
    #[error("the content has {0} bytes; a secret holds at most {max}", max = Content::MAX_LEN)]
    TooLarge(usize),
    /// Something is wrong with the certificates or the key.
    #[error(transparent)]
    Keystore(#[from] keystore::Refused),
}

/// The type of a secret.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub struct Kind(&'static dyn Type);

impl Kind {
    /// The type of that name.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn from_name(name: &str) -> Result<Self, Refused> {
        TYPES
            .into_iter()
            .find(|kind| kind.name() == name)
            .map(Self)
            .ok_or_else(|| Refused::NoSuchType { name: name.into() })
    }

    /// The names of all types.
    pub fn names() -> Vec<&'static str> {
        TYPES.iter().map(|kind| kind.name()).collect()
    }

    /// Every type there is.
    pub fn all() -> impl Iterator<Item = Self> {
        TYPES.into_iter().map(Self)
    }

    /// The name that is stored and shown.
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// The fields of its content, in the order of delivery.
    pub fn fields(self) -> &'static [&'static str] {
        self.0.fields()
    }

    /// Checks `fields` and makes content of them, in the type's order.
    ///
    /// # Errors
    ///
    /// What is wrong, with which field.
    pub fn accept(self, mut fields: Fields) -> Result<Accepted, Refused> {
        let known = self.0.fields();
        for (at, (field, _)) in fields.0.iter().enumerate() {
            if !known.contains(&field.as_str()) {
                return Err(Refused::Unknown {
                    kind: self.name(),
                    field: field.clone(),
                    known,
                });
            }
            if fields.0[..at].iter().any(|(other, _)| other == field) {
                return Err(Refused::Twice(field.clone()));
            }
        }
        for field in known {
            match fields.get(field) {
                None => {
                    return Err(Refused::Missing {
                        kind: self.name(),
                        field,
                    });
                }
                Some([]) => return Err(Refused::Empty(field)),
                Some(_) => {}
            }
        }
        fields
            .0
            .sort_by_key(|(name, _)| known.iter().position(|field| field == name));
        let size = fields.0.iter().map(|(_, value)| value.len()).sum();
        if size > Content::MAX_LEN {
            return Err(Refused::TooLarge(size));
        }
        let properties = self.0.inspect(&fields)?;
        Ok(Accepted {
            kind: self,
            content: fields.encode(),
            size: size as u64,
            properties,
        })
    }
}

impl TryFrom<String> for Kind {
    type Error = Refused;

    fn try_from(name: String) -> Result<Self, Refused> {
        Self::from_name(&name)
    }
}

impl From<Kind> for &'static str {
    fn from(kind: Kind) -> Self {
        kind.name()
    }
}

impl PartialEq for Kind {
    fn eq(&self, other: &Self) -> bool {
        ptr::eq(self.name(), other.name()) || self.name() == other.name()
    }
}

impl Eq for Kind {}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Content that its type has checked.
#[derive(Debug)]
pub struct Accepted {
    /// The type that checked it.
    pub kind: Kind,
    /// The fields, encoded.
    pub content: Content,
    /// Bytes in all fields together.
    pub size: u64,
    /// What anyone may know of it.
    pub properties: Properties,
}

/// The parts of a secret's content, by name. Its `Debug` shows the names only.
#[derive(Default)]
pub struct Fields(Vec<(String, Zeroizing<Vec<u8>>)>);

impl Fields {
    /// Adds a field.
    pub fn push(&mut self, name: String, value: Vec<u8>) {
        self.0.push((name, Zeroizing::new(value)));
    }

    /// The value of the field called `name`.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        let (_, value) = self.0.iter().find(|(field, _)| field == name)?;
        Some(value)
    }

    /// Keeps those called by `names`, and wipes the others.
    pub fn keep(&mut self, names: &BTreeSet<String>) {
        self.0.retain(|(name, _)| names.contains(name));
    }

    fn encode(&self) -> Content {
        // Enough room from the start, so that growing leaves no copies behind.
        let room = self
            .0
            .iter()
            .map(|(name, value)| name.len() + value.len() + 8);
        let encoded = Encoder::with_capacity(4 + room.sum::<usize>())
            .list(&self.0, |encoder, (name, value)| {
                encoder.text(name).bytes(value)
            })
            .finish();
        Content::take(encoded)
    }

    /// Takes the fields out of `content`. `None` if it is no encoding of fields.
    pub fn decode(content: &Content) -> Option<Self> {
        let mut rest = content.expose();
        let count = take_u32(&mut rest)?;
        let mut fields = Self::default();
        for _ in 0..count {
            let name = String::from_utf8(take_bytes(&mut rest)?.to_vec()).ok()?;
            fields.push(name, take_bytes(&mut rest)?.to_vec());
        }
        rest.is_empty().then_some(fields)
    }
}

impl IntoIterator for Fields {
    type Item = (String, Zeroizing<Vec<u8>>);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(self.0.iter().map(|(name, _)| name))
            .finish()
    }
}

fn take_u32(rest: &mut &[u8]) -> Option<u32> {
    let (number, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(u32::from_be_bytes(*number))
}

fn take_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = take_u32(rest)?.try_into().ok()?;
    let (bytes, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(bytes)
}

/// What is stored about a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    /// Its group and name.
    pub id: SecretId,
    /// Its type; all versions have the same.
    pub kind: Kind,
    /// The version that a request without a number gets.
    pub current: u32,
    /// When its first version was written.
    pub created: Millis,
    /// User id of the operator who wrote that.
    pub created_by: u32,
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
    /// What anyone may know of the content.
    pub properties: Properties,
    /// When it was written.
    pub created: Millis,
    /// User id of the operator who wrote it.
    pub created_by: u32,
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
    use proptest::prelude::*;

    use super::*;

    fn fields(values: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::default();
        for (name, value) in values {
            fields.push((*name).into(), value.as_bytes().to_vec());
        }
        fields
    }

    #[test]
    fn every_type_is_found_by_its_name_and_has_fields() {
        for name in Kind::names() {
            let kind = Kind::from_name(name).unwrap();
            assert_eq!(kind.name(), name);
            assert!(!kind.0.fields().is_empty());
        }
        assert!(matches!(
            Kind::from_name("x"),
            Err(Refused::NoSuchType { .. })
        ));
    }

    #[test]
    fn fields_that_do_not_fit_the_type_are_refused_by_name() {
        let password = Kind::from_name("password").unwrap();
        let refusal = |values: &[(&str, &str)]| password.accept(fields(values)).unwrap_err();
        assert!(matches!(
            refusal(&[]),
            Refused::Missing {
                field: "password",
                ..
            }
        ));
        assert!(matches!(
            refusal(&[("password", "x"), ("pin", "1")]),
            Refused::Unknown { field, .. } if field == "pin"
        ));
        assert_eq!(
            refusal(&[("password", "x"), ("password", "y")]),
            Refused::Twice("password".into())
        );
        assert_eq!(refusal(&[("password", "")]), Refused::Empty("password"));
        let huge = "x".repeat(Content::MAX_LEN + 1);
        assert_eq!(
            refusal(&[("password", &huge)]),
            Refused::TooLarge(huge.len())
        );
    }

    #[test]
    fn accepted_content_comes_apart_again() {
        let blob = Kind::from_name("blob").unwrap();
        let accepted = blob.accept(fields(&[("content", "\0\u{ff}")])).unwrap();
        let decoded = Fields::decode(&accepted.content).unwrap();
        assert_eq!(decoded.get("content"), Some("\0\u{ff}".as_bytes()));
        assert_eq!(format!("{decoded:?}"), r#"{"content"}"#);
    }

    proptest! {
        #[test]
        fn decoding_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Fields::decode(&Content::take(bytes));
        }
    }
}
