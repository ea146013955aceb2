//! A second look at a process, short because it only asks whether the first still holds.

use std::{
    ffi::CString,
    os::fd::{AsFd as _, OwnedFd},
};

use custody::caller::{Evidence, observation::Process};
use rustix::fs::stat;

use super::{File, Host, alive, identity, pidfd};

/// What all evidence about a process rests on. While none of it changes, reading the
/// evidence again would find the same:
///
/// - its ids, and that it is alive, are in here as they are;
/// - a control group of the unified hierarchy has one path for life (it cannot be
///   renamed, nor removed while a process is in it), so the path stands with the id;
/// - the path of its executable stands while both lead to one file, which has no other
///   name and has not been touched, in our mount namespace.
#[derive(Debug)]
pub(super) struct Glance {
    links: Links,
    seen: Seen,
}

/// Where to look.
#[derive(Debug)]
struct Links {
    exe: CString,
    mounts: CString,
    path: CString,
}

#[derive(Debug, PartialEq, Eq)]
struct Seen {
    process: Process,
    exe: Stamp,
    path: Stamp,
    mounts: File,
}

/// A file, and when anything about it last changed: its number alone may be given to
/// another file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    file: File,
    names: u64,
    changed: (i64, u64),
}

impl Glance {
    /// Looks at what `evidence` rests on. `None` if not all of that can be seen: then
    /// only a full observation will do.
    ///
    /// `evidence` must be observed after this, and is good only if the glance
    /// [`Self::holds`] afterwards.
    pub(super) fn before(evidence: &Evidence, pidfd: &OwnedFd) -> Option<Self> {
        let links = Links::of(evidence)?;
        let seen = links.look(evidence.process, pidfd)?;
        Some(Self { links, seen })
    }

    /// Whether the process is alive and nothing has changed.
    pub(super) fn holds(&self, pidfd: &OwnedFd, host: &Host) -> bool {
        let seen = self.links.look(self.seen.process.id, pidfd);
        seen.as_ref() == Some(&self.seen)
            && self.seen.exe == self.seen.path
            && self.seen.exe.names == 1
            && host.mounts == Some(self.seen.mounts)
            && alive(pidfd)
    }
}

impl Links {
    fn of(evidence: &Evidence) -> Option<Self> {
        let proc = |name| CString::new(format!("/proc/{}/{name}", evidence.pid)).ok();
        Some(Self {
            exe: proc("exe")?,
            mounts: proc("ns/mnt")?,
            path: CString::new(evidence.exe.as_deref()?).ok()?,
        })
    }

    fn look(&self, id: u64, pidfd: &OwnedFd) -> Option<Seen> {
        let found = pidfd::process_called(id, pidfd.as_fd()).ok()?;
        // A control group that only `/proc` names has to be read there each time.
        found.cgroup?;
        Some(Seen {
            process: found.into(),
            exe: Stamp::of(&self.exe)?,
            path: Stamp::of(&self.path)?,
            mounts: identity(self.mounts.as_c_str())?,
        })
    }
}

impl Stamp {
    fn of(path: &CString) -> Option<Self> {
        let found = stat(path.as_c_str()).ok()?;
        Some(Self {
            file: (found.st_dev, found.st_ino),
            names: found.st_nlink,
            changed: (found.st_ctime, found.st_ctime_nsec),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::PermissionsExt as _,
        path::Path,
        process::{Child, Command},
    };

    use custody::caller::observation::Credentials;
    use nix::unistd::{getgid, getuid};
    use rustix::process::{Pid, PidfdFlags, pidfd_open};

    use super::{super::observe, *};

    struct Sleeper(Child);

    impl Drop for Sleeper {
        fn drop(&mut self) {
            drop(self.0.kill());
            drop(self.0.wait());
        }
    }

    /// Copies in another process: a file that this one had open for writing could not be
    /// executed while any of its threads was starting a program.
    fn copy(from: &str, to: &Path) {
        let copied = Command::new("cp").arg(from).arg(to).status().unwrap();
        assert!(copied.success());
    }

    fn sleeper(at: &Path) -> (Sleeper, OwnedFd) {
        copy("/bin/sleep", at);
        let child = Command::new(at).arg("60").spawn().unwrap();
        let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
        (Sleeper(child), pidfd)
    }

    fn glance(sleeper: &Sleeper, pidfd: &OwnedFd, host: &Host) -> Glance {
        let connected = Credentials {
            pid: i32::try_from(sleeper.0.id()).unwrap(),
            uid: getuid().as_raw(),
            gid: getgid().as_raw(),
        };
        let seen = observe(connected, pidfd, host).unwrap();
        let evidence = Evidence::examine(seen).unwrap();
        Glance::before(&evidence, pidfd).expect("there is a path and a control group")
    }

    type Change = fn(&Path, &mut Sleeper);

    #[test]
    fn every_change_is_noticed() {
        let changes: [(&str, Change); 5] = [
            ("it ended", |_, sleeper| {
                sleeper.0.kill().unwrap();
                sleeper.0.wait().unwrap();
            }),
            ("its file was deleted", |path, _| {
                fs::remove_file(path).unwrap();
            }),
            ("its file was renamed", |path, _| {
                fs::rename(path, path.with_extension("old")).unwrap();
            }),
            ("its file was replaced", |path, _| {
                let new = path.with_extension("new");
                copy("/bin/sleep", &new);
                fs::rename(new, path).unwrap();
            }),
            ("its file was touched", |path, _| {
                fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
            }),
        ];
        let host = Host::here().unwrap();
        for (what, change) in changes {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("sleeper");
            let (mut sleeper, pidfd) = sleeper(&path);
            let glance = glance(&sleeper, &pidfd, &host);
            assert!(glance.holds(&pidfd, &host));
            change(&path, &mut sleeper);
            assert!(!glance.holds(&pidfd, &host), "{what}");
        }
    }

    #[test]
    fn a_glance_is_not_enough_for_a_file_with_two_names() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sleeper");
        fs::copy("/bin/sleep", &path).unwrap();
        let other = folder.path().join("other");
        fs::hard_link(&path, &other).unwrap();
        let child = Command::new(&other).arg("60").spawn().unwrap();
        let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
        let (sleeper, host) = (Sleeper(child), Host::here().unwrap());
        assert!(!glance(&sleeper, &pidfd, &host).holds(&pidfd, &host));
    }

    #[test]
    fn a_program_that_executes_another_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shell");
        copy("/bin/sh", &path);
        let mut child = Command::new(&path)
            .args(["-c", "read line; exec sleep 60"])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
        let go = child.stdin.take().unwrap();
        let sleeper = Sleeper(child);
        let host = Host::here().unwrap();
        let exe = format!("/proc/{}/exe", sleeper.0.id());
        while fs::read_link(&exe).unwrap() != path {}
        let glance = glance(&sleeper, &pidfd, &host);
        assert!(glance.holds(&pidfd, &host));
        drop(go);
        while fs::read_link(&exe).unwrap() == path {}
        assert!(!glance.holds(&pidfd, &host));
    }
}
