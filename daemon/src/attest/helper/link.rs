//! The daemon's side: requests go out as they come, answers come back several at a time.

use std::{
    collections::HashMap,
    io::{self, IoSlice},
    mem::MaybeUninit,
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::net::UnixDatagram as StdDatagram,
    },
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use custody::caller::observation::Doubt;
use prost::Message as _;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recv, sendmsg};
use tokio::{
    io::Interest,
    net::UnixDatagram,
    sync::{oneshot, watch},
    task::JoinHandle,
    time::timeout,
};

use super::{
    super::{digest::Digest, look::Look, surroundings::FileFacts},
    wire::{self, Answers, Ask, DATAGRAM, File, Hash, Request, Said},
};

/// How long a look may take; a hung file system is no reason to keep a peer for ever.
const LOOK: Duration = Duration::from_secs(5);

/// The helper, as the daemon reaches it.
#[derive(Debug)]
pub(in super::super) struct Link {
    line: Arc<Line>,
    ids: AtomicU64,
    reading: JoinHandle<()>,
}

#[derive(Debug)]
struct Line {
    /// A sequence of packets, which to the runtime is as good as datagrams.
    socket: UnixDatagram,
    /// Who waits for which answer; `None` once there will be no more.
    waiting: Mutex<Option<HashMap<u64, oneshot::Sender<Option<Said>>>>>,
    numbers: AtomicU64,
    /// Processes that the helper has not been told to forget yet.
    unforgotten: Mutex<Vec<u64>>,
    lost: watch::Sender<bool>,
}

impl Link {
    /// Reaches the helper at the other end of `socket`.
    pub(in super::super) fn over(socket: OwnedFd) -> io::Result<Self> {
        let socket = StdDatagram::from(socket);
        socket.set_nonblocking(true)?;
        let line = Arc::new(Line {
            socket: UnixDatagram::from_std(socket)?,
            waiting: Mutex::new(Some(HashMap::new())),
            numbers: AtomicU64::new(0),
            unforgotten: Mutex::default(),
            lost: watch::Sender::new(false),
        });
        Ok(Self {
            reading: tokio::spawn(Arc::clone(&line).read()),
            line,
            ids: AtomicU64::new(0),
        })
    }

    /// Waits until the helper is gone.
    pub(in super::super) async fn lost(&self) {
        let mut lost = self.line.lost.subscribe();
        // Its sender is ours.
        drop(lost.wait_for(|lost| *lost).await);
    }

    /// Has it look at a process for the first time.
    pub(in super::super) async fn meet(&self, pidfd: &OwnedFd) -> Result<(Look, Held), Doubt> {
        let held = Held {
            line: Arc::clone(&self.line),
            id: self.ids.fetch_add(1, Ordering::Relaxed),
        };
        let asked = self.line.ask(Ask::Meet(held.id), Some(pidfd.as_fd()));
        match look(timeout(LOOK, asked).await)? {
            Some(look) => Ok((look, held)),
            None => Err(Doubt::Unobservable),
        }
    }

    pub(in super::super) async fn file(&self, path: &str, limit: Option<u64>) -> Option<FileFacts> {
        let path = path.to_owned();
        match self.line.ask(Ask::File(File { path, limit }), None).await? {
            Said::File(found) => Some(found.into()),
            _ => None,
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

/// A process that the helper holds, until this is dropped.
#[derive(Debug)]
pub(in super::super) struct Held {
    line: Arc<Line>,
    id: u64,
}

impl Held {
    /// Looks again; `None` is the same as at first.
    pub(in super::super) async fn again(&self) -> Result<Option<Look>, Doubt> {
        look(timeout(LOOK, self.line.ask(Ask::Again(self.id), None)).await)
    }

    /// Looks again in full.
    pub(in super::super) async fn look(&self) -> Result<Look, Doubt> {
        let look = look(timeout(LOOK, self.line.ask(Ask::Look(self.id), None)).await)?;
        look.ok_or(Doubt::Unobservable)
    }

    pub(in super::super) async fn sha256(&self, uid: u32, limit: u64) -> Option<Digest> {
        let process = self.id;
        self.digest(Ask::Sha256(Hash {
            process,
            uid,
            limit,
        }))
        .await
    }

    pub(in super::super) async fn verity(&self, uid: u32) -> Option<Digest> {
        let process = self.id;
        self.digest(Ask::Verity(Hash {
            process,
            uid,
            limit: 0,
        }))
        .await
    }

    async fn digest(&self, ask: Ask) -> Option<Digest> {
        match self.line.ask(ask, None).await? {
            Said::Digest(digest) => Some(digest.into()),
            _ => None,
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut unforgotten = self.line.unforgotten();
        unforgotten.push(self.id);
        // What does not go out now goes out before the next request.
        drop(self.line.forget(&mut unforgotten));
    }
}

fn look(answer: Result<Option<Said>, tokio::time::error::Elapsed>) -> Result<Option<Look>, Doubt> {
    match answer {
        Ok(Some(Said::Same(true))) => Ok(None),
        Ok(Some(Said::Look(look))) => Ok(Some(look.into())),
        Ok(Some(Said::Doubt(doubt))) => Err(wire::doubt(doubt)),
        Ok(_) => Err(Doubt::Unobservable),
        Err(_) => Err(Doubt::Unanswered),
    }
}

impl Line {
    fn waiting(&self) -> MutexGuard<'_, Option<HashMap<u64, oneshot::Sender<Option<Said>>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unforgotten(&self) -> MutexGuard<'_, Vec<u64>> {
        self.unforgotten
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks; `None` if there is nothing to say, or nobody to say it any more.
    async fn ask(&self, ask: Ask, passed: Option<BorrowedFd<'_>>) -> Option<Said> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        self.waiting().as_mut()?.insert(number, answer);
        // Who stops waiting leaves no place behind.
        let _place = Place { line: self, number };
        let request = Request {
            number,
            ask: Some(ask),
        };
        let bytes = request.encode_to_vec();
        loop {
            let sent = {
                let mut unforgotten = self.unforgotten();
                self.forget(&mut unforgotten)
                    .and_then(|()| self.send(&bytes, passed))
            };
            match sent {
                Ok(()) => break,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.socket.writable().await.ok()?;
                }
                Err(_) => return None,
            }
        }
        answered.await.ok()?
    }

    fn forget(&self, unforgotten: &mut Vec<u64>) -> io::Result<()> {
        while let Some(id) = unforgotten.last() {
            let request = Request {
                number: 0,
                ask: Some(Ask::Forget(*id)),
            };
            self.send(&request.encode_to_vec(), None)?;
            unforgotten.pop();
        }
        Ok(())
    }

    fn send(&self, bytes: &[u8], passed: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut room);
        let passed = passed.as_slice();
        if !passed.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(passed));
        }
        self.socket.try_io(Interest::WRITABLE, || {
            let bytes = [IoSlice::new(bytes)];
            sendmsg(&self.socket, &bytes, &mut control, SendFlags::NOSIGNAL)?;
            Ok(())
        })
    }

    /// Hands out answers until there are no more.
    async fn read(self: Arc<Self>) {
        let mut buffer = vec![0; DATAGRAM];
        while self.socket.readable().await.is_ok() {
            let received = self.socket.try_io(Interest::READABLE, || {
                let (bytes, _) = recv(&self.socket, &mut buffer[..], RecvFlags::empty())?;
                Ok(bytes)
            });
            let bytes = match received {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Ok(0) | Err(_) => break,
                Ok(bytes) => bytes,
            };
            let Ok(Answers { answers }) = Answers::decode(&buffer[..bytes]) else {
                break;
            };
            let mut waiting = self.waiting();
            for answer in answers {
                let place = waiting.as_mut().and_then(|all| all.remove(&answer.number));
                // Whoever asked may have given up.
                drop(place.map(|place| place.send(answer.said)));
            }
        }
        drop(self.waiting().take());
        self.lost.send_replace(true);
    }
}

struct Place<'a> {
    line: &'a Line,
    number: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(waiting) = self.line.waiting().as_mut() {
            waiting.remove(&self.number);
        }
    }
}
