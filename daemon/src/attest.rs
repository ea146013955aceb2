//! From a socket to evidence: what the kernel says of the process at the other end.

use std::{
    fs, io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::net::UnixStream as StdStream,
    },
    path::{Path, PathBuf},
    sync::Arc,
};

use custody::caller::{
    Evidence, cgroup,
    fact::Needs,
    observation::{
        Cgroup, Credentials, Doubt, Drift, Exe, ExeDoubt, Namespaces, Observation, Pinned, Process,
    },
};
use nix::sys::socket::{getsockopt, sockopt};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{Mode, OFlags, fstat, open, readlink, stat},
};
use tokio::net::UnixStream;

mod glance;
mod pidfd;

use glance::Glance;
pub(crate) use pidfd::Life;

/// What of this machine evidence is compared with.
#[derive(Debug)]
pub(crate) struct Host {
    /// Our mount namespace.
    mounts: Option<File>,
    /// Held open, so that the kernel need not make its inode anew for each look.
    _mounts: Option<OwnedFd>,
    /// Where the unified control-group hierarchy is mounted.
    cgroups: Option<PathBuf>,
}

/// A file's identity: device and inode.
type File = (u64, u64);

impl Host {
    /// Looks at this machine, once.
    pub(crate) fn here() -> Result<Self, CannotAttest> {
        let (ours, _theirs) = StdStream::pair().map_err(CannotAttest)?;
        getsockopt(&ours, sockopt::PeerPidfd).map_err(|error| CannotAttest(error.into()))?;
        let mounts = fs::read_to_string("/proc/self/mountinfo").map_err(CannotAttest)?;
        let namespace = "/proc/self/ns/mnt";
        Ok(Self {
            mounts: identity(namespace),
            _mounts: open(namespace, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok(),
            cgroups: unified_hierarchy(&mounts),
        })
    }
}

impl Host {
    pub(crate) async fn learn(&self, _: &Peer, evidence: Evidence, _: Needs) -> Evidence {
        evidence
    }
}

/// The kernel does not say who callers are.
#[derive(Debug, thiserror::Error)]
#[error("callers cannot be attested here: that takes Linux 6.5 (SO_PEERPIDFD) and /proc")]
pub(crate) struct CannotAttest(#[source] io::Error);

/// The mount point of the cgroup2 file system (proc_pid_mountinfo(5)).
fn unified_hierarchy(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        (kind.starts_with("cgroup2 ") && root == "/").then(|| point.into())
    })
}

fn identity(path: impl rustix::path::Arg) -> Option<File> {
    let found = stat(path).ok()?;
    Some((found.st_dev, found.st_ino))
}

/// The process at the other end of a connection, pinned.
#[derive(Debug)]
pub(crate) struct Peer {
    connected: Credentials,
    pidfd: Arc<OwnedFd>,
    accepted: Evidence,
    /// What the evidence rests on, if a glance can tell.
    glance: Option<Glance>,
}

impl Peer {
    /// Pins the process that connected `stream`, and takes its first evidence.
    ///
    /// On failure says what is known of whom.
    pub(crate) fn of(stream: &UnixStream, host: &Host) -> Result<Self, (Credentials, Doubt)> {
        let nobody = Credentials {
            pid: 0,
            uid: u32::MAX,
            gid: u32::MAX,
        };
        let found = stream
            .peer_cred()
            .map_err(|_| (nobody, Doubt::Unobservable))?;
        let connected = Credentials {
            pid: found.pid().unwrap_or(0),
            uid: found.uid(),
            gid: found.gid(),
        };
        let doubted = |doubt| (connected, doubt);
        if connected.pid <= 0 {
            return Err(doubted(Doubt::OutsidePidNamespace));
        }
        let pidfd = getsockopt(&stream.as_fd(), sockopt::PeerPidfd)
            .map_err(|_| doubted(Doubt::Unobservable))?;
        let examine = || Evidence::examine(observe(connected, &pidfd, host)?);
        let first = examine().map_err(doubted)?;
        let glance = Glance::before(&first, &pidfd);
        let accepted = examine().map_err(doubted)?;
        let stands =
            |glance: &Glance| first.unchanged(&accepted).is_ok() && glance.holds(&pidfd, host);
        let glance = glance.filter(stands);
        Ok(Self {
            connected,
            pidfd: Arc::new(pidfd),
            accepted,
            glance,
        })
    }

    /// What the process is now, which must be what it was when it connected.
    ///
    /// As long as a glance shows that nothing has changed, that is enough; whatever it
    /// does not show is looked at in full.
    pub(crate) fn evidence(&self, host: &Host) -> Result<Evidence, Drift> {
        if let Some(glance) = &self.glance
            && glance.holds(&self.pidfd, host)
        {
            return Ok(self.accepted.clone());
        }
        let now = Evidence::examine(observe(self.connected, &self.pidfd, host)?)?;
        self.accepted.unchanged(&now)?;
        Ok(now)
    }

    /// What the process was when its connection was accepted, which may be long ago.
    pub(crate) fn accepted(&self) -> &Evidence {
        &self.accepted
    }

    /// To be told when the process ends.
    pub(crate) fn life(&self) -> io::Result<Life> {
        Life::of(Arc::clone(&self.pidfd))
    }

    /// What the kernel said when it connected.
    pub(crate) fn connected(&self) -> Credentials {
        self.connected
    }
}

/// Reads everything about the process that `pidfd` pins, then makes sure that it is
/// still alive: what was read by process id was then read of this process.
fn observe(connected: Credentials, pidfd: &OwnedFd, host: &Host) -> Result<Observation, Doubt> {
    let process = pidfd::process(pidfd.as_fd())?;
    let folder = PathBuf::from(format!("/proc/{}", process.pid));
    let cgroup = read_cgroup(&folder, host);
    let exe = read_exe(&folder, host);
    if !alive(pidfd) {
        return Err(Doubt::Gone);
    }
    // Without the kernel's word on the control group, its name has to do.
    let group = cgroup.as_ref().and_then(|cgroup| cgroup.id);
    let process = Process {
        cgroup: process.cgroup.or(group).unwrap_or(0),
        ..process.into()
    };
    Ok(Observation {
        connected,
        groups: Vec::new(),
        label: None,
        pinned: Pinned::AtConnect,
        namespaces: Namespaces::default(),
        process,
        cgroup,
        exe,
    })
}

/// A pidfd is readable once its process has ended.
fn alive(pidfd: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    matches!(poll(&mut fds, Some(&now)), Ok(0))
}

fn read_cgroup(folder: &Path, host: &Host) -> Option<Cgroup> {
    let text = fs::read_to_string(folder.join("cgroup")).ok()?;
    let path = cgroup::path(&text)?.to_owned();
    let root = host.cgroups.as_deref()?;
    let id = identity(root.join(path.strip_prefix('/')?)).map(|(_, inode)| inode);
    Some(Cgroup {
        path,
        id,
        invocation: None,
    })
}

fn read_exe(folder: &Path, host: &Host) -> Result<Exe, ExeDoubt> {
    let link = folder.join("exe");
    let file = open(&link, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .map_err(|_| ExeDoubt::Unreadable)?;
    let found = fstat(&file).map_err(|_| ExeDoubt::Unreadable)?;
    let path = || {
        if found.st_nlink == 0 {
            return Err(ExeDoubt::Deleted);
        }
        let mounts = identity(folder.join("ns/mnt"));
        if mounts.is_none() || mounts != host.mounts {
            return Err(ExeDoubt::OtherMounts);
        }
        let text = readlink(&link, Vec::new()).map_err(|_| ExeDoubt::Unreadable)?;
        let path = text.into_string().map_err(|_| ExeDoubt::OtherFile)?;
        match identity(path.as_str()) {
            Some(there) if there == (found.st_dev, found.st_ino) => Ok(path),
            _ => Err(ExeDoubt::OtherFile),
        }
    };
    Ok(Exe {
        device: found.st_dev,
        inode: found.st_ino,
        path: path(),
    })
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::process::CommandExt as _,
        process::{Command, Stdio},
    };

    use super::*;

    #[test]
    fn the_unified_hierarchy_is_found_by_its_type() {
        let table = "\
            24 1 0:21 / /proc rw - proc proc rw\n\
            30 24 0:26 /sub /elsewhere rw - cgroup2 cgroup2 rw\n\
            31 24 0:26 / /sys/fs/cgroup/unified rw,nosuid shared:4 - cgroup2 cgroup2 rw\n";
        assert_eq!(
            unified_hierarchy(table),
            Some("/sys/fs/cgroup/unified".into())
        );
        assert_eq!(
            unified_hierarchy("31 24 0:26 / /x rw - cgroup cgroup rw\n"),
            None
        );
    }

    async fn pair() -> (UnixStream, UnixStream) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        let (client, server) = tokio::join!(UnixStream::connect(&path), listener.accept());
        (client.unwrap(), server.unwrap().0)
    }

    #[tokio::test]
    async fn a_peer_is_who_the_kernel_says() {
        let host = Host::here().unwrap();
        let (_client, server) = pair().await;
        let peer = Peer::of(&server, &host).unwrap();
        let evidence = peer.evidence(&host).unwrap();
        assert_eq!(evidence.pid, i32::try_from(std::process::id()).unwrap());
        assert_eq!(evidence.uid, nix::unistd::getuid().as_raw());
        let own = std::env::current_exe().unwrap().canonicalize().unwrap();
        assert_eq!(evidence.exe.as_deref(), own.to_str());
    }

    #[tokio::test]
    async fn a_peer_that_died_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        // the child leaves its connection behind with a child of its own
        let script = "import os, socket, sys, time\n\
            s = socket.socket(socket.AF_UNIX)\n\
            s.connect(sys.argv[1])\n\
            pid = os.fork()\n\
            if pid == 0:\n    time.sleep(20)\n";
        let mut child = Command::new("python3")
            .args(["-c", script, path.to_str().unwrap()])
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        child.wait().unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let (credentials, doubt) = Peer::of(&server, &Host::here().unwrap()).unwrap_err();
        assert_eq!(credentials.pid, i32::try_from(child.id()).unwrap());
        assert_eq!(doubt, Doubt::Gone);
        let group = nix::unistd::Pid::from_raw(credentials.pid);
        nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL).unwrap();
    }
}
