//! Who may administer: roles, and the operators that hold them.

use std::{fmt, str::FromStr};

use serde::Serialize;

use crate::{
    caller::Evidence,
    group::Millis,
    name::{GroupName, RuleId, SecretName},
    policy::rule::Selectors,
};

mod operation;

pub use operation::Operation;

/// What an operator may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Makes groups and their master keys, and says who holds which role.
    CryptoOfficer,
    /// Says who gets a group's secrets, and deletes them.
    GroupAdministrator,
    /// Writes a group's secrets.
    Writer,
    /// Sees the metadata of a group's secrets, and who uses them.
    Reader,
    /// Reads the journal, and sees grants, roles and use.
    Auditor,
}

/// A text that is no role.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is no role; there are {known}", known = Role::ALL.map(Role::name).join(", "))]
pub struct NoSuchRole(String);

impl Role {
    /// Every role.
    pub const ALL: [Self; 5] = [
        Self::CryptoOfficer,
        Self::GroupAdministrator,
        Self::Writer,
        Self::Reader,
        Self::Auditor,
    ];

    /// The name that is stored and shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::CryptoOfficer => "crypto-officer",
            Self::GroupAdministrator => "group-administrator",
            Self::Writer => "writer",
            Self::Reader => "reader",
            Self::Auditor => "auditor",
        }
    }

    /// Whether it can be held for one group.
    pub fn is_of_groups(self) -> bool {
        matches!(self, Self::GroupAdministrator | Self::Writer | Self::Reader)
    }
}

impl FromStr for Role {
    type Err = NoSuchRole;

    fn from_str(name: &str) -> Result<Self, NoSuchRole> {
        let mut roles = Self::ALL.into_iter();
        let role = roles.find(|role| role.name() == name);
        role.ok_or_else(|| NoSuchRole(name.to_owned()))
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A role that is held by whoever satisfies every selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// Its name.
    pub id: RuleId,
    /// The role.
    pub role: Role,
    /// The group it is held for; every group, or the installation, if `None`.
    pub group: Option<GroupName>,
    /// What an operator must satisfy.
    pub selectors: Selectors,
    /// When it was assigned.
    pub created: Millis,
    /// User id of the operator who assigned it; `None` if that was done on the machine,
    /// without the daemon.
    pub created_by: Option<u32>,
}

/// An operation, and what it is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Act {
    /// The operation.
    pub operation: Operation,
    /// The group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupName>,
    /// The secret in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretName>,
    /// The role that is given or taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
}

impl Act {
    /// `operation`, about nothing in particular.
    pub fn of(operation: Operation) -> Self {
        Self {
            operation,
            group: None,
            secret: None,
            role: None,
        }
    }

    /// The roles, one of which it takes; `None` if it takes none.
    ///
    /// A group's administrator may let others write and read there, and nothing more.
    pub fn takes(&self) -> Option<&'static [Role]> {
        let gives_role = matches!(
            self.operation,
            Operation::AssignRole | Operation::RevokeRole
        );
        let within_group =
            self.group.is_some() && matches!(self.role, Some(Role::Writer | Role::Reader));
        if gives_role && !within_group {
            return Some(&[Role::CryptoOfficer]);
        }
        self.operation.takes()
    }
}

/// A process that may do one thing, not yet written down.
///
/// Only [`State::admit`](crate::state::State::admit) makes one.
#[derive(Debug)]
#[must_use = "an admission is good for nothing until it is recorded"]
pub struct Admission {
    pub(crate) evidence: Evidence,
    pub(crate) act: Act,
    pub(crate) held: Vec<Assignment>,
}

/// A process that may do one thing, which is on record; it can be given metadata, never
/// content.
///
/// Only [`admit`](crate::journal::admit) makes one:
///
/// ```compile_fail,E0423
/// use custody::role::{Admission, Operator};
/// fn skip_the_record(admission: Admission) -> Operator {
///     Operator(admission) // the field is private
/// }
/// ```
#[derive(Debug)]
#[must_use = "an operator is admitted to do something"]
pub struct Operator(pub(crate) Admission);

/// The evidence is of nobody who may do this.
#[derive(Debug)]
pub struct NotAdmitted {
    /// Who asked.
    pub evidence: Evidence,
    /// For what.
    pub act: Act,
    /// Whether it holds any role at all.
    pub is_operator: bool,
}

impl std::error::Error for NotAdmitted {}

impl fmt::Display for NotAdmitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Evidence { uid, gid, .. } = self.evidence;
        if !self.is_operator {
            return write!(f, "uid {uid} gid {gid} is no operator");
        }
        let takes = self.act.takes().unwrap_or_default();
        let takes: Vec<_> = takes.iter().map(|role| role.name()).collect();
        write!(
            f,
            "{} takes the role {}",
            self.act.operation,
            takes.join(" or ")
        )?;
        match &self.act.group {
            Some(group) => write!(f, " for group {group}, which uid {uid} does not hold"),
            None => write!(f, ", which uid {uid} does not hold"),
        }
    }
}

impl Operator {
    /// What proves it.
    pub fn evidence(&self) -> &Evidence {
        &self.0.evidence
    }

    /// What it may do.
    pub fn act(&self) -> &Act {
        &self.0.act
    }

    /// The assignments by which it may: those of the roles that the operation takes.
    pub fn held(&self) -> &[Assignment] {
        &self.0.held
    }

    /// Whether one of those is for `group`.
    pub fn sees(&self, group: &GroupName) -> bool {
        let for_group = |held: &Assignment| held.group.as_ref().is_none_or(|of| of == group);
        self.0.held.iter().any(for_group)
    }
}

#[cfg(test)]
mod tests;
