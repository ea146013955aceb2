//! The journal, for those who watch over it.

use std::{pin::Pin, sync::Arc};

use proto::v1;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::Status;

use super::Call;
use crate::{
    api::status::Asked,
    attest::Peer,
    custodian::{Custodian, Error},
    journal::{self, Journal, Reading},
};

/// Lines of the journal as they are sent.
pub(super) type Lines = Pin<Box<dyn Stream<Item = Result<v1::ReadJournalResponse, Status>> + Send>>;

/// How much is sent at once, but for the last line of it.
const CHUNK: usize = 64 << 10;

impl Call<'_> {
    pub(super) fn read_journal(
        self,
        request: v1::ReadJournalRequest,
        peer: Arc<Peer>,
    ) -> Result<Lines, Error> {
        let custodian = Arc::clone(&self.manager.custodian);
        let next = request.from.max(1);
        let reading = custodian.journal().read(next).map_err(Error::Unreadable)?;
        let (sender, receiver) = mpsc::channel(1);
        let reader = Reader {
            asked: self.manager.asked(self.operator.act().operation, peer),
            act: self.operator.act().clone(),
            follow: request.follow,
            custodian,
        };
        tokio::spawn(reader.send(Tail { reading, next }, sender));
        Ok(Box::pin(ReceiverStream::new(receiver)))
    }
}

/// Somebody who reads.
struct Reader {
    custodian: Arc<Custodian>,
    asked: Asked,
    act: custody::role::Act,
    follow: bool,
}

impl Reader {
    async fn send(
        self,
        mut tail: Tail,
        sender: mpsc::Sender<Result<v1::ReadJournalResponse, Status>>,
    ) {
        let journal = self.custodian.journal().clone();
        let mut heads = journal.heads();
        loop {
            let head = *heads.borrow_and_update();
            if tail.next > head {
                let more = async { self.follow && heads.changed().await.is_ok() };
                tokio::select! {
                    more = more => if more { continue } else { return },
                    () = sender.closed() => return,
                }
            }
            let chunk = self.chunk(tail, head).await;
            let (rest, answer) = match chunk {
                Ok((rest, lines)) => (Some(rest), Ok(v1::ReadJournalResponse { lines })),
                Err(error) => (None, self.asked.answer(Err(error))),
            };
            if sender.send(answer).await.is_err() {
                return;
            }
            match rest {
                Some(rest) => tail = rest,
                None => return,
            }
        }
    }

    /// The next lines, for as long as the reader may have them: the role may have been taken
    /// back, and the process may be another one.
    async fn chunk(&self, tail: Tail, head: u64) -> Result<(Tail, String), Error> {
        let Self {
            custodian, asked, ..
        } = self;
        custodian.still_admits(&asked.peer, &self.act).await?;
        tail.chunk(custodian.journal().clone(), head).await
    }
}

/// Where a reader is.
struct Tail {
    reading: Reading,
    /// Number of the next entry it wants.
    next: u64,
}

#[derive(Deserialize)]
struct Numbered {
    seq: u64,
}

impl Tail {
    /// The next lines, at most to entry `head`, which is durable, so each is whole.
    async fn chunk(mut self, journal: Journal, head: u64) -> Result<(Self, String), Error> {
        let read = move || -> Result<_, journal::Error> {
            let mut lines = String::new();
            let mut again = true;
            while self.next <= head && lines.len() < CHUNK {
                let Some(line) = self.reading.next()? else {
                    // A segment has begun since; if there is none, entries are gone.
                    if !std::mem::take(&mut again) {
                        self.next = head + 1;
                        break;
                    }
                    self.reading = journal.read(self.next)?;
                    continue;
                };
                let Ok(Numbered { seq }) = serde_json::from_slice(line) else {
                    continue;
                };
                if seq >= self.next {
                    lines.push_str(&String::from_utf8_lossy(line));
                    lines.push('\n');
                    self.next = seq + 1;
                    again = true;
                }
            }
            Ok((self, lines))
        };
        let read = tokio::task::spawn_blocking(read).await;
        read.map_err(|_| Error::Stopping)?
            .map_err(Error::Unreadable)
    }
}
