//! Certificates: a key is made here and requested for, and what an authority signed for it is
//! taken back.

use std::sync::Arc;

use custody::{
    change::{
        self, life,
        put::{self, Terms},
        rotate,
    },
    inward::{self, Certify, Purpose, Renew},
    label::About,
    name::{SecretId, VersionId},
    role::Operator,
    secret::{Kind, Refused, request::Wish},
};

use super::{
    Custodian, Error,
    changes::{now, to_its_end},
    secrets::New,
};

impl Custodian {
    /// Makes a key pair and a request for its certificate, and stores both as a version that
    /// is not delivered.
    pub(crate) async fn request_certificate(
        self: &Arc<Self>,
        operator: Operator,
        id: SecretId,
        kind: Kind,
        about: About,
        wish: Wish,
        terms: Terms,
    ) -> Result<VersionId, Error> {
        let this = Arc::clone(self);
        to_its_end(async move {
            let writer = &mut *this.writer().await?;
            let subject = rotate::subject(&this.state(), &id, Some(kind))?;
            let place = put::next_version(&this.state(), &id, kind, terms)?;
            let current = this.current_version(&id);
            let chain = match current.filter(|_| wish.lacks()) {
                Some(current) => Some(this.use_content::<Renew>(&operator, current).await?),
                None => None,
            };
            let former = subject.former.unwrap_or_default();
            let mut random = this.random().await?;
            let make = move || wish.make(chain.as_deref(), &former, &mut random);
            let accepted = this.mill.take(make).await??;
            this.write(writer, &operator, place, New::made(about, accepted), terms)
                .await
        })
        .await
    }

    /// Writes the version that a request led to: its key, and the chain that was signed for
    /// it. The request is destroyed by the same change.
    pub(crate) async fn certify(
        self: &Arc<Self>,
        operator: Operator,
        id: SecretId,
        chain: Vec<u8>,
        terms: Terms,
    ) -> Result<VersionId, Error> {
        let this = Arc::clone(self);
        to_its_end(async move {
            let writer = &mut *this.writer().await?;
            let (kind, request) = this.requested(&id)?;
            let number = request.number;
            let place = put::next_version(&this.state(), &id, kind, terms)?;
            let key = this.use_content::<Certify>(&operator, request).await?;
            let accepted = this.mill.accept(kind, key.with(chain)).await??;
            if accepted
                .kind
                .ends(&accepted.properties)
                .is_some_and(|end| end <= now())
            {
                return Err(Refused::Invalid(
                    "\"certificate-chain\" holds a certificate that has ended".to_owned(),
                )
                .into());
            }
            let new = New {
                certifies: Some(number),
                ..New::made(About::default(), accepted)
            };
            this.write(writer, &operator, place, new, terms).await
        })
        .await
    }

    /// The version of a secret that waits for its certificate, and the secret's type.
    pub(crate) fn requested(&self, id: &SecretId) -> Result<(Kind, VersionId), Error> {
        let state = self.state();
        let secret = state.secret(id)?;
        let missing = || change::Error::NotRequested(id.clone());
        let request = life::requested(secret).ok_or_else(missing)?;
        Ok((secret.row().kind, request.row().id.clone()))
    }

    fn current_version(&self, id: &SecretId) -> Option<VersionId> {
        let state = self.state();
        let current = state.secret(id).ok()?.current()?;
        Some(current.row().id.clone())
    }

    /// Opens a version for the daemon's own use, after that is on record.
    async fn use_content<P: Purpose>(
        &self,
        operator: &Operator,
        version: VersionId,
    ) -> Result<P::Leaves, Error> {
        let intent = self.state().intend::<P>(operator, &version);
        let intent = intent.map_err(|reason| change::Error::Unopened {
            version: version.clone(),
            reason,
        })?;
        let permit = inward::record(intent, &self.journal).await;
        let permit = permit.map_err(Error::Unrecorded)?;
        let stored = self
            .database
            .content(version)
            .await
            .map_err(Error::Database)?;
        let claim = permit.claim(stored)?;
        let opened = self.tokens.unwrap(claim).await.map_err(Error::Hsm)?;
        opened.ok_or(Error::NoFields)
    }
}
