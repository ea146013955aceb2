//! Pinning a process by its number, where the kernel hands out no pidfd of a peer.

use std::{fs, os::fd::OwnedFd};

use custody::caller::observation::{Credentials, Doubt};
use rustix::{
    io::Errno,
    process::{Pid, PidfdFlags, pidfd_open},
};

use super::look::alive;

/// Pins the process that has the number of who connected.
///
/// A process of the same user can have taken the number over since, so what is pinned may
/// be another: evidence says so.
pub(super) fn pin(connected: Credentials) -> Result<OwnedFd, Doubt> {
    use std::os::{fd::AsFd as _, unix::fs::MetadataExt as _};
    let pid = Pid::from_raw(connected.pid).ok_or(Doubt::OutsidePidNamespace)?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(|error| match error {
        Errno::SRCH => Doubt::Gone,
        _ => Doubt::Unobservable,
    })?;
    let owner = fs::metadata(format!("/proc/{}", connected.pid)).map_err(|_| Doubt::Gone)?;
    if owner.uid() != connected.uid {
        return Err(Doubt::MixedUids);
    }
    if owner.gid() != connected.gid {
        return Err(Doubt::MixedGids);
    }
    if !alive(pidfd.as_fd()) {
        return Err(Doubt::Gone);
    }
    Ok(pidfd)
}

/// When the process was started, in clock ticks since the machine was: with its number,
/// its name for this boot. Holds if its pidfd is alive afterwards.
pub(super) fn started(pid: i32) -> Result<u64, Doubt> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).map_err(|_| Doubt::Gone)?;
    start_time(&stat).ok_or(Doubt::Unobservable)
}

/// Field 22 (proc_pid_stat(5)). The second is what the process calls itself, in brackets,
/// and may have brackets and blanks in it.
fn start_time(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split(' ').nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_not_what_a_process_calls_itself() {
        let fields: Vec<String> = (4..=52).map(|field| field.to_string()).collect();
        let stat = format!("7 (a) S 1 (b)) R {}", fields.join(" "));
        assert_eq!(start_time(&stat), Some(22));
        assert_eq!(start_time("7 (a)"), None);
    }

    #[test]
    fn a_number_that_another_user_has_pins_nobody() {
        let own = Credentials {
            pid: i32::try_from(std::process::id()).unwrap(),
            uid: nix::unistd::geteuid().as_raw(),
            gid: nix::unistd::getegid().as_raw(),
        };
        assert!(pin(own).is_ok());
        let uid = Credentials {
            uid: own.uid + 1,
            ..own
        };
        assert_eq!(pin(uid).unwrap_err(), Doubt::MixedUids);
        let gid = Credentials {
            gid: own.gid + 1,
            ..own
        };
        assert_eq!(pin(gid).unwrap_err(), Doubt::MixedGids);
    }
}
