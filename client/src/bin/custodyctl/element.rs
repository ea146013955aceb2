//! How groups, secrets and versions are written on the command line.

use std::{num::NonZeroU32, str::FromStr};

use custody::name::{self, GroupName, SecretId, SecretName};

/// A text that names no secret.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Error {
    #[error("write GROUP/NAME, such as web/tls")]
    Shape,
    #[error("the group's name is wrong: {0}")]
    Group(name::Error),
    #[error("the secret's name is wrong: {0}")]
    Secret(name::Error),
    #[error("{0:?} is no version; write GROUP/NAME@NUMBER, such as web/tls@3")]
    Version(String),
}

/// `GROUP/NAME`.
pub(crate) fn secret(text: &str) -> Result<SecretId, Error> {
    let (group, name) = text.split_once('/').ok_or(Error::Shape)?;
    Ok(SecretId {
        group: GroupName::from_str(group).map_err(Error::Group)?,
        name: SecretName::from_str(name).map_err(Error::Secret)?,
    })
}

/// `GROUP/NAME` or `GROUP/NAME@VERSION`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) secret: SecretId,
    /// The current one when missing.
    pub(crate) version: Option<NonZeroU32>,
}

impl FromStr for Wanted {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let Some((rest, number)) = text.split_once('@') else {
            return Ok(Self {
                secret: secret(text)?,
                version: None,
            });
        };
        let version = number
            .parse()
            .ok()
            .filter(|_| number.bytes().all(|b| b.is_ascii_digit()))
            .ok_or_else(|| Error::Version(number.to_owned()))?;
        Ok(Self {
            secret: secret(rest)?,
            version: Some(version),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_may_come_with_a_version() {
        let plain: Wanted = "web/tls".parse().unwrap();
        assert_eq!(plain.secret.to_string(), "web/tls");
        assert_eq!(plain.version, None);
        let third: Wanted = "web/tls@3".parse().unwrap();
        assert_eq!(third.secret, plain.secret);
        assert_eq!(third.version, NonZeroU32::new(3));
    }

    #[test]
    fn what_names_no_secret_is_refused_for_what_is_wrong_with_it() {
        let version = |text: &str| Error::Version(text.to_owned());
        for (text, error) in [
            ("web", Error::Shape),
            ("", Error::Shape),
            ("/tls", Error::Group(name::Error::Empty)),
            ("web/", Error::Secret(name::Error::Empty)),
            ("web/a/b", Error::Secret(name::Error::Character('/'))),
            ("web/tls@", version("")),
            ("web/tls@0", version("0")),
            ("web/tls@+1", version("+1")),
            ("web/tls@4294967296", version("4294967296")),
            ("web/tls@1@2", version("1@2")),
        ] {
            assert_eq!(text.parse::<Wanted>(), Err(error), "{text:?}");
        }
    }
}
