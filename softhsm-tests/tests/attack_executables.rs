//! P3 against callers whose executable is not what a grant takes it for.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use std::{fs, path::Path, process::Command};

use nix::unistd::getuid;
use serde_json::Value;
use softhsm_tests::{
    Site,
    daemon::Daemon,
    intruder::{told, told_traced, trace},
    skip::may_trace,
    text, until,
    verdict::{CONTENT, is_delivered, is_denied, is_turned_away},
};

/// A daemon whose `web/key` is granted to our uid with the executable at `path`.
fn granted_to<'a>(site: &'a Site, path: &str) -> Daemon<'a> {
    let daemon = site.start();
    site.furnish_ungranted();
    let path = format!("unix:path:{}", site.path(path).display());
    site.grant(&[&format!("unix:uid:{}", getuid()), &path]);
    daemon
}

/// The arguments of a client that asks for `web/key`.
fn fetch(site: &Site) -> [String; 4] {
    let words = ["fetch", &site.provider_socket(), "web", "key"];
    words.map(str::to_owned)
}

/// Runs `program` at a moment when `deed`, a line of shell, is done to its file.
fn told_after(site: &Site, program: &Path, deed: &str) -> Value {
    let script = "exec 3<\"$1\" && eval \"$2\" && shift 2 && exec /proc/self/fd/3 \"$@\"";
    let mut shell = Command::new("sh");
    shell
        .args(["-c", script, "sh"])
        .arg(program)
        .arg(deed)
        .args(fetch(site));
    told(&mut shell)
}

/// The newest denial is of a process whose executable has no path that counts.
fn has_no_path(site: &Site, doubt: &str) {
    let denial = site.is_on_record_as("no-grant");
    assert_eq!(denial["caller"]["exe_doubt"], doubt);
    assert_eq!(denial["caller"].get("exe"), None);
}

#[test]
fn an_executable_that_was_deleted_is_denied_what_its_path_was_granted() {
    let site = Site::new();
    let _daemon = granted_to(&site, "service");
    let service = site.installed("peer-intruder", "service");
    is_denied(&told_after(&site, &service, "rm \"$1\""));
    has_no_path(&site, "deleted");
}

#[test]
fn an_executable_that_an_upgrade_has_renamed_over_is_denied_until_restarted() {
    let site = Site::new();
    let _daemon = granted_to(&site, "service");
    let service = site.installed("peer-intruder", "service");
    let upgrade = "cp \"$1\" \"$1.new\" && mv \"$1.new\" \"$1\"";
    is_denied(&told_after(&site, &service, upgrade));
    has_no_path(&site, "deleted");

    is_delivered(&told(Command::new(&service).args(fetch(&site))));
}

#[test]
fn an_executable_whose_name_says_that_it_is_deleted_is_known_by_that_name() {
    let site = Site::new();
    let _daemon = granted_to(&site, "service (deleted)");
    let named = site.installed("peer-intruder", "service (deleted)");
    is_delivered(&told(Command::new(&named).args(fetch(&site))));
    let allowed = site.is_on_record_as_allowed();
    assert_eq!(allowed["caller"]["exe"], named.to_str().unwrap());
}

#[test]
fn a_deleted_executable_is_not_one_whose_name_says_that_it_is_deleted() {
    let site = Site::new();
    let _daemon = granted_to(&site, "service (deleted)");
    site.installed("peer-intruder", "service (deleted)");
    let service = site.installed("peer-intruder", "service");
    // To the kernel the two have one name now.
    is_denied(&told_after(&site, &service, "rm \"$1\""));
    has_no_path(&site, "deleted");
}

#[test]
fn an_executable_whose_name_says_that_it_is_deleted_is_not_the_one_without() {
    let site = Site::new();
    let _daemon = granted_to(&site, "service");
    site.installed("peer-intruder", "service");
    let named = site.installed("peer-intruder", "service (deleted)");
    is_denied(&told(Command::new(&named).args(fetch(&site))));
    let denial = site.is_on_record_as("no-grant");
    assert_eq!(denial["caller"]["exe"], named.to_str().unwrap());
}

#[test]
fn a_program_in_memory_has_no_path_whatever_it_is_called() {
    let site = Site::new();
    let _daemon = granted_to(&site, "service");
    let service = site.installed("peer-intruder", "service");
    let mut memory = Command::new(&service);
    memory.args(["memfd", service.to_str().unwrap()]);
    is_denied(&told(memory.args(fetch(&site))));
    has_no_path(&site, "memory");
}

#[test]
fn a_process_whose_main_thread_has_ended_is_turned_away() {
    let site = Site::new();
    let _daemon = site.start();
    site.furnish_ungranted();
    // That it executes the right file is not asked.
    site.grant(&[&format!("unix:uid:{}", getuid())]);
    let service = site.installed("peer-intruder", "service");
    let mut leaderless = Command::new(&service);
    leaderless.env("LD_PRELOAD", site.preload("leaderless.c"));
    is_turned_away(&told(leaderless.args(fetch(&site))));
    site.is_doubted_as("leaderless");

    is_delivered(&told(Command::new(&service).args(fetch(&site))));
}

/// Documents what cannot be defended: the threat model says so.
#[test]
fn a_library_that_the_same_uid_loads_into_the_granted_program_reads_what_that_receives() {
    let site = Site::new();
    let _daemon = granted_to(&site, "custodyctl");
    let service = site.installed("custodyctl", "custodyctl");
    let received = Command::new(&service)
        .args(["fetch", "web/key"])
        .env("CUSTODY_PROVIDER", site.provider_socket())
        .env("LD_PRELOAD", site.preload("eavesdrop.c"))
        .env("EAVESDROP", site.path("loot"))
        .output()
        .unwrap();
    assert_eq!(received.stdout, CONTENT, "{}", text(&received));
    let loot = fs::read(site.path("loot")).unwrap();
    assert!(loot.windows(CONTENT.len()).any(|part| part == CONTENT));
    // Nothing about it is out of the ordinary.
    let allowed = site.is_on_record_as_allowed();
    assert_eq!(allowed["caller"]["exe"], service.to_str().unwrap());
    assert_eq!(allowed["caller"].get("exe_doubt"), None);
}

#[test]
fn a_caller_that_a_debugger_traces_is_turned_away() {
    if !may_trace("a_caller_that_a_debugger_traces_is_turned_away") {
        return;
    }
    let site = Site::new();
    let _daemon = granted_to(&site, "service");
    let mut service = Command::new(site.installed("peer-intruder", "service"));
    service.args(fetch(&site));
    is_turned_away(&told_traced(&site, &service));
    site.is_doubted_as("traced");

    is_delivered(&told(&mut service));
}

#[test]
fn a_caller_that_is_traced_after_it_connected_is_denied() {
    if !may_trace("a_caller_that_is_traced_after_it_connected_is_denied") {
        return;
    }
    let site = Site::new();
    site.configure("[attestation]\nstrict = false\n");
    let _daemon = site.start();
    site.furnish_ungranted();
    site.grant(&[&format!("unix:uid:{}", getuid())]);
    let pipe = site.path("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let lender = site.lend(pipe.to_str().unwrap(), "nothing");
    // The server has spoken once its child is there, who asks.
    until("its child is there", || {
        let children = format!("/proc/{0}/task/{0}/children", lender.pid());
        let children = fs::read_to_string(children).ok()?;
        (!children.is_empty()).then_some(())
    });
    let mut tracer = trace(lender.pid());
    // The child waits for that, and reads nothing.
    drop(fs::File::options().write(true).open(&pipe).unwrap());
    is_denied(&lender.answer());
    tracer.wait().unwrap();
    let doubted = site.is_doubted_as("traced");
    assert_eq!(doubted["operation"], "deliver");
}

/// Documents what cannot be defended where tracers are allowed: the threat model says so.
#[test]
fn a_debugger_of_the_same_uid_does_not_keep_the_granted_program_from_its_content() {
    let test = "a_debugger_of_the_same_uid_does_not_keep_the_granted_program_from_its_content";
    if !may_trace(test) {
        return;
    }
    let site = Site::new();
    site.configure("[attestation]\ntraced = \"allow\"\n");
    let _daemon = granted_to(&site, "service");
    let mut service = Command::new(site.installed("peer-intruder", "service"));
    service.args(fetch(&site));
    is_delivered(&told_traced(&site, &service));
}
