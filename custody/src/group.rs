//! Groups, the generations of their master keys, and the states those pass through.

use std::fmt;

use serde::Serialize;

use crate::{
    envelope::{WrappedDek, Wrapping},
    label::{About, Line, Said},
    name::{GroupName, KeyId},
};

/// Milliseconds since the beginning of 1970, UTC.
pub type Millis = u64;

/// What is stored about a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: GroupName,
    /// What it is for.
    pub purpose: Purpose,
    /// When it was made.
    pub created: Millis,
    /// User id of the operator who made it.
    pub created_by: u32,
}

/// What a group is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Purpose {
    /// The part of the organisation that its secrets belong to.
    #[serde(skip_serializing_if = "Line::is_empty")]
    pub business_group: Line,
    /// Such as `production`.
    #[serde(skip_serializing_if = "Line::is_empty")]
    pub environment: Line,
    /// What else is said about it.
    #[serde(flatten)]
    pub about: About,
}

/// What a group is for from now on, as far as that changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Repurposed {
    /// In place of the business group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub business_group: Option<Line>,
    /// In place of the environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<Line>,
    /// What else is said about it.
    #[serde(flatten)]
    pub said: Said,
}

/// What is stored about one generation of a group's master key. The key is in the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MasterKey {
    /// The key's name in the token.
    pub id: KeyId,
    /// The group it belongs to.
    pub group: GroupName,
    /// 1 for the first.
    pub generation: u32,
    /// Its state.
    pub state: KeyState,
    /// How it wraps; fixed when it was made.
    pub wrapping: Wrapping,
    /// The [`canary`](crate::envelope::canary) as it protected it at birth.
    pub canary: WrappedDek,
    /// Label of the token that holds it.
    pub token_label: String,
    /// Serial number of the token that holds it.
    pub token_serial: String,
    /// When it was made.
    pub created: Millis,
}

/// State of a group master key (SP 800-57 pt 1 §7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyState {
    /// Made, and not yet authorised for use.
    PreActive,
    /// Protects and reveals.
    Active,
    /// Set aside for a time: does neither.
    Suspended,
    /// Its time to protect is over; reveals what it protected.
    Deactivated,
    /// Someone may have it. Reveals, so that what it protected can be moved.
    Compromised,
    /// The key is gone.
    Destroyed,
}

impl KeyState {
    /// Every state.
    pub const ALL: [Self; 6] = [
        Self::PreActive,
        Self::Active,
        Self::Suspended,
        Self::Deactivated,
        Self::Compromised,
        Self::Destroyed,
    ];

    /// Whether new data keys may be wrapped.
    pub fn protects(self) -> bool {
        self == Self::Active
    }

    /// Whether wrapped data keys may be unwrapped.
    pub fn reveals(self) -> bool {
        matches!(self, Self::Active | Self::Deactivated | Self::Compromised)
    }

    /// The name that is stored and shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::PreActive => "pre-active",
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Deactivated => "deactivated",
            Self::Compromised => "compromised",
            Self::Destroyed => "destroyed",
        }
    }

    /// The state of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

impl fmt::Display for KeyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::KeyState;

    #[test]
    fn only_an_active_key_protects_and_what_protects_reveals() {
        for state in KeyState::ALL {
            assert_eq!(state.protects(), state == KeyState::Active, "{state}");
            assert!(state.reveals() || !state.protects(), "{state}");
            assert_eq!(KeyState::from_name(state.name()), Some(state));
        }
        for state in [
            KeyState::PreActive,
            KeyState::Suspended,
            KeyState::Destroyed,
        ] {
            assert!(!state.reveals(), "{state}");
        }
    }
}
