//! Master keys that have encrypted often: another takes their place before nonces could be the
//! same, and none encrypts more often than it may.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use serde_json::json;
use softhsm_tests::{
    Site,
    fault::answering,
    load::{fetch, put, runtime},
    text, until,
};

/// How often a key may encrypt here: 64 wraps, its canary's included.
const BOUND: u64 = 2048;
const PER_WRAP: u64 = 32;

/// `custodyctl`'s exit code for what may work later.
const UNAVAILABLE: Option<i32> = Some(6);

fn limits() -> String {
    format!(
        "[limits]\nconnections-per-uid = 1024\nrequests-per-second = 1000000\n\
         burst = 1000000\nkey-invocations = {BOUND}\n"
    )
}

/// A group `web` with a secret `key` of which one version is kept.
fn furnish(site: &Site) {
    site.furnish(b"content");
    let file = site.path("content");
    std::fs::write(&file, "content of which one version is kept").unwrap();
    let file = file.to_str().unwrap();
    site.ctl(&[
        "secret", "put", "web/key", "--type", "blob", "--keep", "1", file,
    ]);
}

#[test]
fn a_key_is_replaced_before_it_has_encrypted_as_often_as_it_may() {
    let site = Site::new();
    site.configure(&limits());
    let daemon = site.start();
    furnish(&site);
    runtime().block_on(async {
        let (manager, provider) = (site.manager().await, site.provider().await);
        for round in 0..150 {
            let content = format!("content {round}");
            put(&manager, "key", content.as_bytes()).await.unwrap();
            let (found, _) = fetch(&provider, "key").await.unwrap();
            assert_eq!(found, content.as_bytes());
        }
    });
    let keys = site.master_keys();
    assert!(keys.len() >= 3, "{keys:#?}");
    for key in &keys {
        assert!(key["invocations"].as_u64().unwrap() <= BOUND, "{key:#?}");
    }
    // By the daemon itself, each time.
    let rotations = site.changes_made("rotate-group");
    assert_eq!(rotations.len(), keys.len() - 1);
    assert!(rotations.iter().all(|entry| entry["operator"].is_null()));
    // Each wrap was on record before it was made, as part of what a key may do.
    for key in &keys {
        let id = &key["id"];
        let puts = site.changes_made("put-secret");
        let puts = puts
            .iter()
            .filter(|entry| entry["change"]["master_key"] == *id);
        let wraps = u64::try_from(puts.count()).unwrap();
        let reserved = key["invocations"].as_u64().unwrap();
        assert!(wraps * PER_WRAP <= reserved, "{wraps} of {reserved}");
    }
    daemon.stop_unharmed();
}

#[test]
fn a_key_that_cannot_be_replaced_encrypts_no_more_and_goes_on_revealing() {
    let site = Site::faulty(&limits());
    let daemon = site.start();
    furnish(&site);
    site.fault(answering("C_GenerateKey", "CKR_DEVICE_MEMORY"));
    let mut last = String::new();
    let refused = (0..70).find_map(|round| {
        let content = format!("content {round}");
        let output = site.put("web/key", content.as_bytes());
        match output.status.success() {
            true => {
                last = content;
                None
            }
            false => Some(output),
        }
    });
    let refused = refused.expect("it is refused in the end");
    assert_eq!(refused.status.code(), UNAVAILABLE, "{}", text(&refused));
    let said = text(&refused);
    assert!(said.contains("has encrypted as often as it may"), "{said}");
    let [key] = &site.master_keys()[..] else {
        panic!("another was made");
    };
    assert_eq!(key["invocations"], json!(BOUND));
    // The canary and the first content are of it.
    let wraps = site.changes_made("put-secret").len() + 1;
    assert_eq!(u64::try_from(wraps).unwrap(), BOUND / PER_WRAP);
    assert_eq!(site.fetch("web/key").stdout, last.as_bytes());

    site.mend();
    until("another takes its place", || {
        site.put("web/key", b"at last")
            .status
            .success()
            .then_some(())
    });
    assert_eq!(site.master_keys().len(), 2);
    assert_eq!(site.fetch("web/key").stdout, b"at last");
    daemon.stop_unharmed();
}

#[test]
fn what_was_on_record_is_used_up_by_a_restart() {
    let site = Site::new();
    site.configure(&limits());
    let daemon = site.start();
    furnish(&site);
    let reserved = || site.master_keys()[0]["invocations"].as_u64().unwrap();
    let before = reserved();
    daemon.kill();
    let daemon = site.start();
    let put = site.put("web/key", b"after the restart");
    assert!(put.status.success(), "{}", text(&put));
    assert_eq!(reserved(), before + PER_WRAP);
    daemon.stop();
}
