//! P3: content goes only to a caller that the kernel vouches for at that moment, under a
//! grant that names it; a denial does not reveal whether the secret exists.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use std::{
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, Output},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::getuid,
};
use serde_json::{Value, json};
use softhsm_tests::{
    Site, command,
    daemon::Daemon,
    intruder::{Lender, NOBODY, told},
    is_root, raw, text, until,
    verdict::{is_delivered, is_denied, is_turned_away},
};

fn grant_own_uid(site: &Site) {
    site.grant(&[&own_uid()]);
}

fn own_uid() -> String {
    format!("unix:uid:{}", getuid())
}

/// The command of a client that asks for `web/key`.
fn client(site: &Site, program: &Path) -> Command {
    let mut client = Command::new(program);
    client.args(["fetch", &site.provider_socket(), "web", "key"]);
    client
}

#[test]
fn another_uid_than_the_granted_is_denied() {
    let test = "another_uid_than_the_granted_is_denied";
    if !is_root(test) {
        return;
    }
    let site = Site::new();
    let _daemon = site.start();
    site.furnish_ungranted();
    grant_own_uid(&site);
    let program = site.installed("peer-intruder", "client");
    is_denied(&told(client(&site, &program).uid(NOBODY).gid(NOBODY)));
    let denial = site.is_on_record_as("no-grant");
    assert_eq!(denial["caller"]["uid"], NOBODY);

    is_delivered(&told(&mut client(&site, &program)));
}

#[test]
fn the_uid_beside_the_granted_one_is_denied() {
    let site = Site::new();
    let _daemon = site.start();
    site.furnish_ungranted();
    site.grant(&[&format!("unix:uid:{}", getuid().as_raw() + 1)]);
    is_denied(&told(&mut client(&site, &command("peer-intruder"))));
    site.is_on_record_as("no-grant");
}

/// Runs `custodyctl fetch` as the user that owns nothing.
fn fetch_as_nobody(site: &Site, program: &Path, secret: &str) -> Output {
    Command::new(program)
        .args(["fetch", secret])
        .env("CUSTODY_PROVIDER", site.path("run/provider.sock"))
        .uid(NOBODY)
        .gid(NOBODY)
        .output()
        .unwrap()
}

#[test]
fn a_denial_looks_the_same_to_a_person_whether_or_not_the_secret_exists() {
    let test = "a_denial_looks_the_same_to_a_person_whether_or_not_the_secret_exists";
    if !is_root(test) {
        return;
    }
    let site = Site::new();
    let _daemon = site.start();
    site.furnish_ungranted();
    let program = site.installed("custodyctl", "custodyctl");
    let existing = fetch_as_nobody(&site, &program, "web/key");
    assert_eq!(existing.status.code(), Some(3), "{}", text(&existing));
    assert!(existing.stdout.is_empty());
    for missing in ["web/none", "none/key", "web/key@7"] {
        let missing = fetch_as_nobody(&site, &program, missing);
        assert_eq!(missing, existing);
    }
    assert_eq!(site.entries("deny").len(), 4);
    site.is_on_record_as("no-grant");
}

#[test]
fn a_denial_looks_the_same_on_the_wire_whether_or_not_the_secret_exists() {
    let site = Site::new();
    let _daemon = site.start();
    site.furnish_ungranted();
    // One that exists is not granted; of what is granted, one does not exist.
    site.ctl(&[
        "grant",
        "add",
        "--allow-weak",
        "web",
        "other*",
        "--selector",
        &own_uid(),
    ]);
    let ask = |group, name| {
        let mut client = Command::new(command("peer-intruder"));
        told(client.args(["fetch", &site.provider_socket(), group, name]))
    };
    let existing = ask("web", "key");
    is_denied(&existing);
    site.is_on_record_as("no-grant");
    assert_eq!(ask("web", "none"), existing);
    site.is_on_record_as("no-grant");
    assert_eq!(ask("none", "key"), existing);
    site.is_on_record_as("no-grant");
    assert_eq!(ask("web", "other"), existing);
    // The difference is for the record only.
    site.is_on_record_as("no-such-secret");
}

/// A daemon whose `web/key` is granted to our uid with the program at "service".
fn furnish_for_a_program(site: &Site) -> Daemon<'_> {
    let daemon = site.start();
    site.furnish_ungranted();
    let path = site.path("service");
    site.grant(&[&own_uid(), &format!("unix:path:{}", path.display())]);
    daemon
}

#[test]
fn the_granted_executable_is_delivered_to_and_another_of_the_same_uid_is_denied() {
    let site = Site::new();
    let _daemon = furnish_for_a_program(&site);
    let denied = site.fetch("web/key");
    assert_eq!(denied.status.code(), Some(3), "{}", text(&denied));
    assert!(denied.stdout.is_empty());
    site.is_on_record_as("no-grant");

    let service = site.installed("peer-intruder", "service");
    is_delivered(&told(&mut client(&site, &service)));
}

#[test]
fn a_copy_of_the_granted_executable_at_another_path_is_denied() {
    let site = Site::new();
    let _daemon = furnish_for_a_program(&site);
    site.installed("peer-intruder", "service");
    let copy = site.installed("peer-intruder", "copy");
    is_denied(&told(&mut client(&site, &copy)));
    let denial = site.is_on_record_as("no-grant");
    assert_eq!(denial["caller"]["exe"], copy.to_str().unwrap());
}

#[test]
fn an_executable_that_was_replaced_since_it_was_started_is_denied() {
    let site = Site::new();
    let _daemon = furnish_for_a_program(&site);
    let service = site.installed("peer-intruder", "service");
    // What runs is the old file, and the path now leads to the new one.
    let script = "exec 3<\"$1\" && rm \"$1\" && cp /bin/true \"$1\" && exec /proc/self/fd/3 fetch \"$2\" web key";
    let mut replaced = Command::new("sh");
    replaced
        .args(["-c", script, "sh"])
        .arg(&service)
        .arg(site.provider_socket());
    is_denied(&told(&mut replaced));
    let denial = site.is_on_record_as("no-grant");
    assert_eq!(denial["caller"]["exe_doubt"], "deleted");
}

#[test]
fn a_file_mounted_on_the_granted_path_in_another_namespace_is_denied() {
    let test = "a_file_mounted_on_the_granted_path_in_another_namespace_is_denied";
    if !is_root(test) {
        return;
    }
    let site = Site::new();
    let _daemon = furnish_for_a_program(&site);
    let service = site.path("service");
    std::fs::write(&service, "").unwrap();
    let script = "mount --bind \"$1\" \"$2\" && exec \"$2\" fetch \"$3\" web key";
    let mut mounted = Command::new("unshare");
    mounted
        .args(["--mount", "--propagation", "private"])
        .args(["sh", "-c", script, "sh"])
        .arg(command("peer-intruder"))
        .arg(&service)
        .arg(site.provider_socket());
    is_denied(&told(&mut mounted));
    let denial = site.is_on_record_as("no-grant");
    assert_eq!(denial["caller"]["exe_doubt"], "other-mounts");
}

/// A site where a connection may be used by others than who made it.
fn lenient() -> Site {
    let site = Site::new();
    // A worker that is stopped for a while is not given up.
    site.configure("deadline = \"60s\"\n[attestation]\nstrict = false\n");
    site
}

#[test]
fn without_a_check_of_senders_who_passes_its_connection_on_is_who_is_asked_about() {
    let site = lenient();
    let _daemon = site.start();
    site.furnish_ungranted();
    grant_own_uid(&site);
    let lender = site.lend("at-once", "nothing");
    is_delivered(&lender.answer());
}

/// A peer that changes by `deed` after it connected, and before its request is sent, is
/// doubted as `doubt`.
fn is_doubted_after(deed: &str, doubt: &str) {
    let site = lenient();
    let _daemon = site.start();
    site.furnish_ungranted();
    grant_own_uid(&site);
    site.grant(&["unix:uid:65534"]);
    let mut lender = site.lend("after", deed);
    lender.act();
    is_denied(&lender.answer());
    site.is_doubted_as(doubt);
}

#[test]
fn a_peer_that_executes_another_program_after_it_connected_is_denied() {
    is_doubted_after("exec", "exe");
}

#[test]
fn a_peer_that_changes_its_uid_after_it_connected_is_denied() {
    let test = "a_peer_that_changes_its_uid_after_it_connected_is_denied";
    if is_root(test) {
        is_doubted_after("setuid", "mixed-uids");
    }
}

#[test]
fn a_peer_that_changes_between_the_decision_and_the_reply_gets_nothing() {
    let site = lenient();
    let daemon = site.start();
    let (mut lender, allowed) = lent_and_allowed(&site, &daemon, "exec");
    let before = lender.exe();
    lender.act();
    until("it executes another program", || {
        (lender.exe() != before).then_some(())
    });
    kill(daemon.worker(), Signal::SIGCONT).unwrap();
    is_denied(&lender.answer());
    is_undelivered(&site, &allowed, "exe");
}

#[test]
fn a_peer_that_is_killed_between_the_decision_and_the_reply_gets_nothing() {
    let site = lenient();
    let daemon = site.start();
    let (mut lender, allowed) = lent_and_allowed(&site, &daemon, "nothing");
    lender.kill();
    kill(daemon.worker(), Signal::SIGCONT).unwrap();
    // It is its child who reads the answer, and still holds the connection.
    is_turned_away(&lender.answer());
    let undelivered = until("it is on record that nothing was delivered", || {
        site.entries("undelivered").pop()
    });
    is_undelivered(&site, &allowed, "gone");
    assert_eq!(site.entries("allow").len(), 1);
    assert_eq!(undelivered["reason"]["cause"], "drift");
}

/// A connection that was lent to a child, whose request for `web/key` is allowed and waits
/// for the token; and the entry that allows it.
fn lent_and_allowed(site: &Site, daemon: &Daemon<'_>, deed: &str) -> (Lender, Value) {
    site.furnish_ungranted();
    grant_own_uid(site);
    kill(daemon.worker(), Signal::SIGSTOP).unwrap();
    let lender = site.lend("at-once", deed);
    let allowed = until("the decision is on record", || site.entries("allow").pop());
    (lender, allowed)
}

/// What was allowed was not delivered, since the caller was another by then, in `drift`.
fn is_undelivered(site: &Site, allowed: &Value, drift: &str) {
    let undelivered = site.entries("undelivered").pop().unwrap();
    assert_eq!(undelivered["allowed"], allowed["seq"]);
    let reason = json!({ "cause": "drift", "drift": drift });
    assert_eq!(undelivered["reason"], reason);
}

/// A daemon that sees control groups, whose `web/key` is granted to a unit.
fn furnish_for_a_unit(site: &Site) -> Daemon<'_> {
    let daemon = site.start_as(site.with_cgroups());
    site.furnish_ungranted();
    site.grant(&["systemd:id:nginx.service"]);
    daemon
}

#[test]
fn a_process_in_the_granted_unit_is_delivered_to_and_one_outside_is_denied() {
    let test = "a_process_in_the_granted_unit_is_delivered_to_and_one_outside_is_denied";
    if !is_root(test) {
        return;
    }
    let site = Site::new();
    let daemon = furnish_for_a_unit(&site);
    let slice = site.slice(&daemon);
    let client = client(&site, &command("peer-intruder"));
    for outside in ["other.service", "nginx.scope"] {
        is_denied(&told(&mut slice.run(outside, &client)));
        let denial = site.is_on_record_as("no-grant");
        assert_eq!(denial["caller"]["unit"], outside);
    }
    is_delivered(&told(&mut slice.run("nginx.service", &client)));
    let allowed = site.entries("allow").pop().unwrap();
    assert_eq!(allowed["caller"]["unit"], "nginx.service");
    is_delivered(&told(&mut slice.run("nginx.service/below", &client)));
}

#[test]
fn a_peer_that_leaves_the_granted_unit_after_it_connected_is_denied() {
    let test = "a_peer_that_leaves_the_granted_unit_after_it_connected_is_denied";
    if !is_root(test) {
        return;
    }
    let site = lenient();
    let daemon = furnish_for_a_unit(&site);
    let slice = site.slice(&daemon);
    let lender = slice.run("nginx.service", &site.lender("after", "nothing"));
    let lender = Lender::run(lender);
    // Not before it has connected: who then asks is its child.
    until("its child is there", || {
        let children = format!("/proc/{0}/task/{0}/children", lender.pid());
        let children = std::fs::read_to_string(children).ok()?;
        (!children.is_empty()).then_some(())
    });
    slice.take("other.service", lender.pid());
    is_denied(&lender.answer());
    site.is_doubted_as("cgroup");
}

#[test]
fn a_delegated_unit_that_builds_the_granted_one_below_itself_is_denied() {
    let test = "a_delegated_unit_that_builds_the_granted_one_below_itself_is_denied";
    if !is_root(test) {
        return;
    }
    let site = Site::new();
    let daemon = furnish_for_a_unit(&site);
    let slice = site.slice(&daemon);
    let client = client(&site, &command("peer-intruder"));
    let spoofed = "other.service/system.slice/nginx.service";
    is_denied(&told(&mut slice.run(spoofed, &client)));
    let denial = site.is_on_record_as("no-grant");
    assert_eq!(denial["caller"]["unit"], "other.service");
}

#[test]
fn who_is_no_operator_is_refused_every_method_of_the_manager() {
    let test = "who_is_no_operator_is_refused_every_method_of_the_manager";
    if !is_root(test) {
        return;
    }
    let site = Site::new();
    let _daemon = site.start();
    site.furnish_ungranted();
    let prepared = site.entries("prepare").len();
    let program = site.installed("peer-intruder", "client");
    let mut methods: Vec<_> = raw::methods("Manager").into_keys().collect();
    // What it is, anyone may know.
    methods.retain(|name| name != "WhoAmI");
    let paths = methods
        .iter()
        .map(|name| format!("/custody.v1.Manager/{name}"));
    let mut call = Command::new(program);
    call.arg("call")
        .arg(site.path("run/manager.sock"))
        .args(paths);
    let answers = told(call.uid(NOBODY).gid(NOBODY));

    let refused = site.entries("refuse");
    let answers = answers.as_array().unwrap();
    assert_eq!(
        (answers.len(), refused.len()),
        (methods.len(), methods.len())
    );
    for ((method, answer), entry) in methods.iter().zip(answers).zip(refused) {
        assert_eq!(answer["code"], 7, "{method}: {answer}");
        assert_eq!(answer["message"], "uid 65534 gid 65534 is no operator");
        assert_eq!(entry["operator"]["uid"], json!(NOBODY));
        assert_eq!(entry["operation"], raw::operation(method));
        assert_eq!(entry["is_operator"], false);
    }
    assert_eq!(site.entries("prepare").len(), prepared);
}
