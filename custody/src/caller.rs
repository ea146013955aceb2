//! Who asks: what the kernel says, and the caller it proves.

use std::fmt;

use serde::Serialize;

use crate::selector::Selector;

pub mod cgroup;

/// What the kernel said about a peer, before anyone has thought about it.
///
/// All of it must be read of one process that is pinned by a pidfd, and the pidfd
/// must be found alive after the rest was read: whoever makes one vouches for that.
#[derive(Clone, Debug)]
pub struct Observation {
    /// `SO_PEERCRED`: who connected, when they connected.
    pub connected: Credentials,
    /// `PIDFD_GET_INFO` of `SO_PEERPIDFD`: who they are now.
    pub process: Process,
    /// The control group's path, as `/proc/PID/cgroup` has it.
    pub cgroup: Option<Cgroup>,
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
    /// The file has no name any more, or never had one.
    #[error("the executable has been deleted or replaced since it was started")]
    Deleted,
    /// The process sees other mounts than the daemon.
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
    /// The process ended before it could be observed.
    #[error("the process has ended")]
    Gone,
    /// The kernel did not answer.
    #[error("the kernel does not say who the process is")]
    Unobservable,
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
    /// Its control group.
    #[error("the process moved to another control group")]
    Cgroup,
    /// Its executable.
    #[error("the process executes another file")]
    Exe,
    /// Who sends is not who connected.
    #[error("another process sends on the connection than made it")]
    Sender,
    /// File descriptors came with what was sent.
    #[error("file descriptors were passed over the connection")]
    Descriptors,
    /// It can no longer be observed without doubt.
    #[error("{0}")]
    #[serde(untagged)]
    Doubtful(#[from] Doubt),
}

/// An observation that holds together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// Inode of the pidfd: the process's name for this boot of the machine.
    pub process: u64,
    /// Process id.
    pub pid: i32,
    /// User id; there is only one.
    pub uid: u32,
    /// Group id; there is only one.
    pub gid: u32,
    /// Unit of the system's service manager.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Control group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<String>,
    /// Path of the executable, when it is beyond doubt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exe: Option<String>,
    /// Why there is no `exe`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exe_doubt: Option<ExeDoubt>,
    /// Device and inode of the executable.
    #[serde(skip)]
    pub exe_file: Option<(u64, u64)>,
}

impl Evidence {
    /// Draws from `seen` what is certain.
    ///
    /// # Errors
    ///
    /// A [`Doubt`] when what was seen is not one process with one identity.
    pub fn examine(seen: Observation) -> Result<Self, Doubt> {
        let Observation {
            connected,
            process,
            cgroup,
            exe,
        } = seen;
        if connected.pid <= 0 {
            return Err(Doubt::OutsidePidNamespace);
        }
        if process.pid != connected.pid {
            return Err(Doubt::OtherProcess);
        }
        if process.uids.iter().any(|&uid| uid != connected.uid) {
            return Err(Doubt::MixedUids);
        }
        if process.gids.iter().any(|&gid| gid != connected.gid) {
            return Err(Doubt::MixedGids);
        }
        // A path whose folder is not the process's control group was read too early or too late.
        let cgroup = cgroup.filter(|cgroup| cgroup.id == Some(process.cgroup));
        let (exe_file, path) = match exe {
            Ok(exe) => (Some((exe.device, exe.inode)), exe.path),
            Err(doubt) => (None, Err(doubt)),
        };
        Ok(Self {
            process: process.id,
            pid: process.pid,
            uid: connected.uid,
            gid: connected.gid,
            unit: cgroup
                .as_ref()
                .and_then(|cgroup| cgroup::unit(&cgroup.path)),
            cgroup: cgroup.map(|cgroup| cgroup.path),
            exe_doubt: path.as_ref().err().copied(),
            exe: path.ok(),
            exe_file,
        })
    }

    /// Whether `later` is of the same process, in every respect that a grant can name.
    ///
    /// # Errors
    ///
    /// The first [`Drift`] found.
    pub fn unchanged(&self, later: &Self) -> Result<(), Drift> {
        if (later.process, later.pid) != (self.process, self.pid) {
            return Err(Drift::Process);
        }
        if (later.uid, later.gid) != (self.uid, self.gid) {
            return Err(Drift::Ids);
        }
        if (&later.unit, &later.cgroup) != (&self.unit, &self.cgroup) {
            return Err(Drift::Cgroup);
        }
        if (later.exe_file, &later.exe) != (self.exe_file, &self.exe) {
            return Err(Drift::Exe);
        }
        Ok(())
    }

    /// Every selector that this evidence satisfies.
    pub fn selectors(&self) -> Vec<Selector> {
        let certain = [Selector::Uid(self.uid), Selector::Gid(self.gid)];
        let unit = self.unit.clone().map(Selector::Unit);
        let path = self.exe.clone().map(Selector::Path);
        certain.into_iter().chain(unit).chain(path).collect()
    }
}

/// A local service that was attested: the only one that can be granted content.
///
/// An operator is another type, so no management call can be mistaken for one:
///
/// ```compile_fail,E0308
/// fn confuse(operator: custody::caller::Operator) -> custody::caller::Caller {
///     operator
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Caller(Evidence);

impl Caller {
    /// The caller that `evidence` proves.
    pub fn attested(evidence: Evidence) -> Self {
        Self(evidence)
    }

    /// What proves it.
    pub fn evidence(&self) -> &Evidence {
        &self.0
    }
}

/// Who may use the Manager surface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Operators {
    /// User ids.
    pub uids: Vec<u32>,
    /// Primary group ids.
    pub gids: Vec<u32>,
}

/// A process that may manage; it can be given metadata, never content.
#[derive(Clone, Debug)]
pub struct Operator(Evidence);

/// The evidence is of no operator.
#[derive(Debug, thiserror::Error)]
#[error("uid {} gid {} is no operator", .0.uid, .0.gid)]
pub struct NoOperator(pub Evidence);

impl Operators {
    /// Whether `evidence` is of one of them.
    ///
    /// # Errors
    ///
    /// If not, the evidence comes back for the record.
    pub fn admit(&self, evidence: Evidence) -> Result<Operator, NoOperator> {
        if self.uids.contains(&evidence.uid) || self.gids.contains(&evidence.gid) {
            Ok(Operator(evidence))
        } else {
            Err(NoOperator(evidence))
        }
    }
}

impl Operator {
    /// What proves it.
    pub fn evidence(&self) -> &Evidence {
        &self.0
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pid {} uid {} gid {}", self.pid, self.uid, self.gid)?;
        if let Some(unit) = &self.unit {
            write!(f, " unit {unit}")?;
        }
        if let Some(exe) = &self.exe {
            write!(f, " exe {exe}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
