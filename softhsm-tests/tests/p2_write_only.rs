//! P2: no management call returns secret content, whoever asks.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

#[path = "p2_write_only/planted.rs"]
mod planted;

use std::collections::{BTreeMap, BTreeSet};

use custody::secret::Kind;
use prost::Message;
use prost_types::{DescriptorProto, field_descriptor_proto::Type};
use proto::v1;
use softhsm_tests::{Site, raw, text, world::TlsPair};
use tonic::{Code, Status};

use planted::{Planted, planted};

/// Every message there is, by its full name with a dot before it.
fn messages() -> BTreeMap<String, DescriptorProto> {
    fn enter(all: &mut BTreeMap<String, DescriptorProto>, scope: &str, found: DescriptorProto) {
        let name = format!("{scope}.{}", found.name());
        for nested in found.nested_type.clone() {
            enter(all, &name, nested);
        }
        all.insert(name, found);
    }
    let mut all = BTreeMap::new();
    for file in raw::descriptors().file {
        let scope = format!(".{}", file.package());
        for message in file.message_type {
            enter(&mut all, &scope, message);
        }
    }
    all
}

/// Everything that an answer of the type `name` can have in it: the names of the
/// messages, and of the fields that are of type `bytes`.
fn reach(
    all: &BTreeMap<String, DescriptorProto>,
    name: &str,
) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut seen, mut bytes) = (BTreeSet::new(), BTreeSet::new());
    let mut left = vec![name.to_owned()];
    while let Some(name) = left.pop() {
        let message = all
            .get(&name)
            .unwrap_or_else(|| panic!("{name} is not described"));
        for field in &message.field {
            match field.r#type() {
                Type::Bytes => drop(bytes.insert(format!("{name}.{}", field.name()))),
                Type::Message | Type::Group => left.push(field.type_name().to_owned()),
                _ => {}
            }
            left.retain(|name| !seen.contains(name));
        }
        seen.insert(name);
    }
    (seen, bytes)
}

const CONTENT: &str = ".custody.v1.Field";

/// The files of the database and the journal, which hold content as ciphertext alone: that is
/// looked for in what the calls below answer.
const ARCHIVE: &str = ".custody.v1.BackupResponse.data";

#[test]
fn no_answer_of_the_manager_has_a_place_for_content() {
    let all = messages();
    let methods = raw::methods("Manager");
    assert!(methods.len() >= 12);
    for (method, described) in methods {
        let (seen, mut bytes) = reach(&all, described.output_type());
        assert!(!seen.contains(CONTENT), "{method} can answer with content");
        if method == "Backup" {
            bytes.retain(|field| field != ARCHIVE);
        }
        assert!(bytes.is_empty(), "{method} can answer with {bytes:?}");
        // It could hold anything.
        assert!(!seen.contains(".google.protobuf.Any"), "{method}");
    }
}

#[test]
fn content_comes_from_fetch_and_from_no_other_method_of_the_provider() {
    let all = messages();
    for (method, described) in raw::methods("Provider") {
        let (seen, bytes) = reach(&all, described.output_type());
        let releases = method == "Fetch";
        assert_eq!(seen.contains(CONTENT), releases, "{method}");
        assert_eq!(!bytes.is_empty(), releases, "{method}: {bytes:?}");
    }
}

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

#[tokio::test]
async fn content_cannot_be_guessed_by_looking_for_it() {
    let site = Site::new();
    let _daemon = site.start();
    site.ctl(&["group", "create", "web"]);
    let manager = site.manager().await;
    manager.put_secret(planted::target()).await.unwrap();
    let found = async |text: &str| {
        let request = v1::ListSecretsRequest {
            text: Some(text.into()),
            ..Default::default()
        };
        manager.secrets(request, 10).await.unwrap().items.len()
    };
    let mut looked_for = 0;
    for planted in planted() {
        let put = manager.put_secret(planted.put(planted.r#type)).await;
        put.unwrap();
        assert_eq!(found(planted.r#type).await, 1, "{}", planted.r#type);
        for text in planted.texts() {
            assert_eq!(found(&text).await, 0, "{}", planted.r#type);
            let beginning: String = text.chars().take(16).collect();
            assert_eq!(found(&beginning).await, 0, "{}", planted.r#type);
            looked_for += 1;
        }
    }
    assert!(looked_for > 10);
}

#[tokio::test]
async fn a_refusal_of_content_does_not_quote_it() {
    let site = Site::new();
    let _daemon = site.start();
    site.ctl(&["group", "create", "web"]);
    let channel = raw::connect(site.path("run/manager.sock")).await;
    let plain = planted().swap_remove(0);
    let canary = plain.fields[0].1.clone();
    let field = |name: &str| v1::Field {
        name: name.into(),
        value: canary.clone(),
    };
    let pair = TlsPair::new();
    let chain = || v1::Field {
        name: "certificate-chain".into(),
        value: pair.certificate.clone().into_bytes(),
    };
    let broken = [
        ("keystore", vec![chain(), field("private-key")]),
        (
            "keystore",
            vec![field("certificate-chain"), field("private-key")],
        ),
        ("password", vec![field("password"), field("password")]),
        ("blob", vec![field("nothing")]),
        ("nothing", vec![field("content")]),
        ("private-key", vec![field("private-key")]),
        ("basic-auth", vec![field("username"), field("key")]),
        ("api-key", vec![field("key"), field("key")]),
        ("jwt", vec![field("token")]),
        ("symmetric-key", vec![field("key"), field("algorithm")]),
        ("symmetric-key", vec![field("key-hex"), field("algorithm")]),
        (
            "s3-credentials",
            vec![field("access-key-id"), field("region")],
        ),
        ("key-value", vec![field("A"), field("A")]),
    ];
    for (r#type, fields) in broken {
        let request = v1::PutSecretRequest {
            group: "web".into(),
            name: "x".into(),
            r#type: r#type.into(),
            fields,
            ..Default::default()
        };
        let put = raw::call(
            &channel,
            "/custody.v1.Manager/PutSecret",
            request.encode_to_vec(),
        );
        let status: Status = put.await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{type}: {status:?}");
        assert!(!plain.shows_in(status.message().as_bytes()), "{status:?}");
        assert!(!plain.shows_in(status.details()), "{status:?}");
        assert!(!plain.shows_in(format!("{:?}", status.metadata()).as_bytes()));
    }
    assert!(!plain.shows_in(site.log().as_bytes()));
    assert!(!plain.shows_in(site.journal_text().as_bytes()));
}

#[tokio::test]
async fn the_managers_door_does_not_lead_to_fetch() {
    let site = Site::new();
    let _daemon = site.start();
    site.furnish(b"content-of-key");
    let fetch = v1::FetchRequest {
        group: "web".into(),
        name: "key".into(),
        version: None,
        fields: Vec::new(),
        ..Default::default()
    };
    let fetch = fetch.encode_to_vec();
    let channel = raw::connect(site.path("run/manager.sock")).await;
    let refused = raw::call(&channel, "/custody.v1.Provider/Fetch", fetch.clone()).await;
    assert_eq!(refused.unwrap_err().code(), Code::Unimplemented);
    assert!(site.entries("allow").is_empty());

    let channel = raw::connect(site.path("run/provider.sock")).await;
    let fetched = raw::call(&channel, "/custody.v1.Provider/Fetch", fetch).await;
    assert!(fetched.is_ok());
}

#[test]
fn an_operator_without_a_grant_is_denied_like_anyone() {
    let site = Site::new();
    let _daemon = site.start();
    site.ctl(&["group", "create", "web"]);
    assert!(site.put("web/key", b"content-of-key").status.success());
    site.ctl(&[
        "grant",
        "add",
        "--allow-weak",
        "web",
        "*",
        "--unit",
        "nginx.service",
    ]);

    let output = site.fetch("web/key");
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    assert!(output.stdout.is_empty());
    assert!(site.entries("allow").is_empty());
    let denied = site.entries("deny");
    assert_eq!(denied.len(), 1);
    assert_eq!(denied[0]["reason"], "no-grant");
}
