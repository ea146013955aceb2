//! The words grants use to name callers.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::caller::{Evidence, fact::Need};

mod text;
pub mod written;

pub use text::Error;

/// One property of a caller. A grant demands all of several; there is no negation.
///
/// Its text is SPIRE's where SPIRE has one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Selector {
    /// `unix:uid:N`: every user id of the process is `N`.
    Uid(u32),
    /// `unix:gid:N`: every group id of the process is `N`.
    Gid(u32),
    /// `unix:supplementary_gid:N`: it had this group besides when it connected.
    SupplementaryGid(u32),
    /// `systemd:id:UNIT`: the process is in this unit of the system's manager.
    Unit(String),
    /// `systemd:fragment_path:PATH`: that unit is defined in this file.
    Fragment(String),
    /// `systemd:invocation_id:ID`: it is in this one run of its unit.
    Invocation(String),
    /// `systemd:user_unit:UNIT`: its user's own manager has it in this unit.
    UserUnit(String),
    /// `container:id:ID`: it is in this container.
    Container(String),
    /// `k8s:pod-uid:UID`: it is in a container of this pod.
    Pod(String),
    /// `unix:path:PATH`: it executes the file at this path.
    Path(String),
    /// `unix:sha256:HASH`: it executes a file with this content.
    Sha256(String),
    /// `unix:verity:ALGORITHM:DIGEST`: it executes a file that the kernel keeps at this
    /// content.
    Verity(String),
    /// `namespace:KIND:host`: it is in the host's namespace of this kind.
    Host(Namespace),
    /// `lsm:label:LABEL`: the security module gave it this label.
    Label(String),
    /// `process:traced:no`: no other process traces it.
    Untraced,
}

/// A kind of namespace, by its name in `/proc/PID/ns`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Namespace {
    /// Mounts.
    Mnt,
    /// User ids and capabilities.
    User,
    /// Process ids.
    Pid,
}

impl Namespace {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Mnt, Self::User, Self::Pid];

    fn name(self) -> &'static str {
        match self {
            Self::Mnt => "mnt",
            Self::User => "user",
            Self::Pid => "pid",
        }
    }
}

/// What it takes to have a selector match that was not meant for one, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strength {
    /// To say so: the process, or its user, sets it.
    Claimed,
    /// To be another process of the same user, or of one group of users.
    Shared,
    /// To run as that user.
    User,
    /// To be root.
    Root,
}

impl Strength {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Claimed => "claimed",
            Self::Shared => "shared",
            Self::User => "user",
            Self::Root => "root",
        }
    }
}

impl fmt::Display for Strength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Selector {
    /// Whether the caller that `evidence` proves has this property. What is not known of
    /// a caller, it does not have.
    pub fn matches(&self, evidence: &Evidence) -> bool {
        let is = |held: &Option<String>, wanted: &String| held.as_ref() == Some(wanted);
        match self {
            Self::Uid(uid) => evidence.uid == *uid,
            Self::Gid(gid) => evidence.gid == *gid,
            Self::SupplementaryGid(gid) => evidence.groups.contains(gid),
            Self::Unit(unit) => is(&evidence.unit, unit),
            Self::Fragment(path) => is(&evidence.facts.fragment, path),
            Self::Invocation(id) => is(&evidence.invocation, id),
            Self::UserUnit(unit) => is(&evidence.user_unit, unit),
            Self::Container(id) => is(&evidence.container, id),
            Self::Pod(uid) => is(&evidence.pod, uid),
            Self::Path(path) => is(&evidence.exe, path),
            Self::Sha256(hash) => is(&evidence.facts.sha256, hash),
            Self::Verity(digest) => is(&evidence.facts.verity, digest),
            Self::Host(Namespace::Mnt) => evidence.namespaces.mnt == Some(true),
            Self::Host(Namespace::User) => evidence.namespaces.user == Some(true),
            Self::Host(Namespace::Pid) => evidence.namespaces.pid == Some(true),
            Self::Label(label) => is(&evidence.label, label),
            Self::Untraced => evidence.facts.traced == Some(false),
        }
    }

    /// Every selector that `evidence` satisfies.
    pub(crate) fn all_of(evidence: &Evidence) -> Vec<Self> {
        let one = |held: &Option<String>, make: fn(String) -> Self| held.clone().map(make);
        let groups = evidence.groups.iter().copied();
        let namespaces = Namespace::ALL.map(Self::Host).into_iter();
        let facts = &evidence.facts;
        [Self::Uid(evidence.uid), Self::Gid(evidence.gid)]
            .into_iter()
            .chain(groups.map(Self::SupplementaryGid))
            .chain(one(&evidence.unit, Self::Unit))
            .chain(one(&facts.fragment, Self::Fragment))
            .chain(one(&evidence.invocation, Self::Invocation))
            .chain(one(&evidence.user_unit, Self::UserUnit))
            .chain(one(&evidence.container, Self::Container))
            .chain(one(&evidence.pod, Self::Pod))
            .chain(one(&evidence.exe, Self::Path))
            .chain(one(&facts.sha256, Self::Sha256))
            .chain(one(&facts.verity, Self::Verity))
            .chain(namespaces.filter(|host| host.matches(evidence)))
            .chain(one(&evidence.label, Self::Label))
            .chain((facts.traced == Some(false)).then_some(Self::Untraced))
            .collect()
    }

    /// The fact that must be looked up before this can match.
    pub fn need(&self) -> Option<Need> {
        match self {
            Self::Fragment(_) => Some(Need::Fragment),
            Self::Sha256(_) => Some(Need::Sha256),
            Self::Verity(_) => Some(Need::Verity),
            Self::Untraced => Some(Need::Tracer),
            _ => None,
        }
    }

    /// Whether a caller can be told from others by this alone: an executable can be
    /// run, a group joined and a name claimed by too many, and whom no security module
    /// confines has a label all the same.
    pub fn identifies(&self) -> bool {
        match self {
            Self::Label(label) => is_confined(label),
            Self::Uid(_)
            | Self::Unit(_)
            | Self::Fragment(_)
            | Self::Invocation(_)
            | Self::Container(_)
            | Self::Pod(_) => true,
            _ => false,
        }
    }

    /// Whether a caller may have several of the kind.
    pub(crate) fn is_plural(&self) -> bool {
        matches!(self, Self::SupplementaryGid(_) | Self::Host(_))
    }

    /// What it takes to have it match that was not meant to.
    pub fn strength(&self) -> Strength {
        match self {
            Self::UserUnit(_) | Self::Untraced => Strength::Claimed,
            Self::Gid(_)
            | Self::SupplementaryGid(_)
            | Self::Path(_)
            | Self::Sha256(_)
            | Self::Verity(_) => Strength::Shared,
            Self::Uid(_) | Self::Host(_) => Strength::User,
            Self::Unit(_)
            | Self::Fragment(_)
            | Self::Invocation(_)
            | Self::Container(_)
            | Self::Pod(_)
            | Self::Label(_) => Strength::Root,
        }
    }

    /// What that means, in a sentence for whoever writes a grant.
    pub fn caution(&self) -> &'static str {
        match self {
            Self::Uid(_) => "any code that runs as this user has it",
            Self::Gid(_) | Self::SupplementaryGid(_) => {
                "every member of the group, and every setgid program, has it"
            }
            Self::Unit(_) => "only root puts a process there; whatever the unit runs has it",
            Self::Fragment(_) => "only root defines units; no transient unit has it",
            Self::Invocation(_) => "holds for one run of the unit, until it is restarted",
            Self::UserUnit(_) => "the user says so; worth no more than the user id",
            Self::Container(_) => "holds for one container, whatever it runs",
            Self::Pod(_) => "holds for every container of one pod",
            Self::Path(_) => {
                "names the program, not the code in it: another process of the same user can borrow it"
            }
            Self::Sha256(_) => {
                "names the program's file, not its libraries or scripts: the same user can borrow it"
            }
            Self::Verity(_) => {
                "as a hash, and kept by the kernel; the same user can still borrow it"
            }
            Self::Host(_) => "keeps containers out; says nothing of the user",
            Self::Label(_) => "as strong as the security module's policy",
            Self::Untraced => "a tracer can leave before it is looked for",
        }
    }
}

/// Whether who has this label is held to a policy of its own: under AppArmor it is in no
/// profile otherwise, or in one that only complains; under SELinux in the type of all that
/// have none; under Smack it is the system's floor, star or hat.
fn is_confined(label: &str) -> bool {
    let is_free = |part: &str| part.starts_with("unconfined");
    let complains = label.ends_with("(complain)");
    let parts = label.split([':', ' ', '(', '/', '&']);
    !complains && !parts.into_iter().any(is_free) && !matches!(label, "_" | "*" | "^")
}

#[cfg(test)]
mod tests;
