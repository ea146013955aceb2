//! Content that the daemon uses itself, for an operator, and gives to nobody.
//!
//! The way is that of a release, [`Intent`] to [`Permit`] to [`Claim`], with an end of its
//! own: each [`Purpose`] says what of the content it leaves, and that is no content.

use std::marker::PhantomData;

use crate::{
    caller::Evidence,
    envelope::{Failed, PlaintextDek, SealedContent},
    journal::{Event, Journal},
    policy::{self, Operation, Tampered},
    release::{Locked, Unlock, Urgency, sealed},
    secret::{
        fields::Fields,
        request::{self, Requested},
    },
};

/// What content is used for.
pub trait Purpose: Operation {
    /// What is left of it.
    type Leaves;

    /// Takes that out, and wipes the rest.
    #[doc(hidden)]
    fn take(fields: Fields) -> Option<Self::Leaves>;
}

/// Asking for a certificate like the one there is: its chain is read.
#[derive(Debug)]
pub enum Renew {}

impl policy::sealed::Sealed for Renew {}

impl Operation for Renew {
    const NAME: &'static str = "renew";
    const REVEALS: bool = true;
}

impl Purpose for Renew {
    type Leaves = Vec<u8>;

    fn take(fields: Fields) -> Option<Vec<u8>> {
        request::chain(fields)
    }
}

/// Joining a certificate with the key that it was requested for.
#[derive(Debug)]
pub enum Certify {}

impl policy::sealed::Sealed for Certify {}

impl Operation for Certify {
    const NAME: &'static str = "certify";
    const REVEALS: bool = true;
}

impl Purpose for Certify {
    type Leaves = Requested;

    fn take(fields: Fields) -> Option<Requested> {
        Requested::of(fields)
    }
}

/// Content that is to be used, which is not on record yet.
///
/// Only [`State::intend`](crate::state::State::intend) makes one.
#[derive(Debug)]
#[must_use = "an intent is good for nothing until it is recorded"]
pub struct Intent<P> {
    pub(crate) operator: Evidence,
    pub(crate) locked: Locked,
    pub(crate) purpose: PhantomData<P>,
}

/// A use that is on record.
///
/// It cannot be spent on anything else:
///
/// ```compile_fail,E0308
/// use custody::inward::{Certify, Permit, Renew};
/// fn more_than_recorded(permit: Permit<Renew>) -> Permit<Certify> {
///     permit
/// }
/// ```
#[derive(Debug)]
#[must_use = "an unspent permit was recorded for nothing"]
pub struct Permit<P>(Intent<P>);

/// Records a use, then permits it.
///
/// # Errors
///
/// If it cannot be recorded.
pub async fn record<P: Purpose, J: Journal>(
    intent: Intent<P>,
    journal: &J,
) -> Result<Permit<P>, J::Error> {
    let version = &intent.locked.version;
    let event = Event::Use {
        operation: P::NAME,
        operator: intent.operator.clone(),
        group: version.secret.group.clone(),
        secret: version.secret.name.clone(),
        version: version.number,
        master_keys: intent.locked.gmks(),
    };
    journal.append(event).await?;
    Ok(Permit(intent))
}

impl<P: Purpose> Permit<P> {
    /// Joins the permit with the content stored for its version.
    ///
    /// # Errors
    ///
    /// If `stored` is missing, or not the content that the version was written with.
    pub fn claim(self, stored: Option<SealedContent>) -> Result<Claim<P>, Tampered> {
        let Intent {
            locked, purpose, ..
        } = self.0;
        let content = locked.check(stored)?;
        Ok(Claim {
            locked,
            content,
            purpose,
        })
    }
}

/// A permit joined with the only ciphertext it is good for.
#[derive(Debug)]
#[must_use = "an unspent permit was recorded for nothing"]
pub struct Claim<P> {
    locked: Locked,
    content: SealedContent,
    purpose: PhantomData<P>,
}

impl<P> sealed::Sealed for Claim<P> {}

impl<P: Purpose> Unlock for Claim<P> {
    type Opened = Option<P::Leaves>;
    const URGENCY: Urgency = Urgency::Management;

    fn locked(&self) -> &Locked {
        &self.locked
    }

    fn open(self, dek: &PlaintextDek) -> Result<Self::Opened, Failed> {
        let content = self.locked.open(self.content, dek)?;
        Ok(Fields::decode(&content).and_then(P::take))
    }
}
