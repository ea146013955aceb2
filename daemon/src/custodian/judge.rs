//! Decisions that count: what is decided and the use that it takes are one step, so that
//! no two deliveries have the same use.

use std::sync::{Mutex, MutexGuard, PoisonError};

use custody::{
    caller::Caller,
    group::Millis,
    journal::Receipt,
    name::{RuleId, SecretId},
    policy::{Deliver, Denial, Depth, Grant, Operation, Wanted},
    state::State,
    usage::{Consumer, Delivered, Usage},
};

/// Who used what, as far as it is on record or about to be.
#[derive(Debug)]
pub(crate) struct Tally(Mutex<Usage>);

/// A use that a decision took.
#[derive(Debug)]
pub(crate) struct Taken {
    rule: RuleId,
    secret: SecretId,
    version: u32,
    consumer: Consumer,
    at: Millis,
}

impl Taken {
    pub(super) fn by(grant: &Grant<Deliver>, now: Millis) -> Self {
        Self {
            rule: grant.rule().id,
            secret: grant.version().secret.clone(),
            version: grant.version().number,
            consumer: Consumer::of(grant.caller().evidence()),
            at: now,
        }
    }
}

impl Tally {
    pub(crate) fn of(usage: Usage) -> Self {
        Self(Mutex::new(usage))
    }

    /// What is known of use. Hold it for a moment, and never across an await.
    pub(crate) fn usage(&self) -> MutexGuard<'_, Usage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides whether `caller` may have what it wants, to that depth, and takes the uses.
    pub(super) fn decide<Op: Operation>(
        &self,
        state: &State,
        caller: &Caller,
        wanted: Wanted,
        depth: Depth,
        now: Millis,
    ) -> Result<Vec<Grant<Op>>, Box<Denial>> {
        state.decide_all(caller, wanted, depth, now, &mut self.usage())
    }

    /// Gives the uses back of a delivery that never came on record.
    pub(super) fn give_back(&self, taken: Vec<Taken>) {
        let mut usage = self.usage();
        for Taken { rule, at, .. } in taken {
            usage.give_back(&rule, at);
        }
    }

    /// Remembers a delivery that is on record.
    pub(super) fn delivered(&self, receipts: &[Receipt], taken: Vec<Taken>) {
        let mut usage = self.usage();
        for (receipt, taken) in receipts.iter().zip(taken) {
            usage.delivered(Delivered {
                receipt: *receipt,
                rule: taken.rule,
                secret: taken.secret,
                version: taken.version,
                consumer: taken.consumer,
                at: taken.at,
            });
        }
    }

    /// Gives the uses back of a delivery that is on record and did not happen.
    pub(super) fn undelivered(&self, allowed: &[Receipt]) {
        let mut usage = self.usage();
        for receipt in allowed {
            usage.undelivered(*receipt);
        }
    }
}
