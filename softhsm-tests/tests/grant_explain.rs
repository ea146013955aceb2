//! Why a process gets a secret or not, and drafts of grants: said, and nothing done.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use std::{
    fs, process,
    process::{Child, Command, Stdio},
};

use nix::unistd::getuid;
use serde_json::{Value, json};
use softhsm_tests::{
    Site,
    intruder::STRANGER,
    is_root, text, until,
    verdict::{is_delivered, is_denied},
};

/// A daemon's answer about this very process, and what it left on record: nothing that a
/// caller could have caused.
fn explained(site: &Site, secret: &str) -> Value {
    let pid = process::id().to_string();
    let explained = site.ctl_json(&["grant", "explain", secret, "--pid", &pid]);
    assert_eq!(explained["evidence"]["uid"], getuid().as_raw());
    for kind in ["allow", "deny", "undelivered", "unattested"] {
        assert_eq!(site.entries(kind), [Value::Null; 0]);
    }
    explained
}

#[test]
fn a_process_that_would_be_given_a_secret_is_told_by_which_grant_and_given_nothing() {
    let site = Site::new();
    let _daemon = site.start();
    site.furnish_ungranted();
    let grant = site.grant_on("key", &["--uses", "1"]);
    let explained = explained(&site, "web/key");
    assert_eq!(explained["granted_by"], grant);
    assert_eq!(explained["reason"], Value::Null);
    assert_eq!(explained["considered"][0]["missing"], json!([]));
    assert_eq!(site.used(&grant), 0);
    site.is_had();
    site.is_withheld("web/key", &[], "used-up");
}

#[test]
fn the_nearest_grant_comes_first_with_just_what_is_missing() {
    let site = Site::new();
    let _daemon = site.start();
    site.furnish_ungranted();
    let own = fs::read_link("/proc/self/exe").unwrap();
    let own = own.to_str().unwrap();
    let uid = format!("unix:uid:{}", getuid());
    for stranger in STRANGER..STRANGER + 5 {
        let stranger = format!("unix:uid:{stranger}");
        site.grant(&[&stranger, "unix:path:/usr/bin/true"]);
    }
    site.grant(&[&uid, "unix:path:/usr/bin/true"]);
    site.ctl(&[
        "grant",
        "add",
        "--allow-weak",
        "web",
        "other",
        "--uid",
        &getuid().to_string(),
    ]);
    let explained = explained(&site, "web/key");
    assert_eq!(explained["granted_by"], Value::Null);
    assert_eq!(explained["reason"], "no grant matches");
    let nearest = &explained["considered"][0];
    assert_eq!(
        nearest["grant"]["selectors"],
        json!([uid, "unix:path:/usr/bin/true"])
    );
    let path = json!([{
        "demands": "unix:path:/usr/bin/true",
        "found": format!("unix:path:{own}"),
    }]);
    assert_eq!(nearest["missing"], path);
    for farther in 1..=5 {
        let missing = explained["considered"][farther]["missing"].as_array();
        assert_eq!(missing.unwrap().len(), 2);
    }
    let elsewhere = &explained["considered"][6]["missing"];
    assert_eq!(elsewhere, &json!([{ "demands": "other", "found": "key" }]));
}

#[test]
fn terms_that_are_not_met_are_said() {
    let site = Site::new();
    let _daemon = site.start();
    site.furnish_ungranted();
    site.grant_on("key", &["--until", "2001-01-01"]);
    let explained = explained(&site, "web/key");
    assert_eq!(explained["granted_by"], Value::Null);
    assert_eq!(explained["reason"], "the grant has ended");
    let missing = json!([{ "demands": "a time before it ends", "found": "it has ended" }]);
    assert_eq!(explained["considered"][0]["missing"], missing);
}

/// A process that waits for its input.
struct Waiting(Child);

impl Waiting {
    /// `cat`, run by a stranger.
    fn stranger() -> Self {
        let mut cat = Command::new("setpriv");
        cat.args([format!("--reuid={STRANGER}"), format!("--regid={STRANGER}")])
            .args(["--clear-groups", "sh", "-c", "echo; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut cat = cat.spawn().unwrap();
        // It is who it will be.
        let mut line = [0];
        std::io::Read::read_exact(cat.stdout.as_mut().unwrap(), &mut line).unwrap();
        Self(cat)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        drop(self.0.wait());
    }
}

#[test]
fn another_user_s_process_is_explained_as_that_user_s() {
    let test = "another_user_s_process_is_explained_as_that_user_s";
    if !is_root(test) {
        return;
    }
    let site = Site::new();
    let _daemon = site.start();
    site.furnish_ungranted();
    site.grant(&[&format!("unix:uid:{STRANGER}")]);
    let waiting = Waiting::stranger();
    let pid = waiting.0.id().to_string();
    let explained = site.ctl_json(&["grant", "explain", "web/key", "--pid", &pid]);
    assert_eq!(explained["evidence"]["uid"], STRANGER);
    assert!(explained["granted_by"].is_string(), "{explained}");
    assert_eq!(site.entries("allow"), [Value::Null; 0]);
}

#[test]
fn a_process_that_does_not_exist_is_not_explained() {
    let site = Site::new();
    let _daemon = site.start();
    site.furnish_ungranted();
    site.grant(&[&format!("unix:uid:{}", getuid())]);
    // Higher than any the kernel gives.
    let pid = i32::MAX.to_string();
    let output = site.try_ctl(&["grant", "explain", "web/key", "--pid", &pid]);
    assert_eq!(output.status.code(), Some(4), "{}", text(&output));
    assert!(output.stdout.is_empty());
    assert!(text(&output).contains(&pid), "{}", text(&output));
    assert_eq!(site.entries("allow"), [Value::Null; 0]);
}

#[test]
fn a_process_that_has_ended_is_not_explained() {
    let site = Site::new();
    let _daemon = site.start();
    site.furnish_ungranted();
    site.grant(&[&format!("unix:uid:{}", getuid())]);
    let mut ended = Command::new("true").spawn().unwrap();
    // It is a zombie until it is waited for.
    let pid = ended.id().to_string();
    until("it has ended", || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.contains(") Z ").then_some(())
    });
    let output = site.try_ctl(&["grant", "explain", "web/key", "--pid", &pid]);
    assert_eq!(output.status.code(), Some(4), "{}", text(&output));
    ended.wait().unwrap();
    assert_eq!(site.entries("allow"), [Value::Null; 0]);
}

#[test]
fn what_is_suggested_for_a_unit_works_for_it_and_for_no_other() {
    let site = Site::new();
    let test = "what_is_suggested_for_a_unit_works_for_it_and_for_no_other";
    let Some(machine) = site.machine(test) else {
        return;
    };
    machine.furnish(&["unix:uid:54321"]);
    let prepared = site.entries("prepare").len();
    let waits = "[Service]\nExecStart=/bin/sleep infinity\nUser=stranger\n";
    machine.unit("nginx.service", waits);
    machine.start("nginx.service");
    let words = ["grant", "suggest", "--unit", "nginx.service", "web", "key"];
    let drafted = machine.ctl(&words);
    assert_eq!(site.entries("prepare").len(), prepared);
    let script = site.path("draft.sh");
    fs::write(&script, &drafted).unwrap();
    let shell = machine
        .command("sh")
        .args(["-eu", script.to_str().unwrap()])
        .env("CUSTODY_MANAGER", site.path("run/manager.sock"))
        .output()
        .unwrap();
    assert!(shell.status.success(), "{drafted}: {}", text(&shell));
    let added = site.entries("prepare").pop().unwrap();
    let selectors = [
        format!("unix:uid:{STRANGER}"),
        "systemd:id:nginx.service".to_owned(),
        "systemd:fragment_path:/etc/systemd/system/nginx.service".to_owned(),
    ];
    assert_eq!(added["change"]["selectors"], json!(selectors));
    assert_eq!(added["change"].get("weak"), None);

    let fetch = format!(
        "/usr/bin/peer-intruder fetch {} web key",
        site.provider_socket()
    );
    is_denied(&machine.told("other.service", &fetch, "User=stranger"));
    machine.run("systemctl", &["stop", "nginx.service"]);
    is_denied(&machine.told("nginx.service", &fetch, ""));
    site.is_on_record_as("no-grant");
    is_delivered(&machine.told("nginx.service", &fetch, "User=stranger"));
}

#[test]
fn nothing_is_suggested_for_a_unit_that_does_not_run() {
    let site = Site::new();
    let test = "nothing_is_suggested_for_a_unit_that_does_not_run";
    let Some(machine) = site.machine(test) else {
        return;
    };
    machine.furnish(&["unix:uid:54321"]);
    let output = machine
        .command("custodyctl")
        .args(["grant", "suggest", "--unit", "nginx.service"])
        .env("CUSTODY_MANAGER", site.path("run/manager.sock"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", text(&output));
    assert!(output.stdout.is_empty());
    assert!(text(&output).contains("nginx.service"), "{}", text(&output));
}
