//! Somebody may have a master key, and an old copy of the database: what they know opens nothing
//! that is stored any more, and everything goes on meanwhile.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use custody::envelope::Context;
use serde_json::Value;
use softhsm_tests::{
    Site,
    daemon::Daemon,
    fault::answering,
    load::{fetch, put, random_time, rounds, runtime},
    text,
    token::version_id,
    until,
};
use tokio::task::JoinSet;

const NOT_FOUND: Option<i32> = Some(4);
const CONFLICT: Option<i32> = Some(5);

fn name(number: usize) -> String {
    format!("s{number}")
}

fn content(number: usize) -> Vec<u8> {
    format!("content of {number}").into_bytes()
}

fn limits(share: u32) -> String {
    format!(
        "[limits]\nconnections-per-uid = 1024\nrequests-per-second = 1000000\n\
         burst = 1000000\nrewrap-share = {share}\n"
    )
}

fn site(share: u32) -> Site {
    let site = Site::new();
    site.configure(&limits(share));
    site
}

/// Puts so many secrets into `web`, all granted to whoever runs the test.
fn furnish(site: &Site, secrets: usize, content: impl Fn(usize) -> Vec<u8>) {
    site.furnish(b"content");
    runtime().block_on(async {
        let manager = site.manager().await;
        for number in 0..secrets {
            put(&manager, &name(number), &content(number))
                .await
                .unwrap();
        }
    });
}

/// All of these are delivered as they were written.
fn all_open(site: &Site, secrets: usize) {
    runtime().block_on(async {
        let provider = site.provider().await;
        for number in 0..secrets {
            let (found, _) = fetch(&provider, &name(number)).await.unwrap();
            assert_eq!(found, content(number), "{number}");
        }
    });
}

/// What is stored for a version.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stored {
    nonce: Vec<u8>,
    ciphertext: Vec<u8>,
    gmk: String,
    wrapped: String,
}

impl Stored {
    /// Whether a data key opens it, as the content of `version`.
    fn opens(&self, version: &str, key: &[u8]) -> bool {
        let context = Context::Content {
            version: &version_id(version).unwrap(),
            kind: "blob",
        };
        let nonce = Nonce::try_assume_unique_for_key(&self.nonce).unwrap();
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).unwrap());
        let mut ciphertext = self.ciphertext.clone();
        let opened = key.open_in_place(nonce, Aad::from(context.encode()), &mut ciphertext);
        opened.is_ok()
    }
}

/// Everything that is stored in `web`, by version.
fn stored(site: &Site) -> BTreeMap<String, Stored> {
    let rows = site.sqlite(
        "SELECT name, number, hex(nonce), hex(ciphertext), lower(hex(gmk)), lower(hex(wrapped))
         FROM content JOIN wrap USING (\"group\", name, number)",
    );
    let rows = rows.lines().map(|row| {
        let columns: Vec<_> = row.split('|').collect();
        let [name, number, nonce, ciphertext, gmk, wrapped] = columns[..] else {
            panic!("{row}")
        };
        let stored = Stored {
            nonce: hex::decode(nonce).unwrap(),
            ciphertext: hex::decode(ciphertext).unwrap(),
            gmk: gmk.to_owned(),
            wrapped: wrapped.to_owned(),
        };
        (format!("web/{name}@{number}"), stored)
    });
    rows.collect()
}

fn keys(site: &Site) -> Vec<Value> {
    let group = site.ctl_json(&["group", "show", "web"]);
    group["master_keys"].as_array().unwrap().clone()
}

/// How many versions are to be renewed because of the first master key of `web`, and whether
/// nothing is left of it.
fn left(site: &Site) -> (u64, bool) {
    let first = keys(site).swap_remove(0);
    (
        first["renewals"].as_u64().unwrap(),
        first["emptied"].is_string(),
    )
}

fn is_over(site: &Site) {
    until("all is renewed", || left(site).1.then_some(()));
    assert_eq!(left(site).0, 0);
}

/// How often each version was renewed, by the journal.
fn renewals(site: &Site) -> BTreeMap<String, usize> {
    let mut renewals = BTreeMap::new();
    let settled = site.entries("commit");
    let settled: Vec<_> = settled.iter().map(|entry| &entry["number"]).collect();
    for entry in site.entries("prepare") {
        if entry["change"]["change"] != "renew" || !settled.contains(&&entry["number"]) {
            continue;
        }
        for (secret, numbers) in entry["change"]["versions"].as_object().unwrap() {
            for number in numbers.as_array().unwrap() {
                *renewals
                    .entry(format!("web/{secret}@{number}"))
                    .or_default() += 1;
            }
        }
    }
    renewals
}

/// Nothing that is stored now is what was stored then, or opens under what wrapped it then; and
/// all of it was renewed once.
fn all_is_other(site: &Site, then: &BTreeMap<String, Stored>) {
    let now = stored(site);
    let renewed = renewals(site);
    assert!(renewed.values().all(|times| *times == 1), "{renewed:?}");
    for (version, then) in then {
        let now = &now[version];
        assert_ne!(now.ciphertext, then.ciphertext, "{version}");
        assert_ne!(now.wrapped, then.wrapped, "{version}");
        assert!(renewed.contains_key(version), "{version}");
    }
}

fn verified(site: &Site, daemon: Daemon<'_>) {
    daemon.stop();
    let verified = site.verify_journal();
    assert!(verified.status.success(), "{}", text(&verified));
}

fn contains(file: &[u8], bytes: &[u8]) -> bool {
    file.windows(bytes.len()).any(|window| window == bytes)
}

#[test]
fn what_someone_knows_who_had_the_key_and_a_copy_of_the_database_opens_nothing_any_more() {
    const SECRETS: usize = 20;
    let site = site(100);
    let daemon = site.start();
    furnish(&site, SECRETS, content);
    for destroyed in ["two", "three"] {
        assert!(site.put("web/s0", destroyed.as_bytes()).status.success());
    }
    site.ctl(&["secret", "activate", "web/s0@1"]);
    site.ctl(&["secret", "destroy", "web/s0@3", "--yes", "--now", "--force"]);
    daemon.stop();
    let daemon = site.start();
    until("the version is destroyed", || {
        (!stored(&site).contains_key("web/s0@3")).then_some(())
    });

    let then = stored(&site);
    assert_eq!(then.len(), SECRETS + 2);
    let versions = site.ctl_json(&["secret", "versions", "web/s0"]);
    let key_of = |version: &str, then: &Stored| site.data_key(version, &then.gmk, &then.wrapped);
    let known: BTreeMap<_, _> = then
        .iter()
        .map(|(version, then)| (version, key_of(version, then)))
        .collect();
    assert!(
        then.iter()
            .all(|(version, then)| then.opens(version, &known[version]))
    );

    let old = site.gmk("web");
    site.ctl(&["group", "rotate", "web", "--compromised", "--wait"]);
    assert_eq!(left(&site), (0, true));
    all_is_other(&site, &then);
    let now = stored(&site);
    assert_eq!(now.len(), then.len());
    for (version, now) in &now {
        assert!(!now.opens(version, &known[version]), "{version}");
        assert!(now.opens(version, &key_of(version, now)), "{version}");
        assert_ne!(now.gmk, old);
    }
    // What is known of the versions is as it was, but for what says that they were renewed.
    let mut after = site.ctl_json(&["secret", "versions", "web/s0"]);
    let renewed = versions["versions"].as_array().unwrap().iter().enumerate();
    for (nth, before) in renewed {
        let after = &mut after["versions"][nth];
        for changed in ["master_keys", "generation"] {
            after[changed] = before[changed].clone();
        }
        assert_eq!(after, before);
    }
    all_open(&site, SECRETS);
    daemon.stop();
    // Whoever closes the database last moves what is in its log into the file.
    site.sqlite("SELECT count(*) FROM head");
    let file = std::fs::read(site.path("state/custody.db")).unwrap();
    for (version, then) in &then {
        assert!(contains(&file, &now[version].ciphertext), "{version}");
        assert!(!contains(&file, &then.ciphertext), "{version}");
        assert!(!contains(&file, &hex::decode(&then.wrapped).unwrap()));
    }
    let daemon = site.start();
    all_open(&site, SECRETS);
    site.ctl(&["group", "destroy-key", "web", "1", "--yes", "--now"]);
    until("the key is gone", || {
        (keys(&site)[0]["state"] == "destroyed-compromised").then_some(())
    });
    all_open(&site, SECRETS);
    verified(&site, daemon);
}

#[test]
fn a_key_can_be_called_compromised_long_after_it_was_replaced_and_even_destroyed() {
    const SECRETS: usize = 5;
    let site = site(100);
    let daemon = site.start();
    furnish(&site, SECRETS, content);
    let compromise = |generation| site.try_ctl(&["group", "compromise-key", "web", generation]);
    let unknown = compromise("2");
    assert_eq!(unknown.status.code(), NOT_FOUND, "{}", text(&unknown));
    site.ctl(&["group", "rotate", "web", "--wait"]);
    assert!(site.put("web/later", b"later").status.success());
    site.ctl(&["group", "rotate", "web", "--wait"]);
    site.ctl(&["group", "destroy-key", "web", "1", "--yes", "--now"]);
    until("the key is gone", || {
        (keys(&site)[0]["state"] == "destroyed").then_some(())
    });
    assert!(renewals(&site).is_empty());

    // What was written under a later key was never under this one.
    let mut then = stored(&site);
    let later = then.remove("web/later@1").unwrap();
    site.ctl(&["group", "compromise-key", "web", "1", "--wait"]);
    let states = |site: &Site| {
        let states = keys(site).into_iter().map(|mut key| key["state"].take());
        states.collect::<Vec<_>>()
    };
    let expected = ["destroyed-compromised", "deactivated", "active"];
    assert_eq!(states(&site), expected);
    all_is_other(&site, &then);
    assert_eq!(stored(&site)["web/later@1"], later);
    assert!(stored(&site).values().all(|now| now.gmk == later.gmk));
    let again = compromise("1");
    assert_eq!(again.status.code(), CONFLICT, "{}", text(&again));

    // One that is empty is so no more until all is renewed, although nothing is wrapped under it.
    daemon.kill();
    site.configure(&limits(1));
    let daemon = site.start();
    let second = || keys(&site).swap_remove(1);
    assert!(second()["emptied"].is_string());
    assert!(compromise("2").status.success());
    assert!(second()["emptied"].is_null() || second()["renewals"] == 0);
    until("all is renewed", || {
        second()["emptied"].is_string().then_some(())
    });
    // It had wrapped the later one and, before they were renewed, all others.
    assert_ne!(stored(&site)["web/later@1"].ciphertext, later.ciphertext);
    let fates = site
        .entries("prepare")
        .into_iter()
        .filter(|entry| entry["change"]["fate"] == "compromised" && entry["operator"].is_object());
    assert_eq!(fates.count(), 2);
    all_open(&site, SECRETS);
    verified(&site, daemon);
}

#[test]
fn the_key_that_protects_is_replaced_when_it_is_called_compromised() {
    let site = site(100);
    let daemon = site.start();
    furnish(&site, 3, content);
    let then = stored(&site);
    site.ctl(&["group", "compromise-key", "web", "1", "--wait"]);
    let states: Vec<_> = keys(&site).iter().map(|key| key["state"].clone()).collect();
    assert_eq!(states, ["compromised", "active"]);
    all_is_other(&site, &then);
    all_open(&site, 3);
    verified(&site, daemon);
}

/// The secrets of `web` whose content may be known: of which versions, and whether it is in use.
fn exposed(site: &Site) -> BTreeMap<String, (Vec<u64>, bool)> {
    let exposure = site.ctl_json(&["group", "exposure", "web"]);
    let secrets = exposure["secrets"].as_array().unwrap().iter();
    let secrets = secrets.map(|secret| {
        let versions = secret["versions"].as_array().unwrap().iter();
        let numbers = versions.map(|version| version["number"].as_u64().unwrap());
        let in_use = secret["in_use"].as_bool().unwrap();
        (
            secret["name"].as_str().unwrap().to_owned(),
            (numbers.collect(), in_use),
        )
    });
    secrets.collect()
}

#[test]
fn what_may_be_known_is_told_until_it_is_rotated_and_to_whom_it_was_given() {
    let site = site(100);
    let daemon = site.start();
    furnish(&site, 3, content);
    let nothing = site.ctl(&["group", "exposure", "web"]);
    assert!(nothing.contains("No master key of web"), "{nothing}");
    assert!(exposed(&site).is_empty());
    let other = [
        "grant",
        "add",
        "--allow-weak",
        "web",
        "other",
        "--uid",
        "4711",
    ];
    site.ctl(&other);
    assert!(site.fetch("web/s1").status.success());

    let rotated = site.ctl_json(&["group", "rotate", "web", "--compromised", "--wait"]);
    let exposure = site.ctl_json(&["group", "exposure", "web"]);
    for what in ["secrets", "consumers", "grants"] {
        assert_eq!(rotated["exposure"][what], exposure[what]);
    }
    let everything = ["key", "s0", "s1", "s2"].map(|name| (name.to_owned(), (vec![1], true)));
    assert_eq!(exposed(&site), BTreeMap::from(everything.clone()));
    let told = exposure["consumers"].as_array().unwrap();
    assert_eq!(told.len(), 1, "{exposure}");
    assert_eq!(
        (&told[0]["name"], &told[0]["fetches"]),
        (&"s1".into(), &1.into())
    );
    let grants = exposure["grants"].as_array().unwrap();
    assert_eq!(
        grants.len(),
        1,
        "what gives nothing of it is left out: {exposure}"
    );
    assert_eq!(exposure["master_keys"][0]["state"], "compromised");

    // What was written later is not known, and what it takes the place of is.
    for name in ["web/s1", "web/later"] {
        assert!(site.put(name, b"other").status.success());
    }
    site.ctl(&["secret", "destroy", "web/s1@1", "--yes", "--now", "--force"]);
    site.ctl(&["group", "destroy-key", "web", "1", "--yes", "--now"]);
    daemon.kill();
    let daemon = site.start();
    until("the key is gone, and the version", || {
        let is_gone = keys(&site)[0]["state"] == "destroyed-compromised";
        (is_gone && !stored(&site).contains_key("web/s1@1")).then_some(())
    });
    let mut expected = BTreeMap::from(everything);
    expected.insert("s1".to_owned(), (vec![1], false));
    assert_eq!(exposed(&site), expected);
    let text = site.ctl(&["group", "exposure", "web"]);
    for part in ["web/s1", "1 (destroyed)", "3 of them"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    verified(&site, daemon);
}

#[test]
fn a_renewal_that_is_killed_goes_on_where_it_was() {
    const SECRETS: usize = 200;
    let site = site(10);
    let mut daemon = site.start();
    furnish(&site, SECRETS, content);
    let then = stored(&site);
    site.ctl(&["group", "rotate", "web", "--compromised"]);
    for _ in 0..rounds(3) {
        let before = left(&site).0;
        until("something is renewed", || {
            let (renewals, is_over) = left(&site);
            (renewals < before || is_over).then_some(())
        });
        std::thread::sleep(random_time(0, 30));
        daemon.kill();
        daemon = site.start();
    }
    let early = site.try_ctl(&["group", "destroy-key", "web", "1", "--yes", "--now"]);
    assert_eq!(early.status.code(), CONFLICT, "{}", text(&early));
    assert!(text(&early).contains("are renewed"), "{}", text(&early));
    daemon.kill();
    site.configure(&limits(100));
    let daemon = site.start();
    is_over(&site);
    all_open(&site, SECRETS);
    all_is_other(&site, &then);
    assert_eq!(renewals(&site).len(), SECRETS + 1);
    verified(&site, daemon);
}

#[test]
fn services_fetch_and_operators_write_while_all_is_renewed() {
    const SECRETS: usize = 40;
    const SIZE: usize = 300_000;
    const SERVICES: usize = 12;
    let large = |number: usize| vec![u8::try_from(number).unwrap(); SIZE];
    let site = site(100);
    let daemon = site.start();
    furnish(&site, SECRETS, large);
    let then = stored(&site);
    let is_done = Arc::new(AtomicBool::new(false));
    runtime().block_on(async {
        let (provider, manager) = (site.provider().await, site.manager().await);
        let mut services = JoinSet::new();
        for service in 0..SERVICES {
            let (provider, is_done) = (provider.clone(), Arc::clone(&is_done));
            services.spawn(async move {
                let mut number = service;
                while !is_done.load(Ordering::Relaxed) {
                    let (found, _) = fetch(&provider, &name(number % SECRETS)).await.unwrap();
                    assert!(found == large(number % SECRETS), "{number}");
                    number += 1;
                }
            });
        }
        let writes = async {
            while !is_done.load(Ordering::Relaxed) {
                put(&manager, "short", b"short").await.unwrap();
                let delete = client::v1::DeleteSecretRequest {
                    group: "web".into(),
                    name: "short".into(),
                    force: true,
                };
                manager.delete_secret(delete).await.unwrap();
            }
        };
        let rotates = async {
            // Every key is lost again as soon as it protects.
            for newest in 1..=3 {
                let request = client::v1::RotateGroupRequest {
                    group: "web".into(),
                    expected: Some(newest),
                    compromised: true,
                };
                manager.rotate_group(request).await.unwrap();
                loop {
                    let request = client::v1::GetGroupRequest { name: "web".into() };
                    let group = manager.get_group(request).await.unwrap();
                    let (_, former) = group.master_keys.split_last().unwrap();
                    if former.iter().all(|key| key.emptied.is_some()) {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
            is_done.store(true, Ordering::Relaxed);
        };
        let all = Box::pin(async { tokio::join!(services.join_all(), writes, rotates) });
        let all = tokio::time::timeout(Duration::from_secs(120), all).await;
        all.expect("everything is renewed");
    });
    let now = stored(&site);
    for (version, then) in &then {
        assert!(now[version].ciphertext != then.ciphertext, "{version}");
    }
    // Whatever was overtaken was decided again.
    for entry in site.entries("undelivered") {
        assert_eq!(entry["reason"]["cause"], "overtaken", "{entry}");
    }
    assert!(!site.log().contains("refused"), "{}", site.log());
    verified(&site, daemon);
}

#[test]
fn an_outage_interrupts_a_renewal_and_loses_nothing() {
    const SECRETS: usize = 40;
    let site = Site::faulty(&limits(5));
    let daemon = site.start();
    furnish(&site, SECRETS, content);
    let then = stored(&site);
    site.ctl(&["group", "rotate", "web", "--compromised"]);
    site.fault(answering("C_DecryptInit", "CKR_DEVICE_ERROR"));
    until("the work is interrupted", || {
        site.log().contains("is interrupted").then_some(())
    });
    let (renewals, is_over_already) = left(&site);
    assert!(renewals > 0 && !is_over_already, "{renewals}");
    site.mend();
    is_over(&site);
    all_open(&site, SECRETS);
    all_is_other(&site, &then);
    verified(&site, daemon);
}

#[test]
fn content_that_was_tampered_with_is_not_renewed_and_keeps_the_key() {
    let site = site(1);
    let daemon = site.start();
    furnish(&site, 30, content);
    let then = stored(&site);
    site.ctl(&["group", "rotate", "web", "--compromised"]);
    daemon.kill();
    let is_left = stored(&site)["web/s9@1"] == then["web/s9@1"];
    assert!(is_left, "the last of all is renewed last");
    site.sqlite("UPDATE content SET ciphertext = zeroblob(30) WHERE name = 's9'");
    site.configure(&limits(100));
    let daemon = site.start();
    until("all others are renewed", || {
        (left(&site) == (1, false)).then_some(())
    });
    until("it is told", || {
        site.log()
            .contains("content cannot be renewed")
            .then_some(())
    });
    assert_eq!(stored(&site)["web/s9@1"].ciphertext, vec![0; 30]);
    let refused = site.try_ctl(&["group", "destroy-key", "web", "1", "--yes", "--now"]);
    assert_eq!(refused.status.code(), CONFLICT, "{}", text(&refused));
    assert_eq!(renewals(&site).len(), 30);
    all_open(&site, 9);
    verified(&site, daemon);
}
