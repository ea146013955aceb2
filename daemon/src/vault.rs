//! Where the data keys rest that a cache keeps.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use custody::{
    cache::{Resting, Vault},
    envelope::PlaintextDek,
};
use zeroize::{Zeroize as _, Zeroizing};

use crate::kernel::{Kind, Pages};

/// How many data keys there is room for.
const ROOM: usize = 8192;

const KEY: usize = PlaintextDek::LEN;

/// Room for data keys, in memory that is made when it is first needed.
#[derive(Debug, Default)]
pub(crate) struct Memory(OnceLock<Option<Arc<Room>>>);

impl Vault for Memory {
    fn put(&self, dek: &PlaintextDek) -> Option<Arc<dyn Resting>> {
        let room = self.0.get_or_init(|| Room::make().map(Arc::new)).as_ref()?;
        let mut places = room.lock();
        let index = places.free.pop()?;
        places.key(index).copy_from_slice(dek.expose());
        let room = Arc::clone(room);
        Some(Arc::new(Place { room, index }))
    }
}

struct Room(Mutex<Places>);

struct Places {
    pages: Pages,
    free: Vec<usize>,
}

impl Room {
    fn make() -> Option<Self> {
        match Pages::new(ROOM * KEY) {
            Ok(pages) => {
                let memory = match pages.kind() {
                    Kind::Secret => "of memfd_secret",
                    Kind::Locked => "that is locked and not dumped, for want of memfd_secret",
                };
                tracing::info!(room = ROOM, memory, "data keys are cached");
                // The first is taken first.
                let free = (0..ROOM).rev().collect();
                Some(Self(Mutex::new(Places { pages, free })))
            }
            Err(error) => {
                tracing::warn!(
                    %error,
                    "no data key is cached: there is no memory that can be locked; \
                     set LimitMEMLOCK=infinity or grant CAP_IPC_LOCK, and restart"
                );
                None
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Places {
    fn key(&mut self, index: usize) -> &mut [u8] {
        &mut self.pages.bytes()[index * KEY..][..KEY]
    }
}

impl std::fmt::Debug for Room {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Room(..)")
    }
}

/// A data key's place, wiped and free for another when dropped.
#[derive(Debug)]
struct Place {
    room: Arc<Room>,
    index: usize,
}

impl Resting for Place {
    fn dek(&self) -> PlaintextDek {
        let mut copy = Zeroizing::new([0; KEY]);
        copy.copy_from_slice(self.room.lock().key(self.index));
        PlaintextDek::take(&mut copy[..]).expect("it has the length of a data key")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = self.room.lock();
        places.key(self.index).zeroize();
        places.free.push(self.index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dek(byte: u8) -> PlaintextDek {
        PlaintextDek::take(&mut [byte; KEY]).unwrap()
    }

    #[test]
    fn keys_rest_apart_and_give_their_places_back_wiped() {
        let memory = Memory::default();
        let (one, two) = (memory.put(&dek(1)).unwrap(), memory.put(&dek(2)).unwrap());
        assert_eq!(one.dek().expose(), &[1; KEY]);
        assert_eq!(two.dek().expose(), &[2; KEY]);
        let room = Arc::clone(memory.0.get().unwrap().as_ref().unwrap());
        drop(one);
        let mut places = room.lock();
        assert_eq!(places.key(0), [0; KEY]);
        assert_eq!(places.key(1), [2; KEY]);
        assert_eq!(places.free.len(), ROOM - 1);
        drop(places);
        drop(two);
        assert!(room.lock().pages.bytes().iter().all(|byte| *byte == 0));
    }

    #[test]
    fn there_is_room_for_so_many_and_no_more() {
        let memory = Memory::default();
        let mut all: Vec<_> = (0..ROOM).map(|_| memory.put(&dek(3)).unwrap()).collect();
        assert!(memory.put(&dek(4)).is_none());
        all.pop();
        assert_eq!(memory.put(&dek(4)).unwrap().dek().expose(), &[4; KEY]);
    }
}
