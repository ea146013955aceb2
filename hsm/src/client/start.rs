//! From nothing to a worker that serves: started, greeted, logged in, all keys loaded.

use std::{os::unix::net::UnixStream as StdStream, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    time::{Instant, timeout_at},
};

use super::{
    driver::Crew,
    key::{Turn, Version},
    process::{PinHandover, Process, hello},
};
use crate::{
    Error, Settings, TokenDescription,
    latch::Latch,
    wire::{self, Amiss, Answer, Boot, Done, Inbox, Op, Request, Stage},
};

/// How many keys a worker is asked to load at a time.
const LOADS: usize = 16;
/// How long a worker that ends on its own may take to be gone.
const GRACE: Duration = Duration::from_secs(2);

/// A worker that serves.
pub(super) struct Worker {
    pub(super) process: Process,
    pub(super) stream: UnixStream,
    pub(super) inbox: Inbox,
    token: TokenDescription,
    keys: Version,
}

impl Worker {
    pub(super) fn token(&self) -> &TokenDescription {
        &self.token
    }

    /// It has loaded what was known then.
    pub(super) fn keys(&self) -> Version {
        self.keys
    }

    /// Starts one and has it load the keys. What is wrong with a key is noted there, unless
    /// other workers have it.
    pub(super) async fn start(
        settings: &Settings,
        pin: &PinHandover,
        crew: &Crew,
    ) -> Result<Self, Error> {
        let login = crew.logins.lock().await;
        Latch::new(&settings.pin_latch).check()?;
        let (mut process, mut stream, mut inbox) = launch(settings, pin).await?;
        let booted = boot(settings, &mut stream, &mut inbox).await;
        drop(login);
        if booted.is_ok() {
            process.has_logged_in();
        }
        let outcome = match booted {
            Ok(token) => match load(settings, crew, &mut stream, &mut inbox).await {
                Ok(keys) => Ok((token, keys)),
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        };
        match outcome {
            Ok((token, keys)) => Ok(Self {
                process,
                stream,
                inbox,
                token,
                keys,
            }),
            Err(error) => {
                if let Error::Token { function, code } = &error {
                    let (function, code) = (function.clone(), code.clone());
                    crew.meters.note_amiss(vec![Amiss { function, code }]);
                }
                drop(stream);
                process.kill();
                let how = process.ended().await;
                tracing::warn!(%error, %how, "a worker did not come to serve");
                Err(error)
            }
        }
    }

    /// Closes the socket, which tells the worker to end, and sees to it that it does.
    pub(super) async fn end(self) {
        let Self {
            mut process,
            stream,
            ..
        } = self;
        drop(stream);
        let ended = tokio::time::timeout(GRACE, process.ended()).await;
        if ended.is_err() {
            process.kill();
            let _how = process.ended().await;
        }
    }

    /// Ends it at once.
    pub(super) async fn kill(mut self) -> String {
        self.process.kill();
        self.process.ended().await
    }
}

async fn launch(
    settings: &Settings,
    pin: &PinHandover,
) -> Result<(Process, UnixStream, Inbox), Error> {
    let failed = |error: std::io::Error| Error::WorkerUnusable(format!("no socket: {error}"));
    let (ours, theirs) = StdStream::pair().map_err(failed)?;
    pin.greet(&ours, &hello(settings))?;
    ours.set_nonblocking(true).map_err(failed)?;
    let stream = UnixStream::from_std(ours).map_err(failed)?;
    let process = Process::start(settings, theirs).await?;
    Ok((process, stream, Inbox::new()))
}

async fn boot(
    settings: &Settings,
    stream: &mut UnixStream,
    inbox: &mut Inbox,
) -> Result<TokenDescription, Error> {
    let mut asking = false;
    let mut by = Instant::now() + settings.start_deadline;
    loop {
        let next = next::<Boot>(stream, inbox);
        let boot = if asking {
            next.await
        } else {
            let late = |_| Err(Error::WorkerUnusable("it was not ready in time".to_owned()));
            timeout_at(by, next).await.unwrap_or_else(late)
        };
        match boot?.stage {
            Some(Stage::Asking(_)) => asking = true,
            Some(Stage::Asked(_)) => {
                asking = false;
                by = Instant::now() + settings.start_deadline;
            }
            Some(Stage::Ready(token)) => return Ok(token.into()),
            Some(Stage::Problem(problem)) => return Err(problem.into()),
            None => return Err(Error::WorkerUnusable("it begins oddly".to_owned())),
        }
    }
}

async fn load(
    settings: &Settings,
    crew: &Crew,
    stream: &mut UnixStream,
    inbox: &mut Inbox,
) -> Result<Version, Error> {
    let (version, mut loads) = crew.keys.loads();
    for some in loads.chunks_mut(LOADS) {
        let (mut out, mut ids) = (Vec::new(), Vec::new());
        for (id, load) in some {
            let request = Request {
                id: u64::try_from(ids.len()).unwrap_or(u64::MAX),
                op: Some(Op::Load(std::mem::take(load))),
            };
            wire::put(&mut out, &request).map_err(lost)?;
            ids.push(*id);
        }
        stream.write_all(&out).await.map_err(lost)?;
        let by = Instant::now() + settings.start_deadline;
        for _ in 0..ids.len() {
            let late = |_| {
                Err(Error::WorkerUnusable(
                    "it did not load its keys in time".to_owned(),
                ))
            };
            let answer = timeout_at(by, next::<Answer>(stream, inbox)).await;
            let answer = answer.unwrap_or_else(late)?;
            crew.meters.note_amiss(answer.amiss);
            let outcome = match answer.done {
                Some(Done::Good(_)) => Ok(()),
                Some(Done::Problem(problem)) => Err(problem.into()),
                _ => Err(Error::WorkerUnusable("it answers oddly".to_owned())),
            };
            let id = usize::try_from(answer.id).ok().and_then(|at| ids.get(at));
            let id = id.ok_or_else(|| Error::WorkerUnusable("it answers oddly".to_owned()))?;
            match outcome {
                // It may be that others have it. All are asked once this one serves, too.
                Err(error) if error.refuses_key() && crew.health.borrow().is_serving() => {
                    tracing::debug!(key = %id, %error, "a worker that starts lacks a key");
                    crew.keys.note_lack(id, true);
                }
                outcome => {
                    let turn = crew.keys.settle(id, &outcome);
                    turn.into_iter().for_each(Turn::log);
                    outcome.or_else(|error| match error.refuses_key() {
                        true => Ok(()),
                        false => Err(error),
                    })?;
                }
            }
        }
    }
    Ok(version)
}

async fn next<M: prost::Message + Default>(
    stream: &mut UnixStream,
    inbox: &mut Inbox,
) -> Result<M, Error> {
    loop {
        if let Some(message) = inbox.take().map_err(lost)? {
            return Ok(message);
        }
        let count = stream.read(inbox.space()).await.map_err(lost)?;
        if count == 0 {
            return Err(Error::WorkerUnusable(
                "it ended before it served".to_owned(),
            ));
        }
        inbox.filled(count);
    }
}

fn lost(error: impl std::fmt::Display) -> Error {
    Error::WorkerUnusable(error.to_string())
}
