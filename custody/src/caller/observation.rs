//! What the kernel says about a peer, before anyone has thought about it.

use serde::Serialize;

/// Everything that is always looked at.
///
/// All of it must be read of one process that is pinned by a pidfd, and the pidfd
/// must be found alive after the rest was read: whoever makes one vouches for that.
#[derive(Clone, Debug)]
pub struct Observation {
    /// `SO_PEERCRED`: who connected, when they connected.
    pub connected: Credentials,
    /// `SO_PEERGROUPS`: their supplementary groups at that time; none if it cannot be
    /// known.
    pub groups: Vec<u32>,
    /// `SO_PEERSEC`: their label at that time, where a security module keeps one.
    pub label: Option<String>,
    /// `PIDFD_GET_INFO` of `SO_PEERPIDFD`: who they are now.
    pub process: Process,
    /// How sure it is that `process` is the one that connected.
    pub pinned: Pinned,
    /// The control group's path, as `/proc/PID/cgroup` has it.
    pub cgroup: Option<Cgroup>,
    /// The namespaces it is in.
    pub namespaces: Namespaces,
    /// The executable; or why nothing can be said about it.
    pub exe: Result<Exe, ExeDoubt>,
}

/// The ids a peer had when it connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Process id; 0 when the process is outside our PID namespace.
    pub pid: i32,
    /// Effective user id.
    pub uid: u32,
    /// Effective group id.
    pub gid: u32,
}

/// How a peer's process was got hold of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pinned {
    /// By the kernel, when it connected (`SO_PEERPIDFD`).
    AtConnect,
    /// By its process id, after it connected: a process of the same user may have
    /// taken the id over in between.
    ByNumber,
}

/// A live process, as its pidfd describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Inode of the pidfd: the process's name for this boot of the machine.
    pub id: u64,
    /// Process id (of the thread group).
    pub pid: i32,
    /// Real, effective, saved and filesystem user id.
    pub uids: [u32; 4],
    /// Real, effective, saved and filesystem group id.
    pub gids: [u32; 4],
    /// Inode of the control group.
    pub cgroup: u64,
}

/// A control group, read by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup {
    /// Path below the hierarchy's root, beginning with a slash.
    pub path: String,
    /// Inode of the folder of that path, when it could be looked up.
    pub id: Option<u64>,
    /// The invocation id that the service manager put on the unit's folder, where nobody
    /// else could have: 32 hexadecimal digits.
    pub invocation: Option<String>,
}

/// Which of a process's namespaces are the host's: those of process 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// Whether it sees the host's mounts; `None` if that cannot be known.
    pub mnt: Option<bool>,
    /// Whether its user ids are the host's.
    pub user: Option<bool>,
    /// Whether its process ids are the host's.
    pub pid: Option<bool>,
}

/// The file that a process executes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exe {
    /// Device of the file.
    pub device: u64,
    /// Inode of the file.
    pub inode: u64,
    /// Its path; or why there is none that both sides would agree on.
    pub path: Result<String, ExeDoubt>,
}

/// Why an executable, or its path, is not part of the evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExeDoubt {
    /// `/proc/PID/exe` may not be read.
    #[error("the daemon may not read the process's executable")]
    Unreadable,
    /// The file has no name any more.
    #[error("the executable has been deleted or replaced since it was started")]
    Deleted,
    /// The file is in memory and never had a name.
    #[error("the executable is in memory only, and no file")]
    Memory,
    /// The process sees other mounts than the host.
    #[error("the process is in another mount namespace")]
    OtherMounts,
    /// The path names another file.
    #[error("the executable's path now leads to another file")]
    OtherFile,
}

/// Why an observation proves nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Doubt {
    /// `SO_PEERCRED` has pid 0.
    #[error("the process is outside the daemon's PID namespace")]
    OutsidePidNamespace,
    /// The pidfd is of another process than connected.
    #[error("the process that connected is not the one that is there")]
    OtherProcess,
    /// Real, effective, saved, filesystem and connecting uid are not one.
    #[error("the process's user ids are not all the same")]
    MixedUids,
    /// Likewise for gids.
    #[error("the process's group ids are not all the same")]
    MixedGids,
    /// Its main thread has ended, and with it the executable.
    #[error("the process's main thread has ended")]
    Leaderless,
    /// Another process traces it, and may see and do whatever it does.
    #[error("the process is traced by another")]
    Traced,
    /// The process ended before it could be observed.
    #[error("the process has ended")]
    Gone,
    /// The kernel did not answer.
    #[error("the kernel does not say who the process is")]
    Unobservable,
    /// It was not found out in time, of whichever process: it may be, another time.
    #[error("who the process is was not found out in time")]
    Unanswered,
}

/// What changed about a process that should not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Drift {
    /// It is another one.
    #[error("the process is another one")]
    Process,
    /// Its ids.
    #[error("the process's user or group changed")]
    Ids,
    /// Its control group, or the run of its unit.
    #[error("the process moved to another control group")]
    Cgroup,
    /// Its namespaces.
    #[error("the process moved to another namespace")]
    Namespaces,
    /// Its executable.
    #[error("the process executes another file")]
    Exe,
    /// Whether another process traces it; or that is no longer known.
    #[error("a tracer came to the process, or left it")]
    Tracer,
    /// Who sends is not who connected.
    #[error("another process sends on the connection than made it")]
    Sender,
    /// File descriptors came with what was sent.
    #[error("file descriptors were passed over the connection")]
    Descriptors,
    /// It can no longer be observed without doubt.
    #[error(transparent)]
    #[serde(untagged)]
    Doubtful(#[from] Doubt),
}

impl Drift {
    /// Whether it says nothing of the process: the same may be fine in a moment.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Doubtful(Doubt::Unanswered))
    }
}
