//! The worker as a process: started, killed, waited for.

use std::{
    ffi::OsString,
    io::{self, IoSlice},
    mem::MaybeUninit,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::net::UnixStream,
    },
    process::{Command, Stdio},
    thread,
};

use prost::Message;
use rustix::{
    fs::MemfdFlags,
    net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags},
    process::{Pid, PidfdFlags, Signal},
};
use tokio::sync::oneshot;

use crate::{
    Error, PinProblem, PinSource, Profile, Settings,
    wire::{self, Hello, NextPin, problem},
};

/// A worker's process. Killed when dropped, but for one that may be in the middle of a login,
/// which a token may not survive: it ends by itself when its socket is closed.
pub(super) struct Process {
    pid: Pid,
    pidfd: OwnedFd,
    exited: oneshot::Receiver<String>,
    has_logged_in: bool,
}

impl Process {
    /// Starts one, with the socket as its standard input.
    ///
    /// The thread that starts it waits for it too: a worker is killed with the thread
    /// that started it, and threads of an async runtime come and go.
    pub(super) async fn start(settings: &Settings, stdin: UnixStream) -> Result<Self, Error> {
        let failed =
            |error: io::Error| Error::WorkerUnusable(format!("it cannot be started: {error}"));
        let command = (settings.worker.clone(), settings.environment.clone());
        let (started, start) = oneshot::channel();
        let (ended, exited) = oneshot::channel();
        thread::Builder::new()
            .name("hsm-keeper".to_owned())
            .spawn(move || keep(command, stdin, started, ended))
            .map_err(failed)?;
        let started = start
            .await
            .map_err(|_| failed(io::ErrorKind::Other.into()))?;
        let (pid, pidfd) = started.map_err(failed)?;
        Ok(Self {
            pid,
            pidfd,
            exited,
            has_logged_in: false,
        })
    }

    /// It is not in the middle of a login any more.
    pub(super) fn has_logged_in(&mut self) {
        self.has_logged_in = true;
    }

    /// The memory that it has in use, in bytes, if that can be known.
    pub(super) fn resident(&self) -> Option<u64> {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.pid)).ok()?;
        let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
        let page = u64::try_from(rustix::param::page_size()).ok()?;
        pages.checked_mul(page)
    }

    pub(super) fn kill(&self) {
        // It may be gone already.
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL);
    }

    /// Waits for its end, and says how it ended.
    pub(super) async fn ended(&mut self) -> String {
        let unknown = |_| "it is not known how".to_owned();
        (&mut self.exited).await.unwrap_or_else(unknown)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.has_logged_in {
            self.kill();
        }
    }
}

/// A process that was started, and what it is watched by.
type Started = io::Result<(Pid, OwnedFd)>;
type CommandLine = (Vec<OsString>, Vec<(String, String)>);

fn keep(
    (line, environment): CommandLine,
    stdin: UnixStream,
    started: oneshot::Sender<Started>,
    ended: oneshot::Sender<String>,
) {
    let Some((program, arguments)) = line.split_first() else {
        let _gone = started.send(Err(io::Error::other("no program is named")));
        return;
    };
    let child = Command::new(program)
        .args(arguments)
        .envs(environment)
        .stdin(Stdio::from(OwnedFd::from(stdin)))
        .stdout(Stdio::null())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => {
            let _gone = started.send(Err(error));
            return;
        }
    };
    let pid = Pid::from_child(&child);
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty());
    // Whoever asked may be gone: then the descriptor is dropped, and with it our end of
    // the socket, which ends the worker.
    let _gone = started.send(pidfd.map(|pidfd| (pid, pidfd)).map_err(io::Error::from));
    let status = match child.wait() {
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    };
    let _gone = ended.send(status);
}

/// What successive workers get for the PIN.
pub(crate) struct PinHandover {
    memory: Option<OwnedFd>,
    from: Option<OwnedFd>,
}

impl PinHandover {
    /// Opens what the first worker reads the PIN from, and the memory in which it leaves
    /// it to its successors. Neither is read here.
    pub(crate) fn new(source: &PinSource) -> Result<Self, Error> {
        let unreadable = |what: String, error: io::Error| PinProblem::Unreadable {
            what,
            why: error.to_string(),
        };
        let memory = match source {
            PinSource::Credential(_) | PinSource::File(_) => None,
            PinSource::Descriptor(_) | PinSource::Prompt => Some(
                rustix::fs::memfd_create("custodyd-pin", MemfdFlags::CLOEXEC)
                    .map_err(|error| unreadable("memory for the PIN".to_owned(), error.into()))?,
            ),
        };
        let from = match source {
            PinSource::Descriptor(number) => {
                let what = || format!("descriptor {number}");
                let file = std::fs::File::open(format!("/proc/self/fd/{number}"));
                Some(file.map_err(|error| unreadable(what(), error))?.into())
            }
            _ => None,
        };
        Ok(Self { memory, from })
    }

    /// Sends the first message, with the descriptors.
    pub(crate) fn greet(&self, socket: &UnixStream, first: &impl Message) -> Result<(), Error> {
        let failed =
            |error: io::Error| Error::WorkerUnusable(format!("it cannot be reached: {error}"));
        let mut frame = Vec::new();
        wire::put(&mut frame, first).map_err(|error| failed(io::Error::other(error)))?;
        let passed: Vec<_> = [&self.memory, &self.from]
            .into_iter()
            .flatten()
            .map(|descriptor| descriptor.as_fd())
            .collect();
        let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut control = SendAncillaryBuffer::new(&mut room);
        if !passed.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(&passed));
        }
        let mut sent = 0;
        while sent < frame.len() {
            let rest = [IoSlice::new(&frame[sent..])];
            sent += rustix::net::sendmsg(socket, &rest, &mut control, SendFlags::NOSIGNAL)
                .map_err(|error| failed(error.into()))?;
            control.clear();
        }
        Ok(())
    }
}

/// The first message to a worker.
pub(crate) fn hello(settings: &Settings) -> Hello {
    let codes = &settings.codes;
    Hello {
        protocol: wire::PROTOCOL,
        parent: std::process::id(),
        module: problem::bytes(&settings.module),
        token: settings.token.to_string(),
        pin: Some((&settings.pin).into()),
        next_pin: settings.next_pin.as_ref().map(|next| NextPin {
            from: Some(next.into()),
        }),
        keeps_pins: settings.keeps_pins,
        pin_latch: problem::bytes(&settings.pin_latch),
        sessions: u32::try_from(settings.sessions.get()).unwrap_or(u32::MAX),
        unwrapped_keys: u32::try_from(settings.unwrapped_keys.get()).unwrap_or(u32::MAX),
        wrappings: settings
            .wrappings
            .iter()
            .map(|way| way.name().to_owned())
            .collect(),
        profile: codes.profile.map_or("", Profile::name).to_owned(),
        overrides: codes.overrides.iter().map(ToString::to_string).collect(),
    }
}
