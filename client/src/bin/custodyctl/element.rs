//! How groups, secrets and versions are written on the command line.

use std::{fmt, str::FromStr};

use custody::{
    name::{self, GroupName, SecretId, SecretName},
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
        "{0:?} is no version; write GROUP/NAME@VERSION with a number, current, previous or \
         pending, such as web/tls@3"
    )]
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
    pub(crate) version: Which,
}

impl FromStr for Wanted {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let Some((rest, version)) = text.split_once('@') else {
            return Ok(Self {
                secret: secret(text)?,
                version: Which::Current,
            });
        };
        let which = version.parse();
        Ok(Self {
            version: which.map_err(|_| Error::Version(version.to_owned()))?,
            secret: secret(rest)?,
        })
    }
}

impl Wanted {
    /// The version's number, if it is named by one.
    pub(crate) fn number(&self) -> Option<u32> {
        match self.version {
            Which::Number(number) => Some(number),
            _ => None,
        }
    }

    /// The version's part, if it is named by one other than current.
    pub(crate) fn part(&self) -> Option<String> {
        match self.version {
            Which::Previous | Which::Pending => Some(self.version.to_string()),
            Which::Current | Which::Number(_) => None,
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version {
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
        assert_eq!(plain.version, Which::Current);
        let third: Wanted = "web/tls@3".parse().unwrap();
        assert_eq!(third.secret, plain.secret);
        assert_eq!(third.version, Which::Number(3));
        let previous: Wanted = "web/tls@previous".parse().unwrap();
        assert_eq!(previous.part().as_deref(), Some("previous"));
        assert_eq!(
            [plain, third].map(|w| w.to_string()),
            ["web/tls", "web/tls@3"]
        );
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
