//! How groups, secrets and versions are written on the command line.

use std::{fmt, str::FromStr};

use custody::{
    name::{self, GroupName, SecretId, SecretName},
    reference::{self, Written},
    secret::version::Which,
};

/// A text that names no secret.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Error {
    #[error("write GROUP/NAME, such as web/tls")]
    Shape,
    #[error("the group's name is wrong: {0}")]
    Group(name::Error),
    #[error("the secret's name is wrong: {0}")]
    Secret(name::Error),
    #[error(
        "that is no version; write GROUP/NAME@VERSION with a number, current, previous or pending, \
         such as web/tls@3"
    )]
    Version,
    #[error("no version is wanted here, only GROUP/NAME")]
    NeedlessVersion,
    #[error("no field is wanted here")]
    NeedlessField,
    #[error(transparent)]
    Reference(reference::Error),
}

impl From<reference::Error> for Error {
    fn from(error: reference::Error) -> Self {
        match error {
            reference::Error::Form => Self::Shape,
            reference::Error::Group(error) => Self::Group(error),
            reference::Error::Secret(error) => Self::Secret(error),
            reference::Error::Version => Self::Version,
            error => Self::Reference(error),
        }
    }
}

/// `GROUP/NAME`, with `custody:` in front or without.
pub(crate) fn secret(text: &str) -> Result<SecretId, Error> {
    match text.parse::<Wanted>()? {
        Wanted {
            version: Some(_), ..
        } => Err(Error::NeedlessVersion),
        Wanted { secret, .. } => Ok(secret),
    }
}

/// `GROUP/NAME` or `GROUP/NAME@VERSION`, with `custody:` in front or without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) secret: SecretId,
    /// The version, if one is named.
    pub(crate) version: Option<Which>,
}

impl FromStr for Wanted {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text.parse()? {
            Detail { field: Some(_), .. } => Err(Error::NeedlessField),
            Detail { wanted, .. } => Ok(wanted),
        }
    }
}

/// `GROUP/NAME`, `@VERSION` and `#FIELD` where wanted, with `custody:` in front or without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Detail {
    pub(crate) wanted: Wanted,
    /// The field, if one is named.
    pub(crate) field: Option<String>,
}

impl FromStr for Detail {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let Written {
            secret,
            version,
            field,
        } = text.parse()?;
        Ok(Self {
            wanted: Wanted { secret, version },
            field,
        })
    }
}

/// The number of a version, if it is named by one.
pub(crate) fn number(version: Option<Which>) -> Option<u32> {
    match version {
        Some(Which::Number(number)) => Some(number),
        _ => None,
    }
}

/// The part of a version, if it is named by one other than current.
pub(crate) fn part(version: Option<Which>) -> Option<String> {
    match version {
        Some(which @ (Which::Previous | Which::Pending)) => Some(which.to_string()),
        Some(Which::Current | Which::Number(_)) | None => None,
    }
}

impl Wanted {
    /// The version that is meant.
    pub(crate) fn which(&self) -> Which {
        self.version.unwrap_or_default()
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.which() {
            Which::Current => write!(f, "{}", self.secret),
            version => write!(f, "{}@{version}", self.secret),
        }
    }
}

/// `GROUP`, or one secret of it: `GROUP/NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scope {
    pub(crate) group: GroupName,
    /// All of the group when missing.
    pub(crate) name: Option<SecretName>,
}

impl FromStr for Scope {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text.contains('/') {
            let SecretId { group, name } = secret(text)?;
            let name = Some(name);
            return Ok(Self { group, name });
        }
        Ok(Self {
            group: GroupName::from_str(text).map_err(Error::Group)?,
            name: None,
        })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{}/{name}", self.group),
            None => write!(f, "{}", self.group),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_may_come_with_a_version() {
        let plain: Wanted = "web/tls".parse().unwrap();
        assert_eq!(plain.secret.to_string(), "web/tls");
        assert_eq!((plain.version, plain.which()), (None, Which::Current));
        let third: Wanted = "web/tls@3".parse().unwrap();
        assert_eq!(third.secret, plain.secret);
        assert_eq!(number(third.version), Some(3));
        let previous: Wanted = "web/tls@previous".parse().unwrap();
        assert_eq!(part(previous.version).as_deref(), Some("previous"));
        let current: Wanted = "custody:web/tls@current".parse().unwrap();
        assert_eq!(current.version, Some(Which::Current));
        assert_eq!(
            [plain, third].map(|w| w.to_string()),
            ["web/tls", "web/tls@3"]
        );
    }

    #[test]
    fn a_detail_may_name_a_field() {
        let detail: Detail = "custody:web/db@previous#password".parse().unwrap();
        assert_eq!(detail.wanted.to_string(), "web/db@previous");
        assert_eq!(detail.field.as_deref(), Some("password"));
        let plain: Detail = "web/db".parse().unwrap();
        assert_eq!((plain.wanted.version, plain.field), (None, None));
    }

    #[test]
    fn a_scope_is_a_group_or_a_secret() {
        for text in ["web", "web/tls"] {
            let scope: Scope = text.parse().unwrap();
            assert_eq!(scope.to_string(), text);
            assert_eq!(scope.name.is_some(), text.contains('/'));
        }
        for text in ["", "web/", "/tls", "web/tls@1"] {
            text.parse::<Scope>().unwrap_err();
        }
    }

    #[test]
    fn what_names_no_secret_is_refused_for_what_is_wrong_with_it() {
        for (text, error) in [
            ("web", Error::Shape),
            ("", Error::Shape),
            ("/tls", Error::Group(name::Error::Empty)),
            ("web/", Error::Secret(name::Error::Empty)),
            ("web/a/b", Error::Secret(name::Error::Character('/'))),
            ("web/tls@", Error::Version),
            ("web/tls@0", Error::Version),
            ("web/tls@+1", Error::Version),
            ("web/tls@4294967296", Error::Version),
            ("web/tls@1@2", Error::Version),
            ("web/tls#private-key", Error::NeedlessField),
        ] {
            assert_eq!(text.parse::<Wanted>(), Err(error), "{text:?}");
        }
        assert_eq!(secret("web/tls@3"), Err(Error::NeedlessVersion));
    }
}
