//! The helper's side: one life, from the first request to the end of its input.

use std::{
    collections::{HashMap, hash_map::Entry},
    io::{self, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd as _, OwnedFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use custody::caller::observation::{Doubt, Process};
use prost::Message as _;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendFlags, recvmsg, send,
};

use super::{
    super::{
        digest::{Digest, Digests, Reply as Told},
        look::{Host, Missed, Patience, Watched},
        pidfd,
    },
    wire::{Answer, Answers, Ask, DATAGRAM, ENOUGH, Request, Said},
};

/// Answers at the other end of `socket`, until that is closed. Holds at most `capacity`
/// processes.
pub(super) fn serve(socket: OwnedFd, capacity: usize) -> io::Result<()> {
    let desk = Arc::new(Desk {
        socket,
        host: Host::here()?,
        digests: Arc::new(Digests::open()?),
        known: Mutex::default(),
        capacity,
    });
    let mut buffer = vec![0; DATAGRAM];
    loop {
        let mut answers = Vec::new();
        let mut size = 0;
        // Sleeps until there is a first request; takes what else has come by then.
        let mut flags = RecvFlags::empty();
        while size < ENOUGH {
            match receive(&desk.socket, &mut buffer, flags)? {
                Received::Closed => return Ok(()),
                Received::Nothing => break,
                Received::Request(request, passed) => {
                    let answer = desk.answer(request, passed);
                    size += answer.as_ref().map_or(0, Answer::encoded_len);
                    answers.extend(answer);
                }
            }
            flags = RecvFlags::DONTWAIT;
        }
        desk.say(answers)?;
    }
}

enum Received {
    Request(Request, Option<OwnedFd>),
    Nothing,
    Closed,
}

fn receive(socket: &OwnedFd, buffer: &mut [u8], flags: RecvFlags) -> io::Result<Received> {
    let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut room);
    let flags = flags | RecvFlags::CMSG_CLOEXEC;
    let received = {
        let mut into = [IoSliceMut::new(buffer)];
        match recvmsg(socket, &mut into, &mut control, flags) {
            Ok(received) => received,
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {
                return Ok(Received::Nothing);
            }
            Err(error) => return Err(error.into()),
        }
    };
    if received.bytes == 0 {
        return Ok(Received::Closed);
    }
    let mut passed = None;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            passed = descriptors.into_iter().next();
        }
    }
    if received.flags.contains(ReturnFlags::TRUNC) {
        return Err(io::Error::other("a request is too long"));
    }
    let request = Request::decode(&buffer[..received.bytes]).map_err(io::Error::other)?;
    Ok(Received::Request(request, passed))
}

struct Desk {
    socket: OwnedFd,
    host: Host,
    digests: Arc<Digests>,
    /// By the id that the daemon gave; `None` while it is being looked at for the first
    /// time.
    known: Mutex<HashMap<u64, Option<Watched>>>,
    capacity: usize,
}

/// On whose account files are looked at: the operators'.
const OPERATORS: u32 = 0;

impl Desk {
    /// What can be said at once. The rest is said later.
    fn answer(self: &Arc<Self>, request: Request, passed: Option<OwnedFd>) -> Option<Answer> {
        let number = request.number;
        match request.ask? {
            Ask::Meet(id) => {
                let Some(pidfd) = passed.map(Arc::new).filter(|_| self.expects(id)) else {
                    let said = Some(Doubt::Unobservable.into());
                    return Some(Answer { number, said });
                };
                let met = Arc::clone(&pidfd);
                self.look(number, &pidfd, move |desk, patience| {
                    let (look, watched) = Watched::meet(&desk.host, &met, patience)?;
                    // It may have been forgotten by now.
                    desk.lock()
                        .entry(id)
                        .and_modify(|known| *known = Some(watched));
                    Ok(Said::Look(look.into()))
                })
            }
            Ask::Again(id) => self.watch(number, id, |desk, watched, patience| {
                let look = watched.again(&desk.host, patience)?;
                Ok(look.map_or(Said::Same(true), |look| Said::Look(look.into())))
            }),
            Ask::Look(id) => self.watch(number, id, |desk, watched, patience| {
                let look = watched.look(&desk.host, patience)?;
                Ok(Said::Look(look.into()))
            }),
            Ask::Sha256(hash) => {
                let reply = self.reply(number).digest();
                let watched = self.known(hash.process)?;
                self.digests
                    .sha256(&watched.pidfd, hash.uid, hash.limit, reply);
                None
            }
            Ask::Verity(hash) => {
                let reply = self.reply(number).digest();
                let watched = self.known(hash.process)?;
                self.digests.verity(&watched.pidfd, hash.uid, reply);
                None
            }
            Ask::File(file) => {
                let (desk, reply) = (Arc::clone(self), self.reply(number));
                self.digests.desk.submit(OPERATORS, move || {
                    if let Some(found) = desk.host.file(&file.path, file.limit) {
                        reply.say(Said::File(found.into()));
                    }
                });
                None
            }
            Ask::Forget(id) => {
                self.lock().remove(&id);
                None
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Option<Watched>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes room for a process, if there is any.
    fn expects(&self, id: u64) -> bool {
        let mut known = self.lock();
        let full = known.len() >= self.capacity;
        match known.entry(id) {
            Entry::Vacant(place) if !full => {
                place.insert(None);
                true
            }
            _ => false,
        }
    }

    fn known(&self, id: u64) -> Option<Watched> {
        self.lock().get(&id)?.clone()
    }

    fn watch(
        self: &Arc<Self>,
        number: u64,
        id: u64,
        look: impl Fn(&Self, &Watched, Patience) -> Result<Said, Missed> + Send + 'static,
    ) -> Option<Answer> {
        let Some(watched) = self.known(id) else {
            let said = Some(Doubt::Unobservable.into());
            return Some(Answer { number, said });
        };
        let pidfd = Arc::clone(&watched.pidfd);
        self.look(number, &pidfd, move |desk, patience| {
            look(desk, &watched, patience)
        })
    }

    /// Looks at once; or, where that would keep others waiting, later.
    fn look(
        self: &Arc<Self>,
        number: u64,
        pidfd: &OwnedFd,
        look: impl Fn(&Self, Patience) -> Result<Said, Missed> + Send + 'static,
    ) -> Option<Answer> {
        let said = match look(self, Patience::None) {
            Ok(said) => said,
            Err(Missed::Doubt(doubt)) => doubt.into(),
            Err(Missed::Waiting) => {
                let (desk, reply) = (Arc::clone(self), self.reply(number));
                let owner = pidfd::process(pidfd.as_fd()).map(Process::from);
                let uid = owner.map_or(u32::MAX, |process| process.uids[0]);
                self.digests.desk.submit(uid, move || {
                    reply.say(
                        look(&desk, Patience::Unbounded)
                            .unwrap_or_else(|missed| Doubt::from(missed).into()),
                    );
                });
                return None;
            }
        };
        Some(Answer {
            number,
            said: Some(said),
        })
    }

    fn reply(self: &Arc<Self>, number: u64) -> Reply {
        Reply {
            desk: Arc::clone(self),
            number,
            said: None,
        }
    }

    fn say(&self, answers: Vec<Answer>) -> io::Result<()> {
        if answers.is_empty() {
            return Ok(());
        }
        let bytes = Answers { answers }.encode_to_vec();
        loop {
            match send(&self.socket, &bytes, SendFlags::NOSIGNAL) {
                Ok(_) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// An answer that is still to be given: an empty one, when dropped.
struct Reply {
    desk: Arc<Desk>,
    number: u64,
    said: Option<Said>,
}

impl Reply {
    fn say(mut self, said: Said) {
        self.said = Some(said);
    }

    fn digest(self) -> Told {
        Box::new(|digest: Digest| self.say(Said::Digest(digest.into())))
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        let answer = Answer {
            number: self.number,
            said: self.said.take(),
        };
        // If nobody is there to hear it, the first to wait for a request ends.
        drop(self.desk.say(vec![answer]));
    }
}
