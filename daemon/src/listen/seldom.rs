//! Saying in the log, now and then, what happens often.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How long nothing is said after something was.
const PAUSE: Duration = Duration::from_secs(10);

/// Something that others can make happen as often as they like.
#[derive(Debug, Default)]
pub(super) struct Seldom(Mutex<(Option<Instant>, u64)>);

impl Seldom {
    /// Counts one more, at `now`. Sometimes it is time to say so: then gives how many
    /// there were since the last time.
    pub(super) fn happened(&self, now: Instant) -> Option<u64> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (said, count) = &mut *seen;
        *count += 1;
        if said.is_some_and(|said| now.saturating_duration_since(said) < PAUSE) {
            return None;
        }
        *said = Some(now);
        Some(std::mem::take(count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_at_once_and_the_rest_together() {
        let (seldom, start) = (Seldom::default(), Instant::now());
        assert_eq!(seldom.happened(start), Some(1));
        assert_eq!(seldom.happened(start), None);
        assert_eq!(seldom.happened(start + PAUSE / 2), None);
        assert_eq!(seldom.happened(start + PAUSE), Some(3));
        assert_eq!(seldom.happened(start + PAUSE), None);
    }
}
