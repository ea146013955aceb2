//! P2: no management call returns secret content, whoever asks.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

#[path = "p2_write_only/every_call.rs"]
mod every_call;
#[path = "p2_write_only/interface.rs"]
mod interface;
#[path = "p2_write_only/planted.rs"]
mod planted;

use prost::Message;
use proto::v1;
use softhsm_tests::{Site, raw, text, world::TlsPair};
use tonic::{Code, Status};

use planted::planted;

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
