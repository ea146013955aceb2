//! Data keys that the token unwraps, and what they open.

use custody::{
    envelope::{Context, PlaintextDek, WrappedDek},
    name::{InstanceId, KeyId},
    release::{Locked, Unlock, Urgency},
};
use tokio::time::Instant;

use super::{Client, MAX_BLOB, incomplete, together::Unwrapped, unexpected};
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
        let question = self.question(claim.locked(), gmk, T::URGENCY);
        let answer = question.ask().await;
        open(claim, answer.dek())
    }

    pub(super) fn question(&self, locked: &Locked, gmk: &KeyId, urgency: Urgency) -> Question<'_> {
        let what = match locked.locks().iter().find(|lock| lock.gmk() == gmk) {
            Some(lock) => self.sealed(gmk, lock.wrapped(), locked.context(gmk)),
            None => Err(Error::KeyNotLoaded { id: *gmk }),
        };
        Question {
            token: self,
            what,
            urgency,
        }
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
        self.reveal(what, self.shared.by(), Urgency::Delivery).await
    }

    async fn reveal(
        &self,
        what: Reveal,
        by: Instant,
        urgency: Urgency,
    ) -> Result<PlaintextDek, Error> {
        let asked = self.lanes.ask(Op::Reveal(what), by, urgency)?;
        match asked.wait().await? {
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

/// What a token is to unwrap; why it cannot be asked, if it cannot.
pub(super) struct Question<'a> {
    token: &'a Client,
    what: Result<Reveal, Error>,
    urgency: Urgency,
}

impl<'a> Question<'a> {
    pub(super) fn token(&self) -> &'a Client {
        self.token
    }

    /// Whether another waits for the answer that this one would have.
    pub(super) fn is_asked(&self) -> bool {
        let together = &self.token.shared.together;
        self.is_for_now() && self.what.as_ref().is_ok_and(|what| together.is_asked(what))
    }

    /// Whoever joined what has time would wait as long.
    fn is_for_now(&self) -> bool {
        self.urgency == Urgency::Delivery
    }

    pub(super) async fn ask(&self) -> Answer<'_> {
        let (token, shared) = (self.token, &self.token.shared);
        let what = match &self.what {
            Ok(what) => what,
            Err(error) => return Answer::Own(Err(error.clone())),
        };
        let by = shared.by();
        let ask = || token.reveal(what.clone(), by, self.urgency);
        if !self.is_for_now() {
            return Answer::Own(ask().await);
        }
        let meters = &shared.settings.meters;
        Answer::Shared(shared.together.unwrap(what, by, meters, ask).await)
    }
}

pub(super) enum Answer<'a> {
    Own(Result<PlaintextDek, Error>),
    Shared(Unwrapped<'a>),
}

impl Answer<'_> {
    pub(super) fn dek(&self) -> Result<&PlaintextDek, Error> {
        match self {
            Self::Own(dek) => dek.as_ref().map_err(Clone::clone),
            Self::Shared(unwrapped) => unwrapped.dek(),
        }
    }
}

/// Opens the content of `claim`, if there is a data key for it.
pub(super) fn open<T: Unlock>(
    claim: T,
    dek: Result<&PlaintextDek, Error>,
) -> Result<T::Opened, Unopened<T>> {
    match dek {
        Ok(dek) => claim.open(dek).map_err(|_| Unopened {
            error: Error::ContentDoesNotOpen,
            claim: None,
        }),
        Err(error) => Err(Unopened {
            error,
            claim: Some(claim),
        }),
    }
}
