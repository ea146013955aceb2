//! The calls: every method, with a request that means something.

use std::collections::BTreeSet;

use client::{Manager, v1};
use custody::role::Role::{self, Auditor, CryptoOfficer, GroupAdministrator, Reader, Writer};
use prost::Message;
use softhsm_tests::raw;

/// The roles, one of which a method takes; `None` if it takes none.
fn taken(method: &str) -> Option<&'static [Role]> {
    Some(match method {
        "WhoAmI" => return None,
        "CreateGroup"
        | "SetCache"
        | "RotateGroup"
        | "HoldGroup"
        | "LoseToken"
        | "CompromiseMasterKey"
        | "DestroyMasterKey"
        | "SpareMasterKey" => &[CryptoOfficer],
        "GetGroup" => &[CryptoOfficer, GroupAdministrator, Writer, Reader],
        "PutSecret" | "RotateSecret" | "RequestCertificate" | "CertifySecret"
        | "ActivateVersion" => &[Writer],
        "EnableVersion" | "DisableVersion" | "UpdateSecret" => &[GroupAdministrator, Writer],
        "DestroyVersion" | "RestoreVersion" => &[GroupAdministrator],
        "GetCertificateRequest" | "ListSecrets" | "GetSecret" | "ListVersions" => {
            &[GroupAdministrator, Writer, Reader]
        }
        "UpdateGroup" | "DeleteSecret" | "AddGrant" | "RevokeGrant" | "SuggestGrant" => {
            &[GroupAdministrator]
        }
        "ListGrants" | "LintGrants" | "ListConsumers" | "ListExposure" => {
            &[GroupAdministrator, Reader, Auditor]
        }
        "ListReferences" => &[GroupAdministrator, Reader],
        "SetRules" => &[GroupAdministrator],
        "ListExpiring" | "ListFindings" => &[GroupAdministrator, Writer, Reader, Auditor],
        "ExplainGrant" => &[GroupAdministrator, Auditor],
        "AssignRole" | "RevokeRole" => &[CryptoOfficer, GroupAdministrator],
        "ListRoles" => &[CryptoOfficer, GroupAdministrator, Auditor],
        "ReadJournal" => &[Auditor],
        "Backup" => &[CryptoOfficer, Auditor],
        "ListGroups" | "Status" => &[CryptoOfficer, GroupAdministrator, Writer, Reader, Auditor],
        other => panic!("who may call {other} is not in this table"),
    })
}

/// A call, and what it is about.
pub(crate) struct Call {
    pub(crate) method: &'static str,
    pub(crate) request: Vec<u8>,
    pub(crate) group: Option<String>,
    /// The role that is given or taken.
    pub(crate) role: Option<Role>,
}

impl Call {
    fn new(method: &'static str, group: Option<&str>, request: &impl Message) -> Self {
        Self {
            method,
            request: request.encode_to_vec(),
            group: group.map(str::to_owned),
            role: None,
        }
    }

    fn of_role(self, role: Role) -> Self {
        Self {
            role: Some(role),
            ..self
        }
    }

    pub(crate) fn takes(&self) -> Option<&'static [Role]> {
        let within_group = self.group.is_some() && matches!(self.role, Some(Writer | Reader));
        if self.method.ends_with("Role") && !within_group {
            return Some(&[CryptoOfficer]);
        }
        taken(self.method)
    }

    /// Whether it changes something, if it succeeds.
    pub(crate) fn changes(&self) -> bool {
        let verbs = [
            "Activate", "Enable", "Disable", "Destroy", "Restore", "Create", "Put", "Delete",
            "Add", "Revoke", "Assign", "Set", "Rotate", "Request", "Certify", "Update", "Hold",
            "Lose",
        ];
        verbs.iter().any(|verb| self.method.starts_with(verb))
    }
}

/// What there is in a group to be taken away.
pub(crate) struct There {
    group: &'static str,
    grant: String,
    reader: String,
}

/// Not there.
pub(crate) const NOWHERE: &str = "nowhere";
const UNKNOWN: &str = "00112233445566ff";

/// Puts something in a group that can be taken away.
pub(crate) async fn furnish(manager: &Manager, group: &'static str) -> There {
    let put = v1::PutSecretRequest {
        group: group.into(),
        name: "key".into(),
        r#type: "blob".into(),
        fields: vec![v1::Field {
            name: "content".into(),
            value: b"content-of-key".into(),
        }],
        ..Default::default()
    };
    manager.put_secret(put).await.unwrap();
    // Only one request can wait, and those who came before may have made theirs.
    for name in ["requested", "waiting"] {
        let delete = v1::DeleteSecretRequest {
            group: group.into(),
            name: name.into(),
            force: false,
        };
        drop(manager.delete_secret(delete).await);
    }
    let waiting = request(group, "waiting");
    manager.request_certificate(waiting).await.unwrap();
    let added = manager.add_grant(grant(group)).await.unwrap();
    let assigned = manager.assign_role(assignment(Reader, Some(group))).await;
    There {
        group,
        grant: added.grant.unwrap().id,
        reader: assigned.unwrap().id,
    }
}

fn grant(group: &str) -> v1::AddGrantRequest {
    v1::AddGrantRequest {
        group: group.into(),
        patterns: vec!["x".into()],
        selectors: vec!["unix:uid:7".into()],
        allow_weak: true,
        ..Default::default()
    }
}

pub(crate) fn assignment(role: Role, group: Option<&str>) -> v1::AssignRoleRequest {
    v1::AssignRoleRequest {
        role: role.name().into(),
        group: group.map(Into::into),
        selectors: vec!["unix:uid:7".into()],
        allow_weak: true,
    }
}

fn request(group: &str, name: &str) -> v1::RequestCertificateRequest {
    v1::RequestCertificateRequest {
        group: group.into(),
        name: name.into(),
        subject: Some("CN=www.example.org".into()),
        ..Default::default()
    }
}

/// Every method that is about a group.
fn calls_about(there: &There) -> Vec<Call> {
    let group = || there.group.to_owned();
    let about = |method, request: &dyn Fn() -> Vec<u8>| Call {
        request: request(),
        ..Call::new(method, Some(there.group), &())
    };
    let name = || "key".to_owned();
    let put = v1::PutSecretRequest {
        group: group(),
        name: "other".into(),
        r#type: "password".into(),
        fields: vec![v1::Field {
            name: "password".into(),
            value: b"a password".into(),
        }],
        even_if_same: true,
        ..Default::default()
    };
    let rotate = v1::RotateSecretRequest {
        group: group(),
        name: "made".into(),
        r#type: Some("password".into()),
        ..Default::default()
    };
    let request = request(there.group, "requested");
    let requested = v1::GetCertificateRequestRequest {
        group: group(),
        name: "waiting".into(),
    };
    let certify = v1::CertifySecretRequest {
        group: group(),
        name: "waiting".into(),
        certificate_chain: b"no chain".to_vec(),
        ..Default::default()
    };
    let get = v1::GetSecretRequest {
        group: group(),
        name: name(),
    };
    let versions = v1::ListVersionsRequest {
        group: group(),
        name: name(),
        ..Default::default()
    };
    let delete = v1::DeleteSecretRequest {
        group: group(),
        name: name(),
        force: false,
    };
    let which = || "current".to_owned();
    let activate = v1::ActivateVersionRequest {
        group: group(),
        name: name(),
        which: which(),
        overlap_seconds: None,
    };
    let enable = v1::EnableVersionRequest {
        group: group(),
        name: name(),
        which: which(),
    };
    let disable = v1::DisableVersionRequest {
        group: group(),
        name: name(),
        which: which(),
        force: false,
    };
    let destroy = v1::DestroyVersionRequest {
        group: group(),
        name: name(),
        which: which(),
        force: false,
        grace_seconds: None,
    };
    let restore = v1::RestoreVersionRequest {
        group: group(),
        name: name(),
        which: which(),
    };
    let explain = v1::ExplainGrantRequest {
        group: group(),
        name: name(),
        pid: std::process::id().try_into().unwrap(),
        version: None,
    };
    let consumers = v1::ListConsumersRequest {
        group: group(),
        name: None,
    };
    let exposure = v1::ListExposureRequest { group: group() };
    let references = v1::ListReferencesRequest {
        group: group(),
        name: name(),
    };
    let (some, id) = (|| Some(group()), |id: &String| id.clone());
    let cache = v1::SetCacheRequest {
        group: group(),
        cache: None,
    };
    let update_group = v1::UpdateGroupRequest {
        name: group(),
        environment: Some("test".into()),
        ..Default::default()
    };
    let update_secret = v1::UpdateSecretRequest {
        group: group(),
        name: name(),
        remove_labels: vec!["team".into()],
        ..Default::default()
    };
    let get_group = v1::GetGroupRequest { name: group() };
    let list = v1::ListSecretsRequest {
        group: some(),
        ..Default::default()
    };
    let grants = v1::ListGrantsRequest {
        group: some(),
        ..Default::default()
    };
    let lint = v1::LintGrantsRequest { group: some() };
    let expiring = v1::ListExpiringRequest {
        group: some(),
        within_seconds: 1,
    };
    let findings = v1::ListFindingsRequest { group: some() };
    let rotate_group = v1::RotateGroupRequest {
        group: group(),
        ..Default::default()
    };
    let compromise_key = v1::CompromiseMasterKeyRequest {
        group: group(),
        generation: u32::MAX,
    };
    let hold_group = v1::HoldGroupRequest {
        group: group(),
        writes: Some("majority".into()),
        ..Default::default()
    };
    let destroy_key = v1::DestroyMasterKeyRequest {
        group: group(),
        generation: u32::MAX,
        grace_seconds: None,
    };
    let spare_key = v1::SpareMasterKeyRequest {
        group: group(),
        generation: u32::MAX,
    };
    let rules = v1::SetRulesRequest {
        group: group(),
        rules: Some(v1::Rules {
            mode: "report".into(),
            ..Default::default()
        }),
        dry_run: false,
    };
    let revoke = v1::RevokeGrantRequest {
        id: id(&there.grant),
    };
    let assign = |given| {
        let request = assignment(given, Some(there.group));
        Call::new("AssignRole", Some(there.group), &request).of_role(given)
    };
    let take = v1::RevokeRoleRequest {
        id: id(&there.reader),
    };
    let known = there.group != NOWHERE;
    // What is not there is in no group.
    let of_it = known.then_some(there.group);
    let take = Call::new("RevokeRole", of_it, &take);
    vec![
        about("GetGroup", &|| get_group.encode_to_vec()),
        about("SetCache", &|| cache.encode_to_vec()),
        about("UpdateGroup", &|| update_group.encode_to_vec()),
        about("RotateGroup", &|| rotate_group.encode_to_vec()),
        about("CompromiseMasterKey", &|| compromise_key.encode_to_vec()),
        about("HoldGroup", &|| hold_group.encode_to_vec()),
        about("DestroyMasterKey", &|| destroy_key.encode_to_vec()),
        about("SpareMasterKey", &|| spare_key.encode_to_vec()),
        about("PutSecret", &|| put.encode_to_vec()),
        about("RotateSecret", &|| rotate.encode_to_vec()),
        about("RequestCertificate", &|| request.encode_to_vec()),
        about("GetCertificateRequest", &|| requested.encode_to_vec()),
        about("CertifySecret", &|| certify.encode_to_vec()),
        about("ListSecrets", &|| list.encode_to_vec()),
        about("GetSecret", &|| get.encode_to_vec()),
        about("UpdateSecret", &|| update_secret.encode_to_vec()),
        about("ListVersions", &|| versions.encode_to_vec()),
        about("ActivateVersion", &|| activate.encode_to_vec()),
        about("DisableVersion", &|| disable.encode_to_vec()),
        about("EnableVersion", &|| enable.encode_to_vec()),
        about("DestroyVersion", &|| destroy.encode_to_vec()),
        about("RestoreVersion", &|| restore.encode_to_vec()),
        about("AddGrant", &|| grant(there.group).encode_to_vec()),
        about("ListGrants", &|| grants.encode_to_vec()),
        about("LintGrants", &|| lint.encode_to_vec()),
        about("ExplainGrant", &|| explain.encode_to_vec()),
        about("ListConsumers", &|| consumers.encode_to_vec()),
        about("ListExposure", &|| exposure.encode_to_vec()),
        about("ListReferences", &|| references.encode_to_vec()),
        about("ListExpiring", &|| expiring.encode_to_vec()),
        about("SetRules", &|| rules.encode_to_vec()),
        about("ListFindings", &|| findings.encode_to_vec()),
        Call::new("RevokeGrant", of_it, &revoke),
        assign(GroupAdministrator),
        assign(Writer),
        assign(Reader),
        if known { take.of_role(Reader) } else { take },
        about("DeleteSecret", &|| delete.encode_to_vec()),
    ]
}

/// Every method, about what is there and what is not. `fresh` is a group that is not there
/// yet, `auditor` an assignment that is.
pub(crate) fn calls(there: &[There], fresh: &str, auditor: &str) -> Vec<Call> {
    let nowhere = There {
        group: NOWHERE,
        grant: UNKNOWN.into(),
        reader: UNKNOWN.into(),
    };
    let mut calls: Vec<_> = there.iter().flat_map(calls_about).collect();
    calls.extend(calls_about(&nowhere));
    let lose_token = v1::LoseTokenRequest {
        token: "no token is called so".into(),
        accept_loss: 0,
    };
    let create = v1::CreateGroupRequest {
        name: fresh.into(),
        ..Default::default()
    };
    let suggest = v1::SuggestGrantRequest {
        unit: "no-such.service".into(),
    };
    let grants = v1::ListGrantsRequest::default();
    let lint = v1::LintGrantsRequest { group: None };
    let expiring = v1::ListExpiringRequest::default();
    let take = v1::RevokeRoleRequest { id: auditor.into() };
    let assign = |given| Call::new("AssignRole", None, &assignment(given, None)).of_role(given);
    calls.extend(Role::ALL.map(assign));
    calls.extend([
        Call::new("RevokeRole", None, &take).of_role(Auditor),
        Call::new("CreateGroup", Some(fresh), &create),
        Call::new("ListGroups", None, &v1::ListGroupsRequest::default()),
        Call::new("SuggestGrant", None, &suggest),
        Call::new("ListGrants", None, &grants),
        Call::new("LintGrants", None, &lint),
        Call::new("ListExpiring", None, &expiring),
        Call::new("ListFindings", None, &v1::ListFindingsRequest::default()),
        Call::new("ListRoles", None, &v1::ListRolesRequest {}),
        Call::new("ReadJournal", None, &v1::ReadJournalRequest::default()),
        Call::new("Backup", None, &v1::BackupRequest::default()),
        Call::new("WhoAmI", None, &v1::OperatorWhoAmIRequest {}),
        Call::new("Status", None, &v1::StatusRequest {}),
        Call::new("LoseToken", None, &lose_token),
    ]);
    let called: BTreeSet<_> = calls.iter().map(|call| call.method.to_owned()).collect();
    let described: BTreeSet<_> = raw::methods("Manager").into_keys().collect();
    assert_eq!(called, described, "a method is never called");
    calls
}
