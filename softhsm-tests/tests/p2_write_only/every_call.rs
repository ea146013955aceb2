//! A call of every method of the Manager surface about a secret of every type: what is
//! planted shows in no answer.

use std::collections::BTreeSet;

use custody::secret::Kind;
use prost::Message;
use proto::v1;
use softhsm_tests::{Site, raw, world::TlsPair};
use tonic::Code;

use super::planted::{self, Planted, planted};

/// Names that the daemon gave to what the calls made.
#[derive(Default)]
struct Made {
    grant: String,
    role: String,
}

/// A call of every method of the Manager surface about the secret `web/NAME`, in an order
/// in which each succeeds but for those that are to fail with a code. What was made is named
/// later, when it is there.
fn calls(planted: &Planted, made: &Made) -> Vec<(&'static str, Vec<u8>, Option<Code>)> {
    let (group, name) = (|| "web".to_owned(), || planted.r#type.to_owned());
    let some = || Some(group());
    let fine = |method, request| (method, request, None);
    let extra = v1::CreateGroupRequest {
        name: format!("extra-{}", planted.r#type),
        ..Default::default()
    };
    let rotate = v1::RotateSecretRequest {
        group: group(),
        name: name(),
        pending: true,
        ..Default::default()
    };
    let is_keystore = planted.r#type == "keystore";
    let unless = |code| (!is_keystore).then_some(code);
    let request = v1::RequestCertificateRequest {
        group: group(),
        name: name(),
        ..Default::default()
    };
    let requested = v1::GetCertificateRequestRequest {
        group: group(),
        name: name(),
    };
    // The certificate of another key.
    let certify = v1::CertifySecretRequest {
        group: group(),
        name: name(),
        certificate_chain: TlsPair::new().certificate.into(),
        ..Default::default()
    };
    let certified = match is_keystore {
        true => Code::InvalidArgument,
        false => Code::NotFound,
    };
    let is_made = Kind::from_name(planted.r#type).unwrap().can_be_made();
    let versions = v1::ListVersionsRequest {
        group: group(),
        name: name(),
        ..Default::default()
    };
    let update_group = v1::UpdateGroupRequest {
        name: group(),
        environment: Some("test".into()),
        ..Default::default()
    };
    let set_cache = v1::SetCacheRequest {
        group: group(),
        cache: Some(v1::Cache {
            seconds: 60,
            uses: 1,
            outage_seconds: 0,
        }),
    };
    // What is planted is renewed while the next calls are made.
    let rotate_group = v1::RotateGroupRequest {
        group: group(),
        compromised: true,
        ..Default::default()
    };
    let compromise_key = v1::CompromiseMasterKeyRequest {
        group: group(),
        generation: u32::MAX,
    };
    let lose_token = v1::LoseTokenRequest {
        token: softhsm_tests::LABEL.into(),
        accept_loss: 0,
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
    let update_secret = v1::UpdateSecretRequest {
        group: group(),
        name: name(),
        labels: [("team".to_owned(), "edge".to_owned())].into(),
        ..Default::default()
    };
    let get = v1::GetSecretRequest {
        group: group(),
        name: name(),
    };
    let which = || "1".to_owned();
    let activate = v1::ActivateVersionRequest {
        group: group(),
        name: name(),
        which: which(),
        overlap_seconds: None,
    };
    let disable = v1::DisableVersionRequest {
        group: group(),
        name: name(),
        which: which(),
        force: false,
    };
    let enable = v1::EnableVersionRequest {
        group: group(),
        name: name(),
        which: which(),
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
    let grant = v1::AddGrantRequest {
        group: group(),
        patterns: vec!["x".into()],
        selectors: vec!["unix:uid:7".into()],
        ..Default::default()
    };
    let explain = v1::ExplainGrantRequest {
        group: group(),
        name: name(),
        pid: std::process::id().try_into().unwrap(),
        version: None,
    };
    let suggest = v1::SuggestGrantRequest {
        unit: "no-such.service".into(),
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
    let expiring = v1::ListExpiringRequest {
        group: some(),
        within_seconds: u64::MAX,
    };
    let rules = v1::SetRulesRequest {
        group: group(),
        rules: Some(v1::Rules {
            mode: "report".into(),
            min_rsa_bits: Some(8192),
            min_ec_bits: Some(521),
            min_symmetric_bits: Some(512),
            key_algorithms: vec!["ed25519".into()],
            max_age_days: Some(1),
            ..Default::default()
        }),
        dry_run: false,
    };
    let role = v1::AssignRoleRequest {
        role: "reader".into(),
        group: some(),
        selectors: vec!["unix:uid:7".into()],
        allow_weak: false,
    };
    let journal = v1::ReadJournalRequest {
        from: 1,
        follow: false,
    };
    let delete = v1::DeleteSecretRequest {
        group: group(),
        name: name(),
        force: false,
    };
    vec![
        fine("CreateGroup", extra.encode_to_vec()),
        fine(
            "ListGroups",
            v1::ListGroupsRequest::default().encode_to_vec(),
        ),
        fine(
            "GetGroup",
            v1::GetGroupRequest { name: group() }.encode_to_vec(),
        ),
        fine("UpdateGroup", update_group.encode_to_vec()),
        fine("SetCache", set_cache.encode_to_vec()),
        fine("RotateGroup", rotate_group.encode_to_vec()),
        fine("HoldGroup", hold_group.encode_to_vec()),
        (
            "CompromiseMasterKey",
            compromise_key.encode_to_vec(),
            Some(Code::NotFound),
        ),
        (
            "DestroyMasterKey",
            destroy_key.encode_to_vec(),
            Some(Code::NotFound),
        ),
        (
            "SpareMasterKey",
            spare_key.encode_to_vec(),
            Some(Code::NotFound),
        ),
        fine("PutSecret", planted.put(planted.r#type).encode_to_vec()),
        (
            "RotateSecret",
            rotate.encode_to_vec(),
            is_made.is_err().then_some(Code::InvalidArgument),
        ),
        (
            "RequestCertificate",
            request.encode_to_vec(),
            unless(Code::FailedPrecondition),
        ),
        (
            "GetCertificateRequest",
            requested.encode_to_vec(),
            unless(Code::NotFound),
        ),
        ("CertifySecret", certify.encode_to_vec(), Some(certified)),
        fine(
            "ListSecrets",
            v1::ListSecretsRequest::default().encode_to_vec(),
        ),
        fine("GetSecret", get.encode_to_vec()),
        fine("UpdateSecret", update_secret.encode_to_vec()),
        fine("ListVersions", versions.encode_to_vec()),
        fine("ActivateVersion", activate.encode_to_vec()),
        fine("DisableVersion", disable.encode_to_vec()),
        fine("EnableVersion", enable.encode_to_vec()),
        fine("DestroyVersion", destroy.encode_to_vec()),
        fine("RestoreVersion", restore.encode_to_vec()),
        fine("AddGrant", grant.encode_to_vec()),
        fine(
            "ListGrants",
            v1::ListGrantsRequest::default().encode_to_vec(),
        ),
        fine(
            "LintGrants",
            v1::LintGrantsRequest { group: some() }.encode_to_vec(),
        ),
        fine("ExplainGrant", explain.encode_to_vec()),
        (
            "SuggestGrant",
            suggest.encode_to_vec(),
            Some(Code::NotFound),
        ),
        fine(
            "RevokeGrant",
            v1::RevokeGrantRequest {
                id: made.grant.clone(),
            }
            .encode_to_vec(),
        ),
        fine("ListConsumers", consumers.encode_to_vec()),
        fine("ListExposure", exposure.encode_to_vec()),
        fine("ListReferences", references.encode_to_vec()),
        fine("ListExpiring", expiring.encode_to_vec()),
        fine("SetRules", rules.encode_to_vec()),
        fine(
            "ListFindings",
            v1::ListFindingsRequest { group: some() }.encode_to_vec(),
        ),
        fine("AssignRole", role.encode_to_vec()),
        fine("ListRoles", v1::ListRolesRequest {}.encode_to_vec()),
        fine(
            "RevokeRole",
            v1::RevokeRoleRequest {
                id: made.role.clone(),
            }
            .encode_to_vec(),
        ),
        fine("WhoAmI", v1::OperatorWhoAmIRequest {}.encode_to_vec()),
        fine("ReadJournal", journal.encode_to_vec()),
        fine("Backup", v1::BackupRequest::default().encode_to_vec()),
        fine("Status", v1::StatusRequest {}.encode_to_vec()),
        (
            "LoseToken",
            lose_token.encode_to_vec(),
            Some(Code::FailedPrecondition),
        ),
        fine("DeleteSecret", delete.encode_to_vec()),
    ]
}

#[tokio::test]
async fn no_call_of_the_manager_gives_a_byte_of_content_back() {
    let site = Site::new();
    let _daemon = site.start();
    site.ctl(&["group", "create", "web"]);
    let channel = raw::connect(site.path("run/manager.sock")).await;
    let target = planted::target().encode_to_vec();
    let target = raw::call(&channel, "/custody.v1.Manager/PutSecret", target).await;
    target.unwrap();
    let described = raw::methods("Manager");
    for planted in planted() {
        // Twice is two versions, so that there are old ones too.
        let first = planted.put(planted.r#type).encode_to_vec();
        let first = raw::call(&channel, "/custody.v1.Manager/PutSecret", first).await;
        first.unwrap();

        let (mut called, mut made) = (BTreeSet::new(), Made::default());
        for at in 0.. {
            let calls = calls(&planted, &made);
            let Some((method, request, fails)) = calls.into_iter().nth(at) else {
                break;
            };
            let path = format!("/custody.v1.Manager/{method}");
            let answer = raw::call_all(&channel, &path, request).await;
            called.insert(method.to_owned());
            let answer = match answer {
                Ok(answer) => answer,
                Err(status) => {
                    assert_eq!(Some(status.code()), fails, "{method}: {status:?}");
                    assert!(
                        !planted.shows_in(format!("{status:?}").as_bytes()),
                        "{method}"
                    );
                    continue;
                }
            };
            let said = format!("{:?}", answer.metadata());
            assert!(!planted.shows_in(said.as_bytes()), "{method}: {said}");
            let messages = answer.get_ref();
            for message in messages {
                assert!(!planted.shows_in(message), "{method}");
            }
            let is_stream = described[method].server_streaming();
            let is_whole = messages.len() == 1 || is_stream && !messages.is_empty();
            assert!(is_whole, "{method}: {} messages", messages.len());
            let bytes = &messages[0][..];
            match method {
                "AddGrant" => {
                    let answer = v1::AddGrantResponse::decode(bytes).unwrap();
                    made.grant = answer.grant.unwrap().id;
                }
                "AssignRole" => made.role = v1::Role::decode(bytes).unwrap().id,
                _ => {}
            }
        }
        assert!(
            called.iter().eq(described.keys()),
            "a method is not in the table of calls"
        );
    }
    assert!(site.entries("allow").is_empty());
}
