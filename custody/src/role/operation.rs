//! What operators ask to do, and the roles that it takes.

use std::fmt;

use serde::Serialize;

use super::Role;

/// What an operator asks to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "as the methods of the Manager service")]
pub enum Operation {
    CreateGroup,
    ListGroups,
    GetGroup,
    UpdateGroup,
    SetCache,
    RotateGroup,
    CompromiseMasterKey,
    HoldGroup,
    LoseToken,
    DestroyMasterKey,
    SpareMasterKey,
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
    ListExposure,
    ListReferences,
    ListExpiring,
    SetRules,
    ListFindings,
    AssignRole,
    ListRoles,
    RevokeRole,
    ReadJournal,
    Backup,
    WhoAmI,
    Status,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 45] = [
        Self::CreateGroup,
        Self::ListGroups,
        Self::GetGroup,
        Self::UpdateGroup,
        Self::SetCache,
        Self::RotateGroup,
        Self::CompromiseMasterKey,
        Self::HoldGroup,
        Self::LoseToken,
        Self::DestroyMasterKey,
        Self::SpareMasterKey,
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
        Self::ListExposure,
        Self::ListReferences,
        Self::ListExpiring,
        Self::SetRules,
        Self::ListFindings,
        Self::AssignRole,
        Self::ListRoles,
        Self::RevokeRole,
        Self::ReadJournal,
        Self::Backup,
        Self::WhoAmI,
        Self::Status,
    ];

    /// The roles, one of which it takes; `None` if it takes none.
    pub fn takes(self) -> Option<&'static [Role]> {
        use Role::{Auditor, CryptoOfficer, GroupAdministrator, Reader, Writer};
        Some(match self {
            Self::CreateGroup
            | Self::SetCache
            | Self::RotateGroup
            | Self::CompromiseMasterKey
            | Self::HoldGroup
            | Self::LoseToken
            | Self::DestroyMasterKey
            | Self::SpareMasterKey => &[CryptoOfficer],
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
            Self::ListGrants | Self::LintGrants | Self::ListConsumers | Self::ListExposure => {
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
            Self::Backup => &[CryptoOfficer, Auditor],
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
            Self::SetCache => "set-cache",
            Self::RotateGroup => "rotate-group",
            Self::CompromiseMasterKey => "compromise-master-key",
            Self::HoldGroup => "hold-group",
            Self::LoseToken => "lose-token",
            Self::DestroyMasterKey => "destroy-master-key",
            Self::SpareMasterKey => "spare-master-key",
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
            Self::ListExposure => "list-exposure",
            Self::ListReferences => "list-references",
            Self::ListExpiring => "list-expiring",
            Self::SetRules => "set-rules",
            Self::ListFindings => "list-findings",
            Self::AssignRole => "assign-role",
            Self::ListRoles => "list-roles",
            Self::RevokeRole => "revoke-role",
            Self::ReadJournal => "read-journal",
            Self::Backup => "backup",
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
