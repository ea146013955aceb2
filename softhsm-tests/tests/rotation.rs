//! Rotation, end to end: new material that nobody saw but who fetches it, those who watch,
//! those who lag behind, the overlap, and the way back.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use std::{collections::BTreeSet, fs};

use client::{Error, v1};
use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};
use softhsm_tests::{
    Site,
    load::{runtime, told},
    text, until,
};

const DENIED: Option<i32> = Some(3);
const CONFLICT: Option<i32> = Some(5);
const INVALID: Option<i32> = Some(7);

/// What this process gets for `secret`, which has one field.
fn fetched(site: &Site, secret: &str) -> Option<Vec<u8>> {
    let output = site.fetch(secret);
    match output.status.code() {
        Some(0) => Some(output.stdout),
        code => {
            assert_eq!(code, DENIED, "{}", text(&output));
            assert!(output.stdout.is_empty());
            None
        }
    }
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|at| at == wanted)
}

/// A daemon with the group `web`, whose secrets are granted to this user.
fn prepared(site: &Site) -> softhsm_tests::daemon::Daemon<'_> {
    let daemon = site.start();
    site.ctl(&["group", "create", "web"]);
    site.grant_on("*", &[]);
    daemon
}

#[test]
fn a_password_is_rotated_and_everybody_is_told_and_can_go_back() {
    let site = Site::new();
    let _daemon = prepared(&site);
    let first = ["secret", "generate", "web/db", "--type", "password"];
    let made = site.ctl_json(&first);
    assert_eq!(
        (&made["version"]["number"], &made["outdated"]),
        (&json!(1), &json!([]))
    );
    let one = fetched(&site, "web/db").unwrap();
    assert_eq!(one.len(), 22);

    let runtime = runtime();
    let (mut watch, provider) = runtime.block_on(async {
        let provider = site.provider().await;
        let mut watch = provider.watch("web", "db").await.unwrap();
        assert_eq!(told(&mut watch).await, 1);
        (watch, provider)
    });
    let made = site.ctl_json(&["secret", "rotate", "web/db", "--overlap", "1h"]);
    assert_eq!(made["version"]["number"], 2);
    let outdated = &made["outdated"][0];
    assert_eq!(
        (&outdated["version"], &outdated["outdated"]),
        (&json!(1), &json!(true))
    );
    assert!(made["version"]["fingerprint"].as_str().unwrap().len() == 32);

    let two = runtime.block_on(async {
        assert_eq!(told(&mut watch).await, 2);
        let fetched = provider.fetch("web", "db", None).await.unwrap();
        assert_eq!(fetched.version, 2);
        fetched.field("password").unwrap().to_vec()
    });
    assert_ne!(one, two);
    let consumers = site.ctl_json(&["consumers", "web/db"]);
    let current = &consumers["consumers"][0];
    assert_eq!(
        (&current["version"], &current["outdated"]),
        (&json!(2), &json!(false))
    );
    // While they overlap, both are valid.
    assert_eq!(fetched(&site, "web/db@previous").unwrap(), one);

    site.ctl(&["secret", "activate", "web/db@previous"]);
    assert_eq!(fetched(&site, "web/db").unwrap(), one);
    runtime.block_on(async { assert_eq!(told(&mut watch).await, 1) });
    let versions = site.ctl_json(&["secret", "versions", "web/db"]);
    let ends = |number: u32| {
        let mut all = versions["versions"].as_array().unwrap().iter();
        let version = all.find(|version| version["number"] == number);
        version.unwrap()["valid_until"].clone()
    };
    assert_eq!(ends(1), Value::Null, "the current one is valid without end");
    site.ctl(&["secret", "activate", "web/db@2", "--overlap", "1s"]);
    until("the overlap ends", || {
        fetched(&site, "web/db@1").is_none().then_some(())
    });
    assert_eq!(site.entries("deny").pop().unwrap()["reason"], "outlived");
    assert_eq!(fetched(&site, "web/db").unwrap(), two);

    let prepared = site.entries("prepare");
    let made: Vec<_> = prepared
        .iter()
        .filter(|entry| entry["change"]["made"] == true)
        .collect();
    assert_eq!(made.len(), 2);
    assert!(site.verify_journal().status.success());
}

#[test]
fn what_was_made_is_nowhere_but_with_who_fetched_it() {
    let site = Site::new();
    let daemon = prepared(&site);
    let mut told = Vec::new();
    for (kind, more) in [
        ("password", &[][..]),
        ("basic-auth", &["--set", "username=eva"]),
        ("api-key", &["--set", "id=billing"]),
        ("symmetric-key", &[]),
    ] {
        let secret = format!("web/{kind}");
        let generate = ["secret", "generate", &secret, "--type", kind];
        told.push(site.ctl(&[&generate[..], more].concat()));
        told.push(site.ctl(&["secret", "rotate", &secret]));
        told.push(site.ctl(&["secret", "rotate", &secret, "--pending", "--output", "json"]));
        told.push(site.ctl(&["secret", "versions", &secret, "--output", "json"]));
    }
    let contents: Vec<_> = runtime().block_on(async {
        let provider = site.provider().await;
        let mut contents = Vec::new();
        for kind in ["password", "basic-auth", "api-key", "symmetric-key"] {
            for version in 1..=3 {
                let fetched = provider.fetch("web", kind, Some(version)).await.unwrap();
                let field = if kind == "basic-auth" {
                    "password"
                } else {
                    kind
                };
                let field = fetched.field(field).or(fetched.field("key")).unwrap();
                contents.push(field.to_vec());
                let public = match kind {
                    "basic-auth" => fetched.field("username") == Some(b"eva"),
                    "api-key" => fetched.field("id") == Some(b"billing"),
                    "symmetric-key" => fetched.field("algorithm") == Some(b"aes"),
                    _ => true,
                };
                assert!(public, "{kind} {version}");
            }
        }
        contents
    });
    let different: BTreeSet<_> = contents.iter().collect();
    assert_eq!(different.len(), 12);
    daemon.stop();
    let files = ["custody.db", "custody.db-wal"].map(|name| site.path("state").join(name));
    let files = files.iter().filter_map(|path| fs::read(path).ok());
    let database: Vec<u8> = files.flatten().collect();
    assert!(contains(&database, b"billing"), "it is the right one");
    let texts = told.iter().map(|text| text.clone().into_bytes());
    let stored: Vec<_> = [database]
        .into_iter()
        .chain(texts)
        .chain([site.log().into_bytes(), site.journal_text().into_bytes()])
        .collect();
    for content in &contents {
        assert!(!stored.iter().any(|bytes| contains(bytes, content)));
    }
}

#[test]
fn what_cannot_be_made_is_refused_and_nothing_is_written() {
    let site = Site::new();
    let _daemon = prepared(&site);
    site.ctl(&["secret", "generate", "web/db", "--type", "password"]);
    site.ctl(&["secret", "generate", "web/key", "--type", "symmetric-key"]);
    let prepared = site.entries("prepare").len();
    let refused = |args: &[&str], code, says: &str| {
        let refused = site.try_ctl(args);
        assert_eq!(refused.status.code(), code, "{}", text(&refused));
        assert!(text(&refused).contains(says), "{}", text(&refused));
        assert_eq!(site.entries("prepare").len(), prepared);
    };
    let generate = |secret, kind| ["secret", "generate", secret, "--type", kind];
    refused(
        &generate("web/db", "password"),
        CONFLICT,
        "the current version of web/db is 1, not 0",
    );
    refused(
        &generate("web/b", "blob"),
        INVALID,
        "custodyd makes no blob by itself",
    );
    refused(
        &generate("web/b", "s3-credentials"),
        INVALID,
        "issues new ones",
    );
    refused(
        &generate("web/b", "basic-auth"),
        INVALID,
        "needs the field \"username\"",
    );
    refused(
        &["secret", "rotate", "web/none"],
        Some(4),
        "there is no secret web/none",
    );
    refused(
        &["secret", "rotate", "no/db"],
        Some(4),
        "there is no group no",
    );
    refused(
        &["secret", "rotate", "web/db", "--length", "10"],
        INVALID,
        "ask for 11 or more",
    );
    refused(
        &["secret", "rotate", "web/db", "--expect", "7"],
        CONFLICT,
        "is 1, not 7",
    );
    refused(
        &["secret", "rotate", "web/key", "--length", "20"],
        INVALID,
        "has 20 bytes",
    );
    // Rules hold for what is made as for what is given.
    let rules = site.path("rules.toml");
    fs::write(&rules, "mode = \"enforce\"\nmin-symmetric-bits = 256\n").unwrap();
    site.ctl(&["group", "rules", "web", rules.to_str().unwrap()]);
    let prepared = site.entries("prepare").len();
    let weak = site.try_ctl(&["secret", "rotate", "web/key", "--length", "16"]);
    assert_eq!(weak.status.code(), CONFLICT, "{}", text(&weak));
    assert_eq!(site.entries("prepare").len(), prepared);
    assert_eq!(fetched(&site, "web/db@2"), None);
}

#[test]
fn rotations_and_writes_at_the_same_time_lose_none_of_each_other() {
    const ROUNDS: u32 = 15;
    let site = Site::new();
    let _daemon = prepared(&site);
    site.ctl(&["secret", "generate", "web/db", "--type", "password"]);
    let runtime = runtime();
    let written: Vec<(u32, Option<String>)> = runtime.block_on(async {
        let manager = site.manager().await;
        let rotating = manager.clone();
        let rotate = tokio::spawn(async move {
            let mut written = Vec::new();
            let mut expected = 1;
            while written.len() < ROUNDS as usize {
                let request = v1::RotateSecretRequest {
                    group: "web".into(),
                    name: "db".into(),
                    expected: Some(expected),
                    ..Default::default()
                };
                match rotating.rotate_secret(request).await {
                    Ok(version) => {
                        expected = version.number;
                        written.push((version.number, None));
                    }
                    Err(Error::Precondition(_)) => expected = current(&rotating).await,
                    Err(other) => panic!("{other}"),
                }
            }
            written
        });
        let mut written = Vec::new();
        for round in 0..ROUNDS {
            let content = format!("given-{round}");
            let request = v1::PutSecretRequest {
                group: "web".into(),
                name: "db".into(),
                r#type: "password".into(),
                fields: vec![v1::Field {
                    name: "password".into(),
                    value: content.clone().into(),
                }],
                ..Default::default()
            };
            let number = manager.put_secret(request).await.unwrap().number;
            written.push((number, Some(content)));
        }
        written.extend(rotate.await.unwrap());
        written
    });
    let numbers: BTreeSet<_> = written.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (2..=2 * ROUNDS + 1).collect());
    runtime.block_on(async {
        let provider = site.provider().await;
        for (number, content) in written {
            let fetched = provider.fetch("web", "db", Some(number)).await.unwrap();
            let password = fetched.field("password").unwrap();
            match content {
                Some(content) => assert_eq!(password, content.as_bytes()),
                None => assert_eq!(password.len(), 22),
            }
        }
    });
}

async fn current(manager: &client::Manager) -> u32 {
    let request = v1::GetSecretRequest {
        group: "web".into(),
        name: "db".into(),
    };
    manager
        .get_secret(request)
        .await
        .unwrap()
        .current
        .unwrap()
        .number
}

#[test]
fn no_version_is_made_without_the_tokens_randomness() {
    let site = Site::new();
    site.configure_deadline(500);
    let daemon = prepared(&site);
    site.ctl(&["secret", "generate", "web/db", "--type", "password"]);
    let prepared = site.entries("prepare").len();
    kill(daemon.worker(), Signal::SIGSTOP).unwrap();
    let refused = site.try_ctl(&["secret", "rotate", "web/db"]);
    assert_eq!(refused.status.code(), Some(6), "{}", text(&refused));
    assert_eq!(site.entries("prepare").len(), prepared);
    let made = until("a new worker serves", || {
        let again = site.try_ctl(&["secret", "rotate", "web/db", "--output", "json"]);
        again
            .status
            .success()
            .then(|| serde_json::from_slice::<Value>(&again.stdout).unwrap())
    });
    assert_eq!(made["version"]["number"], 2);
}
