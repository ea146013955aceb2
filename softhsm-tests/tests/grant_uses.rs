//! Grants for so many uses: never one more, whatever happens to the daemon and its files.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use std::{fs, sync::Arc};

use client::Error;
use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};
use softhsm_tests::{
    Site,
    daemon::Daemon,
    load::{fetch, runtime},
    text, until,
    verdict::{CONTENT, is_denied},
};
use tokio::{sync::Barrier, task::JoinSet};

#[test]
fn of_callers_who_race_for_the_last_use_one_gets_it() {
    const CALLERS: usize = 16;
    let site = Site::new();
    let _daemon = site.start();
    site.furnish_ungranted();
    let grant = site.grant_on("key", &["--uses", "3"]);
    site.is_had();
    site.is_had();
    let outcomes = runtime().block_on(async {
        let start = Arc::new(Barrier::new(CALLERS));
        let mut callers = JoinSet::new();
        for _ in 0..CALLERS {
            let (provider, start) = (site.provider().await, Arc::clone(&start));
            callers.spawn(async move {
                start.wait().await;
                fetch(&provider, "key").await
            });
        }
        callers.join_all().await
    });
    let (had, denied): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!((had.len(), denied.len()), (1, CALLERS - 1));
    assert_eq!(had[0].as_ref().unwrap().0, CONTENT);
    for denied in denied {
        assert!(matches!(denied, Err(Error::Denied)), "{denied:?}");
    }
    assert_eq!(site.entries("allow").len(), 3);
    let denials = site.entries("deny");
    assert_eq!(denials.len(), CALLERS - 1);
    for denial in denials {
        assert_eq!(denial["reason"], "used-up");
    }
    assert_eq!(site.used(&grant), 3);
}

/// After two uses of three, an orderly stop, and the third, `deed` is done to the stopped
/// daemon's site, which holds the file of counts from after the second use as `old.json`.
/// There is no fourth.
fn is_still_used_up_after(end: fn(Daemon<'_>), deed: impl FnOnce(&Site)) -> Site {
    let site = Site::new();
    let daemon = site.start();
    site.furnish_ungranted();
    let grant = site.grant_on("key", &["--uses", "3"]);
    site.is_had();
    site.is_had();
    daemon.stop();
    fs::copy(site.path("state/usage.json"), site.path("old.json")).unwrap();
    let daemon = site.start();
    site.is_had();
    site.is_withheld("web/key", &[], "used-up");
    end(daemon);
    deed(&site);

    let daemon = site.start();
    site.is_withheld("web/key", &[], "used-up");
    assert_eq!(site.used(&grant), 3);
    assert_eq!(site.entries("allow").len(), 3);
    drop(daemon);
    site
}

fn in_order(daemon: Daemon<'_>) {
    daemon.stop();
}

fn at_once(daemon: Daemon<'_>) {
    daemon.kill();
}

/// Changes what the file of counts says, without what authenticates it.
fn edit(site: &Site, file: &str, change: impl FnOnce(&mut Value)) {
    let mut kept = serde_json::from_slice(&fs::read(site.path(file)).unwrap()).unwrap();
    change(&mut kept);
    fs::write(site.path("state/usage.json"), kept.to_string()).unwrap();
}

const NOT_BELIEVED: &str = "not believed";

#[test]
fn a_grant_is_still_used_up_after_a_stop() {
    let site = is_still_used_up_after(in_order, |_| ());
    assert!(!site.log().contains(NOT_BELIEVED), "{}", site.log());
}

#[test]
fn a_grant_is_still_used_up_after_a_kill() {
    let site = is_still_used_up_after(at_once, |_| ());
    assert!(!site.log().contains(NOT_BELIEVED), "{}", site.log());
}

#[test]
fn a_grant_is_still_used_up_when_the_counts_are_deleted() {
    is_still_used_up_after(in_order, |site| {
        fs::remove_file(site.path("state/usage.json")).unwrap();
    });
}

#[test]
fn a_grant_is_still_used_up_when_the_counts_are_truncated() {
    let site = is_still_used_up_after(in_order, |site| {
        let path = site.path("state/usage.json");
        let file = fs::OpenOptions::new().write(true).open(path).unwrap();
        file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    });
    assert!(site.log().contains(NOT_BELIEVED), "{}", site.log());
}

#[test]
fn a_grant_is_still_used_up_when_the_counts_are_lowered() {
    let site = is_still_used_up_after(in_order, |site| {
        edit(site, "state/usage.json", |kept| {
            let usage = kept["usage"].as_str().unwrap();
            assert!(usage.contains(r#""count":3"#), "{usage}");
            kept["usage"] = json!(usage.replace(r#""count":3"#, r#""count":0"#));
        });
    });
    assert!(site.log().contains(NOT_BELIEVED), "{}", site.log());
}

#[test]
fn a_grant_is_still_used_up_when_older_counts_are_put_back() {
    let site = is_still_used_up_after(in_order, |site| {
        fs::copy(site.path("old.json"), site.path("state/usage.json")).unwrap();
    });
    // They were true when they were written, and the journal tells what came after.
    assert!(!site.log().contains(NOT_BELIEVED), "{}", site.log());
}

#[test]
fn a_grant_is_still_used_up_when_older_counts_say_that_they_are_the_newest() {
    let site = is_still_used_up_after(in_order, |site| {
        let newest = fs::read(site.path("state/usage.json")).unwrap();
        let newest: Value = serde_json::from_slice(&newest).unwrap();
        edit(site, "old.json", |kept| {
            kept["seq"] = newest["seq"].clone();
            kept["hash"] = newest["hash"].clone();
        });
    });
    assert!(site.log().contains(NOT_BELIEVED), "{}", site.log());
}

/// A site where it is said after a second that the token is gone.
fn impatient() -> Site {
    let site = Site::new();
    site.configure_deadline(1000);
    site
}

/// A fetch of `web/key` is allowed, and fails for want of a token.
fn fail_one(site: &Site, daemon: &Daemon<'_>) {
    fs::rename(site.path("tokens"), site.path("elsewhere")).unwrap();
    kill(daemon.worker(), Signal::SIGKILL).unwrap();
    let output = site.fetch("web/key");
    assert_eq!(output.status.code(), Some(6), "{}", text(&output));
    let allowed = site.entries("allow").pop().unwrap();
    let undelivered = until("the failure is on record", || {
        site.entries("undelivered").pop()
    });
    assert_eq!(undelivered["allowed"], allowed["seq"]);
    assert_eq!(undelivered["reason"]["cause"], "token");
    fs::rename(site.path("elsewhere"), site.path("tokens")).unwrap();
}

/// There is one use, and no more.
fn is_had_once(site: &Site, grant: &str) {
    assert_eq!(site.used(grant), 0);
    until("the token serves", || {
        let output = site.fetch("web/key");
        let code = output.status.code();
        assert!(matches!(code, Some(0 | 6)), "{}", text(&output));
        (code == Some(0)).then_some(())
    });
    site.is_withheld("web/key", &[], "used-up");
    assert_eq!(site.used(grant), 1);
}

#[test]
fn a_delivery_that_the_token_fails_uses_nothing_up() {
    let site = impatient();
    let daemon = site.start();
    site.furnish_ungranted();
    let grant = site.grant_on("key", &["--uses", "1"]);
    fail_one(&site, &daemon);
    is_had_once(&site, &grant);
}

#[test]
fn a_delivery_that_the_token_failed_uses_nothing_up_after_a_kill() {
    let site = impatient();
    let daemon = site.start();
    site.furnish_ungranted();
    let grant = site.grant_on("key", &["--uses", "1"]);
    fail_one(&site, &daemon);
    daemon.kill();
    let _daemon = site.start();
    is_had_once(&site, &grant);
}

#[test]
fn a_caller_that_changes_before_the_reply_uses_nothing_up() {
    let site = Site::new();
    site.configure("deadline = \"60s\"\n[attestation]\nstrict = false\n");
    let daemon = site.start();
    site.furnish_ungranted();
    let grant = site.grant_on("key", &["--uses", "1"]);
    let worker = daemon.worker();
    kill(worker, Signal::SIGSTOP).unwrap();
    let mut lender = site.lend("at-once", "exec");
    let before = lender.exe();
    until("the decision is on record", || site.entries("allow").pop());
    lender.act();
    until("it executes another program", || {
        (lender.exe() != before).then_some(())
    });
    kill(worker, Signal::SIGCONT).unwrap();
    is_denied(&lender.answer());
    assert_eq!(site.entries("undelivered").len(), 1);
    is_had_once(&site, &grant);
}
