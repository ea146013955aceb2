//! The linter: what is weak is insisted on or not done, what is hopeless is not done.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown, symlink},
    path::Path,
    process::Command,
};

use nix::unistd::User;
use serde_json::{Value, json};
use softhsm_tests::{Site, intruder::NOBODY, is_root, skip::skip, text};

/// A user id that nobody has.
const SOMEBODY: u32 = 54321;

/// A group `web` in a daemon that the caller has started.
fn furnish(site: &Site) {
    site.ctl(&["group", "create", "web"]);
}

/// The codes of what is found in a grant of `web/key`, and whether each is hopeless.
fn found(site: &Site, callers: &[&str]) -> Vec<(String, bool)> {
    let dry = ["grant", "add", "--dry-run", "--allow-weak", "web", "key"];
    let shown = site.ctl_json(&[&dry, callers].concat());
    findings(&shown["findings"])
}

fn findings(shown: &Value) -> Vec<(String, bool)> {
    let all = shown.as_array().unwrap().iter();
    all.map(|finding| {
        let code = finding["code"].as_str().unwrap().to_owned();
        (code, finding["hopeless"].as_bool().unwrap())
    })
    .collect()
}

fn weak(code: &str) -> Vec<(String, bool)> {
    vec![(code.to_owned(), false)]
}

fn grants(site: &Site) -> Value {
    site.ctl_json(&["grant", "list", "web"])["grants"].clone()
}

#[test]
fn a_weak_grant_is_not_added_unless_insisted_on_and_then_the_journal_keeps_in_what() {
    let site = Site::new();
    let _daemon = site.start();
    furnish(&site);
    let prepared = site.entries("prepare").len();
    let add = ["grant", "add", "web", "*", "--uid", "0"];
    let refused = site.try_ctl(&add);
    assert_eq!(refused.status.code(), Some(5), "{}", text(&refused));
    for code in ["pattern-all: ", "root: "] {
        assert!(text(&refused).contains(code), "{}", text(&refused));
    }
    assert_eq!(grants(&site), json!([]));
    assert_eq!(site.entries("prepare").len(), prepared);
    let managed = site.entries("manage");
    assert!(managed.iter().any(|act| act["operation"] == "add-grant"));

    let dry = site.try_ctl(&[&add[..], &["--dry-run", "--allow-weak"]].concat());
    assert!(dry.status.success(), "{}", text(&dry));
    assert_eq!(grants(&site), json!([]));

    let added = site.ctl_json(&[&add[..], &["--allow-weak"]].concat());
    let codes: Vec<_> = findings(&added["findings"])
        .into_iter()
        .map(|(code, _)| code)
        .collect();
    assert_eq!(codes, ["pattern-all", "root"]);
    assert_eq!(grants(&site).as_array().unwrap().len(), 1);
    let prepare = site.entries("prepare").pop().unwrap();
    assert_eq!(prepare["change"]["change"], "add-grant");
    assert_eq!(prepare["change"]["weak"], json!(["pattern-all", "root"]));
}

#[test]
fn a_grant_with_nothing_weak_is_added_and_nothing_weak_is_kept() {
    let site = Site::new();
    let _daemon = site.start();
    furnish(&site);
    let uid = SOMEBODY.to_string();
    site.ctl(&["grant", "add", "web", "key", "--uid", &uid]);
    let prepare = site.entries("prepare").pop().unwrap();
    assert_eq!(prepare["change"]["change"], "add-grant");
    assert_eq!(prepare["change"].get("weak"), None);
}

#[test]
fn users_that_many_share_are_found() {
    let test = "users_that_many_share_are_found";
    let site = Site::new();
    let _daemon = site.start();
    furnish(&site);
    assert_eq!(found(&site, &["--uid", "0"]), weak("root"));
    let nobody = NOBODY.to_string();
    assert_eq!(found(&site, &["--uid", &nobody]), weak("shared-user"));
    for name in ["www-data", "daemon"] {
        match User::from_name(name).unwrap() {
            Some(_) => assert_eq!(found(&site, &["--user", name]), weak("shared-user")),
            None => skip(test, &format!("a user {name}")),
        }
    }
    assert_eq!(found(&site, &["--uid", &SOMEBODY.to_string()]), []);
}

/// A grant that names only an executable, or only what is shared, is none.
#[test]
fn a_grant_that_identifies_nobody_is_refused_though_insisted_on() {
    let site = Site::new();
    let _daemon = site.start();
    furnish(&site);
    let prepared = site.entries("prepare").len();
    let hash = "0".repeat(64);
    for callers in [
        &["--exe", "/usr/bin/true"][..],
        &["--sha256", &hash],
        &["--exe", "/usr/bin/true", "--not-traced", "--host-only"],
        &["--gid", "33"],
        &["--user-unit", "nginx.service"],
    ] {
        let add = ["grant", "add", "--allow-weak", "web", "key"];
        let refused = site.try_ctl(&[&add[..], callers].concat());
        assert_eq!(refused.status.code(), Some(7), "{}", text(&refused));
        assert!(text(&refused).contains("tells its caller from others"));
    }
    assert_eq!(grants(&site), json!([]));
    assert_eq!(site.entries("prepare").len(), prepared);
}

/// A file that its owner alone may change, in a folder of the site.
fn program(site: &Site, path: &str, mode: u32) -> String {
    let path = site.path(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path.to_str().unwrap().to_owned()
}

fn found_of(site: &Site, path: &str) -> Vec<(String, bool)> {
    found(site, &["--uid", &SOMEBODY.to_string(), "--exe", path])
}

#[test]
fn executables_that_others_than_root_may_change_are_found() {
    let test = "executables_that_others_than_root_may_change_are_found";
    if !is_root(test) {
        return;
    }
    let site = Site::new();
    let _daemon = site.start();
    furnish(&site);
    let change = |path: &str, mode| {
        fs::set_permissions(Path::new(path), fs::Permissions::from_mode(mode)).unwrap();
    };
    let path = program(&site, "opt/bin/service", 0o755);
    assert_eq!(found_of(&site, &path), []);
    change(&path, 0o757);
    assert_eq!(found_of(&site, &path), weak("exe-writable"));
    change(&path, 0o755);
    for owner in [SOMEBODY, SOMEBODY + 1] {
        chown(&path, Some(owner), None).unwrap();
        assert_eq!(found_of(&site, &path), weak("exe-writable"));
    }
    chown(&path, Some(0), Some(0)).unwrap();
    assert_eq!(found_of(&site, &path), []);

    let folder = site.path("opt");
    chown(&folder, Some(SOMEBODY), None).unwrap();
    assert_eq!(found_of(&site, &path), weak("exe-writable"));
    chown(&folder, Some(0), Some(SOMEBODY)).unwrap();
    assert_eq!(found_of(&site, &path), []);
    change(folder.to_str().unwrap(), 0o775);
    assert_eq!(found_of(&site, &path), weak("exe-writable"));
    chown(&folder, Some(0), Some(0)).unwrap();
    assert_eq!(found_of(&site, &path), []);
    change(folder.to_str().unwrap(), 0o777);
    assert_eq!(found_of(&site, &path), weak("exe-writable"));
    // As /tmp: what is in it is not replaced by others.
    change(folder.to_str().unwrap(), 0o1777);
    assert_eq!(found_of(&site, &path), []);

    change(&path, 0o4755);
    assert_eq!(found_of(&site, &path), weak("setuid"));
}

#[test]
fn a_path_that_no_process_will_have_is_hopeless_and_refused_though_insisted_on() {
    let site = Site::new();
    let _daemon = site.start();
    furnish(&site);
    let path = program(&site, "service", 0o755);
    let link = site.path("link");
    symlink(&path, &link).unwrap();
    let prepared = site.entries("prepare").len();
    let uid = SOMEBODY.to_string();
    let add = ["grant", "add", "--allow-weak", "web", "key", "--uid", &uid];
    let refused = site.try_ctl(&[&add[..], &["--exe", link.to_str().unwrap()]].concat());
    assert_eq!(refused.status.code(), Some(7), "{}", text(&refused));
    assert!(
        text(&refused).contains("not-real-path: "),
        "{}",
        text(&refused)
    );
    assert!(text(&refused).contains(&path), "{}", text(&refused));
    assert_eq!(grants(&site), json!([]));
    assert_eq!(site.entries("prepare").len(), prepared);
}

#[test]
fn interpreters_are_found_by_their_path_and_by_their_hash() {
    let test = "interpreters_are_found_by_their_path_and_by_their_hash";
    let site = Site::new();
    let _daemon = site.start();
    furnish(&site);
    let uid = SOMEBODY.to_string();
    for interpreter in ["/usr/bin/python3", "/usr/bin/perl", "/usr/bin/bash"] {
        let Ok(real) = fs::canonicalize(interpreter) else {
            skip(test, interpreter);
            continue;
        };
        assert_eq!(
            found_of(&site, real.to_str().unwrap()),
            weak("interpreter"),
            "{interpreter}"
        );
        let hash = Command::new("sha256sum").arg(&real).output().unwrap();
        let hash = text(&hash);
        let hash = hash.split(' ').next().unwrap();
        let by_hash = found(&site, &["--uid", &uid, "--sha256", hash]);
        assert_eq!(by_hash, weak("interpreter"), "{interpreter}");
    }
    let other = "0".repeat(64);
    assert_eq!(found(&site, &["--uid", &uid, "--sha256", &other]), []);
}

#[test]
fn grants_are_judged_again_as_the_machine_is_now() {
    let test = "grants_are_judged_again_as_the_machine_is_now";
    if !is_root(test) {
        return;
    }
    let site = Site::new();
    let _daemon = site.start();
    furnish(&site);
    let path = program(&site, "service", 0o755);
    let uid = SOMEBODY.to_string();
    site.ctl(&["grant", "add", "web", "key", "--uid", &uid, "--exe", &path]);
    let judged = || {
        let shown = site.ctl_json(&["grant", "lint", "web"]);
        let grants = shown["grants"].as_array().unwrap().clone();
        let found = grants.iter().flat_map(|grant| findings(&grant["findings"]));
        found.collect::<Vec<_>>()
    };
    assert_eq!(judged(), []);
    chown(&path, Some(SOMEBODY), None).unwrap();
    assert_eq!(judged(), weak("exe-writable"));
}

#[test]
fn a_delegated_unit_and_one_that_is_not_there_are_found() {
    let site = Site::new();
    let test = "a_delegated_unit_and_one_that_is_not_there_are_found";
    let Some(machine) = site.machine(test) else {
        return;
    };
    machine.furnish(&["systemd:id:nginx.service"]);
    let service = "[Service]\nExecStart=/bin/sleep infinity\n";
    machine.unit("plain.service", service);
    machine.unit("runtime.service", &format!("{service}Delegate=yes\n"));
    let found = |unit| {
        let dry = ["--output", "json", "grant", "add", "--dry-run"];
        let grant = ["--allow-weak", "web", "key", "--unit", unit];
        let shown = machine.ctl(&[&dry[..], &grant].concat());
        let shown: Value = serde_json::from_str(&shown).unwrap();
        findings(&shown["findings"])
    };
    assert_eq!(found("plain.service"), []);
    assert_eq!(found("runtime.service"), weak("delegated-unit"));
    assert_eq!(found("missing.service"), weak("no-such-unit"));
    assert_eq!(
        found("user@1234.service").first(),
        weak("session-unit").first()
    );
}
