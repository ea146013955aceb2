//! A process of its own for what takes rights over other users' processes, and for
//! nothing else.
//!
//! It is told which process to look at by a pidfd, and says what it executes. It is given
//! no secret, and nothing that it says is one.

use std::{
    fs, io,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd, RawFd},
    process::{Child, Command, ExitCode, Stdio},
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rustix::{
    net::{AddressFamily, SocketFlags, SocketType, socketpair},
    process::{Signal, geteuid, set_parent_process_death_signal},
    thread::CapabilitySet,
};

use crate::harden;

mod capability;
mod link;
mod serve;
mod wire;

pub(super) use link::{Held, Link};

/// A helper that has been started. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Helper {
    process: Running,
    socket: OwnedFd,
}

#[derive(Debug)]
pub(super) struct Running(Child);

/// The helper could not be started, or the rights that it has not be given up.
#[derive(Debug, thiserror::Error)]
#[error("the process that looks at callers could not be {what}")]
pub(crate) struct CannotHelp {
    what: &'static str,
    source: io::Error,
}

/// Starts the helper, if this process has the rights that it would need, and then gives
/// up those, and as root all others but the right to lock memory, here.
///
/// Rights are those of a thread. Before this, no other must have been started.
pub(crate) fn start(environment: Vec<(String, String)>) -> Result<Option<Helper>, CannotHelp> {
    let failed = |what| move |source| CannotHelp { what, source };
    let held = capability::held();
    let helper = if held.contains(CapabilitySet::SYS_PTRACE) {
        Some(spawn(held & capability::LOOKING, environment).map_err(failed("started"))?)
    } else {
        None
    };
    let kept = if geteuid().is_root() {
        CapabilitySet::IPC_LOCK
    } else {
        // What a unit gives besides is meant for the vendor's library.
        held - capability::LOOKING
    };
    capability::keep_only(kept, kept)
        .map_err(|error| failed("given rights that the daemon has not")(error.into()))?;
    Ok(helper)
}

fn spawn(rights: CapabilitySet, environment: Vec<(String, String)>) -> io::Result<Helper> {
    let flags = SocketFlags::CLOEXEC;
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    capability::lend(rights)?;
    let child = Command::new("/proc/self/exe")
        .arg("attestor")
        .env_clear()
        .envs(environment)
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::null())
        .spawn()?;
    Ok(Helper {
        process: Running(child),
        socket: ours,
    })
}

impl Helper {
    /// Takes it up, within a runtime.
    pub(super) fn link(self) -> io::Result<(Link, Running)> {
        Ok((Link::over(self.socket)?, self.process))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The body of the hidden sub-command: answers the daemon at the other end of descriptor
/// 0, and ends with it.
pub(crate) fn attestor() -> ExitCode {
    match prepare().and_then(|(socket, capacity)| serve::serve(socket, capacity)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the process that looks at callers ends");
            ExitCode::FAILURE
        }
    }
}

/// Descriptors that are not for pidfds of peers.
const OWN: u64 = 64;
/// No more peers than this, however many descriptors there may be.
const MOST: u64 = 65_536;

fn prepare() -> io::Result<(OwnedFd, usize)> {
    close_inherited()?;
    harden::shield();
    capability::keep_only(capability::LOOKING, CapabilitySet::empty())?;
    // After the rights are given up: that would take it back.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most.min(MOST), most)?;
    let capacity = usize::try_from(most.min(MOST).saturating_sub(OWN)).unwrap_or(0);
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    Ok((socket, capacity))
}

/// Closes what the daemon was handed over: sockets, and perhaps the PIN.
fn close_inherited() -> io::Result<()> {
    let mut inherited = Vec::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        let number = entry?
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        inherited.extend(number.filter(|number: &RawFd| *number > io::stderr().as_raw_fd()));
    }
    for number in inherited {
        // The folder that was read is among them, and closed by now.
        let _closed = nix::unistd::close(number);
    }
    Ok(())
}
