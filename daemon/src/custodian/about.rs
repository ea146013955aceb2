//! Changes of what is said about groups and secrets.

use std::sync::Arc;

use custody::{
    change,
    group::Repurposed,
    label::Said,
    name::{GroupName, SecretId},
    role::Operator,
};

use super::{Custodian, Error, changes::to_its_end};

impl Custodian {
    /// Says what else a group is for.
    pub(crate) async fn update_group(
        self: &Arc<Self>,
        operator: Operator,
        name: GroupName,
        repurposed: Repurposed,
    ) -> Result<(), Error> {
        let this = Arc::clone(self);
        to_its_end(async move {
            let writer = &mut *this.writer().await?;
            let (edit, change) = change::update_group(&this.state(), &name, repurposed)?;
            this.commit(writer, Some(&operator), edit, change).await
        })
        .await
    }

    /// Says something else about a secret.
    pub(crate) async fn update_secret(
        self: &Arc<Self>,
        operator: Operator,
        id: SecretId,
        said: Said,
    ) -> Result<(), Error> {
        let this = Arc::clone(self);
        to_its_end(async move {
            let writer = &mut *this.writer().await?;
            let (edit, change) = change::update_secret(&this.state(), &id, said)?;
            this.commit(writer, Some(&operator), edit, change).await
        })
        .await
    }
}
