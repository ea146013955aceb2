//! References, end to end: what is referred to does not go, and who tries is told why.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use std::process::Output;

use nix::unistd::getuid;
use softhsm_tests::{Site, text, world::TlsPair};

const CONFLICT: Option<i32> = Some(5);
const NOT_FOUND: Option<i32> = Some(4);

/// Stores a TLS context `secret` whose key store is `keystore`.
fn put_context(site: &Site, secret: &str, keystore: &str) -> Output {
    let refers = format!("keystore={keystore}");
    site.try_ctl(&[
        "secret",
        "put",
        secret,
        "--type",
        "tls-context",
        "--set",
        &refers,
    ])
}

/// The key store `web/key`, and the context `web/ctx` that refers to it.
fn furnish(site: &Site) {
    site.put_tls("web/key");
    let put = put_context(site, "web/ctx", "custody:web/key");
    assert!(put.status.success(), "{}", text(&put));
}

#[test]
fn a_context_is_written_only_if_what_it_refers_to_is_there() {
    let site = Site::new();
    let _daemon = site.start();
    site.put_tls("web/key");
    for (to, told) in [
        ("custody:web/nothing", "there is no such secret"),
        ("custody:web/key@2", "no such version"),
        ("custody:web/key#private-key", "leave #FIELD out"),
        ("custody:elsewhere/key", "there is no such secret"),
    ] {
        let refused = put_context(&site, "web/ctx", to);
        assert!(!refused.status.success(), "{to}");
        assert!(text(&refused).contains(told), "{to}: {}", text(&refused));
    }
    let show = site.try_ctl(&["secret", "show", "web/ctx"]);
    assert_eq!(show.status.code(), NOT_FOUND, "nothing was written");
}

#[test]
fn what_is_referred_to_is_not_deleted_and_what_would_break_is_named() {
    let site = Site::new();
    let _daemon = site.start();
    furnish(&site);
    let prepared = site.entries("prepare").len();
    for deed in [
        &["delete", "web/key", "--yes", "--force"][..],
        &["destroy", "web/key@1", "--yes", "--force"],
        &["destroy", "web/key", "--now", "--yes", "--force"],
    ] {
        let refused = site.try_ctl(&[&["secret"], deed].concat());
        assert_eq!(refused.status.code(), CONFLICT, "{}", text(&refused));
        let told = text(&refused);
        assert!(told.contains("web/key is referred to"), "{told}");
        assert!(told.contains("web/ctx@1#keystore"), "{told}");
    }
    assert_eq!(site.entries("prepare").len(), prepared, "nothing changed");

    let shown = site.ctl(&["secret", "references", "web/key"]);
    assert!(
        shown.contains("Without web/key these would break: web/ctx@1"),
        "{shown}"
    );
    site.ctl(&["secret", "delete", "web/ctx", "--yes"]);
    let shown = site.ctl(&["secret", "references", "web/key"]);
    assert!(shown.contains("Nothing refers to web/key"), "{shown}");
    site.ctl(&["secret", "delete", "web/key", "--yes"]);
}

#[test]
fn what_is_referred_to_is_disabled_by_force_only() {
    let site = Site::new();
    let _daemon = site.start();
    furnish(&site);
    let refused = site.try_ctl(&["secret", "disable", "web/key"]);
    assert_eq!(refused.status.code(), CONFLICT, "{}", text(&refused));
    assert!(
        text(&refused).contains("web/ctx@1#keystore"),
        "{}",
        text(&refused)
    );
    assert!(text(&refused).contains("--force"), "{}", text(&refused));
    site.ctl(&["secret", "disable", "web/key", "--force"]);
    let shown = site.ctl(&["secret", "references", "web/ctx"]);
    assert!(shown.contains("the version is disabled"), "{shown}");
}

#[test]
fn no_new_version_makes_a_doomed_one_what_previous_refers_to() {
    let site = Site::new();
    let _daemon = site.start();
    let put_key = || site.try_put_tls("web/key", &TlsPair::new());
    site.put_tls("web/key");
    assert!(put_key().status.success());
    let put = put_context(&site, "web/ctx", "custody:web/key@previous");
    assert!(put.status.success(), "{}", text(&put));
    site.ctl(&["secret", "destroy", "web/key@2", "--yes", "--force"]);

    let prepared = site.entries("prepare").len();
    let refused = put_key();
    assert_eq!(refused.status.code(), CONFLICT, "{}", text(&refused));
    let told = text(&refused);
    assert!(told.contains("web/key is referred to"), "{told}");
    assert!(told.contains("web/ctx@1#keystore"), "{told}");
    assert!(told.contains("'custodyctl secret restore'"), "{told}");
    assert_eq!(site.entries("prepare").len(), prepared, "nothing changed");

    site.ctl(&["secret", "restore", "web/key@2"]);
    let put = put_key();
    assert!(put.status.success(), "{}", text(&put));
}

#[test]
fn references_are_known_again_after_a_restart() {
    let site = Site::new();
    let daemon = site.start();
    furnish(&site);
    drop(daemon);
    let _daemon = site.start();
    let refused = site.try_ctl(&["secret", "delete", "web/key", "--yes", "--force"]);
    assert_eq!(refused.status.code(), CONFLICT, "{}", text(&refused));
}

#[test]
fn who_uses_what_refers_to_a_secret_is_shown() {
    let site = Site::new();
    let _daemon = site.start();
    furnish(&site);
    let uid = getuid().to_string();
    site.ctl(&["grant", "add", "--allow-weak", "web", "ctx", "--uid", &uid]);
    site.ctl(&["fetch", "web/ctx", "--field", "keystore"]);
    let shown = site.ctl(&["secret", "references", "web/key"]);
    assert!(shown.contains(&format!("uid {uid}")), "{shown}");
}

#[test]
fn activating_current_by_name_is_not_taken_for_pending() {
    let site = Site::new();
    let _daemon = site.start();
    site.furnish(b"one");
    let next = site.path("next");
    std::fs::write(&next, "two").unwrap();
    let put = ["secret", "put", "web/key", "--type", "blob", "--pending"];
    site.ctl(&[&put[..], &[next.to_str().unwrap()]].concat());
    site.ctl(&["secret", "activate", "web/key@current"]);
    assert_eq!(site.fetch("web/key").stdout, b"one");
    site.ctl(&["secret", "activate", "web/key"]);
    assert_eq!(site.fetch("web/key").stdout, b"two");
}
