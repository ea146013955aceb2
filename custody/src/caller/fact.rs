//! Facts about a caller that are looked up only when a grant asks for them.

use std::fmt;

use serde::Serialize;

/// A fact that costs too much to be looked up for everyone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Need {
    /// Whether another process traces it.
    Tracer,
    /// The file that its unit is defined in.
    Fragment,
    /// The fs-verity digest of its executable.
    Verity,
    /// The SHA-256 of its executable.
    Sha256,
}

/// Several of them, each once.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Needs(u8);

impl Needs {
    /// All there are.
    pub const ALL: Self = Self(0b1111);

    fn bit(need: Need) -> u8 {
        1 << need as u8
    }

    /// With `need` among them.
    #[must_use]
    pub fn with(self, need: Need) -> Self {
        Self(self.0 | Self::bit(need))
    }

    /// Those that are among either.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether `need` is among them.
    pub fn has(self, need: Need) -> bool {
        self.0 & Self::bit(need) != 0
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<Need> for Needs {
    fn from_iter<I: IntoIterator<Item = Need>>(needs: I) -> Self {
        needs.into_iter().fold(Self::default(), Self::with)
    }
}

impl fmt::Debug for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [Need::Tracer, Need::Fragment, Need::Verity, Need::Sha256];
        let held = all.into_iter().filter(|need| self.has(*need));
        f.debug_set().entries(held).finish()
    }
}

/// What was found out. Whatever was not asked for, or has no certain answer, is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Facts {
    /// Whether another process traces it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traced: Option<bool>,
    /// Path of the file that its unit is defined in, as the service manager says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fragment: Option<String>,
    /// fs-verity digest of its executable: the algorithm, a colon and hexadecimal
    /// digits, such as `sha256:…`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verity: Option<String>,
    /// SHA-256 of its executable: 64 hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}
