//! Master keys as a worker finds them: by their identifiers, and many with few searches.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use faulty_pkcs11::{Act, Fault, Function};
use nix::sys::signal::{Signal, kill};
use softhsm_tests::{Site, kind::Kind, text, until};

const CONTENT: &[u8] = b"the content of the secret";

fn site() -> Site {
    Site::faulty("deadline = \"2s\"\n")
}

#[test]
fn a_key_that_is_made_without_its_identifier_is_not_used() {
    if !Kind::has(
        "a_key_that_is_made_without_its_identifier_is_not_used",
        "master keys that are no pairs",
    ) {
        return;
    }
    let site = site();
    let daemon = site.start();
    site.misbehave(|control| control.token.forgets_identifiers = true);
    let output = site.try_ctl(&["group", "create", "web"]);
    assert!(!output.status.success());
    assert!(text(&output).contains("CKA_ID "), "{}", text(&output));
    site.mend();
    site.furnish(CONTENT);
    assert_eq!(site.fetch("web/key").stdout, CONTENT);
    daemon.stop();
}

/// The login is lost at the next search, which then finds nothing.
fn lose_login_at_search(site: &Site) {
    site.fault(Fault {
        function: "C_FindObjectsInit".to_owned(),
        times: Some(1),
        act: Some(Act::LogOut),
        ..Fault::default()
    });
}

#[test]
fn no_key_is_taken_for_absent_by_who_is_not_logged_in() {
    let site = site();
    let daemon = site.start();
    site.furnish(CONTENT);
    lose_login_at_search(&site);
    kill(daemon.worker(), Signal::SIGKILL).unwrap();
    until("it is served again", || {
        (site.fetch("web/key").stdout == CONTENT).then_some(())
    });
    assert_eq!(site.counts().strikes(0), 1);
    assert!(!site.log().contains("a key is refused"), "{}", site.log());
    daemon.stop();
}

#[test]
fn no_key_is_taken_for_destroyed_by_who_is_not_logged_in() {
    let site = site();
    let daemon = site.start();
    site.furnish(CONTENT);
    site.ctl(&["group", "rotate", "web", "--wait"]);
    let keys = || site.intrude(&["total"]).as_u64().unwrap();
    let before = keys();
    lose_login_at_search(&site);
    site.ctl(&["group", "destroy-key", "web", "1", "--now", "--yes"]);
    let left = before - Kind::objects_of_key();
    until("it is gone", || (keys() == left).then_some(()));
    assert_eq!(site.counts().strikes(0), 1);
    assert_eq!(site.fetch("web/key").stdout, CONTENT);
    daemon.stop();
}

#[test]
fn many_keys_are_found_with_few_searches() {
    // Others search so fast that less is read beside each search.
    if !Kind::is_softhsm("many_keys_are_found_with_few_searches") {
        return;
    }
    let site = site();
    let daemon = site.start();
    site.furnish(CONTENT);
    for number in 0..30 {
        site.ctl(&["group", "create", &format!("group-{number}")]);
    }
    daemon.stop();
    let searches = || site.counts().calls(Function::C_FindObjectsInit);
    let before = searches();
    let daemon = site.start();
    let searches = searches() - before;
    assert!(searches < 15, "{searches}");
    assert_eq!(site.fetch("web/key").stdout, CONTENT);
    daemon.stop();
}
