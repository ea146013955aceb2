//! A second look at a process, short because it only asks whether the first still holds.

use std::{ffi::CString, path::PathBuf};

use super::look::{File, Host, Missed, Patience, Stamp, identity};

/// What the executable's path and the namespaces rest on. While none of it changes,
/// looking again would find the same:
///
/// - the path of its executable stands while both lead to one file through one mount, and
///   that file has no other name and has not been touched;
/// - its mounts are the host's, and its user ids are of the namespace that they were of.
///   A process never leaves its namespace of process ids.
#[derive(Debug)]
pub(super) struct Sight {
    links: Links,
    exe: Stamp,
    users: File,
}

/// Where to look.
#[derive(Debug)]
struct Links {
    exe: CString,
    mounts: CString,
    users: CString,
    path: PathBuf,
}

impl Sight {
    /// What there is to see of a process that executes the file at `path`. `None` if not
    /// all of it can be seen: then only a full look will do.
    ///
    /// The process must be looked at in full after this, and the sight is good only if it
    /// [`Self::holds`] afterwards.
    pub(super) fn before(
        host: &Host,
        pid: i32,
        path: &str,
        patience: Patience,
    ) -> Result<Option<Self>, Missed> {
        let Some(links) = Links::of(pid, path) else {
            return Ok(None);
        };
        let seen = Stamp::behind(&links.exe).zip(identity(links.users.as_c_str()));
        let Some((exe, users)) = seen else {
            return Ok(None);
        };
        let sight = Self { links, exe, users };
        Ok(sight.holds(host, patience)?.then_some(sight))
    }

    /// Whether nothing has changed. That the process is alive, and which it is, is for
    /// its pidfd to say.
    pub(super) fn holds(&self, host: &Host, patience: Patience) -> Result<bool, Missed> {
        let exe = Some(self.exe);
        Ok(self.exe.names == 1
            && Stamp::behind(&self.links.exe) == exe
            && host.mounts.is(identity(self.links.mounts.as_c_str())) == Some(true)
            && identity(self.links.users.as_c_str()) == Some(self.users)
            && host.stamp(&self.links.path, patience)? == exe)
    }
}

impl Links {
    fn of(pid: i32, path: &str) -> Option<Self> {
        let proc = |name| CString::new(format!("/proc/{pid}/{name}")).ok();
        Some(Self {
            exe: proc("exe")?,
            mounts: proc("ns/mnt")?,
            users: proc("ns/user")?,
            path: path.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::{fd::OwnedFd, unix::fs::PermissionsExt as _},
        path::Path,
        process::{Child, Command},
        sync::Arc,
    };

    use rustix::process::{Pid, PidfdFlags, pidfd_open};

    use super::{
        super::{look::Watched, tests::until},
        *,
    };

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

    /// Whether a second look at a process that was just met finds the same.
    struct Met(Host, Watched);

    impl Met {
        fn at(pidfd: OwnedFd) -> Self {
            let host = Host::here().unwrap();
            let met = Watched::meet(&host, &Arc::new(pidfd), Patience::Unbounded);
            Self(host, met.unwrap().1)
        }

        fn is_glanced_at(&self) -> bool {
            matches!(self.1.again(&self.0, Patience::Unbounded), Ok(None))
        }
    }

    type Change = fn(&Path, &mut Sleeper);

    #[test]
    fn every_change_is_noticed() {
        let changes: [(&str, Change); 6] = [
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
            ("its folder was renamed", |path, _| {
                let folder = path.parent().unwrap();
                fs::rename(folder, folder.with_file_name("other")).unwrap();
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
        for (what, change) in changes {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("folder/sleeper");
            fs::create_dir(path.parent().unwrap()).unwrap();
            let (mut sleeper, pidfd) = sleeper(&path);
            let met = Met::at(pidfd);
            assert!(met.is_glanced_at());
            change(&path, &mut sleeper);
            assert!(!met.is_glanced_at(), "{what}");
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
        let _sleeper = Sleeper(child);
        assert!(!Met::at(pidfd).is_glanced_at());
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
        let exe = format!("/proc/{}/exe", sleeper.0.id());
        until("it runs", || fs::read_link(&exe).unwrap() == path);
        let met = Met::at(pidfd);
        assert!(met.is_glanced_at());
        drop(go);
        until("it executes another program", || {
            fs::read_link(&exe).unwrap() != path
        });
        assert!(!met.is_glanced_at());
    }
}
