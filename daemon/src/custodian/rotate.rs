//! New versions of secrets whose content is made here.

use std::sync::Arc;

use custody::{
    change::{
        put::{self, Terms},
        rotate,
    },
    label::About,
    name::{SecretId, VersionId},
    random::Random,
    role::Operator,
    secret::{Kind, make::Order},
};

use super::{Custodian, Error, changes::to_its_end, secrets::New};

impl Custodian {
    /// Makes content for a new version of a secret and writes it; the secret is made, too,
    /// if it is said of which type.
    pub(crate) async fn rotate_secret(
        self: &Arc<Self>,
        operator: Operator,
        id: SecretId,
        kind: Option<Kind>,
        about: About,
        order: Order,
        terms: Terms,
    ) -> Result<VersionId, Error> {
        let this = Arc::clone(self);
        to_its_end(async move {
            let writer = &mut *this.writer().await?;
            let subject = rotate::subject(&this.state(), &id, kind)?;
            subject.kind.can_be_made()?;
            let place = put::next_version(&this.state(), &id, subject.kind, terms)?;
            let mut random = this.random().await?;
            let fields = subject
                .kind
                .make(subject.former.as_ref(), &order, &mut random)?;
            let accepted = this.mill.accept(subject.kind, fields).await??;
            this.write(writer, &operator, place, New::made(about, accepted), terms)
                .await
        })
        .await
    }

    /// A generator for one secret, seeded by the token and the system.
    pub(super) async fn random(&self) -> Result<Random, Error> {
        let token = self.tokens.random(Random::SEED).await;
        let token = token.map_err(Error::Hsm)?;
        Random::seeded(&token).map_err(Error::Seal)
    }
}
