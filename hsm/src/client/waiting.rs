//! The requests that a worker has not come to: what is urgent first, and of that what is due first.

use std::collections::VecDeque;

use custody::release::Urgency;
use tokio::time::Instant;

use super::lanes::Request;

/// Each queue is in the order of deadlines.
#[derive(Default)]
pub(super) struct Waiting([VecDeque<Request>; Urgency::ALL.len()]);

impl Waiting {
    /// Puts a request behind those of its urgency that are due before it. One that was moved is
    /// older than those that came here first.
    pub(super) fn add(&mut self, request: Request) {
        let queue = &mut self.0[request.urgency as usize];
        let later = queue.iter().rev();
        let later = later.take_while(|other| other.by > request.by).count();
        queue.insert(queue.len() - later, request);
    }

    /// The next to be done.
    pub(super) fn next(&mut self) -> Option<Request> {
        self.0.iter_mut().find_map(VecDeque::pop_front)
    }

    /// Takes back what [`Self::next`] gave.
    pub(super) fn put_back(&mut self, request: Request) {
        self.0[request.urgency as usize].push_front(request);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(VecDeque::is_empty)
    }

    /// When the time of the first of them is over.
    pub(super) fn due(&self) -> Option<Instant> {
        let first = self.0.iter().filter_map(VecDeque::front);
        first.map(|request| request.by).min()
    }

    /// Those whose time is over at `now`.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<Request> {
        let due = self.0.iter_mut().flat_map(|queue| {
            let due = queue.iter().take_while(|request| request.by <= now);
            let due = due.count();
            queue.drain(..due)
        });
        due.collect()
    }

    /// All of them, in the order in which they would be done.
    pub(super) fn take_all(&mut self) -> Vec<Request> {
        self.0
            .iter_mut()
            .flat_map(|queue| queue.drain(..))
            .collect()
    }
}
