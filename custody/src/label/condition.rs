//! Conditions on labels, written as those of Kubernetes.

use std::{fmt, str::FromStr};

use super::{Error, Key, Labels, Line};

/// What labels have to be like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// `KEY=VALUE`
    Is(Key, Line),
    /// `KEY!=VALUE`: without that label it holds, too.
    IsNot(Key, Line),
    /// `KEY`
    Has(Key),
    /// `!KEY`
    HasNot(Key),
}

impl Condition {
    /// Whether it holds for these.
    pub fn holds(&self, labels: &Labels) -> bool {
        match self {
            Self::Is(key, value) => labels.get(key) == Some(value),
            Self::IsNot(key, value) => labels.get(key) != Some(value),
            Self::Has(key) => labels.get(key).is_some(),
            Self::HasNot(key) => labels.get(key).is_none(),
        }
    }
}

impl FromStr for Condition {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let none = || Error::Condition(text.chars().take(Key::MAX + Line::MAX).collect());
        let key = |text: &str| text.parse::<Key>().map_err(|_| none());
        // No key has a '=' or a '!', while a value may.
        match text.split_once('=') {
            Some((left, value)) => match left.strip_suffix('!') {
                Some(left) => Ok(Self::IsNot(key(left)?, value.parse()?)),
                None => Ok(Self::Is(key(left)?, value.parse()?)),
            },
            None => match text.strip_prefix('!') {
                Some(left) => Ok(Self::HasNot(key(left)?)),
                None => Ok(Self::Has(key(text)?)),
            },
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is(key, value) => write!(f, "{key}={value}"),
            Self::IsNot(key, value) => write!(f, "{key}!={value}"),
            Self::Has(key) => write!(f, "{key}"),
            Self::HasNot(key) => write!(f, "!{key}"),
        }
    }
}
