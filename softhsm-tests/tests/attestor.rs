//! The process that looks at callers: what it may, what it knows, and what its end means.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use std::{
    collections::BTreeSet,
    fs,
    os::unix::{
        fs::{PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::Path,
    process::Command,
};

use client::Error;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use softhsm_tests::{
    Site,
    intruder::{STRANGER, told},
    is_root,
    load::{fetch, runtime},
    text, until,
    verdict::{is_delivered, is_denied},
};

/// A line of `/proc/PID/status`, without its name.
fn status(process: Pid, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap().trim().to_owned()
}

fn capabilities(process: Pid, set: &str) -> u64 {
    u64::from_str_radix(&status(process, set), 16).unwrap()
}

/// What the descriptors of a process lead to, by number.
fn descriptors(process: Pid) -> Vec<(u32, String)> {
    let open = fs::read_dir(format!("/proc/{process}/fd")).unwrap();
    let open = open.map(|entry| {
        let entry = entry.unwrap();
        let link = fs::read_link(entry.path()).unwrap_or_default();
        let number = entry.file_name().into_string().unwrap();
        (number.parse().unwrap(), link.display().to_string())
    });
    open.collect()
}

const DAC_READ_SEARCH: u64 = 1 << 2;
const IPC_LOCK: u64 = 1 << 14;
const SYS_PTRACE: u64 = 1 << 19;

#[test]
fn only_the_process_that_looks_at_callers_may_look_at_them_and_it_may_nothing_else() {
    let test = "only_the_process_that_looks_at_callers_may_look_at_them_and_it_may_nothing_else";
    if !is_root(test) {
        return;
    }
    let site = Site::new();
    let daemon = site.start();
    let attestor = daemon.attestor();
    for set in ["CapPrm:", "CapEff:"] {
        assert_eq!(capabilities(attestor, set), SYS_PTRACE | DAC_READ_SEARCH);
        for other in [daemon.pid(), daemon.worker()] {
            assert_eq!(capabilities(other, set) & !IPC_LOCK, 0, "{set}");
        }
    }
    for set in ["CapInh:", "CapAmb:", "CapBnd:"] {
        assert_eq!(capabilities(attestor, set), 0, "{set}");
    }
    assert_eq!(status(attestor, "NoNewPrivs:"), "1");
    // Each thread has its own.
    for process in [attestor, daemon.pid()] {
        let threads = fs::read_dir(format!("/proc/{process}/task")).unwrap();
        let sets: BTreeSet<_> = threads
            .map(|thread| {
                let thread = thread.unwrap().file_name().into_string().unwrap();
                capabilities(Pid::from_raw(thread.parse().unwrap()), "CapPrm:")
            })
            .collect();
        assert_eq!(sets, BTreeSet::from([capabilities(process, "CapPrm:")]));
    }
}

#[test]
fn the_process_that_looks_at_callers_is_handed_no_secret() {
    let site = Site::new();
    // A PIN that whoever starts the daemon has opened for it.
    let daemon = site.custodyd("run");
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "exec 7<\"$0\" && SECRET=pin exec \"$@\""])
        .arg(site.path("pin"))
        .arg(daemon.get_program())
        .args(daemon.get_args())
        .env_remove("NOTIFY_SOCKET");
    let daemon = site.start_as(shell);
    let pin = (7, site.path("pin").display().to_string());
    assert!(descriptors(daemon.pid()).contains(&pin));

    if !is_root("the_process_that_looks_at_callers_is_handed_no_secret") {
        return;
    }
    let attestor = daemon.attestor();
    for (number, open) in descriptors(attestor) {
        let fine = match number {
            0 => open.starts_with("socket:"),
            1 => open == "/dev/null",
            2 => open == site.path("log").display().to_string(),
            // namespaces and the root folder of process 1, and the socket once more
            _ => {
                ["mnt:", "user:", "pid:", "socket:"]
                    .iter()
                    .any(|kind| open.starts_with(kind))
                    || open == "/"
            }
        };
        assert!(fine, "{number} {open}");
    }
    let environment = fs::read_to_string(format!("/proc/{attestor}/environ")).unwrap();
    let names = environment
        .split_terminator('\0')
        .map(|variable| variable.split_once('=').unwrap().0);
    let names: BTreeSet<_> = names.collect();
    let log = ["CUSTODYD_LOG_FORMAT", "CUSTODYD_LOG_LEVEL"];
    assert_eq!(names, BTreeSet::from(log));
}

#[test]
fn a_daemon_that_loses_the_process_that_looks_at_callers_delivers_nothing_and_ends() {
    let test = "a_daemon_that_loses_the_process_that_looks_at_callers_delivers_nothing_and_ends";
    if !is_root(test) {
        return;
    }
    let site = Site::new();
    site.configure("deadline = \"60s\"\n[attestation]\nstrict = false\n");
    let mut daemon = site.start();
    site.furnish_ungranted();
    site.grant(&["unix:uid:0"]);
    let (attestor, worker) = (daemon.attestor(), daemon.worker());
    // A request that is allowed, and waits for the token.
    kill(worker, Signal::SIGSTOP).unwrap();
    let lender = site.lend("at-once", "nothing");
    let allowed = until("the decision is on record", || site.entries("allow").pop());
    kill(attestor, Signal::SIGKILL).unwrap();
    until("the daemon has noticed", || {
        site.log().contains("stopping").then_some(())
    });
    kill(worker, Signal::SIGCONT).unwrap();
    let answer = lender.answer();
    assert!(answer.get("bytes").is_none(), "{answer}");
    let ended = daemon.ends();
    assert_eq!(ended.code(), Some(70), "{}", site.log());
    assert!(
        site.log()
            .contains("the process that looks at callers is gone")
    );
    let undelivered = site.entries("undelivered").pop().unwrap();
    assert_eq!(undelivered["allowed"], allowed["seq"]);
    assert_eq!(undelivered["reason"]["drift"], "unobservable");
}

#[test]
fn who_is_not_looked_at_in_time_is_told_to_come_again_and_not_denied() {
    let test = "who_is_not_looked_at_in_time_is_told_to_come_again_and_not_denied";
    if !is_root(test) {
        return;
    }
    let site = Site::new();
    let daemon = site.start();
    site.furnish(b"content");
    runtime().block_on(async {
        let provider = site.provider().await;
        fetch(&provider, "key").await.unwrap();
        let delivered = site.entries("allow").len();
        kill(daemon.attestor(), Signal::SIGSTOP).unwrap();
        let refused = fetch(&provider, "key").await.unwrap_err();
        kill(daemon.attestor(), Signal::SIGCONT).unwrap();
        assert!(matches!(refused, Error::Unavailable(_)), "{refused:?}");
        assert_eq!(site.entries("allow").len(), delivered);
        let doubts = site.entries("unattested");
        let doubts: BTreeSet<_> = doubts.iter().map(|it| it["doubt"].as_str()).collect();
        assert_eq!(doubts, BTreeSet::from([Some("unanswered")]));
        assert_eq!(fetch(&provider, "key").await.unwrap().0, b"content");
    });
    daemon.stop();
}

#[test]
fn the_process_that_looks_at_callers_ends_with_its_daemon() {
    let test = "the_process_that_looks_at_callers_ends_with_its_daemon";
    if !is_root(test) {
        return;
    }
    let site = Site::new();
    let daemon = site.start();
    let attestor = daemon.attestor();
    // Even if it does not get to read that its input has ended. Stopped processes are
    // told when nobody is left to have them go on, so somebody is.
    let mut friend = Command::new("sleep")
        .arg("60")
        .process_group(daemon.pid().as_raw())
        .spawn()
        .unwrap();
    kill(attestor, Signal::SIGSTOP).unwrap();
    daemon.kill();
    until("it is gone", || {
        let gone = !Path::new(&format!("/proc/{attestor}/exe")).exists();
        gone.then_some(())
    });
    friend.kill().unwrap();
    friend.wait().unwrap();
}

/// Descriptors for processes that the daemon has it hold.
fn held(attestor: Pid) -> usize {
    let open = descriptors(attestor);
    let pidfd = |open: &&(u32, String)| open.1.contains("pidfd");
    open.iter().filter(pidfd).count()
}

#[test]
fn the_process_that_looks_at_callers_forgets_those_that_have_gone() {
    let test = "the_process_that_looks_at_callers_forgets_those_that_have_gone";
    if !is_root(test) {
        return;
    }
    let site = Site::new();
    let daemon = site.start();
    site.furnish_ungranted();
    let attestor = daemon.attestor();
    let connected = |count: usize| {
        let path = site.path("run/provider.sock");
        let connect = |_| std::os::unix::net::UnixStream::connect(&path).unwrap();
        (0..count).map(connect).collect::<Vec<_>>()
    };
    let open = connected(20);
    until("all are known", || (held(attestor) >= 20).then_some(()));
    drop(open);
    until("none is known", || (held(attestor) == 0).then_some(()));
}

/// A program of another user's that nobody else may read, and its hash.
fn private(site: &Site, name: &str) -> (Command, String) {
    let program = site.installed("peer-intruder", name);
    let hash = Command::new("sha256sum").arg(&program).output().unwrap();
    let hash = text(&hash).split(' ').next().unwrap().to_owned();
    chown(&program, Some(STRANGER), Some(STRANGER)).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o500)).unwrap();
    let mut client = Command::new(program);
    client
        .args(["fetch", &site.provider_socket(), "web", "key"])
        .uid(STRANGER)
        .gid(STRANGER);
    (client, hash)
}

#[test]
fn a_program_that_only_its_user_may_read_is_known_by_its_content() {
    let test = "a_program_that_only_its_user_may_read_is_known_by_its_content";
    if !is_root(test) {
        return;
    }
    let site = Site::new();
    let _daemon = site.start();
    site.furnish_ungranted();
    let (mut granted, hash) = private(&site, "granted");
    site.grant(&[
        &format!("unix:uid:{STRANGER}"),
        &format!("unix:sha256:{hash}"),
    ]);
    let (mut another, _) = private(&site, "another");
    let longer = Command::new("sh")
        .args(["-c", "printf x >>\"$0\""])
        .arg(site.path("another"))
        .status();
    assert!(longer.unwrap().success());
    is_denied(&told(&mut another));
    site.is_on_record_as("no-grant");
    is_delivered(&told(&mut granted));
    let allowed = site.entries("allow").pop().unwrap();
    assert_eq!(allowed["caller"]["sha256"], hash);
}
