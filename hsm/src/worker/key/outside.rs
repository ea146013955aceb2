//! The room that keys take in the token which are kept outside: no more of them are unwrapped at a
//! time than there may be.

use std::{
    collections::HashMap,
    num::NonZeroUsize,
    sync::atomic::{AtomicU64, Ordering},
};

use cryptoki::session::Session;
use custody::{envelope::Wrapping, group::Blob, name::KeyId};

use super::{super::wrap::Fault, Keys};
use crate::Error;

/// The keys that are kept outside and have been proven, unwrapped or not.
pub(super) struct Outside {
    known: HashMap<KeyId, Kept>,
    /// When each that is unwrapped was used last, in uses.
    unwrapped: HashMap<KeyId, AtomicU64>,
    uses: AtomicU64,
    room: NonZeroUsize,
}

/// What it takes to unwrap a key.
#[derive(Clone)]
struct Kept {
    wrapping: Wrapping,
    canary: Vec<u8>,
    blob: Blob,
}

impl Outside {
    pub(super) fn with_room_for(room: NonZeroUsize) -> Self {
        Self {
            known: HashMap::new(),
            unwrapped: HashMap::new(),
            uses: AtomicU64::new(0),
            room,
        }
    }

    /// A key is used, which may be one of these.
    pub(super) fn note_use(&self, id: &KeyId) {
        if let Some(last) = self.unwrapped.get(id) {
            last.store(self.uses.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    /// A key has been unwrapped, and proven.
    pub(super) fn note_unwrapped(
        &mut self,
        id: KeyId,
        wrapping: Wrapping,
        canary: Vec<u8>,
        blob: Blob,
    ) {
        let kept = Kept {
            wrapping,
            canary,
            blob,
        };
        self.known.insert(id, kept);
        self.unwrapped.insert(id, AtomicU64::new(0));
        self.note_use(&id);
    }

    /// A key is unwrapped no more.
    pub(super) fn note_discarded(&mut self, id: &KeyId) {
        self.unwrapped.remove(id);
    }

    pub(super) fn forget(&mut self, id: &KeyId) {
        self.note_discarded(id);
        self.known.remove(id);
    }

    /// The one that was used longest ago, if there is room for no other.
    fn one_too_many(&self) -> Option<KeyId> {
        if self.unwrapped.len() < self.room.get() {
            return None;
        }
        let last = |(_, last): &(_, &AtomicU64)| last.load(Ordering::Relaxed);
        self.unwrapped.iter().min_by_key(last).map(|(id, _)| *id)
    }
}

impl Keys {
    /// Whether a key is known and has to be unwrapped before it is used.
    pub(in super::super) fn is_put_back(&self, id: &KeyId) -> bool {
        self.outside.known.contains_key(id) && !self.gmks.contains_key(id)
    }

    /// Unwraps a key that was put back, as it was when it was loaded.
    pub(in super::super) fn bring_back(
        &mut self,
        sessions: [&Session; 2],
        id: KeyId,
    ) -> Result<(), Fault> {
        let kept = self.outside.known.get(&id).cloned();
        let kept = kept.ok_or(Error::KeyNotLoaded { id })?;
        let loaded = self.load_wrapped_gmk(sessions, id, kept.wrapping, kept.canary, &kept.blob);
        loaded.map_err(|fault| match fault {
            // It was good before: what is wrong may pass, as with a key that was refused.
            Fault::Answer(error) => Error::KeyRefused {
                id,
                reason: error.to_string(),
            }
            .into(),
            fault => fault,
        })
    }

    /// Puts keys back until there is room for one more.
    pub(super) fn make_room(&mut self, session: &Session) -> Result<(), Fault> {
        while let Some(id) = self.outside.one_too_many() {
            if let Some(gmk) = self.gmks.get(&id) {
                gmk.discard(session, &self.codes, id)?;
                self.gmks.remove(&id);
            }
            self.outside.note_discarded(&id);
        }
        Ok(())
    }
}
