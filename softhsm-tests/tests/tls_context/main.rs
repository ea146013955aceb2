//! TLS contexts, delivered with what they refer to: all of it under grants, on record, and of
//! one moment; or none of it.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use std::{fs, path::Path, process::Command};

use client::{Error, TlsContext, v1};
use serde_json::Value;
use softhsm_tests::{Site, load::runtime, text, world::TlsPair};

mod load;
mod meddle;
mod watch;

/// The key store `web/key`, the trust store `web/ca`, and the context `web/ctx` of both.
fn furnish(site: &Site) -> TlsPair {
    let pair = site.put_tls("web/key");
    let ca = format!("certificates={}", site.path("cert.pem").display());
    site.ctl(&["secret", "put", "web/ca", "--type", "truststore", &ca]);
    put_context(site, &["min-version=TLSv1.3", "alpn=h2,http/1.1"]);
    pair
}

/// Writes `web/ctx`, with those fields besides.
fn put_context(site: &Site, fields: &[&str]) {
    let refers = ["keystore=custody:web/key", "truststore=custody:web/ca"];
    let mut put = vec!["secret", "put", "web/ctx", "--type", "tls-context"];
    for field in refers.iter().chain(fields) {
        put.extend(["--set", field]);
    }
    site.ctl(&put);
}

/// Writes another pair as `web/key`.
fn rotate(site: &Site) {
    put_pair(site, &[]);
}

/// Writes another pair as the version of `web/key` that is to become current.
fn stage(site: &Site) {
    put_pair(site, &["--pending"]);
}

fn put_pair(site: &Site, more: &[&str]) {
    let next = TlsPair::new();
    fs::write(site.path("next.crt"), &next.certificate).unwrap();
    fs::write(site.path("next.key"), &next.key).unwrap();
    let chain = format!("certificate-chain={}", site.path("next.crt").display());
    let key = format!("private-key={}", site.path("next.key").display());
    let put = ["secret", "put", "web/key", "--type", "keystore"];
    site.ctl(&[&put[..], &[&chain, &key], more].concat());
}

fn request(format: Option<&str>) -> v1::FetchRequest {
    v1::FetchRequest {
        group: "web".to_owned(),
        name: "ctx".to_owned(),
        format: format.map(str::to_owned),
        ..Default::default()
    }
}

fn fetch(site: &Site, request: v1::FetchRequest) -> Result<client::Fetched, Error> {
    runtime().block_on(async { site.provider().await.fetch_with(request).await })
}

fn context(site: &Site) -> Result<TlsContext, Error> {
    let fetching = async { site.provider().await.fetch_tls_context("web", "ctx").await };
    runtime().block_on(fetching)
}

/// Of each entry, the secret, its version, and what refers to it.
fn told(entries: &[Value]) -> Vec<(String, Value, Value)> {
    let told = |entry: &Value| {
        let secret = entry["secret"].as_str().unwrap().to_owned();
        (secret, entry["version"].clone(), entry["via"].clone())
    };
    entries.iter().map(told).collect()
}

#[test]
fn a_context_comes_with_all_that_it_refers_to_and_each_is_on_record() {
    let site = Site::new();
    let _daemon = site.start();
    let pair = furnish(&site);
    let grants = ["ctx", "key", "ca"].map(|name| site.grant_on(name, &["--uses", "5"]));
    let context = context(&site).unwrap();
    assert_eq!(
        context.certificate_chain().unwrap(),
        pair.certificate.as_bytes()
    );
    assert!(
        context
            .private_key()
            .unwrap()
            .starts_with(b"-----BEGIN PRIVATE KEY-----")
    );
    assert_eq!(context.truststore().unwrap(), pair.certificate.as_bytes());
    assert_eq!((context.pins(), context.crls()), (None, None));
    assert_eq!(
        (context.min_version(), context.max_version()),
        (Some("TLSv1.3"), None)
    );
    assert_eq!(context.alpn(), ["h2", "http/1.1"]);

    let allowed = site.entries("allow");
    let expected = [
        ("ctx".to_owned(), 1.into(), Value::Null),
        ("key".to_owned(), 1.into(), "web/ctx@1#keystore".into()),
        ("ca".to_owned(), 1.into(), "web/ctx@1#truststore".into()),
    ];
    assert_eq!(told(&allowed), expected);
    let fetched = context.fetched();
    let parts = fetched.parts.iter().map(|part| part.secret.receipt);
    let receipts: Vec<_> = std::iter::once(fetched.receipt).chain(parts).collect();
    let entries: Vec<_> = allowed
        .iter()
        .map(|entry| entry["seq"].as_u64().unwrap())
        .collect();
    assert_eq!(receipts, entries);
    for (grant, entry) in grants.iter().zip(&allowed) {
        assert_eq!(
            (&entry["grant"], site.used(grant)),
            (&grant.as_str().into(), 1.into())
        );
    }
}

#[test]
fn who_may_have_a_context_may_not_for_that_have_what_it_refers_to() {
    let site = Site::new();
    let _daemon = site.start();
    furnish(&site);
    let grants = ["ctx", "ca"].map(|name| site.grant_on(name, &["--uses", "5"]));
    let denied = context(&site).unwrap_err();
    assert!(matches!(denied, Error::Denied), "{denied}");
    let denials = site.entries("deny");
    assert_eq!(
        told(&denials),
        [(
            "key".to_owned(),
            "current".into(),
            "web/ctx@1#keystore".into()
        )]
    );
    assert_eq!(denials[0]["reason"], "no-grant");
    assert!(site.entries("allow").is_empty());
    assert_eq!(
        grants.map(|grant| site.used(&grant)),
        [0, 0],
        "nothing was used"
    );

    // What is left out is not needed.
    let alone = v1::FetchRequest {
        unresolved: true,
        ..request(None)
    };
    assert!(fetch(&site, alone).unwrap().parts.is_empty());
    let only = v1::FetchRequest {
        fields: vec!["truststore".to_owned(), "alpn".to_owned()],
        ..request(None)
    };
    let only = fetch(&site, only).unwrap();
    let parts: Vec<_> = only.parts.iter().map(|part| &*part.field).collect();
    assert_eq!(parts, ["truststore"]);
}

#[test]
fn what_is_missing_for_a_context_is_explained_and_linted() {
    let site = Site::new();
    let _daemon = site.start();
    furnish(&site);
    let grant = site.grant_on("ctx", &[]);
    let pid = std::process::id().to_string();
    let explained = || site.ctl_json(&["grant", "explain", "web/ctx", "--pid", &pid]);
    let linted = || site.ctl_json(&["grant", "lint", "web"])["grants"].clone();
    assert_eq!(explained()["granted_by"], grant.as_str());
    let part = |field: &str, to: &str, granted_by: Option<&str>, reason: Option<&str>| {
        serde_json::json!({
            "field": field, "reference": to, "granted_by": granted_by, "reason": reason,
        })
    };
    let lacking = Some("no grant matches");
    let parts = [
        part("keystore", "custody:web/key", None, lacking),
        part("truststore", "custody:web/ca", None, lacking),
    ];
    assert_eq!(explained()["parts"], Value::from(parts.to_vec()));
    let code = |grants: &Value| -> Vec<Value> {
        let findings = grants[0]["findings"].as_array().into_iter().flatten();
        findings.map(|finding| finding["code"].clone()).collect()
    };
    assert!(
        code(&linted()).contains(&"part-not-granted".into()),
        "{}",
        linted()
    );
    let problem = linted().to_string();
    assert!(
        problem.contains("web/ctx#keystore: custody:web/key"),
        "{problem}"
    );

    let key = site.grant_on("key", &[]);
    let ca = site.grant_on("ca", &[]);
    let parts = [
        part("keystore", "custody:web/key", Some(&key), None),
        part("truststore", "custody:web/ca", Some(&ca), None),
    ];
    assert_eq!(explained()["parts"], Value::from(parts.to_vec()));
    assert!(
        !linted().to_string().contains("part-not-granted"),
        "{}",
        linted()
    );
    assert!(site.entries("allow").is_empty() && site.entries("deny").is_empty());
}

#[test]
fn a_grant_that_is_counted_is_used_for_each_part_or_for_none() {
    let site = Site::new();
    let _daemon = site.start();
    furnish(&site);
    let grant = site.grant_on("*", &["--uses", "5"]);
    context(&site).unwrap();
    assert_eq!(site.used(&grant), 3);
    let denied = context(&site).unwrap_err();
    assert!(
        matches!(denied, Error::Denied),
        "two are left, and three would be needed"
    );
    assert_eq!(site.entries("deny").pop().unwrap()["reason"], "used-up");
    assert_eq!(site.used(&grant), 3);
    assert_eq!(site.entries("allow").len(), 3);
}

#[test]
fn if_one_part_does_not_open_nothing_is_delivered_and_that_is_on_record_of_all() {
    let site = Site::new();
    let _daemon = site.start();
    furnish(&site);
    let grant = site.grant_on("*", &["--uses", "5"]);
    site.sqlite("UPDATE content SET nonce = zeroblob(12) WHERE name = 'ca'");
    let failed = context(&site).unwrap_err();
    assert!(matches!(failed, Error::DataLoss(_)), "{failed}");
    let seqs = |kind: &str, member: &str| -> Vec<_> {
        let entries = site.entries(kind);
        entries.iter().map(|entry| entry[member].clone()).collect()
    };
    let allowed = seqs("allow", "seq");
    assert_eq!(allowed.len(), 3);
    assert_eq!(seqs("undelivered", "allowed"), allowed);
    assert_eq!(site.used(&grant), 0);
    // The others are as they were.
    assert!(site.fetch("web/key").status.success());
}

#[test]
fn what_can_be_is_written_in_the_format_that_was_asked_for() {
    let site = Site::new();
    let _daemon = site.start();
    furnish(&site);
    site.grant_on("*", &[]);
    for (format, expected) in [
        (
            "pem",
            [
                None,
                Some("certificate-chain.pem"),
                Some("certificates.pem"),
            ],
        ),
        (
            "pkcs12",
            [None, Some("keystore.p12"), Some("truststore.p12")],
        ),
        ("java-truststore", [None, None, Some("truststore.p12")]),
        ("json", [Some("secret.json"); 3]),
    ] {
        let fetched = fetch(&site, request(Some(format))).unwrap();
        let parts = fetched.parts.iter().map(|part| &part.secret);
        for (secret, document) in std::iter::once(&fetched).chain(parts).zip(expected) {
            assert_eq!(
                secret.format.as_deref(),
                document.map(|_| format),
                "{format}"
            );
            let is_there = document.is_none_or(|name| secret.field(name).is_some());
            assert!(is_there, "{format}");
        }
    }
    let refused = fetch(
        &site,
        v1::FetchRequest {
            unresolved: true,
            ..request(Some("pem"))
        },
    );
    assert!(matches!(refused.unwrap_err(), Error::Precondition(_)));
}

fn openssl(folder: &Path, arguments: &str) -> String {
    let mut command = Command::new("openssl");
    command.args(arguments.split(' ')).current_dir(folder);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn in_a_folder_a_rotation_takes_effect_for_all_files_at_once() {
    let site = Site::new();
    let _daemon = site.start();
    furnish(&site);
    site.grant_on("*", &[]);
    let out = site.path("out/");
    let fetch = ["fetch", "web/ctx", "--out", out.to_str().unwrap()];
    site.ctl(&fetch);
    let public = || {
        let key = openssl(&out, "pkey -in keystore/private-key.pem -pubout");
        let leaf = openssl(
            &out,
            "x509 -in keystore/certificate-chain.pem -noout -pubkey",
        );
        assert_eq!(key, leaf);
        key
    };
    let before = (public(), fs::read_link(out.join("..data")).unwrap());
    rotate(&site);
    site.ctl(&fetch);
    let after = (public(), fs::read_link(out.join("..data")).unwrap());
    assert_ne!(before, after);
    assert_eq!(
        fs::read_to_string(out.join("context/min-version")).unwrap(),
        "TLSv1.3"
    );
    assert!(!out.join(before.1).exists(), "the former key is gone");
}

#[test]
fn a_template_is_filled_in_through_the_daemon() {
    let site = Site::new();
    let _daemon = site.start();
    furnish(&site);
    fs::write(site.path("password"), "hunter2").unwrap();
    let password = format!("password={}", site.path("password").display());
    let put = ["secret", "put", "web/admin", "--type", "basic-auth"];
    site.ctl(&[&put[..], &["--set", "username=admin", &password]].concat());
    site.grant_on("admin", &[]);
    let (template, out) = (site.path("conf.tmpl"), site.path("conf"));
    let inject = || {
        let (template, out) = (template.to_str().unwrap(), out.to_str().unwrap());
        site.try_ctl(&["inject", "--in", template, "--out", out])
    };
    let both = "{{custody:web/admin#username}}:{{custody:web/admin@1#password}}\n";
    fs::write(&template, both).unwrap();
    let output = inject();
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(fs::read_to_string(&out).unwrap(), "admin:hunter2\n");
    // One that is not granted, and one that is not there.
    for other in ["web/key", "web/nothing"] {
        fs::write(&template, format!("{both} {{{{custody:{other}}}}}")).unwrap();
        let output = inject();
        assert_eq!(output.status.code(), Some(3), "{}", text(&output));
        let place = format!("conf.tmpl:2:2: custody:{other}: denied");
        assert!(text(&output).contains(&place), "{}", text(&output));
        assert_eq!(fs::read_to_string(&out).unwrap(), "admin:hunter2\n");
    }
}
