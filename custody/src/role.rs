//! Who may administer: roles, and the operators that hold them.

use std::{fmt, str::FromStr};

use serde::Serialize;

use crate::{
    caller::Evidence,
    group::Millis,
    name::{GroupName, RuleId, SecretName},
    policy::rule::Selectors,
};

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

/// What an operator asks to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "as the methods of the Manager service")]
pub enum Operation {
    CreateGroup,
    ListGroups,
    GetGroup,
    UpdateGroup,
    PutSecret,
    RotateSecret,
    RequestCertificate,
    GetCertificateRequest,
    CertifySecret,
    ListSecrets,
    GetSecret,
    UpdateSecret,
    ListVersions,
    ActivateVersion,
    EnableVersion,
    DisableVersion,
    DestroyVersion,
    RestoreVersion,
    DeleteSecret,
    AddGrant,
    ListGrants,
    RevokeGrant,
    LintGrants,
    ExplainGrant,
    SuggestGrant,
    ListConsumers,
    ListReferences,
    ListExpiring,
    SetRules,
    ListFindings,
    AssignRole,
    ListRoles,
    RevokeRole,
    ReadJournal,
    WhoAmI,
    Status,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 36] = [
        Self::CreateGroup,
        Self::ListGroups,
        Self::GetGroup,
        Self::UpdateGroup,
        Self::PutSecret,
        Self::RotateSecret,
        Self::RequestCertificate,
        Self::GetCertificateRequest,
        Self::CertifySecret,
        Self::ListSecrets,
        Self::GetSecret,
        Self::UpdateSecret,
        Self::ListVersions,
        Self::ActivateVersion,
        Self::EnableVersion,
        Self::DisableVersion,
        Self::DestroyVersion,
        Self::RestoreVersion,
        Self::DeleteSecret,
        Self::AddGrant,
        Self::ListGrants,
        Self::RevokeGrant,
        Self::LintGrants,
        Self::ExplainGrant,
        Self::SuggestGrant,
        Self::ListConsumers,
        Self::ListReferences,
        Self::ListExpiring,
        Self::SetRules,
        Self::ListFindings,
        Self::AssignRole,
        Self::ListRoles,
        Self::RevokeRole,
        Self::ReadJournal,
        Self::WhoAmI,
        Self::Status,
    ];

    /// The roles, one of which it takes; `None` if it takes none.
    pub fn takes(self) -> Option<&'static [Role]> {
        use Role::{Auditor, CryptoOfficer, GroupAdministrator, Reader, Writer};
        Some(match self {
            Self::CreateGroup => &[CryptoOfficer],
            Self::ListGroups | Self::Status => &Role::ALL,
            Self::GetGroup => &[CryptoOfficer, GroupAdministrator, Writer, Reader],
            Self::PutSecret
            | Self::RotateSecret
            | Self::RequestCertificate
            | Self::CertifySecret
            | Self::ActivateVersion => &[Writer],
            Self::EnableVersion | Self::DisableVersion | Self::UpdateSecret => {
                &[Writer, GroupAdministrator]
            }
            Self::GetCertificateRequest
            | Self::ListSecrets
            | Self::GetSecret
            | Self::ListVersions => &[Reader, Writer, GroupAdministrator],
            Self::DestroyVersion
            | Self::RestoreVersion
            | Self::DeleteSecret
            | Self::UpdateGroup
            | Self::AddGrant
            | Self::RevokeGrant
            | Self::SuggestGrant => &[GroupAdministrator],
            Self::ListGrants | Self::LintGrants | Self::ListConsumers => {
                &[Reader, GroupAdministrator, Auditor]
            }
            Self::ListReferences => &[Reader, GroupAdministrator],
            Self::SetRules => &[GroupAdministrator],
            Self::ListExpiring | Self::ListFindings => {
                &[Reader, Writer, GroupAdministrator, Auditor]
            }
            Self::ExplainGrant => &[GroupAdministrator, Auditor],
            Self::AssignRole | Self::RevokeRole => &[CryptoOfficer, GroupAdministrator],
            Self::ListRoles => &[CryptoOfficer, Auditor, GroupAdministrator],
            Self::ReadJournal => &[Auditor],
            Self::WhoAmI => return None,
        })
    }

    /// The name in the journal.
    pub fn name(self) -> &'static str {
        match self {
            Self::CreateGroup => "create-group",
            Self::ListGroups => "list-groups",
            Self::GetGroup => "get-group",
            Self::UpdateGroup => "update-group",
            Self::PutSecret => "put-secret",
            Self::RotateSecret => "rotate-secret",
            Self::RequestCertificate => "request-certificate",
            Self::GetCertificateRequest => "get-certificate-request",
            Self::CertifySecret => "certify-secret",
            Self::ListSecrets => "list-secrets",
            Self::GetSecret => "get-secret",
            Self::UpdateSecret => "update-secret",
            Self::ListVersions => "list-versions",
            Self::ActivateVersion => "activate-version",
            Self::EnableVersion => "enable-version",
            Self::DisableVersion => "disable-version",
            Self::DestroyVersion => "destroy-version",
            Self::RestoreVersion => "restore-version",
            Self::DeleteSecret => "delete-secret",
            Self::AddGrant => "add-grant",
            Self::ListGrants => "list-grants",
            Self::RevokeGrant => "revoke-grant",
            Self::LintGrants => "lint-grants",
            Self::ExplainGrant => "explain-grant",
            Self::SuggestGrant => "suggest-grant",
            Self::ListConsumers => "list-consumers",
            Self::ListReferences => "list-references",
            Self::ListExpiring => "list-expiring",
            Self::SetRules => "set-rules",
            Self::ListFindings => "list-findings",
            Self::AssignRole => "assign-role",
            Self::ListRoles => "list-roles",
            Self::RevokeRole => "revoke-role",
            Self::ReadJournal => "read-journal",
            Self::WhoAmI => "who-am-i",
            Self::Status => "status",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
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
