//! Secrets, their versions, and the types that say what they hold.
//!
//! A type is one file below `secret/` and one line in `TYPES`; nothing else knows
//! which types there are.

use std::{fmt, ptr};

use serde::{Deserialize, Serialize};

use crate::group::Millis;

mod accept;
mod api_key;
mod basic_auth;
mod ber;
mod blob;
mod certificate;
mod container;
mod crl;
pub mod fields;
pub mod format;
mod jwt;
mod key;
mod key_value;
mod keystore;
pub mod make;
mod password;
mod pbe;
mod pins;
mod private_key;
pub mod recognise;
mod refused;
pub mod request;
mod s3_credentials;
mod symmetric_key;
mod text;
mod time;
mod tls;
mod truststore;
pub mod version;
mod x509;

pub use accept::Accepted;
use fields::Fields;
use make::Makes;
pub use refused::Refused;

/// Every type there is.
const TYPES: &[&dyn Type] = &[
    &tls::TlsContext,
    &keystore::Keystore,
    &truststore::Truststore,
    &certificate::Certificate,
    &pins::PinSet,
    &crl::CrlDistributor,
    &private_key::Private,
    &password::Password,
    &basic_auth::BasicAuth,
    &api_key::ApiKey,
    &jwt::Jwt,
    &symmetric_key::SymmetricKey,
    &s3_credentials::S3Credentials,
    &key_value::KeyValue,
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

    /// Names of fields and inputs that are one line of text, so that a newline which ends a
    /// file is not part of them.
    fn lines(&self) -> &'static [&'static str] {
        &[]
    }

    /// Names of fields whose values are PEM, or may be.
    fn pem(&self) -> &'static [&'static str] {
        &[]
    }

    /// Its fields that refer to other secrets. They are public: nothing is opened to follow.
    fn refers(&self) -> &'static [Refers] {
        &[]
    }

    /// Names of all properties that it may have. One called like a field has its value.
    fn publishes(&self) -> &'static [&'static str];

    /// Name of the property that says when it ends, if it does.
    fn ends(&self) -> Option<&'static str> {
        None
    }

    /// Names of the properties that say from when to when it is valid, if it is for a time.
    fn validity(&self) -> Option<(&'static str, &'static str)> {
        None
    }

    /// Brings what was given, fields and inputs, into the one form that is stored.
    fn take(&self, given: Fields) -> Result<Fields, Refused> {
        Ok(given)
    }

    /// How new content comes about when a secret is rotated.
    fn makes(&self) -> Makes {
        Makes::Not("store a new version with 'custodyctl secret put'")
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

/// A field whose value is a reference to another secret.
#[derive(Clone, Copy, Debug)]
pub struct Refers {
    /// Its name.
    pub field: &'static str,
    /// Names of the types that the other may have.
    pub kinds: &'static [&'static str],
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

/// The property of a public field, if there is one.
fn public(name: &str, value: Option<&str>) -> impl Iterator<Item = (String, String)> {
    value
        .map(|value| (name.to_owned(), value.to_owned()))
        .into_iter()
}

/// The most fields of a secret whose fields people name.
const MAX_FREE: usize = 1000;

/// The longest name that people give a field.
const MAX_FIELD_NAME: usize = 100;

/// Whether people may call a field so: letters, digits, '.', '_' and '-', as in names of
/// environment variables.
pub fn is_field_name(name: &str) -> bool {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    !name.is_empty() && name.len() <= MAX_FIELD_NAME && name.bytes().all(fine)
}

/// Public metadata: names and values, in the order they are shown.
pub type Properties = Vec<(String, String)>;

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

    /// Whether its fields are settled, and one of them is called `name`.
    fn has(self, name: &str) -> bool {
        matches!(self.shape(), Shape::Fields(_)) && self.may_have(name)
    }

    /// Whether the value of the field called `name` is PEM in every secret of this type.
    pub fn is_pem(self, name: &str) -> bool {
        // A type that tells nothing of its content has not looked into it.
        let is_known = !self.publishes().is_empty();
        is_known && self.has(name) && self.0.pem().contains(&name)
    }

    /// Whether the value of the field called `name` is PEM, or may be.
    fn may_be_pem(self, name: &str) -> bool {
        match self.shape() {
            Shape::Fields(_) => self.0.pem().contains(&name),
            Shape::Free => true,
        }
    }

    /// Names of what a secret of this type can be made of besides its fields, such as a
    /// container file and its password.
    pub fn inputs(self) -> &'static [&'static str] {
        self.0.inputs()
    }

    /// Whether `name` is a field or an input that is one line of text, so that a newline
    /// which ends a file is not part of it.
    pub fn is_line(self, name: &str) -> bool {
        self.0.lines().contains(&name)
    }

    /// The fields of a secret of this type that refer to other secrets.
    pub fn refers(self) -> &'static [Refers] {
        self.0.refers()
    }

    /// The names of all properties that a secret of this type may have.
    pub fn publishes(self) -> &'static [&'static str] {
        self.0.publishes()
    }

    /// Name of the property that says when such a secret ends, if it does.
    pub fn end_property(self) -> Option<&'static str> {
        self.0.ends()
    }

    /// When a secret with these properties ends: the first of what is in it to do so.
    pub fn ends(self, properties: &Properties) -> Option<Millis> {
        time_of(properties, self.end_property()?)
    }

    /// From when to when a secret with these properties is valid, if it says both.
    pub fn validity(self, properties: &Properties) -> Option<(Millis, Millis)> {
        let (from, to) = self.0.validity()?;
        Some((time_of(properties, from)?, time_of(properties, to)?))
    }

    /// Whether the value of the field called `name` is public metadata.
    pub fn is_public(self, name: &str) -> bool {
        match self.shape() {
            Shape::Fields(_) => self.may_have(name) && self.publishes().contains(&name),
            Shape::Free => false,
        }
    }
}

/// The time that the property called `wanted` is.
fn time_of(properties: &Properties, wanted: &str) -> Option<Millis> {
    let found = properties.iter().find(|(name, _)| name == wanted);
    time::millis(&found?.1)
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

#[cfg(test)]
mod tests;

#[cfg(test)]
mod tool;
