//! Where the data key of a claim comes from: what was recorded, and nothing else.

use std::sync::{Mutex, PoisonError};

use super::{Claim, Locked, Released, Unlock, Urgency, sealed};
use crate::{
    cache::{Cache, Lease, Leave, Source},
    envelope::{Failed, PlaintextDek},
};

/// A claim, by where its data key comes from.
#[derive(Debug)]
#[must_use = "an unspent permit was recorded for nothing"]
pub enum Claimed {
    /// From the token.
    Token(Claim),
    /// From the token, and it may be kept.
    Fresh(Fresh),
    /// From the cache.
    Cache(Lent),
}

impl Claimed {
    /// The claim itself.
    pub fn claim(&self) -> &Claim {
        match self {
            Self::Token(claim) => claim,
            Self::Fresh(fresh) => &fresh.claim,
            Self::Cache(lent) => &lent.claim,
        }
    }

    pub(crate) fn of(claim: Claim, source: Source) -> Self {
        match source {
            Source::Token => Self::Token(claim),
            Source::Fresh(leave) => Self::Fresh(Fresh { claim, leave }),
            Source::Cache(lease) => Self::Cache(Lent { claim, lease }),
        }
    }
}

/// A claim whose data key may be kept for others.
#[derive(Debug)]
#[must_use = "an unspent permit was recorded for nothing"]
pub struct Fresh {
    claim: Claim,
    leave: Leave,
}

impl Fresh {
    /// Has `cache` keep the data key, once it has opened what it is for.
    pub fn keeping(self, cache: &Mutex<Cache>) -> Keeping<'_> {
        Keeping { fresh: self, cache }
    }
}

/// A claim that leaves its data key in a cache.
#[derive(Debug)]
#[must_use = "an unspent permit was recorded for nothing"]
pub struct Keeping<'a> {
    fresh: Fresh,
    cache: &'a Mutex<Cache>,
}

impl sealed::Sealed for Keeping<'_> {}

impl Unlock for Keeping<'_> {
    type Opened = Released;
    const URGENCY: Urgency = Urgency::Delivery;

    fn locked(&self) -> &Locked {
        &self.fresh.claim.locked
    }

    fn open(self, dek: &PlaintextDek) -> Result<Released, Failed> {
        let Fresh { claim, leave } = self.fresh;
        let locked = claim.locked.clone();
        let released = claim.open(dek)?;
        let cache = self.cache.lock();
        let mut cache = cache.unwrap_or_else(PoisonError::into_inner);
        cache.keep(&leave, &locked, dek);
        Ok(released)
    }
}

/// A claim with the data key that the cache lent for it. The token cannot be asked for it, since
/// that is not what was recorded:
///
/// ```compile_fail,E0277
/// use custody::release::{Lent, Unlock};
/// fn at_the_token(lent: Lent) -> impl Unlock {
///     lent
/// }
/// ```
#[derive(Debug)]
#[must_use = "an unspent permit was recorded for nothing"]
pub struct Lent {
    claim: Claim,
    lease: Lease,
}

impl Lent {
    /// Opens the content.
    ///
    /// # Errors
    ///
    /// If it does not open, which it did with the same key before.
    pub fn open(self) -> Result<Released, Failed> {
        self.claim.open(&self.lease.dek())
    }
}
