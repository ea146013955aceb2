//! Roles that are given on the machine: with the installation, and when nobody is left.

use std::{path::PathBuf, process::Command};

use nix::unistd::getuid;
use serde_json::Value;
use softhsm_tests::{PIN, Site, command, disk::files, text};

use crate::{DENIED, OPERATOR};

/// The objects in SoftHSM's tokens.
fn objects(site: &Site) -> Vec<PathBuf> {
    let files = files(&site.path("tokens")).into_iter();
    let paths = files.map(|(path, _)| path);
    paths
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "object")
        })
        .collect()
}

/// `custodyd init` with `arguments` ends with `code` for the reason `why`, and makes nothing.
fn init_makes_nothing(arguments: &[&str], code: i32, why: &str) {
    let site = Site::without_init();
    let before = objects(&site);
    let output = site.custodyd("init").args(arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(code), "{}", text(&output));
    assert!(text(&output).contains(why), "{}", text(&output));
    assert_eq!(objects(&site), before, "a key was made");
    for made in ["state/custody.db", "state/journal", "state/journal.pub"] {
        assert!(!site.path(made).exists(), "{made}");
    }
}

#[test]
fn an_installation_without_a_crypto_officer_is_not_made() {
    init_makes_nothing(&[], 2, "--crypto-officer");
    init_makes_nothing(
        &["--appoint", "crypto-officer=unix:uid:0"],
        2,
        "--crypto-officer",
    );
}

#[test]
fn an_installation_whose_operators_are_nobody_is_not_made() {
    let unknown = "unix:user:no-such-user";
    init_makes_nothing(
        &["--crypto-officer", unknown],
        78,
        "no user \"no-such-user\"",
    );
    let auditor = [
        "--crypto-officer",
        "unix:uid:0",
        "--appoint",
        "auditor=unix:group:no-such",
    ];
    init_makes_nothing(&auditor, 78, "no group \"no-such\"");
    // A file says nothing of who executes it.
    init_makes_nothing(
        &["--crypto-officer", "unix:path:/bin/sh"],
        78,
        "cannot be given",
    );
}

/// An installation whose only operator is somebody else.
fn of_another() -> Site {
    let site = Site::without_init();
    let officer = format!("unix:uid:{OPERATOR}");
    let init = site
        .custodyd("init")
        .args(["--crypto-officer", &officer])
        .output();
    let output = init.unwrap();
    assert!(output.status.success(), "{}", text(&output));
    site
}

/// `custodyd appoint`, of a crypto officer who runs the test, yet to be run.
fn appoint(site: &Site) -> Command {
    let mut appoint = Command::new(command("custodyd"));
    appoint
        .arg("appoint")
        .arg("--config")
        .arg(site.path("custodyd.toml"))
        .arg(format!("crypto-officer=unix:uid:{}", getuid()));
    appoint
}

/// The changes on record, and the rows of roles.
fn roles(site: &Site) -> (usize, String) {
    let rows = site.sqlite("SELECT count(*) FROM role");
    (site.entries("prepare").len(), rows)
}

#[test]
fn who_is_appointed_on_the_machine_gets_in_and_that_is_on_record() {
    let site = of_another();
    let daemon = site.start();
    let refused = site.try_ctl(&["group", "create", "web"]);
    assert_eq!(refused.status.code(), DENIED, "{}", text(&refused));
    daemon.stop();

    let output = appoint(&site).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let officer = format!("unix:uid:{}", getuid());
    assert!(text(&output).contains(&format!("crypto-officer for {officer}")));
    let given = site.entries("prepare").pop().unwrap();
    assert_eq!(given["change"]["change"], "assign-role");
    assert_eq!(given["change"]["role"], "crypto-officer");
    assert_eq!(given["change"]["selectors"], Value::from([&*officer]));
    assert_eq!(given.get("operator"), None);
    let verified = site.verify_journal();
    assert!(verified.status.success(), "{}", text(&verified));

    for group in ["web", "db"] {
        // It lasts.
        let daemon = site.start();
        site.ctl(&["group", "create", group]);
        daemon.stop();
    }
}

#[test]
fn nobody_is_appointed_while_the_daemon_runs() {
    let site = of_another();
    let _daemon = site.start();
    let before = roles(&site);
    let output = appoint(&site).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains("another custodyd works in"));
    assert_eq!(roles(&site), before);
    let refused = site.try_ctl(&["group", "create", "web"]);
    assert_eq!(refused.status.code(), DENIED, "{}", text(&refused));
}

#[test]
fn nobody_is_appointed_without_the_pin() {
    let site = of_another();
    let before = roles(&site);
    site.write_pin("not-the-pin");
    let output = appoint(&site).output().unwrap();
    assert_eq!(output.status.code(), Some(77), "{}", text(&output));
    assert!(!text(&output).contains(PIN));
    assert_eq!(roles(&site), before);
}

#[test]
fn nobody_is_appointed_where_nothing_is_set_up() {
    let site = Site::without_init();
    let before = objects(&site);
    let output = appoint(&site).output().unwrap();
    assert_eq!(output.status.code(), Some(78), "{}", text(&output));
    assert!(text(&output).contains("custodyd init"));
    assert_eq!(objects(&site), before);
    assert!(!site.path("state/custody.db").exists());
}
