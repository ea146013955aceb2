//! What one service fetched of one secret.

use serde::{Deserialize, Serialize};

use crate::group::Millis;

/// What a consumer fetched of one secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Visits {
    /// The versions it fetched, those that it fetched last at the end; no more than
    /// [`MAX_VERSIONS`].
    pub versions: Vec<Fetched>,
    /// How often.
    pub fetches: u64,
    /// When first.
    pub first: Millis,
    /// When last.
    pub last: Millis,
}

/// A version that was fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetched {
    /// Its number.
    pub version: u32,
    /// How often.
    pub fetches: u64,
    /// When last.
    pub last: Millis,
}

/// How many versions are remembered that one service fetched of one secret.
pub const MAX_VERSIONS: usize = 8;

impl Visits {
    /// The version that was fetched last.
    pub fn version(&self) -> Option<u32> {
        self.versions.last().map(|fetched| fetched.version)
    }

    /// Counts a fetch of `version`; says when it was fetched before.
    pub(super) fn fetch(&mut self, version: u32, at: Millis) -> Option<Millis> {
        self.fetches += 1;
        self.last = self.last.max(at);
        let known = self.versions.iter().position(|one| one.version == version);
        let before = known.map(|at| self.versions.remove(at));
        self.versions.push(Fetched {
            version,
            fetches: before.map_or(0, |before| before.fetches) + 1,
            last: at,
        });
        if self.versions.len() > MAX_VERSIONS {
            self.versions.remove(0);
        }
        before.map(|before| before.last)
    }

    /// Undoes what [`Self::fetch`] did at `at`.
    pub(super) fn unfetch(&mut self, version: u32, at: Millis, before: Option<Millis>) {
        self.fetches = self.fetches.saturating_sub(1);
        if let Some(known) = self.versions.iter_mut().find(|one| one.version == version) {
            known.fetches = known.fetches.saturating_sub(1);
            if known.last == at {
                known.last = before.unwrap_or(known.last);
            }
        }
        self.versions.retain(|one| one.fetches > 0);
        self.versions.sort_by_key(|one| one.last);
    }
}
