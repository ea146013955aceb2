//! Data keys that are kept, if their group says so: the token is not asked, the journal says so,
//! and whatever changes has them forgotten.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use std::process::Command;

use faulty_pkcs11::Function;
use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};
use softhsm_tests::{Site, daemon::Daemon, fault::answering, text, until};

/// `custodyctl`'s exit code for what may work later.
const UNAVAILABLE: Option<i32> = Some(6);

const CONTENT: &[u8] = b"the content of the secret";

/// A site where nothing but deliveries has the token decrypt.
fn site() -> Site {
    Site::faulty("deadline = \"2s\"\nlongest-wait = \"100ms\"\ncanary-interval = \"10m\"\n")
}

/// Whether the token was asked for a fetch of `secret`, which must succeed; and what is on record
/// must be that.
fn asks_token(site: &Site, secret: &str) -> bool {
    let decrypts = || site.counts().calls(Function::C_Decrypt);
    let (before, entries) = (decrypts(), site.entries("allow").len());
    let fetched = site.fetch(secret);
    assert_eq!(fetched.stdout, CONTENT, "{}", text(&fetched));
    let asked = decrypts() > before;
    let allowed = site.entries("allow");
    assert_eq!(allowed.len(), entries + 1);
    let cached = &allowed.last().unwrap()["cached"];
    assert_eq!(*cached, if asked { Value::Null } else { json!(true) });
    asked
}

fn keep(site: &Site, terms: &str) {
    let arguments: Vec<_> = ["group", "cache", "web"]
        .into_iter()
        .chain(terms.split(' '))
        .collect();
    site.ctl(&arguments);
}

#[test]
fn the_token_is_asked_for_each_delivery_unless_the_group_says_otherwise() {
    let site = site();
    let daemon = site.start();
    site.furnish(CONTENT);
    for _ in 0..3 {
        assert!(asks_token(&site, "web/key"));
    }
    keep(&site, "--for 1h --uses 100");
    assert!(asks_token(&site, "web/key"));
    for _ in 0..3 {
        assert!(!asks_token(&site, "web/key"));
    }
    keep(&site, "--off");
    for _ in 0..2 {
        assert!(asks_token(&site, "web/key"));
    }
    let changes = site.entries("prepare").into_iter();
    let changes = changes.map(|entry| entry["change"].clone());
    let set: Vec<_> = changes
        .filter(|change| change["change"] == "set-cache")
        .collect();
    let terms = json!({"seconds": 3600, "uses": 100});
    let expected = [
        json!({"change": "set-cache", "group": "web", "cache": terms}),
        json!({"change": "set-cache", "group": "web"}),
    ];
    assert_eq!(set, expected);
    daemon.stop_unharmed();
}

#[test]
fn what_is_set_is_shown_survives_a_restart_and_is_not_widened_by_the_database() {
    let site = site();
    let daemon = site.start();
    site.furnish(CONTENT);
    keep(&site, "--for 5m --uses 7 --outage serve:1h");
    let shown = || site.ctl_json(&["group", "show", "web"])["cache"].take();
    let terms = json!({"seconds": 300, "uses": 7, "outage_seconds": 3600});
    assert_eq!(shown(), terms);
    assert!(asks_token(&site, "web/key"));
    assert!(!asks_token(&site, "web/key"));
    daemon.stop();
    let daemon = site.start();
    assert_eq!(shown(), terms);
    assert!(asks_token(&site, "web/key"), "no key outlives the process");
    assert!(!asks_token(&site, "web/key"));
    daemon.stop();
    for column in ["cache_seconds", "cache_uses", "cache_outage_seconds"] {
        let before = site.sqlite(&format!(r#"SELECT {column} FROM "group""#));
        site.sqlite(&format!(r#"UPDATE "group" SET {column} = {column} + 1"#));
        // One that is not refused does not end by itself.
        let run = site.custodyd("run");
        let mut timeout = Command::new("timeout");
        timeout
            .arg("20")
            .arg(run.get_program())
            .args(run.get_args());
        let output = timeout.output().unwrap();
        assert!(!output.status.success(), "{column}");
        assert!(
            text(&output).contains("does not verify"),
            "{}",
            text(&output)
        );
        site.sqlite(&format!(r#"UPDATE "group" SET {column} = {before}"#));
    }
    site.start().stop();
}

#[test]
fn a_key_is_used_as_often_as_is_said() {
    let site = site();
    let daemon = site.start();
    site.furnish(CONTENT);
    keep(&site, "--for 1h --uses 2");
    let asked: Vec<_> = (0..6).map(|_| asks_token(&site, "web/key")).collect();
    assert_eq!(asked, [true, false, false, true, false, false]);
    daemon.stop_unharmed();
}

#[test]
fn a_key_whose_time_is_over_is_gone_though_nobody_asks_for_it() {
    let site = Site::new();
    site.measure();
    let daemon = site.start();
    site.furnish(CONTENT);
    keep(&site, "--for 1s --uses 1000");
    let kept = || site.metrics()["custodyd_cached_data_keys"];
    assert_eq!(kept(), 0.0);
    until("one is kept", || {
        assert_eq!(site.fetch("web/key").stdout, CONTENT);
        (kept() == 1.0).then_some(())
    });
    until("it is gone", || (kept() == 0.0).then_some(()));
    let lent = site.entries("allow").into_iter();
    let lent = lent.filter(|entry| entry["cached"] == true).count();
    let counted = site.metrics()["custodyd_cached_deliveries_total"];
    assert_eq!(counted, lent as f64);
    daemon.stop_unharmed();
}

#[test]
fn whatever_changes_has_the_keys_forgotten() {
    let site = site();
    let daemon = site.start();
    site.furnish(CONTENT);
    keep(&site, "--for 1h --uses 1000");
    std::fs::write(site.path("rules.toml"), "max-age-days = 1\n").unwrap();
    let rules = site.path("rules.toml");
    for change in [
        "secret update web/key --description else",
        "secret disable web/key@1 --force",
        "group rotate web --wait",
        "grant add --allow-weak web x --uid 1",
        &format!("group rules web {}", rules.display()),
        "group update web --environment test",
        "group cache web --for 1h --uses 999",
    ] {
        asks_token(&site, "web/key");
        assert!(!asks_token(&site, "web/key"), "{change}");
        let arguments: Vec<_> = change.split(' ').collect();
        let output = site.try_ctl(&arguments);
        assert!(output.status.success(), "{change}: {}", text(&output));
        if change.contains("disable") {
            assert_eq!(site.fetch("web/key").status.code(), Some(3));
            site.ctl(&["secret", "enable", "web/key@1"]);
        }
        assert!(asks_token(&site, "web/key"), "{change}");
    }
    assert!(!asks_token(&site, "web/key"));
    let output = site.put("web/key", b"newer");
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(site.fetch("web/key").stdout, b"newer");
    assert!(asks_token(&site, "web/key@1"), "another version was made");
    assert!(!asks_token(&site, "web/key@1"));

    // What changes another group does not.
    site.ctl(&["group", "create", "other"]);
    assert!(!asks_token(&site, "web/key@1"));

    // A reload does, whatever the configuration says.
    let reloads = site.log().matches("read again").count();
    daemon.signal(Signal::SIGHUP);
    until("the configuration was read", || {
        (site.log().matches("read again").count() > reloads).then_some(())
    });
    assert!(asks_token(&site, "web/key@1"));
    daemon.stop_unharmed();
}

/// Has the token gone until it is mended.
fn lose_token(site: &Site, daemon: &Daemon<'_>) {
    site.fault(answering("C_Initialize", "CKR_GENERAL_ERROR"));
    kill(daemon.worker(), Signal::SIGKILL).unwrap();
    until("the token does not serve", || {
        (site.token()["state"] == "failed").then_some(())
    });
}

fn until_it_serves(site: &Site) {
    site.mend();
    until("the token serves", || {
        (site.token()["state"] == "serving").then_some(())
    });
}

#[test]
fn without_a_token_a_kept_key_is_used_only_if_that_is_said() {
    let site = site();
    let daemon = site.start();
    site.furnish(CONTENT);
    let other = site.put("web/other", CONTENT);
    assert!(other.status.success(), "{}", text(&other));

    keep(&site, "--for 1h --uses 1000");
    assert!(asks_token(&site, "web/key"));
    assert!(!asks_token(&site, "web/key"));
    lose_token(&site, &daemon);
    let refused = site.fetch("web/key");
    assert_eq!(refused.status.code(), UNAVAILABLE, "{}", text(&refused));
    assert!(refused.stdout.is_empty());
    let last = site.entries("allow").pop().unwrap();
    assert_eq!(last["cached"], Value::Null);
    let undelivered = site.entries("undelivered").pop().unwrap();
    assert_eq!(undelivered["allowed"], last["seq"]);
    until_it_serves(&site);
    assert!(!asks_token(&site, "web/key"), "its time is not over");

    keep(&site, "--for 1s --uses 1000 --outage serve:1h");
    assert!(asks_token(&site, "web/key"));
    lose_token(&site, &daemon);
    // For longer than it would be used otherwise.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert!(!asks_token(&site, "web/key"));
    // What was not kept is not there.
    let refused = site.fetch("web/other");
    assert_eq!(refused.status.code(), UNAVAILABLE, "{}", text(&refused));
    until_it_serves(&site);
    assert!(asks_token(&site, "web/key"), "the token is there again");
    daemon.stop();
    let verified = site.verify_journal();
    assert!(verified.status.success(), "{}", text(&verified));
}
