//! Master keys that age: a new one takes the place of the old, what that protected is moved while
//! everything goes on, and only then can it be destroyed.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use client::Error;
use serde_json::{Value, json};
use softhsm_tests::{
    Site,
    daemon::Daemon,
    fault::answering,
    kind::Kind,
    load::{fetch, put, random_time, rounds, runtime},
    many::{content, limits, name},
    text, until,
};

const CONFLICT: Option<i32> = Some(5);

/// How many versions the first master key of `web` wraps, and whether that is said to be over.
fn left(site: &Site) -> (u64, bool) {
    let first = site.master_keys().swap_remove(0);
    (
        first["wraps"].as_u64().unwrap(),
        first["emptied"].is_string(),
    )
}

fn is_emptied(site: &Site) {
    until("nothing is left under the first key", || {
        left(site).1.then_some(())
    });
    assert_eq!(left(site).0, 0);
}

/// What the journal says of the master keys, in order.
fn fates(site: &Site) -> Vec<Value> {
    let changes = site.entries("prepare").into_iter();
    let changes = changes.map(|entry| entry["change"].clone());
    let of_keys = changes.filter_map(|change| match change["change"].as_str().unwrap() {
        "rotate-group" => Some(json!("rotated")),
        "master-key-fate" => Some(change["fate"].clone()),
        _ => None,
    });
    of_keys.collect()
}

#[test]
fn a_rotation_moves_everything_while_services_fetch_and_operators_write() {
    const SECRETS: usize = 150;
    let site = Site::moving(50);
    let daemon = site.start();
    site.furnish_many(SECRETS);
    let old = site.gmk("web");
    let is_over = AtomicBool::new(false);
    runtime().block_on(async {
        let provider = site.provider().await;
        let manager = site.manager().await;
        let fetches = async {
            let mut fetched = 0;
            while !is_over.load(Ordering::Relaxed) {
                let number = fetched % SECRETS;
                let (found, _) = fetch(&provider, &name(number)).await.unwrap();
                assert_eq!(found, content(number));
                fetched += 1;
            }
            fetched
        };
        let writes = async {
            let mut written = 0;
            while !is_over.load(Ordering::Relaxed) {
                // A new version of one that is fetched, and a secret that goes again.
                let number = written % SECRETS;
                put(&manager, &name(number), &content(number))
                    .await
                    .unwrap();
                put(&manager, "short", &written.to_le_bytes())
                    .await
                    .unwrap();
                let delete = client::v1::DeleteSecretRequest {
                    group: "web".into(),
                    name: "short".into(),
                    force: true,
                };
                manager.delete_secret(delete).await.unwrap();
                written += 1;
            }
            written
        };
        let rotates = async {
            let request = client::v1::RotateGroupRequest {
                group: "web".into(),
                expected: Some(1),
                compromised: false,
                keeping: None,
            };
            manager.rotate_group(request.clone()).await.unwrap();
            let again = manager.rotate_group(request).await;
            assert!(matches!(again, Err(Error::Precondition(_))), "{again:?}");
            loop {
                let request = client::v1::GetGroupRequest { name: "web".into() };
                let group = manager.get_group(request).await.unwrap();
                if group.master_keys[0].emptied.is_some() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            is_over.store(true, Ordering::Relaxed);
        };
        let all = Box::pin(async { tokio::join!(fetches, writes, rotates) });
        let patience = Duration::from_secs(60) * Kind::slowness();
        let all = tokio::time::timeout(patience, all).await;
        let (fetched, written, ()) = all.expect("everything is moved");
        assert!(fetched > 10 && written > 2, "{fetched} {written}");
    });
    assert_eq!(left(&site), (0, true));
    let wraps = format!("SELECT count(*) FROM wrap WHERE lower(hex(gmk)) = '{old}'");
    assert_eq!(site.sqlite(&wraps).trim(), "0");
    let states: Vec<_> = site
        .master_keys()
        .iter()
        .map(|key| key["state"].clone())
        .collect();
    assert_eq!(states, ["deactivated", "active"]);
    site.all_open(SECRETS);
    let moves = site.times_changed("rewrap");
    assert!(moves.len() > SECRETS && moves.values().all(|times| *times == 1));
    assert_eq!(fates(&site), ["rotated", "emptied"]);
    daemon.stop_verified();
}

#[test]
fn a_rotation_that_is_killed_goes_on_where_it_was() {
    const SECRETS: usize = 200;
    // A TPM is busy with each move for longer.
    let site = Site::moving(10 * Kind::slowness());
    let daemon = site.start();
    site.furnish_many(SECRETS);
    site.ctl(&["group", "rotate", "web"]);
    let mut daemon = daemon;
    for _ in 0..rounds(3) {
        let before = left(&site).0;
        until("something is moved", || {
            let (wraps, is_emptied) = left(&site);
            (wraps < before || is_emptied).then_some(())
        });
        std::thread::sleep(random_time(0, 30));
        daemon.kill();
        daemon = site.start();
    }
    daemon.kill();
    site.configure(&limits(100));
    let daemon = site.start();
    is_emptied(&site);
    site.all_open(SECRETS);
    let moves = site.times_changed("rewrap");
    // Those, and the one that every site has.
    assert_eq!(moves.len(), SECRETS + 1);
    assert!(moves.values().all(|times| *times == 1), "{moves:?}");
    daemon.stop_verified();
}

/// Whether the token has a key of that name.
fn has_key(site: &Site, id: &str) -> bool {
    site.intrude(&["count", id]) != 0
}

#[test]
fn a_key_is_destroyed_in_the_token_when_it_is_empty_and_its_time_has_come() {
    let site = Site::moving(100);
    let daemon = site.start();
    site.furnish_many(3);
    let old = site.gmk("web");
    let destroy = |how: &[&str]| {
        let destroy = ["group", "destroy-key", "web", "1", "--yes"];
        site.try_ctl(&[&destroy[..], how].concat())
    };
    let refused = destroy(&["--now"]);
    assert_eq!(refused.status.code(), CONFLICT, "{}", text(&refused));
    assert!(
        text(&refused).contains("group rotate"),
        "{}",
        text(&refused)
    );
    site.ctl(&["group", "rotate", "web", "--wait"]);
    assert_eq!(left(&site), (0, true));

    // It can be spared, and is, although the daemon stops and starts.
    assert!(destroy(&[]).status.success());
    assert!(site.master_keys()[0]["doom"].is_string());
    daemon.stop();
    let daemon = site.start();
    site.ctl(&["group", "spare-key", "web", "1"]);
    assert!(site.master_keys()[0]["doom"].is_null());
    assert!(has_key(&site, &old));

    assert!(destroy(&["--now"]).status.success());
    until("the key is gone from the token", || {
        (!has_key(&site, &old)).then_some(())
    });
    assert_eq!(site.master_keys()[0]["state"], "destroyed");
    assert_eq!(destroy(&["--now"]).status.code(), CONFLICT);
    let spared = site.try_ctl(&["group", "spare-key", "web", "1"]);
    assert_eq!(spared.status.code(), CONFLICT);
    let last = site.master_keys()[1]["id"].as_str().unwrap().to_owned();
    assert!(has_key(&site, &last) && has_key(&site, &site.system_gmk()));
    site.all_open(3);
    assert_eq!(
        fates(&site),
        [
            "rotated",
            "emptied",
            "doomed",
            "spared",
            "doomed",
            "destroyed"
        ]
    );

    // Nobody misses it.
    daemon.stop();
    let daemon = site.start();
    site.all_open(3);
    assert!(!site.log().contains("is refused"), "{}", site.log());
    daemon.stop_verified();
}

/// A daemon whose token has just refused to destroy the first master key of `web`, which is on
/// record as destroyed; and that key.
fn undestroyed(site: &Site) -> (Daemon<'_>, String) {
    site.configure_faulty("");
    assert!(site.init().output().unwrap().status.success());
    let daemon = site.start();
    site.furnish_many(1);
    let old = site.gmk("web");
    site.ctl(&["group", "rotate", "web", "--wait"]);
    site.fault(answering("C_DestroyObject", "CKR_FUNCTION_FAILED"));
    site.ctl(&["group", "destroy-key", "web", "1", "--yes", "--now"]);
    until("the key is on record as destroyed", || {
        (site.master_keys()[0]["state"] == "destroyed").then_some(())
    });
    until("the token has refused to destroy it", || {
        site.log().contains("C_DestroyObject").then_some(())
    });
    assert!(has_key(site, &old));
    (daemon, old)
}

fn is_gone(site: &Site, key: &str) {
    until("the key is gone from the token", || {
        (!has_key(site, key)).then_some(())
    });
    site.all_open(1);
}

#[test]
fn a_key_that_a_crash_left_in_the_token_goes_at_the_next_start() {
    let site = Site::without_init();
    let (daemon, old) = undestroyed(&site);
    daemon.kill();
    site.mend();
    let daemon = site.start();
    is_gone(&site, &old);
    daemon.stop_verified();
}

#[test]
fn a_key_that_the_token_would_not_destroy_goes_when_it_does() {
    let site = Site::without_init();
    let (daemon, old) = undestroyed(&site);
    site.mend();
    is_gone(&site, &old);
    daemon.stop_verified();
}

#[test]
fn an_outage_interrupts_the_moves_and_loses_nothing() {
    const SECRETS: usize = 40;
    let site = Site::faulty(&limits(5 * Kind::slowness()));
    let daemon = site.start();
    site.furnish_many(SECRETS);
    site.fault(answering(Kind::proves(), "CKR_DEVICE_ERROR"));
    // A key is made and proven by wrapping, so that a rotation fails, and changes nothing.
    let failed = site.try_ctl(&["group", "rotate", "web"]);
    assert!(!failed.status.success());
    assert_eq!(site.master_keys().len(), 1);
    site.mend();
    until("a key can be made", || {
        let rotated = site.try_ctl(&["group", "rotate", "web"]);
        rotated.status.success().then_some(())
    });
    site.fault(answering("C_DecryptInit", "CKR_DEVICE_ERROR"));
    std::thread::sleep(Duration::from_millis(500));
    let (wraps, is_emptied_already) = left(&site);
    assert!(wraps > 0 && !is_emptied_already, "{wraps}");
    site.mend();
    is_emptied(&site);
    site.all_open(SECRETS);
    daemon.stop_verified();
}

#[test]
fn a_group_whose_new_key_is_gone_does_not_keep_others_from_being_moved() {
    let site = Site::moving(1);
    let daemon = site.start();
    site.ctl(&["group", "create", "aaa"]);
    for number in 0..100 {
        assert!(
            site.put(&format!("aaa/{}", name(number)), b"1")
                .status
                .success()
        );
    }
    site.furnish_many(3);
    site.ctl(&["group", "rotate", "aaa"]);
    let of_aaa = || site.ctl_json(&["group", "show", "aaa"])["master_keys"].clone();
    let lost = of_aaa()[1]["id"].as_str().unwrap().to_owned();
    daemon.kill();
    site.intrude(&["destroy", &lost]);
    site.configure(&limits(100));
    let daemon = site.start();
    assert!(of_aaa()[0]["wraps"].as_u64().unwrap() > 0);
    site.ctl(&["group", "rotate", "web"]);
    is_emptied(&site);
    site.all_open(3);
    // What could not be moved is where it was.
    assert!(of_aaa()[0]["emptied"].is_null());
    assert!(of_aaa()[0]["wraps"].as_u64().unwrap() > 0);
    daemon.stop_verified();
}

#[test]
fn a_compromise_is_on_record_and_says_who_is_to_be_told() {
    let site = Site::moving(100);
    let daemon = site.start();
    site.furnish_many(2);
    site.all_open(2);
    let rotated = site.ctl_json(&["group", "rotate", "web", "--compromised", "--wait"]);
    let told = rotated["exposure"]["consumers"].as_array().unwrap();
    assert_eq!(told.len(), 2, "{rotated}");
    assert_eq!(site.master_keys()[0]["state"], "compromised");
    let rotation = site.entries("prepare").into_iter();
    let mut rotation = rotation.filter(|entry| entry["change"]["change"] == "rotate-group");
    assert_eq!(rotation.next().unwrap()["change"]["compromised"], true);
    site.all_open(2);
    daemon.stop_verified();
}
