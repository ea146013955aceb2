//! A backup, in pieces.

use std::{pin::Pin, sync::Arc, time::Duration};

use custody::role::Act;
use proto::v1::{self, backup_response::Step};
use tokio::sync::{mpsc, watch};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::Status;

use super::Call;
use crate::{
    api::{parse, status::Asked},
    attest::Peer,
    backup::{Kept, Preparing},
    custodian::{Custodian, Error},
};

/// A backup, as it is answered.
pub(super) type Pieces = Pin<Box<dyn Stream<Item = Result<v1::BackupResponse, Status>> + Send>>;

/// How much is sent at once.
const CHUNK: usize = 512 << 10;

/// How often whoever waits is told how far it is.
const TELL: Duration = Duration::from_millis(200);

/// Whoever takes nothing for so long has to come again.
const STALLED: Duration = Duration::from_secs(60);

impl Call<'_> {
    pub(super) fn backup(
        self,
        request: v1::BackupRequest,
        peer: Arc<Peer>,
    ) -> Result<Pieces, Error> {
        let custodian = Arc::clone(&self.manager.custodian);
        let v1::BackupRequest { backup, offset } = request;
        let named = backup.map(|name| parse("backup", &name)).transpose()?;
        let kept = named.map(|name| custodian.kept(name)).transpose()?;
        if let Some(kept) = &kept {
            kept.check(offset)?;
        }
        let (sender, receiver) = mpsc::channel(1);
        let giver = Giver {
            asked: self.manager.asked(self.operator.act().operation, peer),
            act: self.operator.act().clone(),
            custodian,
            sender,
        };
        tokio::spawn(async move {
            let given = giver.give(kept, offset).await;
            if let Err(error) = given {
                let answer = giver.asked.answer(Err(error));
                // Whoever asked may be the reason.
                drop(giver.sender.send(answer).await);
            }
        });
        Ok(Box::pin(ReceiverStream::new(receiver)))
    }
}

/// One who gives a backup to whoever asked for it.
struct Giver {
    custodian: Arc<Custodian>,
    asked: Asked,
    act: Act,
    sender: mpsc::Sender<Result<v1::BackupResponse, Status>>,
}

/// Nobody listens any more.
struct Gone;

impl Giver {
    /// Gives `kept` from `offset` on; without one, makes one, and gives all of it.
    async fn give(&self, kept: Option<Arc<Kept>>, offset: u64) -> Result<(), Error> {
        let (kept, mut offset) = match kept {
            Some(kept) => (kept, offset),
            None => (self.make().await?, 0),
        };
        let begun = v1::BackupBegun {
            backup: kept.name().to_string(),
            size: kept.size(),
            offset,
        };
        if self.say(Step::Begun(begun)).await.is_err() {
            return Ok(());
        }
        while offset < kept.size() {
            // A role that was revoked since gives no more.
            let peer = &self.asked.peer;
            self.custodian.still_admits(peer, &self.act).await?;
            let from = Arc::clone(&kept);
            let read = tokio::task::spawn_blocking(move || from.read(offset, CHUNK)).await;
            let data = read.map_err(|_| Error::Stopping)??;
            offset += data.len() as u64;
            if self.say(Step::Data(data)).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn make(&self) -> Result<Arc<Kept>, Error> {
        let (told, progress) = watch::channel(Preparing::default());
        let making = self.custodian.back_up(told);
        tokio::pin!(making);
        loop {
            tokio::select! {
                made = &mut making => return made,
                () = tokio::time::sleep(TELL) => {
                    let Preparing { done, all } = *progress.borrow();
                    let preparing = v1::BackupPreparing { done, all };
                    // It is made, and kept, whether or not somebody waits.
                    drop(self.say(Step::Preparing(preparing)).await);
                }
            }
        }
    }

    async fn say(&self, step: Step) -> Result<(), Gone> {
        let answer = v1::BackupResponse { step: Some(step) };
        let sent = tokio::time::timeout(STALLED, self.sender.send(Ok(answer))).await;
        sent.map_err(|_| Gone)?.map_err(|_| Gone)
    }
}
