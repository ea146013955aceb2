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
use softhsm_tests::{
    Site,
    load::{fetch, put, runtime},
    many::name,
    token::version_id,
    until,
};
use tokio::task::JoinSet;

mod interrupted;
mod told;

const NOT_FOUND: Option<i32> = Some(4);
const CONFLICT: Option<i32> = Some(5);

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

/// How many versions are to be renewed because of the first master key of `web`, and whether
/// nothing is left of it.
fn left(site: &Site) -> (u64, bool) {
    let first = site.master_keys().swap_remove(0);
    (
        first["renewals"].as_u64().unwrap(),
        first["emptied"].is_string(),
    )
}

fn is_over(site: &Site) {
    until("all is renewed", || left(site).1.then_some(()));
    assert_eq!(left(site).0, 0);
}

/// Nothing that is stored now is what was stored then, or opens under what wrapped it then; and
/// all of it was renewed once.
fn all_is_other(site: &Site, then: &BTreeMap<String, Stored>) {
    let now = stored(site);
    let renewed = site.times_changed("renew");
    assert!(renewed.values().all(|times| *times == 1), "{renewed:?}");
    for (version, then) in then {
        let now = &now[version];
        assert_ne!(now.ciphertext, then.ciphertext, "{version}");
        assert_ne!(now.wrapped, then.wrapped, "{version}");
        assert!(renewed.contains_key(version), "{version}");
    }
}

fn contains(file: &[u8], bytes: &[u8]) -> bool {
    file.windows(bytes.len()).any(|window| window == bytes)
}

#[test]
fn what_someone_knows_who_had_the_key_and_a_copy_of_the_database_opens_nothing_any_more() {
    const SECRETS: usize = 100;
    let site = Site::moving(100);
    let daemon = site.start();
    site.furnish_many(SECRETS);
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
    site.all_open(SECRETS);
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
    site.all_open(SECRETS);
    site.ctl(&["group", "destroy-key", "web", "1", "--yes", "--now"]);
    until("the key is gone", || {
        (site.master_keys()[0]["state"] == "destroyed-compromised").then_some(())
    });
    site.all_open(SECRETS);
    daemon.stop_verified();
}

#[test]
fn services_fetch_and_operators_write_while_all_is_renewed() {
    const SECRETS: usize = 40;
    const SIZE: usize = 300_000;
    const SERVICES: usize = 12;
    let large = |number: usize| vec![u8::try_from(number).unwrap(); SIZE];
    let site = Site::moving(100);
    let daemon = site.start();
    site.furnish(b"content");
    site.put_many(SECRETS, large);
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
                    keeping: None,
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
    daemon.stop_verified();
}
