//! Renewing what someone may know the data keys of: content is sealed anew under fresh ones, in
//! the background, a little at a time.

use std::{sync::Arc, time::Instant};

use custody::{
    change::{self, key::Deed},
    envelope::WrappedDek,
    name::{GroupName, KeyId},
    renew::{Renewal, Renewed, Resealed},
    role::Operator,
    state::view::GroupView,
};

use super::{Custodian, Error, changes::to_its_end, rewrap::Pace};

/// How many versions are renewed by one change, and how much content that is about.
const BATCH: usize = 32;
const BYTES: u64 = 4 << 20;

impl Custodian {
    /// Says of a generation of a group's master key that someone may have it. Another takes its
    /// place if it is the one that protects.
    pub(crate) async fn compromise_key(
        self: &Arc<Self>,
        operator: Operator,
        group: GroupName,
        generation: u32,
    ) -> Result<(), Error> {
        let protects = {
            let state = self.state();
            let mut keys = state.group(&group).into_iter().flat_map(GroupView::keys);
            keys.any(|key| key.generation == generation && key.state.protects())
        };
        match protects {
            true => {
                let expected = Some(generation);
                self.rotate_group(Some(operator), group, expected, None, true)
                    .await
            }
            false => {
                self.live_key(operator, group, generation, Deed::Compromise)
                    .await
            }
        }
    }

    /// Renews everything in a group that someone may know the data key of, and that can be.
    pub(super) async fn renew_group(
        self: &Arc<Self>,
        group: &GroupName,
        pace: &mut Pace<impl Fn() -> u32>,
    ) -> Result<(), Error> {
        let mut after = None;
        loop {
            let batch = self.state().renewals(group, after.as_ref(), BATCH, BYTES);
            let mut renewed = Vec::with_capacity(batch.renewals.len());
            let mut failed = None;
            for wanted in batch.renewals {
                let version = wanted.version().clone();
                match self.renew(group, wanted, pace).await {
                    Ok(one) => renewed.push(one),
                    // Whatever overtook it has replaced what was to be renewed, or taken it away.
                    Err(Error::Overtaken(_) | Error::Renewed(_)) => {}
                    Err(error) if error.is_bad_data() => tracing::error!(
                        %version,
                        error = &error as &dyn std::error::Error,
                        "content cannot be renewed: someone may know its data key, and the master \
                         key that gave that away cannot be destroyed"
                    ),
                    Err(error) => {
                        failed = Some(error);
                        break;
                    }
                }
            }
            self.write_renewed(group, renewed).await?;
            if let Some(error) = failed {
                return Err(error);
            }
            match batch.last {
                Some(last) => after = Some(last),
                None => return Ok(()),
            }
        }
    }

    /// Opens the content of a version, and seals it under a fresh data key that every master key
    /// wraps which protects now.
    async fn renew(
        self: &Arc<Self>,
        group: &GroupName,
        wanted: Renewal,
        pace: &mut Pace<impl Fn() -> u32>,
    ) -> Result<Renewed, Error> {
        let stored = self.database.content(wanted.version().clone()).await;
        let claim = match wanted.with(stored.map_err(Error::Database)?) {
            Err(tampered) => return Err(self.overtaken(tampered).await),
            Ok(claim) => claim,
        };
        let began = Instant::now();
        let resealed = self.tokens.unwrap(claim).await.map_err(Error::Hsm)?;
        let mut busy = began.elapsed();
        let resealed = resealed.map_err(Error::Seal)?;
        let began = Instant::now();
        let wraps = self.wrap_resealed(group, &resealed).await?;
        busy += began.elapsed();
        let renewed = resealed.wrapped(wraps);
        pace.rest(busy).await;
        Ok(renewed)
    }

    /// The fresh data key under each master key that protects, as far as their tokens do it and at
    /// least as far as the group's policy wants. The others get it later.
    async fn wrap_resealed(
        self: &Arc<Self>,
        group: &GroupName,
        resealed: &Resealed,
    ) -> Result<Vec<(KeyId, WrappedDek)>, Error> {
        let mut wraps = Vec::with_capacity(resealed.to().len());
        let mut problem = None;
        for gmk in resealed.to() {
            let wrapped = match self.tokens.with_key(gmk) {
                Some(token) => {
                    let counted = self.count_for_upkeep(group, *gmk).await?;
                    let (dek, context) = (resealed.dek(), resealed.context(gmk));
                    token.protect_dek(counted, dek, context).await
                }
                None => Err(hsm::Error::KeyNotLoaded { id: *gmk }),
            };
            match wrapped {
                Ok(wrapped) => wraps.push((*gmk, wrapped)),
                Err(error) => problem = Some(error),
            }
        }
        match problem {
            Some(problem) if !self.holders(group)?.suffice(wraps.len()) => Err(Error::Hsm(problem)),
            _ => Ok(wraps),
        }
    }

    async fn write_renewed(
        self: &Arc<Self>,
        group: &GroupName,
        renewed: Vec<Renewed>,
    ) -> Result<(), Error> {
        if renewed.is_empty() {
            return Ok(());
        }
        let (this, group) = (Arc::clone(self), group.clone());
        to_its_end(async move {
            let writer = &mut *this.writer().await?;
            let renewed = change::renew::renew(&this.state(), &group, renewed);
            match renewed {
                Some((edit, change)) => this.commit(writer, None, edit, change).await,
                None => Ok(()),
            }
        })
        .await
    }
}
