//! P3 against callers in other namespaces than the daemon's.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use std::{os::unix::process::CommandExt as _, process::Command};

use softhsm_tests::{
    Site, command,
    intruder::{STRANGER, told},
    is_root,
    skip::skip,
    verdict::{is_delivered, is_denied, is_turned_away},
};

/// The arguments of a client that asks for `web/key`.
fn fetch(site: &Site) -> [String; 4] {
    let words = ["fetch", &site.provider_socket(), "web", "key"];
    words.map(str::to_owned)
}

/// Whether a user without rights can be root of a namespace of its own; if not, `test`
/// is skipped.
fn users_have_namespaces(test: &str) -> bool {
    if !is_root(test) {
        return false;
    }
    let tried = unprivileged("true").output().unwrap();
    if !tried.status.success() {
        let why = String::from_utf8_lossy(&tried.stderr);
        skip(
            test,
            &format!("user namespaces for unprivileged users: {why}"),
        );
    }
    tried.status.success()
}

/// `program`, run by a stranger who is root in user and mount namespaces of its own.
fn unprivileged(program: &str) -> Command {
    let mut command = Command::new("unshare");
    command
        .args(["--user", "--map-root-user", "--mount", program])
        .uid(STRANGER)
        .gid(STRANGER);
    command
}

#[test]
fn a_stranger_who_mounts_its_own_file_on_the_granted_path_is_denied() {
    let test = "a_stranger_who_mounts_its_own_file_on_the_granted_path_is_denied";
    if !users_have_namespaces(test) {
        return;
    }
    let site = Site::new();
    let _daemon = site.start();
    site.furnish_ungranted();
    let service = site.installed("custodyctl", "service");
    let path = format!("unix:path:{}", service.display());
    site.grant(&[&format!("unix:uid:{STRANGER}"), &path]);
    let own = site.installed("peer-intruder", "own");
    let mut mounted = unprivileged("sh");
    mounted
        .args(["-c", "mount --bind \"$0\" \"$1\" && exec \"$@\""])
        .args([&own, &service])
        .args(fetch(&site));
    is_denied(&told(&mut mounted));
    let denial = site.is_on_record_as("no-grant");
    assert_eq!(denial["caller"]["uid"], STRANGER);
    assert_eq!(denial["caller"]["exe_doubt"], "other-mounts");
    assert_eq!(denial["caller"].get("exe"), None);
}

#[test]
fn root_of_a_stranger_s_namespace_is_the_stranger() {
    let test = "root_of_a_stranger_s_namespace_is_the_stranger";
    if !users_have_namespaces(test) {
        return;
    }
    let site = Site::new();
    let _daemon = site.start();
    site.furnish_ungranted();
    site.grant(&["unix:uid:0"]);
    let client = site.installed("peer-intruder", "client");
    let mut contained = unprivileged(client.to_str().unwrap());
    contained.args(fetch(&site));
    is_denied(&told(&mut contained));
    let denial = site.is_on_record_as("no-grant");
    assert_eq!(denial["caller"]["uid"], STRANGER);
    assert_eq!(denial["caller"]["gid"], STRANGER);

    site.grant(&[&format!("unix:uid:{STRANGER}")]);
    is_delivered(&told(&mut contained));
}

#[test]
fn a_control_group_outside_the_daemon_s_namespace_is_no_unit() {
    let test = "a_control_group_outside_the_daemon_s_namespace_is_no_unit";
    let site = Site::new();
    let Some(machine) = site.machine(test) else {
        return;
    };
    machine.furnish(&["systemd:id:nginx.service"]);

    // Beside the root of what the machine sees, so "/../nginx.service" to the daemon.
    let mut client = machine.command("/usr/bin/peer-intruder");
    client.args(fetch(&site));
    is_denied(&told(&mut machine.beside("nginx.service", &client)));
    let denial = site.is_on_record_as("no-grant");
    assert_eq!(denial["caller"].get("unit"), None);
    assert_eq!(denial["caller"].get("cgroup"), None);
}

#[test]
fn a_peer_outside_the_daemon_s_process_namespace_is_turned_away() {
    let test = "a_peer_outside_the_daemon_s_process_namespace_is_turned_away";
    let site = Site::new();
    let Some(machine) = site.machine(test) else {
        return;
    };
    machine.furnish(&["unix:uid:0"]);

    let mut client = Command::new(command("peer-intruder"));
    is_turned_away(&told(client.args(fetch(&site))));
    let doubted = site.is_doubted_as("outside-pid-namespace");
    assert_eq!(doubted["pid"], 0);

    let inside = machine.command("peer-intruder").args(fetch(&site)).output();
    is_delivered(&serde_json::from_slice(&inside.unwrap().stdout).unwrap());
}

#[test]
fn a_peer_in_a_process_namespace_below_the_daemon_s_is_known_by_the_daemon_s_number() {
    let test = "a_peer_in_a_process_namespace_below_the_daemon_s_is_known_by_the_daemon_s_number";
    if !is_root(test) {
        return;
    }
    let site = Site::new();
    let _daemon = site.start();
    site.furnish_ungranted();
    let client = site.installed("peer-intruder", "client");
    let path = format!("unix:path:{}", client.display());
    site.grant(&["unix:uid:0", &path]);
    let mut below = Command::new("unshare");
    below
        .args(["--pid", "--fork"])
        .arg(&client)
        .args(fetch(&site));
    is_delivered(&told(&mut below));
    let allowed = site.is_on_record_as_allowed();
    assert_ne!(allowed["caller"]["pid"], 1);
}
