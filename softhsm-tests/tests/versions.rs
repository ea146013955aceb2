//! The life of versions, end to end: what is delivered, what is destroyed, and that none that
//! was acknowledged is lost, whoever does what at the same time.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use client::{Error, Manager, v1};
use serde_json::Value;
use softhsm_tests::{Site, load::runtime, text, until};

const DENIED: Option<i32> = Some(3);
const CONFLICT: Option<i32> = Some(5);

/// `web/key` with versions "one", "two" and "three", granted to us.
fn furnish(site: &Site) {
    site.furnish(b"one");
    for content in [&b"two"[..], b"three"] {
        assert!(site.put("web/key", content).status.success());
    }
}

fn fetched(site: &Site, secret: &str) -> Option<String> {
    let output = site.fetch(secret);
    match output.status.code() {
        Some(0) => Some(String::from_utf8(output.stdout).unwrap()),
        code => {
            assert_eq!(code, DENIED, "{}", text(&output));
            assert!(output.stdout.is_empty());
            None
        }
    }
}

fn secret(site: &Site) -> Value {
    site.ctl_json(&["secret", "show", "web/key"])
}

fn contents(site: &Site) -> String {
    site.sqlite("SELECT group_concat(number) FROM content")
}

#[test]
fn a_roll_back_and_a_pending_version_are_one_command_each() {
    let site = Site::new();
    let _daemon = site.start();
    furnish(&site);
    assert_eq!(fetched(&site, "web/key@previous").unwrap(), "two");
    site.ctl(&["secret", "activate", "web/key@1"]);
    assert_eq!(fetched(&site, "web/key").unwrap(), "one");
    assert_eq!(fetched(&site, "web/key@previous").unwrap(), "three");
    site.ctl(&["secret", "activate", "web/key@previous"]);
    assert_eq!(fetched(&site, "web/key").unwrap(), "three");

    std::fs::write(site.path("next"), "next").unwrap();
    let next = site.path("next");
    let put = ["secret", "put", "web/key", "--type", "blob", "--pending"];
    site.ctl(&[&put[..], &[next.to_str().unwrap()]].concat());
    assert_eq!(fetched(&site, "web/key").unwrap(), "three");
    assert_eq!(fetched(&site, "web/key@pending").unwrap(), "next");
    site.ctl(&["secret", "activate", "web/key"]);
    assert_eq!(fetched(&site, "web/key").unwrap(), "next");
    assert_eq!(fetched(&site, "web/key@pending"), None);
    let verified = site.verify_journal();
    assert!(verified.status.success(), "{}", text(&verified));
}

#[test]
fn identical_content_makes_no_version_and_says_so() {
    let site = Site::new();
    let _daemon = site.start();
    furnish(&site);
    let prepared = site.entries("prepare").len();
    let again = site.put("web/key", b"three");
    assert!(
        text(&again).contains("nothing was written"),
        "{}",
        text(&again)
    );
    assert_eq!(site.entries("prepare").len(), prepared);
    // Former content is a version of its own.
    assert!(site.put("web/key", b"one").status.success());
    assert_eq!(secret(&site)["versions"], 4);
    assert_eq!(fetched(&site, "web/key").unwrap(), "one");
    // The same content in another secret has another fingerprint.
    assert!(site.put("web/other", b"one").status.success());
    let other = site.ctl_json(&["secret", "show", "web/other"]);
    let fingerprint = |secret: &Value| {
        secret["current"]["fingerprint"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_ne!(fingerprint(&other), fingerprint(&secret(&site)));
}

#[test]
fn a_write_over_what_somebody_else_wrote_is_refused() {
    let site = Site::new();
    let _daemon = site.start();
    furnish(&site);
    std::fs::write(site.path("mine"), "mine").unwrap();
    let mine = site.path("mine");
    let put = |expected: &str| {
        let put = [
            "secret", "put", "web/key", "--type", "blob", "--expect", expected,
        ];
        site.try_ctl(&[&put[..], &[mine.to_str().unwrap()]].concat())
    };
    let refused = put("2");
    assert_eq!(refused.status.code(), CONFLICT, "{}", text(&refused));
    assert!(text(&refused).contains("is 3, not 2"), "{}", text(&refused));
    assert_eq!(fetched(&site, "web/key").unwrap(), "three");
    assert!(put("3").status.success());
    assert_eq!(fetched(&site, "web/key").unwrap(), "mine");
    // Once more, as if no answer had come.
    let again = put("3");
    let told = text(&again);
    assert!(
        again.status.success() && told.contains("nothing was written"),
        "{told}"
    );
    assert_eq!(secret(&site)["versions"], 4);
    // The same field of another type is something else.
    let field = format!("content={}", mine.display());
    let other = ["secret", "put", "web/key", "--type", "key-value", &field];
    let other = site.try_ctl(&other);
    assert_eq!(other.status.code(), CONFLICT, "{}", text(&other));
}

#[test]
fn a_version_that_is_in_use_is_disabled_or_destroyed_only_by_force() {
    let site = Site::new();
    let _daemon = site.start();
    furnish(&site);
    assert!(fetched(&site, "web/key").is_some());
    for deed in [
        &["secret", "disable", "web/key"][..],
        &["secret", "destroy", "web/key@3", "--yes"],
    ] {
        let refused = site.try_ctl(deed);
        assert_eq!(refused.status.code(), CONFLICT, "{}", text(&refused));
        assert!(text(&refused).contains("--force"), "{}", text(&refused));
    }
    assert_eq!(
        fetched(&site, "web/key").unwrap(),
        "three",
        "nothing changed"
    );
    // Nobody fetched the second.
    site.ctl(&["secret", "disable", "web/key@2"]);
    assert_eq!(fetched(&site, "web/key@2"), None);
    let denial = site.entries("deny").pop().unwrap();
    assert_eq!(
        (&denial["reason"], &denial["version"]),
        (&"disabled".into(), &2.into())
    );
    site.ctl(&["secret", "enable", "web/key@2"]);
    assert_eq!(fetched(&site, "web/key@2").unwrap(), "two");
    site.ctl(&["secret", "disable", "web/key", "--force"]);
    assert_eq!(fetched(&site, "web/key"), None);
}

#[test]
fn a_doomed_version_comes_back_and_a_destroyed_one_is_gone_from_the_database() {
    let site = Site::new();
    let daemon = site.start();
    furnish(&site);
    site.ctl(&["secret", "destroy", "web/key@1", "--yes"]);
    assert_eq!(fetched(&site, "web/key@1"), None);
    assert_eq!(
        contents(&site).trim(),
        "1,2,3",
        "there is time to change one's mind"
    );
    site.ctl(&["secret", "restore", "web/key@1"]);
    site.ctl(&["secret", "enable", "web/key@1"]);
    assert_eq!(fetched(&site, "web/key@1").unwrap(), "one");

    site.ctl(&[
        "secret",
        "destroy",
        "web/key@1",
        "--yes",
        "--now",
        "--force",
    ]);
    daemon.stop();
    // It looks for what is due when it starts, and every minute.
    let _daemon = site.start();
    until("the content is gone", || {
        (contents(&site).trim() == "2,3").then_some(())
    });
    let wraps = site.sqlite("SELECT group_concat(number) FROM wrap");
    assert_eq!(wraps.trim(), "2,3");
    let versions = site.ctl_json(&["secret", "versions", "web/key"]);
    assert_eq!(versions["versions"][0]["state"], "destroyed");
    assert_eq!(fetched(&site, "web/key@1"), None);
    let restored = site.try_ctl(&["secret", "restore", "web/key@1"]);
    assert_eq!(restored.status.code(), CONFLICT, "{}", text(&restored));
    assert_eq!(fetched(&site, "web/key").unwrap(), "three");
}

#[test]
fn so_many_versions_are_kept_as_was_said_and_no_more() {
    let site = Site::new();
    let _daemon = site.start();
    furnish(&site);
    std::fs::write(site.path("four"), "four").unwrap();
    let four = site.path("four");
    let put = ["secret", "put", "web/key", "--type", "blob", "--keep", "2"];
    site.ctl(&[&put[..], &[four.to_str().unwrap()]].concat());
    assert_eq!(contents(&site).trim(), "3,4");
    assert!(site.put("web/key", b"five").status.success());
    assert_eq!(contents(&site).trim(), "4,5");
    assert_eq!(fetched(&site, "web/key@previous").unwrap(), "four");
    assert_eq!(secret(&site)["versions"], 5, "the record stays");
}

#[test]
fn a_version_that_was_replaced_is_valid_for_the_overlap() {
    let site = Site::new();
    let _daemon = site.start();
    furnish(&site);
    site.ctl(&["secret", "activate", "web/key@1", "--overlap", "1h"]);
    assert_eq!(fetched(&site, "web/key@3").unwrap(), "three");
    let versions = site.ctl_json(&["secret", "versions", "web/key"]);
    assert!(versions["versions"][2]["valid_until"].is_string());
    site.ctl(&["secret", "activate", "web/key@3", "--overlap", "1s"]);
    until("the version that was replaced is no longer valid", || {
        fetched(&site, "web/key@1").is_none().then_some(())
    });
    assert_eq!(site.entries("deny").pop().unwrap()["reason"], "outlived");
    assert_eq!(fetched(&site, "web/key").unwrap(), "three");
}

/// Does everything that can be done to versions, over and over, as one of several.
async fn meddle(manager: Manager, number: u32, rounds: u32) -> Vec<u32> {
    let (group, name) = (|| "web".to_owned(), || "key".to_owned());
    let which = |round: u32| (1 + (round * 7 + number) % 6).to_string();
    let mut written = Vec::new();
    for round in 0..rounds {
        let put = v1::PutSecretRequest {
            group: group(),
            name: name(),
            r#type: "blob".into(),
            fields: vec![v1::Field {
                name: "content".into(),
                value: format!("{number}-{round}").into(),
            }],
            pending: round % 3 == 0,
            ..Default::default()
        };
        written.push(manager.put_secret(put).await.unwrap().number);
        let disable = v1::DisableVersionRequest {
            group: group(),
            name: name(),
            which: which(round),
            force: true,
        };
        let enable = v1::EnableVersionRequest {
            group: group(),
            name: name(),
            which: which(round + 1),
        };
        let destroy = v1::DestroyVersionRequest {
            group: group(),
            name: name(),
            which: which(round + 2),
            force: true,
            grace_seconds: None,
        };
        let restore = v1::RestoreVersionRequest {
            group: group(),
            name: name(),
            which: which(round + 3),
        };
        let activate = v1::ActivateVersionRequest {
            group: group(),
            name: name(),
            which: which(round + 4),
            overlap_seconds: Some(3600),
        };
        let outcomes = [
            manager.disable_version(disable).await.map(drop),
            manager.enable_version(enable).await.map(drop),
            manager.destroy_version(destroy).await.map(drop),
            manager.restore_version(restore).await.map(drop),
            manager.activate_version(activate).await.map(drop),
        ];
        for outcome in outcomes {
            // what another did in between may be in the way, and nothing else
            assert!(
                matches!(
                    outcome,
                    Ok(()) | Err(Error::Precondition(_) | Error::NotFound(_))
                ),
                "{outcome:?}"
            );
        }
    }
    written
}

#[test]
fn no_version_that_was_acknowledged_is_lost_to_others_at_the_same_time() {
    let site = Site::new();
    let daemon = site.start();
    furnish(&site);
    let runtime = runtime();
    let meddlers: Vec<_> = (0..4)
        .map(|number| {
            let manager = runtime
                .block_on(Manager::connect(site.path("run/manager.sock")))
                .unwrap();
            runtime.spawn(meddle(manager, number, 6))
        })
        .collect();
    let mut written: Vec<u32> = meddlers
        .into_iter()
        .flat_map(|meddler| runtime.block_on(meddler).unwrap())
        .collect();
    written.sort_unstable();
    assert_eq!(
        written,
        (4..28).collect::<Vec<_>>(),
        "each has a number of its own"
    );
    daemon.stop();
    // The state is whole, and what is not destroyed has its content and its key.
    let _daemon = site.start();
    let versions = site.ctl_json(&["secret", "versions", "web/key"]);
    let versions = versions["versions"].as_array().unwrap();
    assert_eq!(versions.len(), 27);
    let there =
        site.sqlite("SELECT (SELECT count(*) FROM content) || ' ' || (SELECT count(*) FROM wrap)");
    assert_eq!(there.trim(), "27 27", "nothing was due yet");
    let secret = secret(&site);
    for part in [
        &secret["current"]["number"],
        &secret["previous"],
        &secret["pending"],
    ] {
        let number = part.as_u64().unwrap_or(1);
        assert!(versions.iter().any(|version| version["number"] == number));
    }
    let enabled = versions
        .iter()
        .find(|version| version["state"] == "enabled" && version["valid_until"].is_null());
    let number = &enabled.unwrap()["number"];
    assert!(fetched(&site, &format!("web/key@{number}")).is_some());
}
