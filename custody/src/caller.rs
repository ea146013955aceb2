//! Who asks: what the kernel says, and the caller it proves.

use std::{fmt, sync::Arc};

use serde::Serialize;

use crate::selector::Selector;

pub mod cgroup;
pub mod fact;
pub mod observation;

use fact::Facts;
use observation::{Doubt, Drift, ExeDoubt, Namespaces, Observation, Pinned};

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
    /// Supplementary groups when it connected, sorted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<u32>,
    /// Unit of the system's service manager.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The run of that unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invocation: Option<String>,
    /// Unit of its user's own service manager: what that user says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_unit: Option<String>,
    /// Container that it is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Pod that the container belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
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
    /// Label that a security module gave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Which of its namespaces are the host's.
    #[serde(skip)]
    pub namespaces: Namespaces,
    /// How it was got hold of; on record when less than certain.
    #[serde(skip_serializing_if = "is_certain")]
    pub pinned: Pinned,
    /// What was looked up besides, because a grant asked for it.
    #[serde(flatten)]
    pub facts: Facts,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_certain(pinned: &Pinned) -> bool {
    *pinned == Pinned::AtConnect
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
            mut groups,
            label,
            process,
            pinned,
            cgroup,
            namespaces,
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
        let place = cgroup
            .as_ref()
            .map(|cgroup| cgroup::Place::of(&cgroup.path));
        let place = place.unwrap_or_default();
        let (exe_file, path) = match exe {
            Ok(exe) => (Some((exe.device, exe.inode)), exe.path),
            Err(doubt) => (None, Err(doubt)),
        };
        groups.sort_unstable();
        groups.dedup();
        Ok(Self {
            process: process.id,
            pid: process.pid,
            uid: connected.uid,
            gid: connected.gid,
            groups,
            invocation: cgroup
                .as_ref()
                .filter(|_| place.unit.is_some())
                .and_then(|cgroup| cgroup.invocation.clone()),
            user_unit: place.user_unit(connected.uid),
            unit: place.unit,
            container: place.container,
            pod: place.pod,
            cgroup: cgroup.map(|cgroup| cgroup.path),
            exe_doubt: path.as_ref().err().copied(),
            exe: path.ok(),
            exe_file,
            label,
            namespaces,
            pinned,
            facts: Facts::default(),
        })
    }

    /// The same with what was looked up besides.
    #[must_use]
    pub fn with(self, facts: Facts) -> Self {
        Self { facts, ..self }
    }

    /// Whether `later` is of the same process, in every respect that a grant can name.
    ///
    /// What was looked up besides goes with the executable and the control group, which
    /// are compared; but for the tracer, which must be looked for again.
    ///
    /// # Errors
    ///
    /// The first [`Drift`] found.
    pub fn unchanged(&self, later: &Self) -> Result<(), Drift> {
        if (later.process, later.pid, later.pinned) != (self.process, self.pid, self.pinned) {
            return Err(Drift::Process);
        }
        if (later.uid, later.gid, &later.groups) != (self.uid, self.gid, &self.groups) {
            return Err(Drift::Ids);
        }
        // Everything else that is read from a control group follows from its path.
        if (&later.cgroup, &later.invocation) != (&self.cgroup, &self.invocation) {
            return Err(Drift::Cgroup);
        }
        if (&later.namespaces, &later.label) != (&self.namespaces, &self.label) {
            return Err(Drift::Namespaces);
        }
        if (later.exe_file, &later.exe) != (self.exe_file, &self.exe) {
            return Err(Drift::Exe);
        }
        if self.facts.traced.is_some() && later.facts.traced != self.facts.traced {
            return Err(Drift::Tracer);
        }
        Ok(())
    }

    /// Every selector that this evidence satisfies.
    pub fn selectors(&self) -> Vec<Selector> {
        Selector::all_of(self)
    }
}

/// A local service that was attested: the only one that can be granted content.
///
/// An operator is another type, so no management call can be mistaken for one:
///
/// ```compile_fail,E0308
/// fn confuse(operator: custody::role::Operator) -> custody::caller::Caller {
///     operator
/// }
/// ```
///
/// Cloning shares it: each of several secrets that are released together is to the same.
#[derive(Clone, Debug)]
pub struct Caller(Arc<Evidence>);

impl Caller {
    /// The caller that `evidence` proves.
    pub fn attested(evidence: Evidence) -> Self {
        Self(Arc::new(evidence))
    }

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
