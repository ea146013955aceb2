//! The threads of a worker: each takes its share of the requests that have arrived, and answers them in one write.

use std::{
    io::{self, Read as _, Write as _},
    num::NonZeroUsize,
    os::unix::net::UnixStream,
    process,
    sync::{Mutex, PoisonError, RwLock},
    thread,
};

use zeroize::Zeroize as _;

use super::{desk::Desk, key::Keys, token::Token};
use crate::{
    Error,
    wire::{self, Answer, BadFrame, Inbox, Request},
};

/// The most requests that a thread takes at once, so that the others get theirs.
const SHARE: usize = 16;

/// What the threads share. Whoever holds the input reads for all.
struct Counter {
    input: Mutex<Input>,
    output: Mutex<UnixStream>,
    threads: usize,
}

struct Input {
    socket: UnixStream,
    inbox: Inbox,
}

/// Serves until the parent closes its end. Of the keys that are kept outside, the token has `room`
/// for so many at a time, and at least for one of each session: none takes that of another which is
/// about to use it.
pub(super) fn serve(
    token: &Token,
    socket: UnixStream,
    inbox: Inbox,
    sessions: NonZeroUsize,
    room: NonZeroUsize,
) -> Result<(), Error> {
    let lost = |error: io::Error| Error::WorkerUnusable(format!("its socket failed: {error}"));
    let counter = Counter {
        output: Mutex::new(socket.try_clone().map_err(lost)?),
        input: Mutex::new(Input { socket, inbox }),
        threads: sessions.get(),
    };
    let keys = RwLock::new(Keys::new(token.codes().clone(), room.max(sessions)));
    let desks: Vec<_> = (0..sessions.get())
        .map(|_| Desk::new(token, &keys))
        .collect::<Result<_, _>>()?;
    thread::scope(|scope| {
        for desk in desks {
            let counter = &counter;
            thread::Builder::new()
                .name("hsm-session".to_owned())
                .spawn_scoped(scope, move || counter.work(desk))
                .map_err(lost)?;
        }
        Ok(())
    })
}

/// Ends the process with the first thread that ends, however it ends.
struct EndsTogether;

impl Drop for EndsTogether {
    fn drop(&mut self) {
        process::exit(1);
    }
}

impl Counter {
    fn work(&self, mut desk: Desk<'_>) {
        let _ends = EndsTogether;
        let (mut requests, mut out) = (Vec::with_capacity(SHARE), Vec::with_capacity(4096));
        loop {
            match self.take(&mut requests) {
                Ok(true) => {}
                Ok(false) => desk.leave_when_idle(),
                Err(error) => {
                    tracing::error!(%error, "the parent cannot be understood");
                    return;
                }
            }
            let mut is_lost = false;
            for Request { id, op } in requests.drain(..) {
                let Some(op) = op else {
                    tracing::error!("a request asks for nothing that is known");
                    return;
                };
                let done = desk.perform(&op);
                is_lost = done.is_none();
                let amiss = desk.take_amiss();
                if let Err(error) = wire::put(&mut out, &Answer { id, done, amiss }) {
                    tracing::error!(%error, "an answer cannot be sent");
                    return;
                }
                if is_lost {
                    break;
                }
            }
            let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
            let written = output.write_all(&out);
            drop(output);
            out.zeroize();
            if let Err(error) = written {
                tracing::error!(%error, "the parent cannot be answered");
                return;
            }
            if is_lost {
                return;
            }
        }
    }

    /// Takes this thread's share of what has arrived, waiting until something has.
    /// `false` at the end of the input.
    fn take(&self, requests: &mut Vec<Request>) -> io::Result<bool> {
        let mut input = self.input.lock().unwrap_or_else(PoisonError::into_inner);
        let Input { socket, inbox } = &mut *input;
        let most = SHARE * self.threads;
        let mut arrived = inbox.complete(most).map_err(broken)?;
        while arrived == 0 {
            let count = match socket.read(inbox.space()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            if count == 0 {
                return Ok(false);
            }
            inbox.filled(count);
            arrived = inbox.complete(most).map_err(broken)?;
        }
        for _ in 0..arrived.div_ceil(self.threads) {
            requests.extend(inbox.take().map_err(broken)?);
        }
        Ok(true)
    }
}

fn broken(error: BadFrame) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
