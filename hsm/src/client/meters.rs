//! What the workers are asked, how long that takes, and what the token answers when it goes wrong.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::wire::{Amiss, Op};

/// What a worker is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// A data key is wrapped, and the wrap opened again.
    Protect,
    /// A data key is unwrapped.
    Reveal,
    /// A data key is wrapped under another master key.
    Rewrap,
    /// A digest is signed.
    Sign,
    /// A canary is opened.
    Canary,
    /// A key is found, checked and proven.
    Load,
    /// A key is made or destroyed.
    Manage,
    /// Random bytes are drawn.
    Random,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Protect,
        Self::Reveal,
        Self::Rewrap,
        Self::Sign,
        Self::Canary,
        Self::Load,
        Self::Manage,
        Self::Random,
    ];

    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Protect => "protect",
            Self::Reveal => "reveal",
            Self::Rewrap => "rewrap",
            Self::Sign => "sign",
            Self::Canary => "canary",
            Self::Load => "load",
            Self::Manage => "manage",
            Self::Random => "random",
        }
    }

    pub(super) fn of(op: &Op) -> Self {
        match op {
            Op::Protect(_) => Self::Protect,
            Op::Reveal(_) => Self::Reveal,
            Op::Rewrap(_) => Self::Rewrap,
            Op::Sign(_) => Self::Sign,
            Op::CheckCanary(_) => Self::Canary,
            Op::Load(_) => Self::Load,
            Op::Generate(_) | Op::Destroy(_) => Self::Manage,
            Op::Random(_) => Self::Random,
        }
    }
}

/// A part of the time that an operation takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Until a worker is given it.
    Queue,
    /// Until that has answered.
    Exec,
}

impl Phase {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Queue, Self::Exec];

    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Exec => "exec",
        }
    }
}

/// Upper bounds of times that are counted together, in microseconds. What takes longer is
/// counted in the sum and the count alone.
const BOUNDS: [u64; 14] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 5_000_000,
];

#[derive(Debug, Default)]
struct Times {
    within: [AtomicU64; BOUNDS.len()],
    count: AtomicU64,
    micros: AtomicU64,
}

/// How often something took how long.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// Upper bounds in seconds, each with how many took no longer than that and longer than the
    /// bound before. The last bound is infinite.
    pub buckets: Vec<(f64, u64)>,
    /// All of them.
    pub count: u64,
    /// How long all took together, in seconds.
    pub sum: f64,
}

impl Times {
    fn note(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.iter().position(|bound| micros <= *bound);
        if let Some(within) = bucket.and_then(|at| self.within.get(at)) {
            within.fetch_add(1, Ordering::Relaxed);
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    fn read(&self) -> Histogram {
        let within = self
            .within
            .iter()
            .map(|count| count.load(Ordering::Relaxed));
        let bounds = BOUNDS.iter().map(|bound| seconds(*bound));
        let mut buckets: Vec<_> = bounds.zip(within).collect();
        let bounded: u64 = buckets.iter().map(|(_, count)| count).sum();
        // It may have grown since.
        let count = self.count.load(Ordering::Relaxed).max(bounded);
        buckets.push((f64::INFINITY, count - bounded));
        Histogram {
            buckets,
            count,
            sum: seconds(self.micros.load(Ordering::Relaxed)),
        }
    }
}

fn seconds(micros: u64) -> f64 {
    Duration::from_micros(micros).as_secs_f64()
}

/// What is counted of a token, by all of its workers, since the client was started.
#[derive(Debug, Default)]
pub struct Meters {
    times: [[Times; Phase::ALL.len()]; Operation::ALL.len()],
    amiss: Mutex<BTreeMap<(String, String), u64>>,
}

impl Meters {
    pub(super) fn note(&self, operation: Operation, queue: Duration, exec: Duration) {
        let [queued, executed] = &self.times[operation as usize];
        queued.note(queue);
        executed.note(exec);
    }

    pub(super) fn note_amiss(&self, amiss: Vec<Amiss>) {
        if amiss.is_empty() {
            return;
        }
        let mut counts = self.amiss.lock().unwrap_or_else(PoisonError::into_inner);
        for Amiss { function, code } in amiss {
            *counts.entry((function, code)).or_default() += 1;
        }
    }

    /// How long an operation took in one of its phases. Those whose worker was lost are not
    /// counted.
    pub fn times(&self, operation: Operation, phase: Phase) -> Histogram {
        self.times[operation as usize][phase as usize].read()
    }

    /// How often the token answered which `CKR_` code to which `C_` function, other than
    /// `CKR_OK`; those included that a worker got over by itself.
    pub fn codes(&self) -> Vec<(String, String, u64)> {
        let counts = self.amiss.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = counts.iter();
        counts
            .map(|((function, code), count)| (function.clone(), code.clone(), *count))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_counts_in_the_bucket_of_its_bound() {
        let meters = Meters::default();
        for micros in [100, 101, 6_000_000] {
            meters.note(
                Operation::Sign,
                Duration::ZERO,
                Duration::from_micros(micros),
            );
        }
        let exec = meters.times(Operation::Sign, Phase::Exec);
        assert_eq!(exec.count, 3);
        assert_eq!(exec.buckets[0], (0.0001, 1));
        assert_eq!(exec.buckets[1], (0.00025, 1));
        assert_eq!(exec.buckets.last(), Some(&(f64::INFINITY, 1)));
        assert!((exec.sum - 6.000_201).abs() < 1e-9);
        assert_eq!(meters.times(Operation::Sign, Phase::Queue).buckets[0].1, 3);
        assert_eq!(meters.times(Operation::Reveal, Phase::Exec).count, 0);
    }
}
