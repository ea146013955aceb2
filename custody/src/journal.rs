//! The journal: what is written down before it happens.

use std::future::Future;

use serde::Serialize;

use crate::{
    policy::{Decision, Denial, Grant, Operation, Permit},
    role::{Admission, NotAdmitted, Operator},
};

pub mod chain;
pub mod change;
mod event;
#[cfg(test)]
pub(crate) mod pair;
pub mod public_key;
pub mod signing;
pub mod trust;
pub mod undelivered;

pub use event::{Event, Surface};

/// Where an entry of the journal is: its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Receipt(u64);

impl Receipt {
    /// The receipt for entry `seq`, which is durable: it would survive a power loss
    /// that happened now. Whoever makes one vouches for that.
    pub fn of_durable(seq: u64) -> Self {
        Self(seq)
    }

    /// The entry's number.
    pub fn seq(self) -> u64 {
        self.0
    }

    /// This one and those of the entries that were appended with it.
    fn and_on(self) -> impl Iterator<Item = Self> {
        (self.0..).map(Self)
    }
}

/// An append-only log.
pub trait Journal {
    /// Why an entry could not be written.
    type Error;

    /// Appends `events`, one after the other, and says where the first is. Returns only once
    /// all of them would survive a crash; if it fails, the journal holds none, and never will.
    fn append_all(
        &self,
        events: Vec<Event>,
    ) -> impl Future<Output = Result<Receipt, Self::Error>> + Send;

    /// Appends one event, as [`append_all`](Self::append_all) does.
    fn append(&self, event: Event) -> impl Future<Output = Result<Receipt, Self::Error>> + Send {
        self.append_all(vec![event])
    }
}

/// Why there is no permit.
#[derive(Debug)]
pub enum Refusal<E> {
    /// Policy said no; that is on record.
    Denied(Box<Denial>),
    /// The decision, whichever it was, could not be recorded.
    Unrecorded(E),
}

/// Records `decision`, then turns a grant into a permit.
///
/// A decision that cannot be recorded is refused, whichever way it went.
///
/// # Errors
///
/// The [`Refusal`].
pub async fn record<Op: Operation, J: Journal>(
    decision: Decision<Op>,
    journal: &J,
) -> Result<Permit<Op>, Refusal<J::Error>> {
    let event = match &decision {
        Ok(grant) => Event::allowing(grant),
        Err(denial) => Event::denying(denial),
    };
    let receipt = journal.append(event).await.map_err(Refusal::Unrecorded)?;
    let grant = decision.map_err(Refusal::Denied)?;
    Ok(Permit { grant, receipt })
}

/// As [`record`], of grants that are spent together: either all are on record, each in an
/// entry of its own, or none is.
///
/// # Errors
///
/// The [`Refusal`].
pub async fn record_all<Op: Operation, J: Journal>(
    decision: Result<Vec<Grant<Op>>, Box<Denial>>,
    journal: &J,
) -> Result<Vec<Permit<Op>>, Refusal<J::Error>> {
    let events = match &decision {
        Ok(grants) => grants.iter().map(Event::allowing).collect(),
        Err(denial) => vec![Event::denying(denial)],
    };
    let first = journal.append_all(events).await;
    let receipts = first.map_err(Refusal::Unrecorded)?.and_on();
    let grants = decision.map_err(Refusal::Denied)?.into_iter();
    let permits = grants.zip(receipts);
    Ok(permits
        .map(|(grant, receipt)| Permit { grant, receipt })
        .collect())
}

/// Why nobody is admitted.
#[derive(Debug)]
pub enum Turned<E> {
    /// No role allows it; that is on record.
    Away(Box<NotAdmitted>),
    /// Whether it is allowed could not be recorded.
    Unrecorded(E),
}

/// Records whether a process may do what it asked to, then lets it.
///
/// # Errors
///
/// Why not.
pub async fn admit<J: Journal>(
    decision: Result<Admission, Box<NotAdmitted>>,
    journal: &J,
) -> Result<Operator, Turned<J::Error>> {
    let event = match &decision {
        Ok(admission) => Event::Manage {
            operator: admission.evidence.clone(),
            act: admission.act.clone(),
            roles: admission.held.iter().map(|held| held.id).collect(),
        },
        Err(refused) => Event::Refuse {
            operator: refused.evidence.clone(),
            act: refused.act.clone(),
            is_operator: refused.is_operator,
        },
    };
    journal.append(event).await.map_err(Turned::Unrecorded)?;
    decision.map(Operator).map_err(Turned::Away)
}
