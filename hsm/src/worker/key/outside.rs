//! The room that keys take in the token which are kept outside: no more of them are unwrapped at a
//! time than there may be.

use std::sync::atomic::Ordering;

use cryptoki::session::Session;
use custody::{envelope::Wrapping, group::Blob, name::KeyId};

use super::{super::wrap::Fault, Gmk, Keys, Place};
use crate::Error;

/// A key that was proven, and is to be unwrapped again before it is used.
pub(super) struct PutBack {
    wrapping: Wrapping,
    canary: Vec<u8>,
    blob: Blob,
}

impl Keys {
    /// Whether a key has to be unwrapped before it is used.
    pub(in super::super) fn is_put_back(&self, id: &KeyId) -> bool {
        self.put_back.contains_key(id)
    }

    /// Unwraps a key that was put back, if it was, as it was when it was loaded.
    pub(in super::super) fn bring_back(
        &mut self,
        sessions: [&Session; 2],
        id: KeyId,
    ) -> Result<(), Fault> {
        let Some(kept) = self.put_back.remove(&id) else {
            return Ok(());
        };
        let canary = kept.canary.clone();
        let loaded = self.load_wrapped_gmk(sessions, id, kept.wrapping, canary, &kept.blob);
        loaded.map_err(|fault| {
            self.put_back.insert(id, kept);
            match fault {
                // It was good before: what is wrong may pass, as with a key that was refused.
                Fault::Answer(error) => Error::KeyRefused {
                    id,
                    reason: error.to_string(),
                }
                .into(),
                fault => fault,
            }
        })
    }

    /// Puts keys back until there is room for one more, first those that were used longest ago.
    pub(super) fn make_room(&mut self, session: &Session) -> Result<(), Fault> {
        while let Some((id, gmk)) = self.one_too_many() {
            gmk.discard(session, &self.codes, id)?;
            if let Some(Gmk {
                kek,
                canary,
                place: Place::Session(blob),
                ..
            }) = self.gmks.remove(&id)
            {
                let wrapping = kek.wrapping();
                let kept = PutBack {
                    wrapping,
                    canary,
                    blob,
                };
                self.put_back.insert(id, kept);
            }
        }
        Ok(())
    }

    fn one_too_many(&self) -> Option<(KeyId, &Gmk)> {
        let unwrapped = || self.gmks.iter().filter(|(_, gmk)| gmk.is_of_session());
        if unwrapped().count() < self.room.get() {
            return None;
        }
        let oldest = unwrapped().min_by_key(|(_, gmk)| gmk.used.load(Ordering::Relaxed));
        oldest.map(|(id, gmk)| (*id, gmk))
    }
}
