//! Changes of secrets and their versions.

use std::{sync::Arc, time::Duration};

use custody::{
    change::{
        life::{self, Deed},
        put::{self, Place, Terms, Written},
    },
    envelope::{Context, PlaintextDek, SealedContent, WrappedDek},
    group::Millis,
    journal::change::Change,
    label::About,
    name::{KeyId, SecretId, VersionId},
    role::Operator,
    secret::{Accepted, Kind, fields::Fields, version::Which},
};

use futures_util::future::join_all;

use super::{
    Custodian, Error,
    changes::{Writer, now, to_its_end, was_made},
};

/// What is to be written.
#[derive(Debug)]
pub(crate) struct Wish {
    pub(crate) id: SecretId,
    pub(crate) kind: Kind,
    /// What is said about the secret, if this makes it.
    pub(crate) about: About,
    pub(crate) fields: Fields,
}

/// What a write came to.
#[derive(Debug)]
pub(crate) struct Put {
    pub(crate) version: VersionId,
    /// Whether nothing was written, since the current version has this content already.
    pub(crate) is_unchanged: bool,
}

/// Content for a new version.
#[derive(Debug)]
pub(super) struct New {
    /// What is said about the secret, if this makes it.
    pub(super) about: About,
    pub(super) accepted: Accepted,
    /// Whether it was made here.
    pub(super) is_made: bool,
    /// The version that it takes the place of, which was its key alone.
    pub(super) certifies: Option<u32>,
}

impl New {
    /// Content that was made here.
    pub(super) fn made(about: About, accepted: Accepted) -> Self {
        Self {
            about,
            accepted,
            is_made: true,
            certifies: None,
        }
    }
}

/// How often it is looked for versions whose time to be destroyed has come.
const LOOK: Duration = Duration::from_secs(60);

impl Custodian {
    /// Writes a version of a secret, sealed under a data key of its own; or says which one
    /// has this content already.
    pub(crate) async fn put_secret(
        self: &Arc<Self>,
        operator: Operator,
        wish: Wish,
        terms: Terms,
    ) -> Result<Put, Error> {
        let Wish {
            id,
            kind,
            about,
            fields,
        } = wish;
        let accepted = self.mill.accept(kind, fields).await??;
        let this = Arc::clone(self);
        to_its_end(async move {
            let writer = &mut *this.writer().await?;
            put::check_about(&this.state(), &id, &about)?;
            // Before it is asked which version is current: a write that is repeated, since its
            // answer was lost, finds that it took effect.
            if let Some(version) = this.unchanged(&id, &accepted, terms) {
                return Ok(Put {
                    version,
                    is_unchanged: true,
                });
            }
            let place = put::next_version(&this.state(), &id, kind, terms)?;
            let new = New {
                about,
                accepted,
                is_made: false,
                certifies: None,
            };
            let version = this.write(writer, &operator, place, new, terms).await?;
            Ok(Put {
                version,
                is_unchanged: false,
            })
        })
        .await
    }

    /// The current version, if it has this content already and no other is insisted on.
    fn unchanged(&self, id: &SecretId, accepted: &Accepted, terms: Terms) -> Option<VersionId> {
        let state = self.state();
        let fingerprint = state.fingerprint(id, &accepted.content);
        let same = put::unchanged(&state, id, accepted.kind, fingerprint);
        same.filter(|_| !terms.even_if_same)
    }

    /// Writes a version in its place, and tells those who watch the secret.
    pub(super) async fn write(
        &self,
        writer: &mut Writer,
        operator: &Operator,
        place: Place,
        new: New,
        terms: Terms,
    ) -> Result<VersionId, Error> {
        let New {
            about,
            accepted,
            is_made,
            certifies,
        } = new;
        let version = place.version.clone();
        let id = &version.secret;
        let fingerprint = self.state().fingerprint(id, &accepted.content);
        let dek = PlaintextDek::generate().map_err(Error::Seal)?;
        let kind = accepted.kind.name();
        let context = Context::Content {
            version: &version,
            kind,
        };
        let sealed = SealedContent::seal(&accepted.content, &dek, context).map_err(Error::Seal)?;
        let wraps = self.protect(writer, &place, kind, &dek).await?;
        let is_missed = wraps.len() < place.keys.len();
        let written = Written {
            about: &about,
            accepted: &accepted,
            fingerprint,
            is_made,
            certifies,
            sealed,
            wraps,
        };
        let (edit, change) = put::put_secret(&self.state(), place, written, terms, operator, now())
            .map_err(|error| self.veiled(operator, error))?;
        let written = self.commit(writer, Some(operator), edit, change).await;
        if was_made(&written) {
            self.announce(id.clone());
            if is_missed {
                self.mind_keys();
            }
        }
        written?;
        Ok(version)
    }

    /// Wraps `dek` under each master key of its place, as far as their tokens do it and at least
    /// as far as the group's policy wants.
    async fn protect(
        &self,
        writer: &mut Writer,
        place: &Place,
        kind: &str,
        dek: &PlaintextDek,
    ) -> Result<Vec<(KeyId, WrappedDek)>, Error> {
        let group = &place.version.secret.group;
        let mut asked = Vec::with_capacity(place.keys.len());
        let mut problem = None;
        for key in &place.keys {
            match self.tokens.client(&key.token) {
                Ok(client) => {
                    let counted = self.count(writer, group, &key.id).await?;
                    let context = Context::Dek {
                        version: &place.version,
                        kind,
                        gmk: &key.id,
                    };
                    asked.push(async move {
                        let wrapped = client.protect_dek(counted, dek, context).await;
                        wrapped.map(|wrapped| (key.id, wrapped))
                    });
                }
                Err(error) => problem = Some(error),
            }
        }
        let mut wraps = Vec::with_capacity(asked.len());
        for outcome in join_all(asked).await {
            match outcome {
                Ok(wrap) => wraps.push(wrap),
                Err(error) => problem = Some(error),
            }
        }
        match problem {
            Some(problem) if !self.holders(group)?.suffice(wraps.len()) => Err(Error::Hsm(problem)),
            Some(problem) => {
                // How its token does is told once, and not for each write.
                tracing::debug!(%group, %problem, "a token misses a data key; it gets it later");
                Ok(wraps)
            }
            None => Ok(wraps),
        }
    }

    /// Deletes a secret with all its versions; says how many there were. If somebody used
    /// it of late, that has to be forced.
    pub(crate) async fn delete_secret(
        self: &Arc<Self>,
        operator: Operator,
        id: SecretId,
        force: bool,
    ) -> Result<u32, Error> {
        let this = Arc::clone(self);
        to_its_end(async move {
            let writer = &mut *this.writer().await?;
            // What refers to it is named first: no force helps against that.
            let (edit, change) = put::delete_secret(&this.state(), &id)
                .map_err(|error| this.veiled(&operator, error))?;
            if !force {
                this.check_unused(&operator, &id, None, &edit)?;
            }
            let versions = match &change {
                Change::DeleteSecret { versions, .. } => *versions,
                _ => 0,
            };
            let written = this.commit(writer, Some(&operator), edit, change).await;
            if was_made(&written) {
                this.usage().forget_secret(&id);
                this.announce(id);
            }
            written?;
            Ok(versions)
        })
        .await
    }

    /// Makes a version the current one.
    pub(crate) async fn activate(
        self: &Arc<Self>,
        operator: Operator,
        id: SecretId,
        which: Which,
        overlap: Option<Millis>,
    ) -> Result<(), Error> {
        let this = Arc::clone(self);
        to_its_end(async move {
            let writer = &mut *this.writer().await?;
            let (edit, change) = life::activate(&this.state(), &id, which, overlap, now())
                .map_err(|error| this.veiled(&operator, error))?;
            let written = this.commit(writer, Some(&operator), edit, change).await;
            if was_made(&written) {
                this.announce(id);
            }
            written
        })
        .await
    }

    /// Enables, disables, dooms or restores a version; says which. If somebody used it of
    /// late and would not get it any more, that has to be forced.
    pub(crate) async fn live(
        self: &Arc<Self>,
        operator: Operator,
        id: SecretId,
        which: Which,
        deed: Deed,
        force: bool,
    ) -> Result<u32, Error> {
        let this = Arc::clone(self);
        to_its_end(async move {
            let writer = &mut *this.writer().await?;
            let (edit, change) = life::live(&this.state(), &id, which, deed, now())
                .map_err(|error| this.veiled(&operator, error))?;
            let number = match &change {
                Change::VersionFate { versions, .. } => versions.first().copied(),
                _ => None,
            };
            let number = number.unwrap_or(0);
            if matches!(deed, Deed::Disable | Deed::Destroy(_)) && !force {
                this.check_unused(&operator, &id, Some(number), &edit)?;
            }
            let written = this.commit(writer, Some(&operator), edit, change).await;
            if was_made(&written) {
                this.announce(id);
            }
            written?;
            Ok(number)
        })
        .await
    }

    /// Destroys versions when their time has come, until it is dropped.
    pub(crate) async fn keep_promises_to_destroy(self: &Arc<Self>) {
        loop {
            let due = life::due(&self.state(), now());
            for id in due {
                if let Err(error) = self.shred(id.clone()).await {
                    tracing::warn!(
                        secret = %id,
                        error = &error as &dyn std::error::Error,
                        "versions whose time has come are not destroyed yet; it will be tried again"
                    );
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn shred(self: &Arc<Self>, id: SecretId) -> Result<(), Error> {
        let this = Arc::clone(self);
        to_its_end(async move {
            let writer = &mut *this.writer().await?;
            let shredding = life::shred(&this.state(), &id, now());
            match shredding {
                Some((edit, change)) => this.commit(writer, None, edit, change).await,
                None => Ok(()),
            }
        })
        .await
    }
}
