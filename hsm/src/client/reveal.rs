//! Data keys that the token unwraps, and what they open.

use custody::{
    envelope::{Context, PlaintextDek, WrappedDek},
    name::{InstanceId, KeyId},
    release::{Unlock, Urgency},
};

use tokio::time::Instant;

use super::{Client, MAX_BLOB, incomplete, unexpected};
use crate::{
    Error,
    wire::{Done, Op, Reveal},
};

/// A claim for which no data key was had, or whose content did not open.
#[derive(Debug)]
pub struct Unopened<T> {
    /// Why.
    pub error: Error,
    /// The claim, good for another token; `None` if it was spent.
    pub claim: Option<T>,
}

impl<T> Unopened<T> {
    fn of(claim: T, error: Error) -> Self {
        Self {
            error,
            claim: Some(claim),
        }
    }
}

impl Client {
    /// Unwraps the data key of a version that is wrapped under `gmk`, and opens the version's
    /// content with it. There is no other way to content, and none without a release or use on
    /// record:
    ///
    /// ```compile_fail,E0277
    /// use custody::{name::KeyId, policy::{Deliver, Grant}};
    /// async fn skip_the_record(token: hsm::Client, grant: Grant<Deliver>, gmk: KeyId) {
    ///     let _ = token.unwrap_dek(grant, &gmk).await; // wants a Claim
    /// }
    /// ```
    ///
    /// Of claims of one wrap that come at the same time the token is asked once.
    ///
    /// # Errors
    ///
    /// [`Error::is_bad_data`] if the wrap or the content is not what was stored; else if
    /// the key is not usable or the token does not answer. The claim comes back if no data key
    /// was had for it.
    pub async fn unwrap_dek<T: Unlock>(
        &self,
        claim: T,
        gmk: &KeyId,
    ) -> Result<T::Opened, Unopened<T>> {
        let (locked, shared) = (claim.locked(), &self.shared);
        let what = match locked.locks().iter().find(|lock| lock.gmk() == gmk) {
            Some(lock) => self.sealed(gmk, lock.wrapped(), locked.context(gmk)),
            None => Err(Error::KeyNotLoaded { id: *gmk }),
        };
        let what = match what {
            Ok(what) => what,
            Err(error) => return Err(Unopened::of(claim, error)),
        };
        let by = shared.by();
        // Whoever joined what has time would wait as long.
        if T::URGENCY > Urgency::Delivery {
            let dek = self.reveal(what, by, T::URGENCY).await;
            return open(claim, dek.as_ref().map_err(Clone::clone));
        }
        let ask = || self.reveal(what.clone(), by, T::URGENCY);
        let meters = &shared.settings.meters;
        let unwrapped = shared.together.unwrap(&what, by, meters, ask).await;
        open(claim, unwrapped.dek())
    }

    /// Unwraps the row key of an installation.
    ///
    /// # Errors
    ///
    /// As for [`Self::unwrap_dek`].
    pub async fn unwrap_row_key(
        &self,
        instance: &InstanceId,
        gmk: &KeyId,
        wrapped: &WrappedDek,
    ) -> Result<PlaintextDek, Error> {
        let context = Context::RowKey { instance, gmk };
        let what = self.sealed(gmk, wrapped, context)?;
        self.reveal(what, self.shared.by(), self.urgency).await
    }

    async fn reveal(
        &self,
        what: Reveal,
        by: Instant,
        urgency: Urgency,
    ) -> Result<PlaintextDek, Error> {
        match self
            .lanes
            .ask(Op::Reveal(what), by, urgency)?
            .wait()
            .await?
        {
            Done::Revealed(mut secret) => {
                PlaintextDek::take(&mut secret.bytes).ok_or_else(incomplete)
            }
            other => Err(unexpected(&other)),
        }
    }

    pub(super) fn sealed(
        &self,
        gmk: &KeyId,
        wrapped: &WrappedDek,
        context: Context<'_>,
    ) -> Result<Reveal, Error> {
        self.shared.keys.usable(gmk)?;
        if wrapped.blob().len() > MAX_BLOB {
            return Err(Error::DoesNotOpen { gmk: *gmk });
        }
        Ok(Reveal {
            gmk: gmk.as_bytes().to_vec(),
            blob: wrapped.blob().to_vec(),
            context: context.encode(),
        })
    }
}

fn open<T: Unlock>(claim: T, dek: Result<&PlaintextDek, Error>) -> Result<T::Opened, Unopened<T>> {
    match dek {
        Ok(dek) => claim.open(dek).map_err(|_| Unopened {
            error: Error::ContentDoesNotOpen,
            claim: None,
        }),
        Err(error) => Err(Unopened::of(claim, error)),
    }
}
