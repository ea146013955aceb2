//! Why content is not taken.

use super::{Kind, MAX_FIELD_NAME, MAX_FREE};
use crate::envelope::Content;

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
    /// Something under a passphrase that is missing, or is another: which element.
    #[error("{0}")]
    Locked(String),
    /// What a type has to say against a value: which element, and what is wrong with it.
    #[error("{0}")]
    Invalid(String),
}
