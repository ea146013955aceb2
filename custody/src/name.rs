//! Names of groups, secrets and keys.

use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

use aws_lc_rs::rand;
use serde::{Deserialize, Serialize};

/// A text that is no name.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone, Copy)]
pub enum Error {
    /// Nothing there.
    #[error("a name cannot be empty")]
    Empty,
    /// Over [`MAX_LEN`] characters.
    #[error("a name has at most {MAX_LEN} characters")]
    TooLong,
    /// A character that names do not have.
    #[error("a name consists of letters, digits, '.', '_' and '-'; {0:?} is none of them")]
    Character(char),
    /// Punctuation at either end.
    #[error("a name begins and ends with a letter or digit")]
    Edge,
}

/// The most characters a name has.
pub const MAX_LEN: usize = 100;

fn check(text: &str) -> Result<(), Error> {
    if text.is_empty() {
        return Err(Error::Empty);
    }
    if let Some(other) = text
        .chars()
        .find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '_' | '-'))
    {
        return Err(Error::Character(other));
    }
    if text.len() > MAX_LEN {
        return Err(Error::TooLong);
    }
    let bytes = text.as_bytes();
    let edges = [bytes[0], bytes[bytes.len() - 1]];
    if !edges.iter().all(u8::is_ascii_alphanumeric) {
        return Err(Error::Edge);
    }
    Ok(())
}

/// A type of text that is checked when it is made of a string.
macro_rules! text {
    ($(#[$doc:meta])* $name:ident($inner:ty), $error:ty, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name($inner);

        impl $name {
            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = $error;

            fn from_str(text: &str) -> Result<Self, $error> {
                let check: fn(&str) -> Result<(), $error> = $check;
                check(text)?;
                Ok(Self(text.into()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = $error;

            fn try_from(text: String) -> Result<Self, $error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> Self {
                text.as_str().to_owned()
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Debug::fmt(&*self.0, f)
            }
        }
    };
}
pub(crate) use text;

text! {
    /// Name of a group.
    GroupName(Arc<str>), Error, check
}

text! {
    /// Name of a secret within its group.
    SecretName(Arc<str>), Error, check
}

impl Borrow<str> for GroupName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for SecretName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// A secret: its group and its name there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SecretId {
    /// The group.
    pub group: GroupName,
    /// The name within the group.
    pub name: SecretName,
}

impl fmt::Display for SecretId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.group, self.name)
    }
}

/// One version of a secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VersionId {
    /// The secret.
    pub secret: SecretId,
    /// 1 for the first.
    pub number: u32,
}

impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.secret, self.number)
    }
}

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name([u8; $len]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $len;

            /// A fresh one.
            ///
            /// # Errors
            ///
            /// If the system's random number generator fails.
            pub fn random() -> Result<Self, aws_lc_rs::error::Unspecified> {
                let mut bytes = [0; $len];
                rand::fill(&mut bytes)?;
                Ok(Self(bytes))
            }

            /// The one with these bytes; `None` if they are not as many as needed.
            pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }

            /// Its bytes.
            pub fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = hex::FromHexError;

            fn from_str(text: &str) -> Result<Self, hex::FromHexError> {
                let mut bytes = [0; $len];
                hex::decode_to_slice(text, &mut bytes)?;
                Ok(Self(bytes))
            }
        }

        impl TryFrom<String> for $name {
            type Error = hex::FromHexError;

            fn try_from(text: String) -> Result<Self, hex::FromHexError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                hex::encode(id.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

random_id! {
    /// Name of a key in the token: its `CKA_ID`, 16 random bytes.
    KeyId, 16
}

random_id! {
    /// Name of an installation: what one `custodyd init` made.
    InstanceId, 16
}

random_id! {
    /// Name of a grant.
    RuleId, 8
}

random_id! {
    /// Name of a backup.
    BackupId, 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_refused_for_what_is_wrong_with_them() {
        let long = "a".repeat(MAX_LEN + 1);
        for (text, error) in [
            ("", Error::Empty),
            ("a/b", Error::Character('/')),
            ("a\0", Error::Character('\0')),
            ("ü", Error::Character('ü')),
            ("..", Error::Edge),
            ("-a", Error::Edge),
            ("a.", Error::Edge),
            (&long, Error::TooLong),
        ] {
            assert_eq!(text.parse::<SecretName>(), Err(error), "{text:?}");
        }
    }

    #[test]
    fn names_people_use_are_names() {
        for text in ["a", "web", "DB_PASSWORD", "tls.example-1.org"] {
            assert_eq!(text.parse::<GroupName>().unwrap().as_str(), text);
        }
    }

    #[test]
    fn a_key_id_survives_its_text() {
        let id = KeyId::random().unwrap();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(KeyId::from_bytes(&[1; 15]), None);
    }
}
