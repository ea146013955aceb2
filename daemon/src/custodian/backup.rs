//! A backup: the database of one moment, the journal up to it, and the journal key's word for both.

use std::sync::Arc;

use custody::{
    backup::{FORMAT, Manifest, Unsigned},
    journal::{Event, change::Settled},
    name::BackupId,
};
use jiff::Timestamp;
use tokio::sync::watch;

use super::{Custodian, Error, changes::to_its_end};
use crate::{
    backup::{self, Copied, Kept, Preparing, Source},
    history::When,
};

impl Custodian {
    /// The backup of that name, if it is still kept.
    pub(crate) fn kept(&self, backup: BackupId) -> Result<Arc<Kept>, Error> {
        Ok(self.shelf.find(backup)?)
    }

    /// Makes a backup and keeps it for a while. Changes wait for a moment, and deliveries not
    /// at all.
    pub(crate) async fn back_up(
        self: &Arc<Self>,
        told: watch::Sender<Preparing>,
    ) -> Result<Arc<Kept>, Error> {
        let this = Arc::clone(self);
        to_its_end(async move {
            let place = this.shelf.place()?;
            this.keep_usage(When::Stopping).await;
            let folder = this.folder.clone();
            let source = blocking(move || Source::open(place, &folder)).await?;
            let (pinned, settled, end) = {
                // Whoever has it knows that every change is in the database and on record.
                let _writer = this.writer().await?;
                let pinned = blocking(|| source.pin()).await?;
                let settled = this.state().settled_at(pinned.change());
                (pinned, settled, this.journal.position())
            };
            let journal = this.journal.clone();
            let copied = blocking(move || pinned.copy(&journal, end, &told)).await?;
            this.seal(copied, settled).await
        })
        .await
    }

    /// Has a journal key vouch for what was copied, and records that it is there.
    async fn seal(&self, copied: Copied, settled: Settled) -> Result<Arc<Kept>, Error> {
        let origin = self.journal.origin();
        let unsigned = Unsigned::new(Manifest {
            format: FORMAT,
            backup: BackupId::random().map_err(|_| Error::Random)?,
            instance: origin.instance,
            created: Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            token_label: self.system.token_label.clone(),
            token_serial: self.system.token_serial.clone(),
            public_key: origin.public_key.clone(),
            vouchers: self.state().vouchers(),
            settled,
            journal: copied.end,
            members: copied.members,
        });
        let signature = self.sign(unsigned.digest()).await?;
        let sealed = unsigned.sign(&signature);
        self.record(Event::Backup {
            backup: sealed.manifest().backup,
            manifest: sealed.hash(),
            through: copied.end.seq,
            size: sealed.size(),
        })
        .await?;
        Ok(self.shelf.keep(copied.place, sealed))
    }
}

async fn blocking<T: Send + 'static>(
    job: impl FnOnce() -> Result<T, backup::Error> + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(job).await;
    Ok(done.map_err(|_| Error::Stopping)??)
}
