//! The tokens that hold a group: each has master keys of its own, and each version of a secret
//! a wrap for each of them.

use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Serialize};

/// A token, by what it says of itself (`CK_TOKEN_INFO`), without blanks at either end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenId {
    /// Its label.
    pub label: String,
    /// Its serial number.
    pub serial: String,
}

impl TokenId {
    /// The token with this label and serial number.
    pub fn new(label: &str, serial: &str) -> Self {
        Self {
            label: label.trim_matches(' ').to_owned(),
            serial: serial.trim_matches(' ').to_owned(),
        }
    }

    /// Whether `name` is its label or its serial number.
    pub fn is_called(&self, name: &str) -> bool {
        self.label == name || self.serial == name
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (serial {})", self.label, self.serial)
    }
}

/// Which of a group's tokens must have a new data key, or a new master key, before it is
/// written down. Those that have not get it in the background.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Writes {
    /// All of them: what was written survives the loss of all tokens but one.
    #[default]
    RequireAll,
    /// More than half of them.
    Majority,
    /// One of them: what was written is lost with that token if it is not repaired before.
    AnyThenRepair,
}

impl Writes {
    /// Each of them, the strictest first.
    pub const ALL: [Self; 3] = [Self::RequireAll, Self::Majority, Self::AnyThenRepair];

    /// The name that is stored and shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::RequireAll => "require-all",
            Self::Majority => "majority",
            Self::AnyThenRepair => "any-then-repair",
        }
    }

    /// The one of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|writes| writes.name() == name)
    }

    /// How many of `all` tokens it takes.
    pub fn needs(self, all: usize) -> usize {
        match self {
            Self::RequireAll => all,
            Self::Majority => all / 2 + 1,
            Self::AnyThenRepair => 1,
        }
    }
}

impl fmt::Display for Writes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The tokens that hold a group, at least one, and what a write needs of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Raw")]
pub struct Holders {
    tokens: BTreeSet<TokenId>,
    writes: Writes,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    tokens: BTreeSet<TokenId>,
    writes: Writes,
}

/// No token was named.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("a group is held by at least one token")]
pub struct NoToken;

impl TryFrom<Raw> for Holders {
    type Error = NoToken;

    fn try_from(raw: Raw) -> Result<Self, NoToken> {
        Self::new(raw.tokens, raw.writes)
    }
}

impl Holders {
    /// These tokens.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn new(tokens: BTreeSet<TokenId>, writes: Writes) -> Result<Self, NoToken> {
        match tokens.is_empty() {
            true => Err(NoToken),
            false => Ok(Self { tokens, writes }),
        }
    }

    /// One token.
    pub fn only(token: TokenId) -> Self {
        Self {
            tokens: [token].into(),
            writes: Writes::default(),
        }
    }

    /// The same tokens, of which a write needs others.
    #[must_use]
    pub fn with(self, writes: Writes) -> Self {
        Self { writes, ..self }
    }

    /// The tokens.
    pub fn tokens(&self) -> &BTreeSet<TokenId> {
        &self.tokens
    }

    /// What a write needs of them.
    pub fn writes(&self) -> Writes {
        self.writes
    }

    /// Whether those that are left are enough for a write if so many are missing.
    pub fn suffice_without(&self, missing: usize) -> bool {
        self.suffice(self.tokens.len().saturating_sub(missing))
    }

    /// Whether `have` of them are enough for a write.
    pub fn suffice(&self, have: usize) -> bool {
        have >= self.writes.needs(self.tokens.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_needs_as_many_tokens_as_is_said() {
        let needs = |writes: Writes| [1, 2, 3, 4, 5].map(|all| writes.needs(all));
        assert_eq!(needs(Writes::RequireAll), [1, 2, 3, 4, 5]);
        assert_eq!(needs(Writes::Majority), [1, 2, 2, 3, 3]);
        assert_eq!(needs(Writes::AnyThenRepair), [1; 5]);
    }

    #[test]
    fn holders_survive_their_text_and_are_never_none() {
        let tokens = [TokenId::new("a ", "1"), TokenId::new("b", "2")];
        let holders = Holders::new(tokens.into(), Writes::Majority).unwrap();
        let text = serde_json::to_string(&holders).unwrap();
        assert_eq!(
            text,
            r#"{"tokens":[{"label":"a","serial":"1"},{"label":"b","serial":"2"}],"writes":"majority"}"#
        );
        assert_eq!(serde_json::from_str::<Holders>(&text).unwrap(), holders);
        let none = serde_json::from_str::<Holders>(r#"{"tokens":[],"writes":"majority"}"#);
        assert!(none.unwrap_err().to_string().contains("at least one"));
        assert_eq!(
            Holders::new(BTreeSet::new(), Writes::Majority),
            Err(NoToken)
        );
    }
}
