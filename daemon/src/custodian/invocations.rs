//! Counting what master keys encrypt, and replacing those that have encrypted often.

use std::sync::{Arc, MutexGuard, PoisonError};

use custody::{
    change,
    group::MasterKey,
    invocation::{Invocation, Invocations, Short},
    name::{GroupName, KeyId},
};

use super::{
    Custodian, Error,
    changes::{Writer, to_its_end},
};

impl Custodian {
    /// What is counted of the master keys.
    pub(super) fn invocations(&self) -> MutexGuard<'_, Invocations> {
        self.invocations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a wrap under the master key of a group, before it is made.
    pub(super) async fn count(
        &self,
        writer: &mut Writer,
        group: &GroupName,
        gmk: &KeyId,
    ) -> Result<Invocation, Error> {
        loop {
            match self.spend(group, gmk)? {
                Ok(invocation) => return Ok(invocation),
                Err(Short::Exhausted) => {
                    self.moving.wake();
                    return Err(Error::WornOut(group.clone()));
                }
                Err(Short::Reserve(up_to)) => {
                    let (edit, change) = change::key::reserve(&self.state(), group, gmk, up_to)?;
                    self.commit(writer, None, edit, change).await?;
                    if self.is_worn(group) {
                        self.moving.wake();
                    }
                }
            }
        }
    }

    /// Counts a wrap that nobody waits for; if that takes a change, when it is its turn to change
    /// things.
    pub(super) async fn count_for_upkeep(
        self: &Arc<Self>,
        group: &GroupName,
        gmk: KeyId,
    ) -> Result<Invocation, Error> {
        if let Ok(invocation) = self.spend(group, &gmk)? {
            return Ok(invocation.for_upkeep());
        }
        let (this, group) = (Arc::clone(self), group.clone());
        to_its_end(async move {
            let writer = &mut *this.writer().await?;
            let counted = this.count(writer, &group, &gmk).await;
            counted.map(Invocation::for_upkeep)
        })
        .await
    }

    fn spend(&self, group: &GroupName, gmk: &KeyId) -> Result<Result<Invocation, Short>, Error> {
        let state = self.state();
        let key = state.group(group).and_then(|group| group.key(gmk));
        let key = key.ok_or_else(|| change::Error::NoSuchGroup(group.clone()))?;
        Ok(self.invocations().spend(key))
    }

    fn is_worn(&self, group: &GroupName) -> bool {
        let state = self.state();
        let group = state.group(group);
        let mut keys = group.into_iter().flat_map(|group| group.protecting());
        keys.any(|key| self.invocations().is_worn(key))
    }

    /// Has another take the place of each master key that is not to encrypt much longer.
    pub(super) async fn replace_worn_keys(self: &Arc<Self>) -> Result<(), Error> {
        let worn = |key: &MasterKey| self.invocations().is_worn(key);
        let groups = change::key::worn(&self.state(), worn);
        for group in groups {
            tracing::info!(%group, "its master key has encrypted nearly as often as it may");
            self.rotate_group(None, group, None, None, false).await?;
        }
        Ok(())
    }
}
