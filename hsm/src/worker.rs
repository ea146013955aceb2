//! The child process: one life from the first message to the end of its input.

use std::{
    io::{self, IoSliceMut, Write as _},
    mem::MaybeUninit,
    num::NonZeroUsize,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::net::UnixStream,
    },
    process::ExitCode,
    thread,
    time::Duration,
};

use custody::envelope::Wrapping;
use prost::Message;
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags},
    process::{Signal, getpid, kill_process, set_parent_process_death_signal},
};

use crate::{
    Codes, Error, Profile, TokenSelector,
    wire::{self, Boot, Hello, Inbox, Stage},
};

mod captivity;
mod desk;
pub(crate) mod doctor;
mod find;
mod key;
mod login;
mod pair;
mod pin;
mod recovery;
mod session;
mod signing;
mod strategy;
mod template;
mod token;
mod twins;
mod wrap;

/// The body of the hidden sub-command that [`Settings::worker`](crate::Settings::worker)
/// names: serves the parent at the other end of descriptor 0, and ends with it.
///
/// Logging and the hardening of the process are the caller's, beforehand.
pub fn worker() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = %recovery::chain(&error), "the worker ends");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> Result<(), Error> {
    let lost = |error: io::Error| Error::WorkerUnusable(format!("its socket failed: {error}"));
    let mut socket = parent().map_err(lost)?;
    follow_parent(socket.try_clone().map_err(lost)?).map_err(lost)?;
    let mut inbox = Inbox::new();
    let (hello, descriptors) = first::<Hello>(&socket, &mut inbox)?;
    match begin(&hello, descriptors, &mut socket) {
        Ok(token) => {
            // From here on even a worker that was stopped ends with its parent. If that has
            // died already, it cannot be told.
            set_parent_process_death_signal(Some(Signal::KILL))
                .map_err(|error| lost(error.into()))?;
            let ready = Stage::Ready(token.description().into());
            tell(&mut socket, ready).map_err(lost)?;
            let some = |number: u32| {
                let number = usize::try_from(number).ok().and_then(NonZeroUsize::new);
                number.unwrap_or(NonZeroUsize::MIN)
            };
            let (sessions, room) = (some(hello.sessions), some(hello.unwrapped_keys));
            session::serve(&token, socket, inbox, sessions, room)
        }
        Err(error) => {
            tell(&mut socket, Stage::Problem((&error).into())).map_err(lost)?;
            Err(error)
        }
    }
}

fn parent() -> io::Result<UnixStream> {
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    Ok(UnixStream::from(socket))
}

/// How long a login may go on after the parent has gone.
///
/// It is not cut off at once: SoftHSM 2.6 rewrites its token's file in place at each
/// login, and a process killed in the middle of that takes the token with it.
const GRACE: Duration = Duration::from_secs(5);

/// Sees to it that this process does not outlive its parent by more than [`GRACE`],
/// whatever the vendor's library is busy with.
fn follow_parent(socket: UnixStream) -> io::Result<()> {
    let follow = move || {
        let mut fds = [PollFd::new(&socket, PollFlags::RDHUP)];
        // An error other than an interruption would leave a process that nothing ends.
        while matches!(poll(&mut fds, None), Err(Errno::INTR)) {}
        thread::sleep(GRACE);
        tracing::error!("the parent is gone, and a call does not return");
        // Not an exit, which would run what the library wants to be run, and may hang, too.
        let _killed = kill_process(getpid(), Signal::KILL);
    };
    let thread = thread::Builder::new().name("follow-parent".to_owned());
    thread.spawn(follow).map(drop)
}

fn unclear() -> Error {
    Error::WorkerUnusable("the first message is incomplete".to_owned())
}

fn check_parent(hello: &Hello) -> Result<(), Error> {
    if hello.protocol != wire::PROTOCOL {
        return Err(Error::OtherVersion {
            ours: hello.protocol,
            theirs: wire::PROTOCOL,
        });
    }
    // A parent that has died already never hears of what is done for it.
    let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs());
    if parent != Some(hello.parent) {
        return Err(Error::WorkerUnusable("its parent is gone".to_owned()));
    }
    Ok(())
}

fn allowed(hello: &Hello) -> Result<Vec<Wrapping>, Error> {
    let allowed = hello.wrappings.iter().map(|name| Wrapping::from_name(name));
    allowed.collect::<Option<_>>().ok_or_else(unclear)
}

/// From the first message to a token that is logged in.
fn begin(
    hello: &Hello,
    descriptors: Vec<OwnedFd>,
    socket: &mut UnixStream,
) -> Result<token::Token, Error> {
    check_parent(hello)?;
    let login = login::Login::new(hello, descriptors, allowed(hello)?)?;
    login.check()?;
    let wanted: TokenSelector = hello.token.parse().map_err(|_| unclear())?;
    let codes = codes(hello).ok_or_else(unclear)?;

    let turn = login.turn()?;
    let found = token::find(&wire::problem::path(hello.module.clone()), &wanted, codes)?;
    found.check_pin_flags()?;
    let token = login.log_in(turn.as_ref(), found, |asking| {
        let stage = match asking {
            true => Stage::Asking(true),
            false => Stage::Asked(true),
        };
        tell(socket, stage).map_err(|error| Error::WorkerUnusable(error.to_string()))
    })?;
    // Whoever else is to log in need not wait for the trials.
    drop(turn);
    token.keeps_keys_in().map_err(|why| Error::ModuleUnusable {
        module: token.description().module.clone(),
        why: why.to_string(),
    })?;
    Ok(token)
}

fn codes(hello: &Hello) -> Option<Codes> {
    let profile = match &*hello.profile {
        "" => None,
        name => Some(Profile::from_name(name)?),
    };
    let overrides = hello.overrides.iter().map(|own| own.parse().ok());
    Some(Codes {
        profile,
        overrides: overrides.collect::<Option<_>>()?,
    })
}

fn tell(socket: &mut UnixStream, stage: Stage) -> io::Result<()> {
    let mut out = Vec::new();
    let boot = Boot { stage: Some(stage) };
    wire::put(&mut out, &boot).map_err(io::Error::other)?;
    socket.write_all(&out)
}

/// Receives the first message and the descriptors that came with its first byte.
fn first<M: Message + Default>(
    socket: &UnixStream,
    inbox: &mut Inbox,
) -> Result<(M, Vec<OwnedFd>), Error> {
    let broken = |why: String| Error::WorkerUnusable(format!("no first message: {why}"));
    let mut descriptors = Vec::new();
    loop {
        let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut control = RecvAncillaryBuffer::new(&mut room);
        let mut into = [IoSliceMut::new(inbox.space())];
        let received =
            rustix::net::recvmsg(socket, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC);
        let received = received.map_err(|error| broken(error.to_string()))?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(passed) = message {
                descriptors.extend(passed);
            }
        }
        if received.bytes == 0 {
            return Err(broken("the parent closed the socket".to_owned()));
        }
        inbox.filled(received.bytes);
        match inbox.take() {
            Ok(Some(message)) => return Ok((message, descriptors)),
            Ok(None) => {}
            Err(error) => return Err(broken(error.to_string())),
        }
    }
}
