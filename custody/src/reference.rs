//! References to secrets: `custody:GROUP/NAME[@VERSION][#FIELD]`.

use std::{fmt, str::FromStr};

use crate::{
    name::{self, SecretId},
    secret,
};

const SCHEME: &str = "custody:";

/// The longest reference: two names, a number, a field, and what separates them.
pub const MAX_LEN: usize = 400;

/// What one secret, or a configuration, says to mean another secret. It is only a name:
/// whether the secret exists, and who may have it, is decided when it is delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The secret.
    pub secret: SecretId,
    /// That version; otherwise the current one.
    pub version: Option<u32>,
    /// That field alone; otherwise all.
    pub field: Option<String>,
}

/// A text that is no reference. None of these repeats the text.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// Over [`MAX_LEN`] bytes.
    #[error("a reference has at most {MAX_LEN} characters")]
    TooLong,
    /// Another beginning.
    #[error("a reference is written custody:GROUP/NAME, with @VERSION and #FIELD where wanted")]
    Form,
    /// Not the name of a group.
    #[error("the group of the reference: {0}")]
    Group(name::Error),
    /// Not the name of a secret.
    #[error("the secret of the reference: {0}")]
    Secret(name::Error),
    /// Not the number of a version.
    #[error(
        "the version of a reference is a number from 1 to {}, without zeros in front",
        u32::MAX
    )]
    Version,
    /// Not the name of a field.
    #[error("the field of a reference consists of letters, digits, '.', '_' and '-'")]
    Field,
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text.len() > MAX_LEN {
            return Err(Error::TooLong);
        }
        let rest = text.strip_prefix(SCHEME).ok_or(Error::Form)?;
        let (rest, field) = split(rest, '#');
        let (path, version) = split(rest, '@');
        let (group, name) = path.split_once('/').ok_or(Error::Form)?;
        Ok(Self {
            secret: SecretId {
                group: group.parse().map_err(Error::Group)?,
                name: name.parse().map_err(Error::Secret)?,
            },
            version: version.map(number).transpose()?,
            field: match field {
                Some(field) if !secret::is_field_name(field) => return Err(Error::Field),
                field => field.map(str::to_owned),
            },
        })
    }
}

fn split(text: &str, separator: char) -> (&str, Option<&str>) {
    text.split_once(separator)
        .map_or((text, None), |(before, after)| (before, Some(after)))
}

/// One way to write each number, so that equal references are equal texts.
fn number(text: &str) -> Result<u32, Error> {
    if !text.starts_with(|first: char| matches!(first, '1'..='9')) {
        return Err(Error::Version);
    }
    text.parse().map_err(|_| Error::Version)
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.secret)?;
        if let Some(version) = self.version {
            write!(f, "@{version}")?;
        }
        if let Some(field) = &self.field {
            write!(f, "#{field}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_reference_comes_apart_into_what_it_names() {
        let reference: Reference = "custody:web/tls@3#private-key".parse().unwrap();
        assert_eq!(reference.secret.to_string(), "web/tls");
        assert_eq!(reference.version, Some(3));
        assert_eq!(reference.field.as_deref(), Some("private-key"));
        let reference: Reference = "custody:web/tls".parse().unwrap();
        assert_eq!((reference.version, reference.field), (None, None));
    }

    #[test]
    fn what_is_no_reference_is_refused_for_what_is_wrong() {
        let long = format!("custody:web/{}", "a".repeat(MAX_LEN));
        for (text, error) in [
            ("", Error::Form),
            ("web/tls", Error::Form),
            ("custody:web", Error::Form),
            ("custody:/tls", Error::Group(name::Error::Empty)),
            (
                "custody:web/a/b",
                Error::Secret(name::Error::Character('/')),
            ),
            ("custody:web/tls@", Error::Version),
            ("custody:web/tls@0", Error::Version),
            ("custody:web/tls@+1", Error::Version),
            ("custody:web/tls@01", Error::Version),
            ("custody:web/tls@4294967296", Error::Version),
            ("custody:web/tls@1@2", Error::Version),
            ("custody:web/tls#", Error::Field),
            ("custody:web/tls#a#b", Error::Field),
            ("custody:web/tls#a@1", Error::Field),
            (&long, Error::TooLong),
        ] {
            assert_eq!(text.parse::<Reference>(), Err(error), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_reference_is_written_in_one_way(
            text in "custody:[a-z0-9./]{0,6}/[a-z]{1,3}(@[0-9+]{0,3})?(#[a-z.#]{0,3})?"
        ) {
            if let Ok(reference) = text.parse::<Reference>() {
                prop_assert_eq!(reference.to_string(), text);
            }
        }

        #[test]
        fn every_reference_that_can_be_written_can_be_read(
            group in "[a-z0-9]([a-zA-Z0-9._-]{0,98}[a-z0-9])?",
            name in "[a-z0-9]([a-zA-Z0-9._-]{0,98}[a-z0-9])?",
            version in proptest::option::of(1u32..),
            field in proptest::option::of("[a-zA-Z0-9._-]{1,100}"),
        ) {
            let secret = SecretId { group: group.parse().unwrap(), name: name.parse().unwrap() };
            let reference = Reference { secret, version, field };
            prop_assert_eq!(reference.to_string().parse(), Ok(reference));
        }
    }
}
