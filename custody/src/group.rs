//! Groups, the generations of their master keys, and the states those pass through.

use serde::Serialize;

use crate::{
    cache,
    envelope::{WrappedDek, Wrapping},
    holder::{Holders, TokenId},
    label::{About, Line, Said},
    name::{GroupName, KeyId},
};

pub mod keeping;
pub mod life;

pub use keeping::{Blob, Keeping};
pub use life::KeyState;

/// Milliseconds since the beginning of 1970, UTC.
pub type Millis = u64;

/// What is stored about a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: GroupName,
    /// What it is for.
    pub purpose: Purpose,
    /// How long its data keys are kept; none is if it is missing.
    pub cache: Option<cache::Terms>,
    /// The tokens that hold it.
    pub holders: Holders,
    /// Where its new master keys are kept.
    pub keeping: Keeping,
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

/// What is stored about a master key of a group. The key is in the token, or usable there alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MasterKey {
    /// The key's name in the token.
    pub id: KeyId,
    /// The group it belongs to.
    pub group: GroupName,
    /// 1 for the first. Each of the group's tokens has at most one key of a generation.
    pub generation: u32,
    /// Its state.
    pub state: KeyState,
    /// How it wraps; fixed when it was made.
    pub wrapping: Wrapping,
    /// The [`canary`](crate::envelope::canary) as it protected it at birth.
    pub canary: WrappedDek,
    /// The token that it is in.
    pub token: TokenId,
    /// The key itself, if the token has no room for it.
    pub blob: Option<Blob>,
    /// How often it may have encrypted: never less than it has
    /// ([`Invocations`](crate::invocation::Invocations)).
    pub reserved: u64,
    /// When it was made.
    pub created: Millis,
}

impl MasterKey {
    /// The same in another state. What is destroyed leaves nothing to unwrap.
    #[must_use]
    pub fn turned(&self, state: KeyState) -> Self {
        let blob = self.blob.as_ref();
        Self {
            state,
            blob: match state.is_destroyed() {
                true => blob.map(Blob::shredded),
                false => blob.cloned(),
            },
            ..self.clone()
        }
    }
}
