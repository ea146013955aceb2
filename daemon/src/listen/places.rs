//! How many connections there may be: of all, and of each user.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The connections that are open, by who made them.
#[derive(Debug, Default)]
pub(super) struct Places(Mutex<Taken>);

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_uid: HashMap<u32, usize>,
}

/// The right to one connection; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    uid: u32,
}

/// Which limit has been reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    All,
    Uid,
}

impl Places {
    /// A place for one more connection of `uid`, if then there are no more than `all`
    /// and, of this uid, no more than `per_uid`.
    pub(super) fn take(
        self: &Arc<Self>,
        uid: u32,
        all: usize,
        per_uid: usize,
    ) -> Result<Place, Full> {
        let mut taken = self.lock();
        if taken.by_uid.get(&uid).is_some_and(|&own| own >= per_uid) {
            return Err(Full::Uid);
        }
        if taken.all >= all {
            return Err(Full::All);
        }
        taken.all += 1;
        *taken.by_uid.entry(uid).or_default() += 1;
        Ok(Place {
            places: Arc::clone(self),
            uid,
        })
    }

    /// How many are taken.
    pub(super) fn taken(&self) -> usize {
        self.lock().all
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        taken.all -= 1;
        if let Some(own) = taken.by_uid.get_mut(&self.uid) {
            *own -= 1;
            if *own == 0 {
                taken.by_uid.remove(&self.uid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_all_its_places_leaves_some_to_others() {
        let places = Arc::new(Places::default());
        let take = |uid| places.take(uid, 3, 2);
        let own = [take(7).unwrap(), take(7).unwrap()];
        assert_eq!(take(7).unwrap_err(), Full::Uid);
        let other = take(8).unwrap();
        assert_eq!(take(8).unwrap_err(), Full::All);
        drop(own);
        let _again = (take(7).unwrap(), take(8).unwrap());
        assert_eq!(take(9).unwrap_err(), Full::All);
        drop(other);
        take(9).unwrap();
    }

    #[test]
    fn nobody_is_remembered_who_has_left() {
        let places = Arc::new(Places::default());
        drop((0..9).map(|uid| places.take(uid, 9, 1)).collect::<Vec<_>>());
        assert_eq!(places.lock().all, 0);
        assert!(places.lock().by_uid.is_empty());
    }
}
