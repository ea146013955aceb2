//! Decisions that count: what is decided and the use that it takes are one step, so that
//! no two deliveries have the same use.

use std::sync::{Mutex, MutexGuard, PoisonError};

use custody::{
    caller::Caller,
    group::Millis,
    journal::Receipt,
    name::{RuleId, SecretId},
    policy::{Decision, Deliver, Moment, Notify, Wanted},
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

impl Tally {
    pub(crate) fn of(usage: Usage) -> Self {
        Self(Mutex::new(usage))
    }

    /// What is known of use. Hold it for a moment, and never across an await.
    pub(crate) fn usage(&self) -> MutexGuard<'_, Usage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides whether `caller` may have what it wants, and takes the use.
    pub(super) fn decide(
        &self,
        state: &State,
        caller: Caller,
        wanted: Wanted,
        now: Millis,
    ) -> (Decision<Deliver>, Option<Taken>) {
        let mut usage = self.usage();
        let moment = Moment { now, usage: &usage };
        let decision = state.decide::<Deliver>(caller, wanted, moment);
        let taken = decision.as_ref().ok().map(|grant| {
            usage.take(grant.rule(), now);
            Taken {
                rule: grant.rule().id,
                secret: grant.version().secret.clone(),
                version: grant.version().number,
                consumer: Consumer::of(grant.caller().evidence()),
                at: now,
            }
        });
        (decision, taken)
    }

    /// Decides whether `caller` may be told of new versions of what it wants.
    pub(super) fn may_know(
        &self,
        state: &State,
        caller: Caller,
        wanted: Wanted,
        now: Millis,
    ) -> Decision<Notify> {
        let usage = self.usage();
        state.decide::<Notify>(caller, wanted, Moment { now, usage: &usage })
    }

    /// Gives the use back of a delivery that never came on record.
    pub(super) fn give_back(&self, taken: Option<Taken>) {
        if let Some(taken) = taken {
            self.usage().give_back(&taken.rule, taken.at);
        }
    }

    /// Remembers a delivery that is on record.
    pub(super) fn delivered(&self, receipt: Receipt, taken: Option<Taken>) {
        if let Some(taken) = taken {
            self.usage().delivered(Delivered {
                receipt,
                rule: taken.rule,
                secret: taken.secret,
                version: taken.version,
                consumer: taken.consumer,
                at: taken.at,
            });
        }
    }

    /// Gives the use back of a delivery that is on record and did not happen.
    pub(super) fn undelivered(&self, allowed: Receipt) {
        self.usage().undelivered(allowed);
    }
}
