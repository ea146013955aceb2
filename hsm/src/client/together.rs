//! Unwraps that several want at the same time: the token is asked once, and each gets the answer.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use custody::envelope::PlaintextDek;
use tokio::{sync::OnceCell, time::Instant};

use super::meters::Meters;
use crate::{Error, wire::Reveal};

/// What the token is being asked to unwrap, by all that its answer depends on.
#[derive(Default)]
pub(super) struct Together {
    asked: Mutex<HashMap<Reveal, Asked>>,
}

struct Asked {
    answer: Arc<Answer>,
    waiting: usize,
}

/// Wiped with the last who waits for it.
type Answer = OnceCell<Result<PlaintextDek, Error>>;

impl Together {
    /// What `ask` gives for `what`, or gave another who wanted the same when this one came. That
    /// other may be dropped: one of those who wait then asks in its place.
    ///
    /// Each waits no longer than `ask` does, and no less for having joined another: when the
    /// other's time is over, it goes on until `by`.
    pub(super) async fn unwrap<'a, F: Future<Output = Result<PlaintextDek, Error>>>(
        &'a self,
        what: &'a Reveal,
        by: Instant,
        meters: &Meters,
        ask: impl Fn() -> F,
    ) -> Unwrapped<'a> {
        loop {
            let waiter = self.join(what);
            let mut asked = false;
            let answer = waiter.answer.get_or_init(async || {
                asked = true;
                let answer = ask().await;
                // Who comes from here on wants it at another time.
                self.lock().remove(what);
                answer
            });
            let is_over = matches!(answer.await, Err(Error::Deadline));
            if asked {
                return Unwrapped(waiter);
            }
            if !is_over || Instant::now() >= by {
                meters.note_shared();
                return Unwrapped(waiter);
            }
        }
    }

    /// Whether somebody waits for what `what` gives.
    pub(super) fn is_asked(&self, what: &Reveal) -> bool {
        self.lock().contains_key(what)
    }

    fn join<'a>(&'a self, what: &'a Reveal) -> Waiter<'a> {
        let mut asked = self.lock();
        let answer = match asked.get_mut(what) {
            Some(there) => {
                there.waiting += 1;
                Arc::clone(&there.answer)
            }
            None => {
                let answer = Arc::default();
                let first = Asked {
                    answer: Arc::clone(&answer),
                    waiting: 1,
                };
                asked.insert(what.clone(), first);
                answer
            }
        };
        Waiter {
            all: self,
            what,
            answer,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Reveal, Asked>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Waiter<'a> {
    all: &'a Together,
    what: &'a Reveal,
    answer: Arc<Answer>,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut asked = self.all.lock();
        let there = asked.get_mut(self.what);
        // Once there is an answer, what is there is another's.
        let Some(there) = there.filter(|there| Arc::ptr_eq(&there.answer, &self.answer)) else {
            return;
        };
        there.waiting -= 1;
        if there.waiting == 0 {
            asked.remove(self.what);
        }
    }
}

/// The token's answer, shared with the others who waited for it.
pub(super) struct Unwrapped<'a>(Waiter<'a>);

impl Unwrapped<'_> {
    pub(super) fn dek(&self) -> Result<&PlaintextDek, Error> {
        let answer = self.0.answer.get().expect("it was waited for");
        answer.as_ref().map_err(Error::clone)
    }
}

#[cfg(test)]
mod tests;
