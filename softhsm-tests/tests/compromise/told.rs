//! What is said of a compromise: of which key, when that is known, and to whom.

use std::collections::BTreeMap;

use softhsm_tests::{
    Site,
    many::{content, limits},
    text, until,
};

use crate::{CONFLICT, NOT_FOUND, all_is_other, stored};

#[test]
fn a_key_can_be_called_compromised_long_after_it_was_replaced_and_even_destroyed() {
    const SECRETS: usize = 5;
    let site = Site::moving(100);
    let daemon = site.start();
    site.furnish_many(SECRETS);
    let compromise = |generation| site.try_ctl(&["group", "compromise-key", "web", generation]);
    let unknown = compromise("2");
    assert_eq!(unknown.status.code(), NOT_FOUND, "{}", text(&unknown));
    site.ctl(&["group", "rotate", "web", "--wait"]);
    assert!(site.put("web/later", b"later").status.success());
    site.ctl(&["group", "rotate", "web", "--wait"]);
    site.ctl(&["group", "destroy-key", "web", "1", "--yes", "--now"]);
    until("the key is gone", || {
        (site.master_keys()[0]["state"] == "destroyed").then_some(())
    });
    assert!(site.times_changed("renew").is_empty());

    // What was written under a later key was never under this one.
    let mut then = stored(&site);
    let later = then.remove("web/later@1").unwrap();
    site.ctl(&["group", "compromise-key", "web", "1", "--wait"]);
    let states = |site: &Site| {
        let states = site
            .master_keys()
            .into_iter()
            .map(|mut key| key["state"].take());
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
    let second = || site.master_keys().swap_remove(1);
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
    site.all_open(SECRETS);
    daemon.stop_verified();
}

#[test]
fn the_key_that_protects_is_replaced_when_it_is_called_compromised() {
    let site = Site::moving(100);
    let daemon = site.start();
    site.furnish_many(3);
    let then = stored(&site);
    site.ctl(&["group", "compromise-key", "web", "1", "--wait"]);
    let states: Vec<_> = site
        .master_keys()
        .iter()
        .map(|key| key["state"].clone())
        .collect();
    assert_eq!(states, ["compromised", "active"]);
    all_is_other(&site, &then);
    site.all_open(3);
    daemon.stop_verified();
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
    let site = Site::moving(100);
    let daemon = site.start();
    site.furnish_many(3);
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

    // The same content is as known as before.
    std::fs::write(site.path("same"), content(1)).unwrap();
    let same = site.path("same");
    let put = [
        "secret",
        "put",
        "web/s1",
        "--type",
        "blob",
        "--even-if-same",
    ];
    site.ctl(&[&put[..], &[same.to_str().unwrap()]].concat());
    assert_eq!(exposed(&site)["s1"], (vec![1], true));

    // What was written later is not known, and what it takes the place of is.
    for name in ["web/s1", "web/later"] {
        assert!(site.put(name, b"other").status.success());
    }
    site.ctl(&["secret", "destroy", "web/s1@1", "--yes", "--now", "--force"]);
    site.ctl(&["group", "destroy-key", "web", "1", "--yes", "--now"]);
    daemon.kill();
    let daemon = site.start();
    until("the key is gone, and the version", || {
        let is_gone = site.master_keys()[0]["state"] == "destroyed-compromised";
        (is_gone && !stored(&site).contains_key("web/s1@1")).then_some(())
    });
    let mut expected = BTreeMap::from(everything);
    expected.insert("s1".to_owned(), (vec![1], false));
    assert_eq!(exposed(&site), expected);
    let text = site.ctl(&["group", "exposure", "web"]);
    for part in ["web/s1", "1 (destroyed)", "3 of them"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    daemon.stop_verified();
}

#[test]
fn a_crypto_officer_who_may_know_nothing_of_secrets_calls_a_key_compromised_all_the_same() {
    let site = Site::moving(100);
    let daemon = site.start();
    site.furnish_many(3);
    let roles = site.ctl_json(&["role", "list"]);
    for role in roles["roles"].as_array().unwrap() {
        if role["role"] != "crypto-officer" {
            site.ctl(&["role", "revoke", role["id"].as_str().unwrap(), "--yes"]);
        }
    }
    let denied = site.try_ctl(&["group", "exposure", "web"]);
    assert!(!denied.status.success(), "{}", text(&denied));
    let rotated = site.ctl(&["group", "rotate", "web", "--compromised", "--wait"]);
    assert!(rotated.contains("group exposure web"), "{rotated}");
    assert!(!rotated.contains("web/s1"), "{rotated}");
    assert_eq!(site.times_changed("renew").len(), 4);
    site.all_open(3);
    daemon.stop_verified();
}
