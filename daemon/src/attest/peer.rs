//! The process at the other end of a connection, pinned for as long as that lasts.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
    sync::Arc,
};

use custody::caller::{
    Evidence,
    observation::{Cgroup, Credentials, Doubt, Drift, Observation, Pinned, Process},
};
use nix::sys::socket::{getsockopt, sockopt};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::net::UnixStream;

use super::{
    Attestor, legacy,
    look::{Look, alive},
    observe::{self, Hierarchy},
    pidfd::{self, Life},
    view::Eye,
};

/// A process that is pinned, and what was known of it when it was.
#[derive(Debug)]
pub(super) struct Subject {
    connected: Credentials,
    groups: Vec<u32>,
    label: Option<String>,
    pinned: Pinned,
    pub(super) pidfd: Arc<OwnedFd>,
    pub(super) eye: Eye,
}

impl Subject {
    /// What it is now; it holds if it is alive afterwards.
    fn process(&self) -> Result<pidfd::Found, Doubt> {
        found(&self.pidfd, self.pinned)
    }

    /// What it is now, with its control group by name. Where the kernel says which one it is, the name that
    /// was read too early or too late is read again, and not taken for that of another.
    fn placed(&self, cgroups: &Hierarchy) -> Result<(pidfd::Found, Option<Cgroup>), Doubt> {
        for _ in 0..2 {
            let found = self.process()?;
            let cgroup = cgroups.of(found.pid);
            // What has no path here is not below what is seen here.
            let named = cgroup.as_ref().filter(|_| cgroups.root().is_some());
            let is_other = |id| named.is_some_and(|named| named.id != Some(id));
            if !found.cgroup.is_some_and(is_other) {
                return Ok((found, cgroup));
            }
        }
        Err(Doubt::Unobservable)
    }

    /// What `look` and everything else that there is to know prove; and the process that
    /// proves it, if the kernel vouches for all of that.
    fn examine(
        &self,
        look: Look,
        attestor: &Attestor,
    ) -> Result<(Evidence, Option<Process>), Doubt> {
        let (found, cgroup) = self.placed(&attestor.cgroups)?;
        let standing = observe::stands(found.pid, attestor.tracers());
        if !alive(self.pidfd.as_fd()) {
            return Err(Doubt::Gone);
        }
        standing?;
        // Without the kernel's word on the control group, its name has to do.
        let named = cgroup.as_ref().and_then(|cgroup| cgroup.id);
        let process = Process {
            cgroup: found.cgroup.or(named).unwrap_or(0),
            ..found.into()
        };
        let evidence = Evidence::examine(Observation {
            connected: self.connected,
            groups: self.groups.clone(),
            label: self.label.clone(),
            process,
            pinned: self.pinned,
            cgroup,
            namespaces: look.namespaces,
            exe: look.exe,
        })?;
        // A control group that only `/proc` names has to be read there each time.
        Ok((evidence, found.cgroup.map(|_| process)))
    }

    /// The process of this number, as if it had connected now.
    pub(super) async fn numbered(pid: i32, attestor: &Attestor) -> Result<(Self, Evidence), Doubt> {
        let pid = Pid::from_raw(pid).filter(|pid| pid.as_raw_nonzero().get() > 0);
        let pid = pid.ok_or(Doubt::Gone)?;
        let pidfd = Arc::new(pidfd_open(pid, PidfdFlags::empty()).map_err(|_| Doubt::Gone)?);
        let process = Process::from(found(&pidfd, attestor.method())?);
        let connected = Credentials {
            pid: process.pid,
            uid: process.uids[1],
            gid: process.gids[1],
        };
        let (look, eye) = attestor.view.meet(&pidfd).await?;
        let subject = Self {
            connected,
            groups: observe::groups(process.pid).unwrap_or_default(),
            label: observe::label(process.pid),
            pinned: attestor.method(),
            pidfd,
            eye,
        };
        let (evidence, _) = subject.examine(look, attestor)?;
        Ok((subject, evidence))
    }
}

fn found(pidfd: &OwnedFd, pinned: Pinned) -> Result<pidfd::Found, Doubt> {
    let found = pidfd::process(pidfd.as_fd())?;
    Ok(match pinned {
        Pinned::AtConnect => found,
        // Such kernels give all pidfds one inode.
        Pinned::ByNumber => pidfd::Found {
            id: legacy::started(found.pid)?,
            ..found
        },
    })
}

/// The process at the other end of a connection, pinned.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(super) subject: Subject,
    accepted: Evidence,
    /// What the evidence rests on besides the look, if a glance can tell.
    steady: Option<Process>,
}

impl Peer {
    /// Pins the process that connected `stream`, and takes its first evidence.
    ///
    /// On failure says what is known of whom.
    pub(crate) async fn of(
        stream: &UnixStream,
        attestor: &Attestor,
    ) -> Result<Self, (Credentials, Doubt)> {
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
        let pidfd = match attestor.method() {
            Pinned::AtConnect => getsockopt(&stream.as_fd(), sockopt::PeerPidfd)
                .map_err(|_| doubted(Doubt::Unobservable))?,
            Pinned::ByNumber => legacy::pin(connected).map_err(doubted)?,
        };
        let pidfd = Arc::new(pidfd);
        let (look, eye) = attestor.view.meet(&pidfd).await.map_err(doubted)?;
        let subject = Subject {
            connected,
            groups: pidfd::peer_groups(stream.as_fd()).unwrap_or_default(),
            label: pidfd::peer_label(stream.as_fd()),
            pinned: attestor.method(),
            pidfd,
            eye,
        };
        let (accepted, steady) = subject.examine(look, attestor).map_err(doubted)?;
        Ok(Self {
            subject,
            accepted,
            steady,
        })
    }

    /// What the process is now, which must be what it was when it connected.
    ///
    /// As long as a glance shows that nothing has changed, that is enough; whatever it
    /// does not show is looked at in full.
    pub(crate) async fn evidence(&self, attestor: &Attestor) -> Result<Evidence, Drift> {
        let again = self.subject.eye.again().await?;
        let look = match again {
            None if self.is_steady(attestor)? => return Ok(self.accepted.clone()),
            None => self.subject.eye.look().await?,
            Some(look) => look,
        };
        let (now, _) = self.subject.examine(look, attestor)?;
        self.accepted.unchanged(&now)?;
        Ok(now)
    }

    /// Whether what a look does not show is as it was. A control group of the unified
    /// hierarchy has one path for life: it cannot be renamed, nor removed while a process
    /// is in it.
    fn is_steady(&self, attestor: &Attestor) -> Result<bool, Doubt> {
        let Some(steady) = &self.steady else {
            return Ok(false);
        };
        let invocation = || match &self.accepted {
            Evidence {
                invocation: None, ..
            } => true,
            Evidence { cgroup, .. } => {
                let path = cgroup.as_deref().unwrap_or_default();
                attestor.cgroups.invocation(path) == self.accepted.invocation
            }
        };
        let standing = observe::stands(steady.pid, attestor.tracers());
        let process = self.subject.process().map(Process::from);
        let same = process.as_ref() == Ok(steady) && invocation();
        if !alive(self.subject.pidfd.as_fd()) {
            return Ok(false);
        }
        standing.map(|()| same)
    }

    /// What the process was when its connection was accepted, which may be long ago.
    pub(crate) fn accepted(&self) -> &Evidence {
        &self.accepted
    }

    /// To be told when the process ends.
    pub(crate) fn life(&self) -> io::Result<Life> {
        Life::of(Arc::clone(&self.subject.pidfd))
    }

    /// What the kernel said when it connected.
    pub(crate) fn connected(&self) -> Credentials {
        self.subject.connected
    }
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::process::CommandExt as _,
        process::{Command, Stdio},
    };

    use super::*;

    async fn pair() -> (UnixStream, UnixStream) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        let (client, server) = tokio::join!(UnixStream::connect(&path), listener.accept());
        (client.unwrap(), server.unwrap().0)
    }

    #[tokio::test]
    async fn a_peer_is_who_the_kernel_says() {
        let attestor = Attestor::alone();
        let (_client, server) = pair().await;
        let peer = Peer::of(&server, &attestor).await.unwrap();
        let evidence = peer.evidence(&attestor).await.unwrap();
        assert_eq!(evidence.pid, i32::try_from(std::process::id()).unwrap());
        assert_eq!(evidence.uid, nix::unistd::getuid().as_raw());
        let mut groups: Vec<_> = rustix::process::getgroups()
            .unwrap()
            .into_iter()
            .map(rustix::process::Gid::as_raw)
            .collect();
        groups.sort_unstable();
        assert_eq!(evidence.groups, groups);
        let own = std::env::current_exe().unwrap().canonicalize().unwrap();
        assert_eq!(evidence.exe.as_deref(), own.to_str());
    }

    /// A process that waits to be killed, pinned, and what was seen of it.
    async fn met(attestor: &Attestor) -> (std::process::Child, Subject, Look) {
        let child = Command::new("sleep").arg("60").spawn().unwrap();
        let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
        let pidfd = Arc::new(pidfd);
        let process = Process::from(found(&pidfd, Pinned::AtConnect).unwrap());
        let (look, eye) = attestor.view.meet(&pidfd).await.unwrap();
        let subject = Subject {
            connected: Credentials {
                pid: process.pid,
                uid: process.uids[1],
                gid: process.gids[1],
            },
            groups: Vec::new(),
            label: None,
            pinned: Pinned::AtConnect,
            pidfd,
            eye,
        };
        (child, subject, look)
    }

    #[tokio::test]
    async fn what_was_read_of_a_process_that_has_ended_meanwhile_proves_nobody() {
        let attestor = Attestor::alone();
        let (mut child, subject, look) = met(&attestor).await;
        assert!(subject.examine(look.clone(), &attestor).is_ok());
        // Until somebody hears of its end, its number and its ids can still be read.
        child.kill().unwrap();
        super::super::tests::until("it has ended", || !alive(subject.pidfd.as_fd()));
        assert!(subject.process().is_ok());
        let doubt = subject.examine(look, &attestor).unwrap_err();
        assert_eq!(doubt, Doubt::Gone);
        child.wait().unwrap();
    }

    #[tokio::test]
    async fn a_control_group_whose_name_is_not_that_of_the_kernels_proves_nobody() {
        let mut attestor = Attestor::alone();
        let folder = tempfile::tempdir().unwrap();
        attestor.cgroups = Hierarchy::at(folder.path().to_owned());
        let (mut child, subject, look) = met(&attestor).await;
        let doubt = subject.examine(look, &attestor).map(|_| ()).unwrap_err();
        assert_eq!(doubt, Doubt::Unobservable);
        child.kill().unwrap();
        child.wait().unwrap();
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
        let (credentials, doubt) = Peer::of(&server, &Attestor::alone()).await.unwrap_err();
        assert_eq!(credentials.pid, i32::try_from(child.id()).unwrap());
        assert_eq!(doubt, Doubt::Gone);
        let group = nix::unistd::Pid::from_raw(credentials.pid);
        nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL).unwrap();
    }
}
