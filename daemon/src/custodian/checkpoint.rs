//! Checkpoints: a journal key vouches for the journal.

use std::{sync::Arc, time::Duration};

use custody::journal::Event;

use super::{Custodian, Error};
use crate::history::{self, When};

/// How long to wait after a checkpoint that failed, whatever is written meanwhile.
const PAUSE: Duration = Duration::from_secs(1);

impl Custodian {
    /// Signs the journal whenever so many entries wait for it, or `interval` has passed.
    pub(crate) async fn keep_checkpoints(self: &Arc<Self>, interval: impl Fn() -> Duration) {
        let mut is_failing = false;
        loop {
            // Whichever comes first.
            let due = self.journal.checkpoint_due();
            drop(tokio::time::timeout(interval(), due).await);
            let was_failing = is_failing;
            match self.checkpoint().await {
                Ok(()) => is_failing = false,
                Err(error) => {
                    is_failing = true;
                    if !was_failing {
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "the journal cannot be signed; it is tried again and again"
                        );
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
            if was_failing && !is_failing {
                tracing::info!("the journal is signed again");
            }
            self.keep_usage(When::Worth).await;
        }
    }

    /// Keeps what is known of use, so that the next start need not read it all again.
    pub(crate) async fn keep_usage(self: &Arc<Self>, when: When) {
        let this = Arc::clone(self);
        let keep = move || history::keep(&this.folder, &this.journal, &this.state, when);
        // It logs what goes wrong; without it nothing is lost but time.
        drop(tokio::task::spawn_blocking(keep).await);
    }

    /// Signs the journal as it is, unless nothing but the last checkpoint is new.
    pub(crate) async fn checkpoint(&self) -> Result<(), Error> {
        let position = self.journal.position();
        if position.head.seq <= position.covered + 1 {
            return Ok(());
        }
        let head = position.head;
        let digest = head.checkpoint_digest(&self.system.instance);
        let signature = self.sign(digest).await?;
        let checkpoint = Event::Checkpoint {
            covers: head.seq,
            hash: head.hash.to_string(),
            signature: signature.to_string(),
        };
        self.record(checkpoint).await?;
        Ok(())
    }
}
