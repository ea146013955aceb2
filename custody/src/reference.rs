//! References to secrets: `custody:GROUP/NAME[@VERSION][#FIELD]`.

use std::{fmt, str::FromStr};

use crate::{
    name::{self, SecretId},
    secret::{self, version::Which},
};

const SCHEME: &str = "custody:";

/// The longest reference: two names, a version, a field, and what separates them.
pub const MAX_LEN: usize = 400;

/// What one secret, or a configuration, says to mean another secret: one text for each
/// meaning. It is only a name: who may have the secret is decided when it is delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The secret.
    pub secret: SecretId,
    /// Which version of it.
    pub version: Which,
    /// That field alone; otherwise all.
    pub field: Option<String>,
}

/// A reference as people write it on a command line: `custody:` may be left out, and what
/// is not written is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The secret.
    pub secret: SecretId,
    /// The version, if one is named.
    pub version: Option<Which>,
    /// The field, if one is named.
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
    /// Not a version.
    #[error(
        "the version of a reference is previous, pending, or a number from 1 to {}, without \
         zeros in front",
        u32::MAX
    )]
    Version,
    /// The version that is meant anyway.
    #[error("a reference without a version means the current one: leave @current out")]
    Current,
    /// Not the name of a field.
    #[error("the field of a reference consists of letters, digits, '.', '_' and '-'")]
    Field,
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if !text.starts_with(SCHEME) && text.len() <= MAX_LEN {
            return Err(Error::Form);
        }
        let written: Written = text.parse()?;
        match written.version {
            Some(Which::Current) => Err(Error::Current),
            _ => Ok(written.into()),
        }
    }
}

impl FromStr for Written {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text.len() > MAX_LEN {
            return Err(Error::TooLong);
        }
        let rest = text.strip_prefix(SCHEME).unwrap_or(text);
        let (rest, field) = split(rest, '#');
        let (path, version) = split(rest, '@');
        let (group, name) = path.split_once('/').ok_or(Error::Form)?;
        Ok(Self {
            secret: SecretId {
                group: group.parse().map_err(Error::Group)?,
                name: name.parse().map_err(Error::Secret)?,
            },
            version: match version {
                Some(version) => Some(version.parse().map_err(|_| Error::Version)?),
                None => None,
            },
            field: match field {
                Some(field) if !secret::is_field_name(field) => return Err(Error::Field),
                field => field.map(str::to_owned),
            },
        })
    }
}

impl From<Written> for Reference {
    fn from(written: Written) -> Self {
        Self {
            secret: written.secret,
            version: written.version.unwrap_or_default(),
            field: written.field,
        }
    }
}

fn split(text: &str, separator: char) -> (&str, Option<&str>) {
    text.split_once(separator)
        .map_or((text, None), |(before, after)| (before, Some(after)))
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.secret)?;
        if self.version != Which::Current {
            write!(f, "@{}", self.version)?;
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
        assert_eq!(reference.version, Which::Number(3));
        assert_eq!(reference.field.as_deref(), Some("private-key"));
        let reference: Reference = "custody:web/tls".parse().unwrap();
        assert_eq!((reference.version, reference.field), (Which::Current, None));
        let reference: Reference = "custody:web/tls@previous".parse().unwrap();
        assert_eq!(reference.version, Which::Previous);
    }

    #[test]
    fn on_a_command_line_the_scheme_may_be_left_out_and_the_current_version_be_named() {
        let written: Written = "web/tls@current#private-key".parse().unwrap();
        assert_eq!(written.version, Some(Which::Current));
        assert_eq!(
            written,
            "custody:web/tls@current#private-key".parse().unwrap()
        );
        let meant = Reference::from(written).to_string();
        assert_eq!(meant, "custody:web/tls#private-key");
        assert_eq!("web/tls".parse::<Written>().unwrap().version, None);
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
            ("custody:web/tls@newest", Error::Version),
            ("custody:web/tls@current", Error::Current),
            (
                "custody:custody:web/tls",
                Error::Group(name::Error::Character(':')),
            ),
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
            text in "custody:[a-z0-9./]{0,6}/[a-z]{1,3}(@[0-9+]{0,3}|@previous|@current)?(#[a-z.#]{0,3})?"
        ) {
            if let Ok(reference) = text.parse::<Reference>() {
                prop_assert_eq!(reference.to_string(), text);
            }
        }

        #[test]
        fn every_reference_that_can_be_written_can_be_read(
            group in "[a-z0-9]([a-zA-Z0-9._-]{0,98}[a-z0-9])?",
            name in "[a-z0-9]([a-zA-Z0-9._-]{0,98}[a-z0-9])?",
            version in prop_oneof![
                Just(Which::Current),
                Just(Which::Previous),
                Just(Which::Pending),
                (1u32..).prop_map(Which::Number),
            ],
            field in proptest::option::of("[a-zA-Z0-9._-]{1,100}"),
        ) {
            let secret = SecretId { group: group.parse().unwrap(), name: name.parse().unwrap() };
            let reference = Reference { secret, version, field };
            prop_assert_eq!(reference.to_string().parse(), Ok(reference));
        }
    }
}
