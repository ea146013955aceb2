//! The way to wrap of a token that has not all of them, or makes the nonces itself.

use std::collections::HashSet;

use faulty_pkcs11::GcmNonce;
use nix::sys::signal::{Signal, kill};
use serde_json::Value;
use softhsm_tests::{Site, daemon::Daemon, kind::Kind, text, until};

use super::{CONTENT, site};

const GCM: u64 = 0x1087;
const KW: u64 = 0x2109;
const KWP: u64 = 0x210a;
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
        "AES-256-GCM",
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
        "AES-256-GCM",
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

#[test]
fn a_token_without_a_way_to_wrap_says_what_was_tried() {
    let site = site();
    let daemon = site.start();
    site.misbehave(|control| control.token.without_mechanisms = vec![GCM, KWP, KW, OAEP]);
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
