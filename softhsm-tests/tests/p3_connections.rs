//! P3: a connection speaks for the process that made it, for no other, and no longer than
//! that process lives and stays what it was.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use nix::unistd::getuid;
use serde_json::{Value, json};
use softhsm_tests::{Site, door::Intruder, until};

const CONTENT: &[u8] = b"content-of-key";

/// The entry that says why a connection was cut off, with nothing allowed or denied but
/// what `allowed` says.
fn is_cut_off_as(site: &Site, doubt: &str, allowed: usize) {
    let entry = until("the refusal is on record", || {
        site.entries("unattested").pop()
    });
    assert_eq!(entry["doubt"], doubt);
    assert_eq!(entry["surface"], "provider");
    assert_eq!(entry["uid"], json!(getuid().as_raw()));
    assert_eq!(site.entries("unattested").len(), 1);
    assert_eq!(site.entries("allow").len(), allowed);
    assert!(site.entries("deny").is_empty());
}

/// The connection was closed, and nothing of the secret came over it.
fn got_nothing(told: &Value) {
    assert_eq!(told["closed"], true, "{told}");
    assert_eq!(told["data"], json!([]));
}

/// The borrower of a connection was not answered.
fn is_hung_up_on(answer: &Value) {
    assert_ne!(answer["code"], 0, "{answer}");
    assert_ne!(answer["message"], "Timeout expired");
    assert!(answer.get("bytes").is_none());
}

#[test]
fn a_child_that_asks_over_its_parents_connection_is_cut_off() {
    let site = Site::new();
    let _daemon = site.start();
    site.furnish(CONTENT);
    let lender = site.lend("at-once", "nothing");
    is_hung_up_on(&lender.answer());
    is_cut_off_as(&site, "sender", 0);
}

#[test]
fn a_child_that_asks_once_its_parent_executes_another_program_is_cut_off() {
    let site = Site::new();
    let _daemon = site.start();
    site.furnish(CONTENT);
    let mut lender = site.lend("after", "exec");
    lender.act();
    is_hung_up_on(&lender.answer());
    is_cut_off_as(&site, "sender", 0);
}

#[test]
fn a_child_that_asks_after_its_parent_was_answered_cuts_off_both() {
    let site = Site::new();
    let _daemon = site.start();
    site.furnish(CONTENT);
    let mut sharer = Intruder::run(&["share", &site.provider_socket(), "web", "key"]);
    let own = hex::decode(sharer.tells()["own"].as_str().unwrap()).unwrap();
    assert!(own.windows(CONTENT.len()).any(|part| part == CONTENT));
    // Its child says that it sent, or the other that it was cut off: which, is theirs.
    let (one, other) = (sharer.tells(), sharer.tells());
    let closed = if one.get("closed").is_some() {
        one
    } else {
        other
    };
    got_nothing(&closed);
    is_cut_off_as(&site, "sender", 1);
}

#[test]
fn who_was_passed_a_connection_is_cut_off() {
    let site = Site::new();
    let _daemon = site.start();
    site.furnish(CONTENT);
    let meeting = site.path("meeting").display().to_string();
    let mut taker = Intruder::run(&["take", &meeting, "web", "key"]);
    assert_eq!(taker.tells()["waiting"], true);
    let _giver = Intruder::run(&["give", &site.provider_socket(), &meeting]);
    got_nothing(&taker.tells());
    is_cut_off_as(&site, "sender", 0);
}

#[test]
fn a_dead_peer_whose_child_asks_over_its_connection_is_not_answered() {
    for strict in [true, false] {
        let site = Site::new();
        site.configure(&format!("[attestation]\nstrict = {strict}\n"));
        let _daemon = site.start();
        site.furnish(CONTENT);
        let mut lender = site.lend("after", "end");
        lender.act();
        is_hung_up_on(&lender.answer());
        assert!(site.entries("allow").is_empty());
    }
}

#[test]
fn a_watch_ends_with_the_process_that_began_it() {
    let site = Site::new();
    let daemon = site.start();
    let pidfds = daemon.pidfds();
    site.furnish(CONTENT);
    let before = daemon.descriptors_at_rest(pidfds);
    let mut watcher = Intruder::run(&["watch", &site.provider_socket(), "web", "key"]);
    assert_eq!(watcher.tells()["watching"], true);
    assert!(daemon.descriptors() > before);
    let allowed = site.entries("allow").len();
    watcher.kill();
    // It is its child who still reads.
    got_nothing(&watcher.tells());
    until("the connection is closed", || {
        (daemon.descriptors() == before).then_some(())
    });
    assert!(site.put("web/key", b"another").status.success());
    assert_eq!(site.entries("allow").len(), allowed);
}

/// The watcher's child sees the watch end, and nothing of a version that is put then.
fn loses_its_watch(site: &Site, mut watcher: Intruder) {
    assert_eq!(watcher.tells()["ended"], true);
    assert!(site.put("web/key", b"a third").status.success());
    watcher.kill();
    got_nothing(&watcher.tells());
    is_cut_off_as(site, "exe", 1);
}

#[test]
fn a_watcher_that_executes_another_program_is_told_nothing_more() {
    let site = Site::new();
    let _daemon = site.start();
    site.furnish(CONTENT);
    let mut watcher = Intruder::run(&["watch", &site.provider_socket(), "web", "key"]);
    assert_eq!(watcher.tells()["watching"], true);
    assert!(site.entries("unattested").is_empty());
    watcher.act();
    watcher.becomes("cat");
    assert!(site.put("web/key", b"another").status.success());
    loses_its_watch(&site, watcher);
}

#[test]
fn a_watcher_that_executes_another_program_is_found_out_without_a_new_version() {
    let site = Site::new();
    site.configure("[attestation]\nrecheck = \"50ms\"\n");
    let _daemon = site.start();
    site.furnish(CONTENT);
    let mut watcher = Intruder::run(&["watch", &site.provider_socket(), "web", "key"]);
    assert_eq!(watcher.tells()["watching"], true);
    watcher.act();
    loses_its_watch(&site, watcher);
}
