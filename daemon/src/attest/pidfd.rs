//! What a pidfd says of its process.
#![expect(
    unsafe_code,
    reason = "no crate wraps PIDFD_GET_INFO, and tokio wants to be promised that a descriptor stays what it is"
)]

use std::{
    fs, io, mem,
    os::fd::{AsRawFd as _, BorrowedFd, OwnedFd},
    sync::Arc,
    task::{Context, Poll},
};

use custody::caller::observation::{Doubt, Process};
use rustix::fs::fstat;
use tokio::io::{Interest, unix::AsyncFd};

/// Tells when a process ends.
#[derive(Debug)]
pub(crate) struct Life(AsyncFd<Arc<OwnedFd>>);

impl Life {
    /// Of the process that `pidfd` pins.
    pub(super) fn of(pidfd: Arc<OwnedFd>) -> io::Result<Self> {
        // SAFETY: an owned descriptor has one number, and is open, for as long as anyone
        // holds it; an Arc has no way to change what it holds.
        let life = unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) };
        life.map(Self).map_err(io::Error::from)
    }

    /// Ready once the process has ended.
    pub(crate) fn poll_end(&self, context: &mut Context<'_>) -> Poll<()> {
        // A pidfd is readable from then on, and never before.
        self.0.poll_read_ready(context).map(drop)
    }
}

/// A process, as [`Process`] has it, but perhaps without its control group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    id: u64,
    pub(super) pid: i32,
    uids: [u32; 4],
    gids: [u32; 4],
    pub(super) cgroup: Option<u64>,
}

impl From<Found> for Process {
    fn from(found: Found) -> Self {
        Self {
            id: found.id,
            pid: found.pid,
            uids: found.uids,
            gids: found.gids,
            cgroup: found.cgroup.unwrap_or(0),
        }
    }
}

/// The process that `pidfd` pins.
pub(super) fn process(pidfd: BorrowedFd<'_>) -> Result<Found, Doubt> {
    let id = fstat(pidfd).map_err(|_| Doubt::Unobservable)?.st_ino;
    process_called(id, pidfd)
}

/// The same for a pidfd whose own number is known already, which never changes.
pub(super) fn process_called(id: u64, pidfd: BorrowedFd<'_>) -> Result<Found, Doubt> {
    match info(pidfd) {
        Ok(info) => live(id, &info),
        // Linux before 6.13 has no such request.
        Err(libc::ENOTTY) => from_proc(id, pidfd),
        Err(libc::ESRCH) => Err(Doubt::Gone),
        Err(_) => Err(Doubt::Unobservable),
    }
}

fn info(pidfd: BorrowedFd<'_>) -> Result<libc::pidfd_info, i32> {
    // SAFETY: pidfd_info is a struct of integers, for which zeroes are a value.
    let mut info: libc::pidfd_info = unsafe { mem::zeroed() };
    let wanted = libc::PIDFD_INFO_PID | libc::PIDFD_INFO_CREDS | libc::PIDFD_INFO_CGROUPID;
    info.mask = wanted.into();
    // SAFETY: the request writes a pidfd_info, whose size is part of its number, to the
    // address given; `info` is one and outlives the call.
    let result = unsafe { libc::ioctl(pidfd.as_raw_fd(), libc::PIDFD_GET_INFO, &raw mut info) };
    match result {
        0 => Ok(info),
        _ => Err(io::Error::last_os_error().raw_os_error().unwrap_or(0)),
    }
}

fn live(id: u64, info: &libc::pidfd_info) -> Result<Found, Doubt> {
    let has = |bit: u32| info.mask & u64::from(bit) != 0;
    // A process that was reaped has neither.
    if !has(libc::PIDFD_INFO_PID) || !has(libc::PIDFD_INFO_CREDS) || info.pid == 0 {
        return Err(Doubt::Gone);
    }
    Ok(Found {
        id,
        pid: i32::try_from(info.tgid).map_err(|_| Doubt::Unobservable)?,
        uids: [info.ruid, info.euid, info.suid, info.fsuid],
        gids: [info.rgid, info.egid, info.sgid, info.fsgid],
        cgroup: has(libc::PIDFD_INFO_CGROUPID).then_some(info.cgroupid),
    })
}

/// The same from `/proc`; it holds if the pidfd's process is alive afterwards.
fn from_proc(id: u64, pidfd: BorrowedFd<'_>) -> Result<Found, Doubt> {
    let path = format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd());
    let text = fs::read_to_string(path).map_err(|_| Doubt::Unobservable)?;
    let pid: i32 = line(&text, "Pid:")
        .and_then(|pid| pid.trim().parse().ok())
        .ok_or(Doubt::Unobservable)?;
    if pid <= 0 {
        return Err(Doubt::Gone);
    }
    let status = fs::read_to_string(format!("/proc/{pid}/status")).map_err(|_| Doubt::Gone)?;
    let ids = |name| {
        line(&status, name)
            .and_then(four)
            .ok_or(Doubt::Unobservable)
    };
    Ok(Found {
        id,
        pid,
        uids: ids("Uid:")?,
        gids: ids("Gid:")?,
        cgroup: None,
    })
}

fn line<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name))
}

/// Real, effective, saved and filesystem id (proc_pid_status(5)).
fn four(ids: &str) -> Option<[u32; 4]> {
    let ids: Vec<u32> = ids
        .split_ascii_whitespace()
        .map(|id| id.parse().ok())
        .collect::<Option<_>>()?;
    ids.try_into().ok()
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use rustix::process::{Pid, PidfdFlags, getpid, pidfd_open};

    use super::*;

    #[test]
    fn both_ways_to_ask_agree() {
        let own: Pid = getpid();
        let pidfd = pidfd_open(own, PidfdFlags::empty()).unwrap();
        let asked = process(pidfd.as_fd()).unwrap();
        let read = from_proc(asked.id, pidfd.as_fd()).unwrap();
        assert_eq!(asked.pid, own.as_raw_nonzero().get());
        assert_eq!(
            (asked.pid, asked.uids, asked.gids),
            (read.pid, read.uids, read.gids)
        );
    }

    #[test]
    fn a_reaped_process_is_gone_either_way() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = Pid::from_child(&child);
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).unwrap();
        child.wait().unwrap();
        assert_eq!(process(pidfd.as_fd()).unwrap_err(), Doubt::Gone);
        assert_eq!(from_proc(1, pidfd.as_fd()).unwrap_err(), Doubt::Gone);
    }
}
