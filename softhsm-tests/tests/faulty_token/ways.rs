//! The way to wrap of a token that has not all of them, or makes the nonces itself.

use std::collections::HashSet;

use faulty_pkcs11::{Fault, GcmNonce};
use nix::sys::signal::{Signal, kill};
use serde_json::Value;
use softhsm_tests::{Site, daemon::Daemon, fault::answering, kind::Kind, text, until};

use super::{CONTENT, site};

const GCM: u64 = 0x1087;
const KW: u64 = 0x2109;
const KWP: u64 = 0x210a;
const CBC: u64 = 0x1082;
const OAEP: u64 = 0x9;

/// Of ciphertext and tag.
const SEALED: usize = 48;

/// How the key of a new group wraps.
fn wrapping(site: &Site, group: &str) -> Value {
    let group = site.ctl_json(&["group", "create", group]);
    group["master_keys"][0]["wrapping"].clone()
}

/// Has another worker find out what the token makes of nonces from now on.
fn have(site: &Site, daemon: &Daemon<'_>, nonce: GcmNonce) {
    let before = site.token()["worker_generation"].as_u64().unwrap();
    site.misbehave(|control| control.token.gcm_nonce = nonce);
    kill(daemon.worker(), Signal::SIGKILL).unwrap();
    until("a successor serves", || {
        let token = site.token();
        (token["worker_generation"] == before + 1 && token["state"] == "serving").then_some(())
    });
}

fn furnish(site: &Site, group: &str) {
    let uid = nix::unistd::getuid().to_string();
    site.ctl(&["grant", "add", "--allow-weak", group, "*", "--uid", &uid]);
    let put = site.put(&format!("{group}/key"), CONTENT);
    assert!(put.status.success(), "{}", text(&put));
}

fn is_had(site: &Site, secret: &str) {
    let fetched = site.fetch(secret);
    assert_eq!(fetched.stdout, CONTENT, "{}", text(&fetched));
}

/// The nonces of all wraps.
fn nonces(site: &Site) -> Vec<Vec<u8>> {
    let blobs = site.sqlite("SELECT hex(wrapped) FROM wrap");
    let blobs = blobs.lines().map(|blob| hex::decode(blob).unwrap());
    blobs
        .map(|blob| blob[..blob.len() - SEALED].to_vec())
        .collect()
}

#[test]
fn a_token_that_makes_nonces_itself_wraps_with_those() {
    if !Kind::has(
        "a_token_that_makes_nonces_itself_wraps_with_those",
        "aes-256-gcm",
    ) {
        return;
    }
    for (nonce, length) in [
        (GcmNonce::WrittenBack, 12),
        (GcmNonce::WrittenBackToZeros, 12),
        (GcmNonce::Appended, 12),
        (GcmNonce::AppendedLong, 16),
    ] {
        let site = site();
        let daemon = site.start();
        assert_eq!(wrapping(&site, "before"), "aes-256-gcm");
        furnish(&site, "before");
        have(&site, &daemon, nonce);
        assert_eq!(wrapping(&site, "web"), "aes-256-gcm", "{nonce:?}");
        furnish(&site, "web");
        for other in [b"another content", CONTENT, b"a third content", CONTENT] {
            assert!(site.put("before/key", other).status.success());
            assert!(site.put("web/key", other).status.success());
        }
        is_had(&site, "web/key");
        is_had(&site, "before/key");
        let found = nonces(&site);
        let distinct: HashSet<_> = found.iter().collect();
        assert_eq!((found.len(), distinct.len()), (10, 10));
        let of_token = found.iter().filter(|nonce| nonce.len() == length).count();
        assert!(of_token >= 9, "{nonce:?}: {found:?}");
        assert!(
            !found
                .iter()
                .any(|nonce| nonce.iter().all(|byte| *byte == 0))
        );

        // What it wrapped then is AES-256-GCM like any other.
        have(&site, &daemon, GcmNonce::Caller);
        is_had(&site, "web/key");
        site.ctl(&["group", "rotate", "web", "--wait"]);
        is_had(&site, "web/key");
        daemon.stop();
    }
}

#[test]
fn zeros_that_a_token_no_longer_replaces_wrap_nothing() {
    if !Kind::has(
        "zeros_that_a_token_no_longer_replaces_wrap_nothing",
        "aes-256-gcm",
    ) {
        return;
    }
    let site = site();
    let daemon = site.start();
    have(&site, &daemon, GcmNonce::WrittenBackToZeros);
    assert_eq!(wrapping(&site, "web"), "aes-256-gcm");
    furnish(&site, "web");
    site.misbehave(|control| control.token.gcm_nonce = GcmNonce::Caller);
    for other in [b"another content", CONTENT] {
        until("it is found out what the token takes now", || {
            let put = site.put("web/key", other);
            put.status.success().then_some(())
        });
    }
    is_had(&site, "web/key");
    let found = nonces(&site);
    assert_eq!(found.len(), 3);
    assert!(
        !found
            .iter()
            .any(|nonce| nonce.iter().all(|byte| *byte == 0))
    );
    daemon.stop();
}

#[test]
fn nonces_that_come_back_or_do_not_come_out_are_not_wrapped_with() {
    if !Kind::is_softhsm("nonces_that_come_back_or_do_not_come_out_are_not_wrapped_with") {
        return;
    }
    for nonce in [GcmNonce::Repeated, GcmNonce::Kept] {
        let site = site();
        let daemon = site.start();
        have(&site, &daemon, nonce);
        assert_eq!(wrapping(&site, "web"), "aes-kwp", "{nonce:?}");
        furnish(&site, "web");
        is_had(&site, "web/key");
        daemon.stop();
    }
}

const TWINS: &str = "wrapping = [\"aes-256-cbc-hmac-sha256\"]\n";

/// An installation all of whose keys that wrap are of two keys.
fn site_of_twins() -> Site {
    let site = Site::without_init();
    site.configure_faulty(TWINS);
    let output = site.init().output().unwrap();
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("AES-256 and HMAC-SHA-256, CKA_ID"), "{said}");
    site
}

fn total(site: &Site) -> u64 {
    site.intrude(&["total"]).as_u64().unwrap()
}

#[test]
fn a_group_lives_with_keys_that_are_two_and_both_of_a_former_one_are_destroyed() {
    if !Kind::has(
        "a_group_lives_with_keys_that_are_two_and_both_of_a_former_one_are_destroyed",
        "aes-256-cbc-hmac-sha256",
    ) {
        return;
    }
    let site = site_of_twins();
    let daemon = site.start();
    assert_eq!(wrapping(&site, "web"), "aes-256-cbc-hmac-sha256");
    furnish(&site, "web");
    is_had(&site, "web/key");
    // The system's, the journal's and the group's.
    assert_eq!(total(&site), 6);
    let first = site.gmk("web");
    assert_eq!(site.intrude(&["count", &first]), 2);
    site.ctl(&["group", "rotate", "web", "--wait"]);
    assert_eq!(total(&site), 8);
    site.ctl(&["group", "destroy-key", "web", "1", "--yes", "--now"]);
    until("both are gone", || (total(&site) == 6).then_some(()));
    assert_eq!(site.intrude(&["count", &first]), 0);
    is_had(&site, "web/key");
    daemon.stop_unharmed();

    let daemon = site.start();
    is_had(&site, "web/key");
    let wrapped = site.try_ctl(&["group", "create", "other", "--keep-key=wrapped"]);
    let said = text(&wrapped);
    assert!(said.contains("no root key wraps two keys"), "{said}");
    assert_eq!(total(&site), 6);
    daemon.stop_verified();
}

#[test]
fn of_a_key_of_two_that_is_in_doubt_neither_is_destroyed() {
    let test = "of_a_key_of_two_that_is_in_doubt_neither_is_destroyed";
    if !Kind::has(test, "aes-256-cbc-hmac-sha256") {
        return;
    }
    let site = site_of_twins();
    let daemon = site.start();
    assert_eq!(wrapping(&site, "web"), "aes-256-cbc-hmac-sha256");
    furnish(&site, "web");
    let old = site.gmk("web");
    site.ctl(&["group", "rotate", "web", "--wait"]);
    site.intrude(&["forge", &old, "custodyd web 1", "none"]);
    assert_eq!(site.intrude(&["count", &old]), 3);
    site.ctl(&["group", "destroy-key", "web", "1", "--yes", "--now"]);
    until("it is tried", || {
        site.log()
            .contains("objects have the identifier")
            .then_some(())
    });
    assert_eq!(site.intrude(&["count", &old]), 3);
    is_had(&site, "web/key");
    daemon.stop();
}

#[test]
fn a_key_of_two_that_comes_to_nothing_leaves_neither() {
    if !Kind::has(
        "a_key_of_two_that_comes_to_nothing_leaves_neither",
        "aes-256-cbc-hmac-sha256",
    ) {
        return;
    }
    let site = site_of_twins();
    let daemon = site.start();
    let before = total(&site);
    // The first of a session is refused, so that it is tried with objects of the token.
    site.fault(Fault {
        times: Some(1),
        ..answering("C_GenerateKey", "CKR_ATTRIBUTE_VALUE_INVALID")
    });
    assert_eq!(wrapping(&site, "web"), "aes-256-cbc-hmac-sha256");
    assert_eq!(total(&site), before + 2);
    // Of the second half of a key, and of what proves the whole.
    for (function, first) in [("C_GenerateKey", 2), ("C_Sign", 1), ("C_Encrypt", 1)] {
        site.fault(Fault {
            first: Some(first),
            ..answering(function, "CKR_FUNCTION_NOT_SUPPORTED")
        });
        let created = site.try_ctl(&["group", "create", "other"]);
        assert!(!created.status.success(), "{function}: {}", text(&created));
        site.mend();
        assert_eq!(total(&site), before + 2, "{function}");
    }
    assert_eq!(wrapping(&site, "other"), "aes-256-cbc-hmac-sha256");
    assert_eq!(total(&site), before + 4);
    daemon.stop();
}

#[test]
fn a_token_without_a_way_to_wrap_says_what_was_tried() {
    let site = site();
    let daemon = site.start();
    site.misbehave(|control| control.token.without_mechanisms = vec![GCM, KWP, KW, CBC, OAEP]);
    kill(daemon.worker(), Signal::SIGKILL).unwrap();
    let refused = until("a worker answers", || {
        let output = site.try_ctl(&["group", "create", "web"]);
        text(&output)
            .contains("none of the allowed ways")
            .then_some(output)
    });
    let refused = text(&refused);
    for way in [
        "aes-256-gcm",
        "aes-kwp",
        "aes-kw:",
        "aes-256-cbc-hmac-sha256",
        "rsa-oaep-sha256",
        "rsa-oaep-sha1",
        "CKR_MECHANISM_INVALID",
    ] {
        assert!(refused.contains(way), "{refused}");
    }
    assert!(
        site.ctl_json(&["group", "list"])
            .to_string()
            .find("web")
            .is_none()
    );
}
