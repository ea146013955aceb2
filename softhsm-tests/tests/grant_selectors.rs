//! What a grant can demand of a caller, each with callers that have it and that have not.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use std::{os::unix::process::CommandExt as _, path::Path, process::Command};

use nix::{sys::stat::Mode, unistd::getuid};
use serde_json::json;
use softhsm_tests::{
    Site, command,
    intruder::{STRANGER, told, told_traced},
    is_root,
    skip::may_trace,
    text, until,
    verdict::{is_delivered, is_denied},
};

/// A group that no user is in.
const CREW: u32 = 4321;

fn own_uid() -> String {
    format!("unix:uid:{}", getuid())
}

/// The command of a client that asks for `web/key`.
fn client(site: &Site, program: &Path) -> Command {
    let mut client = Command::new(program);
    client.args(["fetch", &site.provider_socket(), "web", "key"]);
    client
}

/// `client`, run by a stranger who is in `groups` besides.
fn stranger(client: &Command, groups: &str) -> Command {
    let mut stranger = Command::new("setpriv");
    stranger
        .args([format!("--reuid={STRANGER}"), format!("--regid={STRANGER}")])
        .arg(groups)
        .arg(client.get_program())
        .args(client.get_args());
    stranger
}

#[test]
fn a_supplementary_group_is_had_by_its_members_and_not_by_others_of_the_uid() {
    let test = "a_supplementary_group_is_had_by_its_members_and_not_by_others_of_the_uid";
    if !is_root(test) {
        return;
    }
    let site = Site::new();
    let _daemon = site.start();
    site.furnish_ungranted();
    let uid = format!("unix:uid:{STRANGER}");
    site.grant(&[&uid, &format!("unix:supplementary_gid:{CREW}")]);
    let client = client(&site, &site.installed("peer-intruder", "client"));
    is_denied(&told(&mut stranger(&client, "--clear-groups")));
    is_denied(&told(&mut stranger(&client, "--groups=4320")));
    let denial = site.is_on_record_as("no-grant");
    assert_eq!(denial["caller"]["uid"], STRANGER);

    is_delivered(&told(&mut stranger(&client, "--groups=4320,4321")));
}

#[test]
fn a_primary_group_is_not_had_by_who_is_in_it_besides() {
    let test = "a_primary_group_is_not_had_by_who_is_in_it_besides";
    if !is_root(test) {
        return;
    }
    let site = Site::new();
    let _daemon = site.start();
    site.furnish_ungranted();
    let uid = format!("unix:uid:{STRANGER}");
    site.grant(&[&uid, &format!("unix:gid:{CREW}")]);
    let mut client = client(&site, &site.installed("peer-intruder", "client"));
    is_denied(&told(&mut stranger(&client, "--groups=4321")));
    site.is_on_record_as("no-grant");

    is_delivered(&told(client.uid(STRANGER).gid(CREW)));
    let allowed = site.is_on_record_as_allowed();
    assert_eq!(allowed["caller"]["gid"], CREW);
}

#[test]
fn names_of_users_and_groups_become_numbers_when_the_grant_is_written() {
    let site = Site::new();
    let _daemon = site.start();
    site.furnish_ungranted();
    let add = ["grant", "add", "--allow-weak", "web", "key"];
    let named = [
        "--user",
        "root",
        "--primary-group",
        "root",
        "--supplementary-group",
        "root",
    ];
    let added = site.ctl_json(&[&add[..], &named].concat());
    let numbers = ["unix:uid:0", "unix:gid:0", "unix:supplementary_gid:0"];
    assert_eq!(added["grant"]["selectors"], json!(numbers));
    let prepared = site.entries("prepare").pop().unwrap();
    assert_eq!(prepared["change"]["selectors"], json!(numbers));

    let before = site.entries("prepare").len();
    for nobody in [
        ["--user", "no-such-user-here"],
        ["--selector", "unix:group:no-such-group-here"],
    ] {
        let words = [&add[..], &["--gid", "0"], &nobody].concat();
        let refused = site.try_ctl(&words);
        assert!(!refused.status.success(), "{}", text(&refused));
        assert!(text(&refused).contains("here"), "{}", text(&refused));
    }
    assert_eq!(site.entries("prepare").len(), before);
}

/// SHA-256 of a file, as a selector.
fn hash_of(path: &Path) -> String {
    let output = Command::new("sha256sum").arg(path).output().unwrap();
    let line = text(&output);
    format!("unix:sha256:{}", line.split(' ').next().unwrap())
}

#[test]
fn a_hash_is_had_by_the_program_wherever_it_lies_and_by_no_other() {
    let site = Site::new();
    let _daemon = site.start();
    site.furnish_ungranted();
    let service = site.installed("peer-intruder", "service");
    site.grant(&[&own_uid(), &hash_of(&service)]);
    let other = site.fetch("web/key");
    assert_eq!(other.status.code(), Some(3), "{}", text(&other));
    assert!(other.stdout.is_empty());
    site.is_on_record_as("no-grant");

    is_delivered(&told(&mut client(&site, &service)));
    let copy = site.installed("peer-intruder", "copy");
    is_delivered(&told(&mut client(&site, &copy)));
}

#[test]
fn a_hash_is_not_had_by_a_program_that_was_changed() {
    let site = Site::new();
    let _daemon = site.start();
    site.furnish_ungranted();
    let service = site.installed("peer-intruder", "service");
    site.grant(&[&own_uid(), &hash_of(&service)]);
    is_delivered(&told(&mut client(&site, &service)));
    let longer = Command::new("sh")
        .args(["-c", "echo >>\"$0\""])
        .arg(&service)
        .status();
    assert!(longer.unwrap().success());
    is_denied(&told(&mut client(&site, &service)));
    assert_eq!(site.entries("allow").len(), 1);
    assert_eq!(site.entries("deny").pop().unwrap()["reason"], "no-grant");
}

#[test]
fn a_caller_that_is_traced_is_denied_what_is_for_the_untraced() {
    if !may_trace("a_caller_that_is_traced_is_denied_what_is_for_the_untraced") {
        return;
    }
    let site = Site::new();
    site.configure("[attestation]\ntraced = \"allow\"\n");
    let _daemon = site.start();
    site.furnish_ungranted();
    site.grant(&[&own_uid(), "process:traced:no"]);
    let client = client(&site, &command("peer-intruder"));
    is_denied(&told_traced(&site, &client));
    site.is_on_record_as("no-grant");

    let mut untraced = self::client(&site, &command("peer-intruder"));
    is_delivered(&told(&mut untraced));
}

#[test]
fn a_caller_with_a_namespace_of_its_own_is_denied_what_is_for_the_host() {
    let test = "a_caller_with_a_namespace_of_its_own_is_denied_what_is_for_the_host";
    if !is_root(test) {
        return;
    }
    let site = Site::new();
    let _daemon = site.start();
    site.furnish_ungranted();
    let host = ["mnt", "user", "pid"].map(|kind| format!("namespace:{kind}:host"));
    site.grant(&[&own_uid(), &host[0], &host[1], &host[2]]);
    let client = client(&site, &command("peer-intruder"));
    // Each differs in one of the three.
    let elsewhere = [
        &["--mount", "--propagation", "private"][..],
        &["--user", "--map-root-user"],
        &["--pid", "--fork"],
    ];
    for (denied, own) in (1..).zip(elsewhere) {
        let mut elsewhere = Command::new("unshare");
        elsewhere
            .args(own)
            .arg(client.get_program())
            .args(client.get_args());
        is_denied(&told(&mut elsewhere));
        site.is_on_record_as("no-grant");
        assert_eq!(site.entries("deny").len(), denied, "{own:?}");
    }

    let mut here = self::client(&site, &command("peer-intruder"));
    is_delivered(&told(&mut here));
}

const CONTAINER: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// The command line of a client that asks for `web/key` in a unit.
fn line(site: &Site) -> String {
    let socket = site.provider_socket();
    format!("/usr/bin/peer-intruder fetch {socket} web key")
}

#[test]
fn a_container_is_known_by_the_scope_that_its_runtime_made() {
    let site = Site::new();
    let test = "a_container_is_known_by_the_scope_that_its_runtime_made";
    let Some(machine) = site.machine(test) else {
        return;
    };
    machine.furnish(&[&format!("container:id:{CONTAINER}")]);
    // A delegated unit makes what a runtime would, below itself.
    let spoof = format!(
        "/bin/sh -c 'cd /sys/fs/cgroup/system.slice/spoof.service \
         && mkdir -p system.slice/docker-{CONTAINER}.scope \
         && echo $$$$ >system.slice/docker-{CONTAINER}.scope/cgroup.procs && exec {}'",
        line(&site)
    );
    is_denied(&machine.told("spoof.service", &spoof, "User=stranger\nDelegate=yes"));
    let denial = site.is_on_record_as("no-grant");
    assert_eq!(denial["caller"].get("container"), None);
    assert_eq!(denial["caller"]["unit"], "spoof.service");

    // The runtime's scope, as root makes it: by hand, what it is for systemd.
    let scope = format!("docker-{CONTAINER}.scope");
    let words = ["--quiet", "--scope", "--unit", &scope];
    let socket = site.provider_socket();
    let client = ["/usr/bin/peer-intruder", "fetch", &socket, "web", "key"];
    let answer = machine.run("systemd-run", &[&words[..], &client].concat());
    is_delivered(&serde_json::from_str(&answer).unwrap());
    let allowed = site.is_on_record_as_allowed();
    assert_eq!(allowed["caller"]["container"], CONTAINER);
}

#[test]
fn a_run_of_a_unit_is_over_when_it_is_restarted() {
    let site = Site::new();
    let test = "a_run_of_a_unit_is_over_when_it_is_restarted";
    let Some(machine) = site.machine(test) else {
        return;
    };
    machine.furnish(&["unix:uid:4294967294"]);
    let (answer, pipe) = (site.path("answer"), site.path("pipe"));
    nix::unistd::mkfifo(&pipe, Mode::S_IRWXU).unwrap();
    // It asks as soon as it is told to.
    let nginx = format!(
        "[Service]\nExecStart=/bin/sh -c 'read -r line <{}; exec {}'\nStandardOutput=truncate:{}\n",
        pipe.display(),
        line(&site),
        answer.display()
    );
    machine.unit("nginx.service", &nginx);
    let told = || {
        std::fs::write(&pipe, "\n").unwrap();
        until("it has asked", || {
            let text = std::fs::read_to_string(&answer).unwrap_or_default();
            let whole = text.ends_with('\n').then(|| text.trim_end().to_owned())?;
            std::fs::remove_file(&answer).unwrap();
            Some(serde_json::from_str(&whole).unwrap())
        })
    };
    machine.start("nginx.service");
    let run = machine.property("nginx.service", "InvocationID");
    let selector = format!("systemd:invocation_id:{run}");
    let unit = ["--unit", "nginx.service", "--selector", &selector];
    machine.ctl(&[&["grant", "add", "web", "key"], &unit[..]].concat());
    is_delivered(&told());
    let allowed = site.is_on_record_as_allowed();
    assert_eq!(allowed["caller"]["invocation"], run.as_str());

    machine.run("systemctl", &["restart", "nginx.service"]);
    is_denied(&told());
    let denial = site.entries("deny").pop().unwrap();
    assert_eq!(denial["reason"], "no-grant");
    assert_eq!(denial["caller"]["unit"], "nginx.service");
    assert_ne!(denial["caller"]["invocation"], run.as_str());
    assert_eq!(site.entries("allow").len(), 1);
}
