//! Checkpoints: the journal key vouches for the journal.

use std::time::Duration;

use custody::journal::Event;

use super::{Custodian, Error};

impl Custodian {
    /// Signs the journal whenever so many entries wait for it, or `interval` has passed.
    pub(crate) async fn keep_checkpoints(&self, interval: impl Fn() -> Duration) {
        loop {
            // Whichever comes first; a checkpoint that fails is tried again after the other.
            let due = self.journal.checkpoint_due();
            drop(tokio::time::timeout(interval(), due).await);
            if let Err(error) = self.checkpoint().await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the journal could not be signed; it will be tried again"
                );
            }
        }
    }

    /// Signs the journal as it is, unless nothing but the last checkpoint is new.
    pub(crate) async fn checkpoint(&self) -> Result<(), Error> {
        let position = self.journal.position();
        if position.head.seq <= position.covered + 1 {
            return Ok(());
        }
        let head = position.head;
        let digest = head.checkpoint_digest(&self.system.instance);
        let signature = self
            .hsm
            .sign(&self.system.journal_key, digest)
            .await
            .map_err(Error::Hsm)?;
        let checkpoint = Event::Checkpoint {
            covers: head.seq,
            hash: head.hash.to_string(),
            signature: hex::encode(signature),
        };
        self.record(checkpoint).await?;
        Ok(())
    }
}
