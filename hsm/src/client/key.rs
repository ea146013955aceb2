//! Keys as the client knows them, remembered from worker to worker.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use custody::name::KeyId;
use tokio::sync::Notify;

use super::{
    canary::Canary,
    known::{KeyRole, KnownKey, NewGmk, NewJournalKey},
};
use crate::{
    Error,
    wire::{self, Load, Op},
};

/// The keys that every worker loads.
#[derive(Default)]
pub(super) struct Keys {
    known: RwLock<Known>,
    /// Told when a key is refused, or a worker lacks it.
    refusal: Notify,
}

#[derive(Default)]
struct Known {
    entries: HashMap<KeyId, Entry>,
    /// Those that were kept outside the token and are to be destroyed: a worker that loaded them
    /// before is to do away with what it has.
    condemned: HashMap<KeyId, Version>,
    version: Version,
}

/// A state of the keys: it grows with each that is added or condemned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(u64);

struct Entry {
    key: KnownKey,
    since: Version,
    refused: Option<String>,
    /// Whether a worker that serves does not have it, though another may.
    is_lacking: bool,
    canary: Option<Canary>,
}

impl Known {
    fn loads_of(&self, wanted: impl Fn(&Entry) -> bool) -> Vec<(KeyId, Load)> {
        let wanted = self.entries.values().filter(|entry| wanted(entry));
        wanted
            .map(|entry| (entry.key.id, entry.key.to_wire()))
            .collect()
    }
}

/// Where a key is that is to be destroyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whereabouts {
    InToken,
    /// Each has unwrapped it by itself.
    InEachWorker,
}

/// A key that was good and is refused, or for another reason than before; or the other way
/// round.
#[must_use = "it is to be told once"]
pub(super) enum Turn {
    Refused { id: KeyId, reason: String },
    Back { id: KeyId },
}

impl Turn {
    pub(super) fn log(self) {
        match self {
            Self::Refused { id, reason } => {
                tracing::error!(key = %id, %reason, "a key is refused");
            }
            Self::Back { id } => {
                tracing::info!(key = %id, "a key that was refused is in use again");
            }
        }
    }
}

impl Keys {
    pub(super) fn remember(&self, key: KnownKey) {
        let mut known = self.write();
        known.version.0 += 1;
        let entry = Entry {
            key,
            since: known.version,
            refused: None,
            is_lacking: false,
            canary: None,
        };
        known.entries.insert(entry.key.id, entry);
    }

    /// No later worker loads it. Says where it is to be destroyed, however often that is asked.
    pub(super) fn forget(&self, id: &KeyId) -> Whereabouts {
        let known = &mut *self.write();
        let forgotten = known.entries.remove(id);
        let role = forgotten.map(|entry| entry.key.role);
        if matches!(role, Some(KeyRole::Gmk { blob: Some(_), .. })) {
            known.version.0 += 1;
            known.condemned.insert(*id, known.version);
        }
        match known.condemned.contains_key(id) {
            true => Whereabouts::InEachWorker,
            false => Whereabouts::InToken,
        }
    }

    /// A root key that wraps one of them.
    pub(super) fn root(&self) -> Option<KeyId> {
        let known = self.read();
        known
            .entries
            .values()
            .find_map(|entry| match &entry.key.role {
                KeyRole::Gmk { blob, .. } => Some(blob.as_ref()?.root),
                KeyRole::Journal { .. } => None,
            })
    }

    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers what a worker has just made.
    pub(super) fn remember_made(&self, answer: &wire::Done) {
        let known = match answer {
            wire::Done::Gmk(made) => NewGmk::from_wire(made.clone()).map(NewGmk::known),
            wire::Done::Journal(made) => NewJournalKey::from_wire(wire::Journal {
                id: made.id.clone(),
                public_key: made.public_key.clone(),
            })
            .map(NewJournalKey::known),
            _ => None,
        };
        if let Some(known) = known {
            self.remember(known);
        }
    }

    /// Notes how a load went. Says what is new about that, unless nothing is.
    pub(super) fn settle(&self, id: &KeyId, outcome: &Result<(), Error>) -> Option<Turn> {
        let refused = match outcome {
            Ok(()) => None,
            Err(error) if error.refuses_key() => Some(error.to_string()),
            Err(_) => return None,
        };
        let mut keys = self.write();
        let entry = keys.entries.get_mut(id)?;
        if entry.key.is_gmk() {
            entry.canary = Some(Canary::now(refused.clone()));
        }
        if entry.refused == refused {
            return None;
        }
        entry.refused.clone_from(&refused);
        Some(match refused {
            Some(reason) => {
                self.refusal.notify_one();
                Turn::Refused { id: *id, reason }
            }
            None => Turn::Back { id: *id },
        })
    }

    pub(super) fn knows(&self, id: &KeyId) -> bool {
        self.read().entries.contains_key(id)
    }

    pub(super) fn why_refused(&self, id: &KeyId) -> Option<String> {
        self.read().entries.get(id)?.refused.clone()
    }

    /// Notes whether the canary of a key has just opened.
    pub(super) fn note_canary(&self, id: &KeyId, outcome: &Result<(), Error>) {
        if let Some(entry) = self.write().entries.get_mut(id) {
            let problem = outcome.as_ref().err().map(ToString::to_string);
            entry.canary = Some(Canary::now(problem));
        }
    }

    pub(super) fn canary(&self, id: &KeyId) -> Option<Canary> {
        self.read().entries.get(id)?.canary.clone()
    }

    /// The newest of all.
    pub(super) fn newest_canary(&self) -> Option<Canary> {
        let keys = self.read();
        let canaries = keys
            .entries
            .values()
            .filter_map(|entry| entry.canary.as_ref());
        canaries.max_by_key(|canary| canary.at).cloned()
    }

    /// At most `most` of the keys that have a canary and are not refused, first those whose
    /// canary was tried longest ago.
    pub(super) fn oldest_canaries(&self, most: usize) -> Vec<KeyId> {
        let keys = self.read();
        let mut canaries: Vec<_> = keys
            .entries
            .iter()
            .filter(|(_, entry)| entry.key.is_gmk() && entry.refused.is_none())
            .map(|(id, entry)| (entry.canary.as_ref().map(|canary| canary.at), *id))
            .collect();
        canaries.sort_unstable();
        canaries.truncate(most);
        canaries.into_iter().map(|(_, id)| id).collect()
    }

    /// Waits until a key is refused, or a worker lacks it.
    pub(super) async fn refusal(&self) {
        self.refusal.notified().await;
    }

    /// Whether a request for the key is worth sending.
    pub(super) fn usable(&self, id: &KeyId) -> Result<(), Error> {
        let id = *id;
        let keys = self.read();
        let entry = keys.entries.get(&id).ok_or(Error::KeyNotLoaded { id })?;
        match entry.refused.clone() {
            Some(reason) => Err(Error::KeyRefused { id, reason }),
            None => Ok(()),
        }
    }

    /// All of them, as requests to a worker.
    pub(super) fn loads(&self) -> (Version, Vec<(KeyId, Load)>) {
        let known = self.read();
        (known.version, known.loads_of(|_| true))
    }

    /// What a worker that has loaded those of `version` has missed.
    pub(super) fn orders_since(&self, version: Version) -> Vec<(KeyId, Op)> {
        let known = self.read();
        let loads = known.loads_of(|entry| entry.since > version);
        let loads = loads.into_iter().map(|(id, load)| (id, Op::Load(load)));
        let condemned = known.condemned.iter();
        let condemned = condemned.filter(|(_, since)| **since > version);
        let ends = condemned.map(|(id, _)| (*id, Op::Destroy(id.as_bytes().to_vec())));
        loads.chain(ends).collect()
    }

    /// Those that are refused, or that a worker lacks.
    pub(super) fn amiss(&self) -> Vec<KeyId> {
        let known = self.read();
        let amiss = known.entries.iter();
        let amiss = amiss.filter(|(_, entry)| entry.refused.is_some() || entry.is_lacking);
        amiss.map(|(id, _)| *id).collect()
    }

    /// Notes whether a worker that serves lacks a key that others may have.
    pub(super) fn note_lack(&self, id: &KeyId, is_lacking: bool) {
        let mut keys = self.write();
        let Some(entry) = keys.entries.get_mut(id) else {
            return;
        };
        if is_lacking && !entry.is_lacking {
            tracing::warn!(key = %id, "a worker lacks a key that others may have");
            self.refusal.notify_one();
        }
        entry.is_lacking = is_lacking;
    }

    /// How many there are, and how many of them are refused.
    pub(super) fn count(&self) -> (usize, usize) {
        let known = self.read();
        let refused = known.entries.values();
        let refused = refused.filter(|entry| entry.refused.is_some()).count();
        (known.entries.len(), refused)
    }

    /// A request to load a key, unless it was forgotten.
    pub(super) fn load_of(&self, id: &KeyId) -> Option<Load> {
        let known = self.read();
        known.entries.get(id).map(|entry| entry.key.to_wire())
    }
}

#[cfg(test)]
mod tests {
    use custody::{
        envelope::{KeyWrap, WrappedDek, Wrapping},
        group::Blob,
    };

    use super::*;

    fn gmk(id: KeyId, blob: Option<Blob>) -> KnownKey {
        let role = KeyRole::Gmk {
            wrapping: Wrapping::Aes256Gcm,
            canary: WrappedDek::from_blob([1]),
            blob,
        };
        KnownKey { id, role }
    }

    #[test]
    fn who_started_before_a_key_went_is_told_that_it_did() {
        let [id, root, other] = [1, 2, 3].map(|byte| KeyId::from_bytes(&[byte; 16]).unwrap());
        let (by, wrapped) = (KeyWrap::Kwp, vec![4]);
        let keys = Keys::default();
        keys.remember(gmk(id, Some(Blob { root, by, wrapped })));
        keys.remember(gmk(other, None));
        let (started, loads) = keys.loads();
        assert_eq!(loads.len(), 2);
        for _ in 0..2 {
            assert_eq!(keys.forget(&id), Whereabouts::InEachWorker);
            assert_eq!(keys.forget(&other), Whereabouts::InToken);
        }
        let missed = keys.orders_since(started);
        assert!(
            matches!(&missed[..], [(gone, Op::Destroy(wanted))] if *gone == id && wanted == id.as_bytes())
        );
        let (later, loads) = keys.loads();
        assert!(loads.is_empty());
        assert!(keys.orders_since(later).is_empty());
    }
}
