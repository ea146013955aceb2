//! Master keys that take the place of others, and those that go.

use custody::{
    envelope::WrappedDek,
    invocation::Invocation,
    release::Lock,
    rewrap::{Destroyed, Move},
};

use super::{Client, key::Whereabouts, unexpected};
use crate::{
    Error,
    wire::{Done, Op, Rewrap},
};

impl Client {
    /// Wraps a data key that is under `lock` under another master key, whose encryption was
    /// counted; it does not leave the worker. What is returned has been opened again and compared.
    ///
    /// # Errors
    ///
    /// [`Error::is_bad_data`] if the wrap is not what was stored; else if one of the keys is not
    /// usable or the token does not answer.
    pub async fn rewrap_dek(
        &self,
        counted: Invocation,
        wanted: &Move,
        lock: &Lock,
    ) -> Result<WrappedDek, Error> {
        let (from, to) = (lock.gmk(), wanted.to());
        if counted.gmk() != to {
            return Err(Error::KeyNotLoaded { id: *to });
        }
        self.shared.keys.usable(to)?;
        let request = Rewrap {
            from: self.sealed(from, lock.wrapped(), wanted.context(from))?,
            to: to.as_bytes().to_vec(),
            context: wanted.context(to).encode(),
        };
        match self.ask(Op::Rewrap(request)).await? {
            Done::Wrapped(blob) => Ok(WrappedDek::from_blob(blob)),
            other => Err(unexpected(&other)),
        }
    }

    /// Destroys a group master key in the token, for good, and forgets it. Says whether it was
    /// still there. One that is kept outside is gone with its blob, and with what each worker
    /// has unwrapped of it: those that serve do away with it now, those that start when they come
    /// to serve.
    ///
    /// # Errors
    ///
    /// If several keys have that name, or the token does not do it or does not answer; it can be
    /// asked again.
    pub async fn destroy_gmk(&self, destroyed: Destroyed) -> Result<bool, Error> {
        let id = *destroyed.id();
        if self.shared.keys.forget(&id) == Whereabouts::InEachWorker {
            return self.shared.drop_everywhere(&self.lanes, &id).await;
        }
        match self.ask(Op::Destroy(id.as_bytes().to_vec())).await? {
            Done::Good(was_there) => Ok(was_there),
            other => Err(unexpected(&other)),
        }
    }
}
