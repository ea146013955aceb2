//! Secrets, their versions, and the types that say what they hold.
//!
//! A type is one file below `secret/` and one line in `TYPES`; nothing else knows
//! which types there are.

use std::{collections::BTreeSet, fmt, ptr};

use serde::{Deserialize, Serialize};

use crate::{
    envelope::{Content, SealedDigest, WrappedDek},
    group::Millis,
    name::{KeyId, SecretId, VersionId},
};

mod ber;
mod blob;
mod certificate;
mod container;
mod crl;
pub mod fields;
pub mod format;
mod keystore;
mod password;
mod pbe;
mod pins;
mod tls;
mod truststore;
mod x509;

use fields::Fields;

/// Every type there is.
const TYPES: &[&dyn Type] = &[
    &tls::TlsContext,
    &keystore::Keystore,
    &truststore::Truststore,
    &certificate::Certificate,
    &pins::PinSet,
    &crl::CrlDistributor,
    &password::Password,
    &blob::Blob,
];

/// What a type of secret holds and refuses.
trait Type: Sync {
    /// The name that is stored and shown.
    fn name(&self) -> &'static str;

    /// What its content consists of, in the order of delivery.
    fn shape(&self) -> Shape;

    /// Names of what it takes besides its fields, and makes fields of.
    fn inputs(&self) -> &'static [&'static str] {
        &[]
    }

    /// Brings what was given, fields and inputs, into the one form that is stored.
    fn take(&self, given: Fields) -> Result<Fields, Refused> {
        Ok(given)
    }

    /// Checks the values of the fields, and says what anyone may know of them.
    fn inspect(&self, values: &Fields) -> Result<Properties, Refused>;
}

/// What the content of a type consists of.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// These fields.
    Fields(&'static [Field]),
    /// Any fields, at least one, whose names people choose.
    Free,
}

/// A field of a type.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Whether every secret of the type has it.
    pub is_required: bool,
}

/// A field that every secret of its type has.
const fn required(name: &'static str) -> Field {
    Field {
        name,
        is_required: true,
    }
}

/// A field that a secret of its type may do without.
const fn optional(name: &'static str) -> Field {
    Field {
        name,
        is_required: false,
    }
}

/// The most fields of a secret whose fields people name.
const MAX_FREE: usize = 1000;

/// The longest name that people give a field.
const MAX_FIELD_NAME: usize = 100;

/// Letters, digits, '.', '_' and '-', as in names of secrets and of environment variables.
pub(crate) fn is_field_name(name: &str) -> bool {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    !name.is_empty() && name.len() <= MAX_FIELD_NAME && name.bytes().all(fine)
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
    /// Not a single field.
    #[error("a {kind} needs at least one field")]
    NoField {
        /// The type.
        kind: &'static str,
    },
    /// A field that the type does not have.
    #[error("a {kind} has no field {field:?}; it has {}", .known.join(", "))]
    Unknown {
        /// The type.
        kind: &'static str,
        /// The field.
        field: String,
        /// The fields it has.
        known: Vec<&'static str>,
    },
    /// A name that no field can have.
    #[error("{0:?} cannot be a field: letters, digits, '.', '_' and '-', at most {MAX_FIELD_NAME}")]
    FieldName(String),
    /// More fields than a secret may have.
    #[error("there are {0} fields; a secret has at most {MAX_FREE}")]
    ManyFields(usize),
    /// A field that was given more than once.
    #[error("the field {0:?} is given twice")]
    Twice(String),
    /// Nothing in a field that must hold something.
    #[error("the field {0:?} is empty")]
    Empty(&'static str),
    /// More than [`Content::MAX_LEN`].
    #[error("the content has {0} bytes; a secret holds at most {max}", max = Content::MAX_LEN)]
    TooLarge(usize),
    /// What a type has to say against a value: which element, and what is wrong with it.
    #[error("{0}")]
    Invalid(String),
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
        Self::all()
            .find(|kind| kind.name() == name)
            .ok_or_else(|| Refused::NoSuchType { name: name.into() })
    }

    /// The names of all types.
    pub fn names() -> Vec<&'static str> {
        TYPES.iter().map(|kind| kind.name()).collect()
    }

    /// Every type there is.
    pub fn all() -> impl Iterator<Item = Self> {
        TYPES.iter().copied().map(Self)
    }

    /// The name that is stored and shown.
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// What its content consists of.
    pub fn shape(self) -> Shape {
        self.0.shape()
    }

    /// Whether a secret of this type may have a field called `name`.
    pub fn may_have(self, name: &str) -> bool {
        match self.shape() {
            Shape::Fields(fields) => fields.iter().any(|field| field.name == name),
            Shape::Free => is_field_name(name),
        }
    }

    /// Names of what a secret of this type can be made of besides its fields, such as a
    /// container file and its password.
    pub fn inputs(self) -> &'static [&'static str] {
        self.0.inputs()
    }

    /// Checks what was given and makes content of it, in the type's order.
    ///
    /// # Errors
    ///
    /// What is wrong, with which field.
    pub fn accept(self, given: Fields) -> Result<Accepted, Refused> {
        self.check_names(&given)?;
        let size = given.size();
        if size > Content::MAX_LEN {
            return Err(Refused::TooLarge(size));
        }
        let mut fields = self.0.take(given)?;
        self.check_presence(&fields)?;
        if let Shape::Fields(known) = self.shape() {
            fields.sort_by_key(|name| known.iter().position(|field| field.name == name));
        }
        let size = fields.size();
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

    /// Whether each name may be given, once.
    fn check_names(self, given: &Fields) -> Result<(), Refused> {
        if given.len() > MAX_FREE {
            return Err(Refused::ManyFields(given.len()));
        }
        let mut seen = BTreeSet::new();
        for name in given.names() {
            if !self.may_have(name) && !self.inputs().contains(&name) {
                return Err(match self.shape() {
                    Shape::Free => Refused::FieldName(name.to_owned()),
                    Shape::Fields(known) => Refused::Unknown {
                        kind: self.name(),
                        field: name.to_owned(),
                        known: known
                            .iter()
                            .map(|field| field.name)
                            .chain(self.inputs().iter().copied())
                            .collect(),
                    },
                });
            }
            if !seen.insert(name) {
                return Err(Refused::Twice(name.to_owned()));
            }
        }
        Ok(())
    }

    /// Whether everything is there that must be, and holds something.
    fn check_presence(self, fields: &Fields) -> Result<(), Refused> {
        if let Shape::Fields(known) = self.shape() {
            for field in known {
                match fields.get(field.name) {
                    None if field.is_required => {
                        return Err(Refused::Missing {
                            kind: self.name(),
                            field: field.name,
                        });
                    }
                    Some([]) => return Err(Refused::Empty(field.name)),
                    _ => {}
                }
            }
        } else if fields.is_empty() {
            return Err(Refused::NoField { kind: self.name() });
        }
        Ok(())
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
mod tests;

#[cfg(test)]
mod tool;
