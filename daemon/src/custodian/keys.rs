//! Group master keys: new ones take the place of old ones, which are emptied and destroyed.

use std::sync::Arc;

use custody::{
    change::{self, key::Deed},
    group::{KeyState, MasterKey},
    name::GroupName,
    role::Operator,
};

use super::{
    Custodian, Error,
    changes::{now, to_its_end, was_made},
};

impl Custodian {
    /// A master key for `group`, just made in the token.
    pub(super) async fn make_key(
        &self,
        group: &GroupName,
        generation: u32,
    ) -> Result<MasterKey, Error> {
        let label = format!("custodyd {group} {generation}");
        let made = self.hsm.generate_gmk(&label).await.map_err(Error::Hsm)?;
        let reserved = self.invocations().born(made.id);
        let token = self.hsm.token();
        Ok(MasterKey {
            id: made.id,
            group: group.clone(),
            generation,
            state: KeyState::Active,
            wrapping: made.wrapping,
            canary: made.canary,
            token_label: token.label,
            token_serial: token.serial,
            reserved,
            created: now(),
        })
    }

    /// Makes the next generation of a group's master key, which protects from now on. What the
    /// former ones protected is moved to it in the background. Without an operator it is the
    /// daemon that does it.
    pub(crate) async fn rotate_group(
        self: &Arc<Self>,
        operator: Option<Operator>,
        group: GroupName,
        expected: Option<u32>,
        is_compromised: bool,
    ) -> Result<(), Error> {
        let this = Arc::clone(self);
        to_its_end(async move {
            let writer = &mut *this.writer().await?;
            let generation = change::key::next_generation(&this.state(), &group, expected)?;
            let next = this.make_key(&group, generation).await?;
            let id = next.id;
            let (edit, change) = change::key::rotate_group(&this.state(), next, is_compromised)?;
            let written = this.commit(writer, operator.as_ref(), edit, change).await;
            if was_made(&written) {
                this.moving.wake();
            } else {
                tracing::warn!(key = %id, "a key was made in the token for a generation that was not");
            }
            written
        })
        .await
    }

    /// Does `deed` to a generation of a group's master key.
    pub(crate) async fn live_key(
        self: &Arc<Self>,
        operator: Operator,
        group: GroupName,
        generation: u32,
        deed: Deed,
    ) -> Result<(), Error> {
        let this = Arc::clone(self);
        to_its_end(async move {
            let writer = &mut *this.writer().await?;
            let lived = change::key::live(&this.state(), &group, generation, deed, now());
            let (edit, change) = lived?;
            let written = this.commit(writer, Some(&operator), edit, change).await;
            if was_made(&written) {
                this.moving.wake();
            }
            written
        })
        .await
    }
}
