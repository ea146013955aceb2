//! A vault of which is known what rests in it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use custody::{
    cache::{Resting, Vault},
    envelope::PlaintextDek,
};

/// A vault on the heap with room for so many keys, which counts those that rest there.
#[derive(Debug)]
pub(super) struct Heap {
    pub(super) room: usize,
    pub(super) resting: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Place {
    bytes: [u8; 32],
    resting: Arc<AtomicUsize>,
}

impl Vault for Heap {
    fn put(&self, dek: &PlaintextDek) -> Option<Arc<dyn Resting>> {
        if self.resting.load(Ordering::Relaxed) >= self.room {
            return None;
        }
        self.resting.fetch_add(1, Ordering::Relaxed);
        Some(Arc::new(Place {
            bytes: *dek.expose(),
            resting: Arc::clone(&self.resting),
        }))
    }
}

impl Resting for Place {
    fn dek(&self) -> PlaintextDek {
        PlaintextDek::take(&mut self.bytes.clone()).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.resting.fetch_sub(1, Ordering::Relaxed);
    }
}
