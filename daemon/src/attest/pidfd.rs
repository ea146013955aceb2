//! What a descriptor says of its process, peer or file.

use std::{
    fs, io,
    os::fd::{AsRawFd as _, BorrowedFd, OwnedFd},
    sync::Arc,
    task::{Context, Poll},
};

use custody::caller::observation::{Doubt, Process};
use rustix::fs::fstat;
use tokio::io::unix::AsyncFd;

use crate::kernel;

/// Tells when a process ends.
#[derive(Debug)]
pub(crate) struct Life(AsyncFd<Arc<OwnedFd>>);

impl Life {
    /// Of the process that `pidfd` pins.
    pub(super) fn of(pidfd: Arc<OwnedFd>) -> io::Result<Self> {
        kernel::readable(pidfd).map(Self)
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
    pub(super) id: u64,
    pub(super) pid: i32,
    pub(super) uids: [u32; 4],
    pub(super) gids: [u32; 4],
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
    match kernel::pidfd_info(pidfd) {
        Ok(info) => live(id, &info),
        // Linux before 6.13 has no such request.
        Err(libc::ENOTTY) => from_proc(id, pidfd),
        Err(libc::ESRCH) => Err(Doubt::Gone),
        Err(_) => Err(Doubt::Unobservable),
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

/// The supplementary groups that a socket's peer had when it connected.
pub(super) fn peer_groups(socket: BorrowedFd<'_>) -> Option<Vec<u32>> {
    let bytes = kernel::peer_option(socket, libc::SO_PEERGROUPS, NGROUPS_MAX * size_of::<u32>())?;
    let (groups, _) = bytes.as_chunks();
    Some(groups.iter().copied().map(u32::from_ne_bytes).collect())
}

/// The label that a security module gave a socket's peer when it connected.
pub(super) fn peer_label(socket: BorrowedFd<'_>) -> Option<String> {
    label(kernel::peer_option(socket, libc::SO_PEERSEC, LABEL_MAX)?)
}

/// A label as the kernel gives it, without the zero or line feed at its end.
pub(super) fn label(mut bytes: Vec<u8>) -> Option<String> {
    while bytes.pop_if(|byte| matches!(byte, 0 | b'\n')).is_some() {}
    let label = String::from_utf8(bytes).ok()?;
    let fine = !label.is_empty() && !label.chars().any(char::is_control);
    (fine && label.len() < LABEL_MAX).then_some(label)
}

/// The most supplementary groups that a process has (`limits.h`).
const NGROUPS_MAX: usize = 65_536;
/// More than the longest label that a grant can name.
const LABEL_MAX: usize = 256;

/// The digest that the kernel keeps `file` at, with its algorithm; `None` if it keeps none.
pub(super) fn verity(file: BorrowedFd<'_>) -> Option<String> {
    let measured = kernel::measure_verity(file)?;
    let algorithm = match (measured.algorithm, measured.size) {
        (1, 32) => "sha256",
        (2, 64) => "sha512",
        _ => return None,
    };
    let digest = &measured.digest[..measured.size.into()];
    Some(format!("{algorithm}:{}", hex::encode(digest)))
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
    fn a_file_that_the_kernel_keeps_at_nothing_has_no_digest() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(verity(file.as_fd()), None);
    }

    #[test]
    fn a_label_has_no_end_mark_and_no_control_characters() {
        let text = |bytes: &[u8]| label(bytes.to_vec());
        assert_eq!(text(b"unconfined\n").as_deref(), Some("unconfined"));
        assert_eq!(text(b"a:b:c:s0\0").as_deref(), Some("a:b:c:s0"));
        for none in [&b""[..], b"\0", b"a\nb", &[b'x'; LABEL_MAX]] {
            assert_eq!(text(none), None);
        }
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
