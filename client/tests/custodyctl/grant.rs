//! What a grant is written with, and what is said when it is refused.

use std::{collections::HashMap, process::Output};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::canned::Daemon;

const WEAK: &str = "exe-writable: uid 33 can write /srv/app; name a unit\n\
                    root-uid: every process of root has it; name a unit besides";

/// Adds a grant on web/tls; "XYZ" is two hours ahead of UTC.
fn add(daemon: &Daemon, more: &[&str]) -> Output {
    let mut command = daemon.command();
    command
        .env("TZ", "XYZ-2")
        .args(["grant", "add", "web", "tls"]);
    command.args(more).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn every_flag_reaches_custodyd() {
    let daemon = Daemon::start();
    let flags = [
        "pw*",
        "--user=www-data",
        "--primary-group=web",
        "--supplementary-group=4",
        "--supplementary-group=adm",
        "--unit=nginx.service",
        "--fragment=/etc/systemd/system/nginx.service",
        "--invocation=00",
        "--user-unit=app.service",
        "--container=aa",
        "--pod-uid=bb",
        "--exe=/usr/sbin/nginx",
        "--sha256=cc",
        "--verity=sha256:dd",
        "--host-only",
        "--label=httpd_t",
        "--not-traced",
        "--selector=unix:gid:7",
        "--type=keystore",
        "--field=certificate-chain",
        "--field=private-key",
        "--from=2026-07-01T00:00:00Z",
        "--until=2026-12-31T00:00:00Z",
        "--uses=5",
        "--rate=10/1m",
        "--allow-weak",
        "--dry-run",
    ];
    let output = add(&daemon, &flags);
    assert!(output.status.success(), "{}", stderr(&output));
    insta::assert_debug_snapshot!(daemon.asked().grant.unwrap());
}

#[test]
fn what_is_not_limited_is_left_out() {
    let daemon = Daemon::start();
    assert!(add(&daemon, &["--uid=33"]).status.success());
    let asked = daemon.asked().grant.unwrap();
    assert_eq!(asked.terms, None);
    assert!(!asked.allow_weak && !asked.dry_run);
}

#[test]
fn a_date_is_local_and_that_is_said() {
    let daemon = Daemon::start();
    let output = add(&daemon, &["--uid=33", "--until=2026-12-31"]);
    assert_eq!(
        stderr(&output),
        "note: 2026-12-31 is taken for 2026-12-31T00:00:00+02:00 (this machine's zone)\n"
    );
    let terms = daemon.asked().grant.unwrap().terms.unwrap();
    assert_eq!(terms.not_after.unwrap().seconds, 1_798_675_200 - 2 * 3600);
    assert_eq!(terms.not_before, None);
}

#[test]
fn a_span_begins_where_the_grant_does() {
    let daemon = Daemon::start();
    let from = "--from=2026-12-31T00:00:00Z";
    assert!(
        add(&daemon, &["--uid=33", from, "--for=30d"])
            .status
            .success()
    );
    let terms = daemon.asked().grant.unwrap().terms.unwrap();
    let [from, until] = [terms.not_before, terms.not_after].map(|time| time.unwrap().seconds);
    assert_eq!((from, until - from), (1_798_675_200, 30 * 86_400));
}

#[test]
fn a_weak_grant_is_shown_what_is_weak_and_how_to_insist() {
    let daemon = Daemon::failing([Status::failed_precondition(WEAK)]);
    let output = add(&daemon, &["--uid=0"]);
    assert_eq!(output.status.code(), Some(5));
    assert!(output.stdout.is_empty());
    assert_eq!(
        stderr(&output),
        "custodyctl: the grant was not added: it is weak\n  \
         exe-writable: uid 33 can write /srv/app; name a unit\n  \
         root-uid: every process of root has it; name a unit besides\n  \
         hint: name the callers better, or insist with --allow-weak: the journal keeps that\n"
    );
    assert_eq!(daemon.calls(), ["add_grant"], "nobody insisted");
}

#[test]
fn a_hopeless_grant_is_told_that_insisting_is_pointless() {
    let daemon = Daemon::failing([Status::invalid_argument(WEAK)]);
    let output = add(&daemon, &["--uid=0", "--allow-weak"]);
    assert_eq!(output.status.code(), Some(7));
    let stderr = stderr(&output);
    assert!(
        stderr.contains("it cannot do what it says\n  exe-writable: "),
        "{stderr}"
    );
    assert!(stderr.contains("--allow-weak would not help"), "{stderr}");
}

#[test]
fn a_refusal_for_another_reason_is_not_called_weak() {
    let message = "the group web has no active master key";
    let daemon = Daemon::failing([Status::failed_precondition(message)]);
    let output = add(&daemon, &["--uid=0"]);
    assert_eq!(output.status.code(), Some(5));
    assert_eq!(stderr(&output), format!("custodyctl: {message}\n"));
}

#[test]
fn a_weak_grant_that_was_insisted_on_is_added_with_a_warning() {
    let daemon = Daemon::start();
    let output = add(&daemon, &["--uid=0", "--allow-weak"]);
    assert!(output.status.success());
    let line = "warning: exe-writable: uid 33 can write /srv/app; name a unit\n";
    assert_eq!(stderr(&output), line);
    assert!(daemon.asked().grant.unwrap().allow_weak);
}

#[test]
fn a_dry_run_ends_as_the_real_thing_would() {
    let daemon = Daemon::start();
    let output = add(&daemon, &["--uid=0", "--dry-run"]);
    assert!(output.status.success());
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(stdout.contains("nothing was"), "{stdout}");
    assert!(!stdout.contains("0011223344556677"), "{stdout}");

    let daemon = Daemon::start();
    daemon.find_fault();
    let output = add(&daemon, &["--uid=0", "--dry-run"]);
    assert_eq!(output.status.code(), Some(5), "weak, and nobody insisted");
    assert!(stderr(&output).contains("would not be added"));
    assert!(output.stdout.is_empty());
}

#[test]
fn a_grant_that_is_not_there_is_not_shown() {
    let daemon = Daemon::start();
    let output = daemon.run(["grant", "show", "0000"]);
    assert_eq!(output.status.code(), Some(4));
    assert!(output.stdout.is_empty());
    assert!(stderr(&output).contains("grant 0000"));
}

#[test]
fn the_process_and_version_to_explain_reach_custodyd() {
    let daemon = Daemon::start();
    assert!(
        daemon
            .run(["grant", "explain", "web/tls@3", "--pid=17"])
            .status
            .success()
    );
    let asked = daemon.asked().explain.unwrap();
    assert_eq!((asked.pid, asked.version), (17, Some(3)));
    assert!(
        daemon
            .run(["grant", "explain", "web/tls", "--pid=17"])
            .status
            .success()
    );
    assert_eq!(daemon.asked().explain.unwrap().version, None);
}

#[test]
fn what_would_stop_is_told_for_a_group_or_one_secret_of_it() {
    let daemon = Daemon::start();
    for (scope, name, loss) in [
        (
            "web",
            None,
            "Without the secrets of web these would stop: uid 33 ",
        ),
        (
            "web/tls",
            Some("tls"),
            "Without web/tls these would stop: uid 33 ",
        ),
    ] {
        let output = daemon.run(["consumers", scope]);
        let stdout = String::from_utf8(output.stdout).unwrap();
        assert!(stdout.contains(loss), "{stdout}");
        let asked = daemon.asked().consumers.unwrap();
        assert_eq!((&*asked.group, asked.name.as_deref()), ("web", name));
    }
}

#[test]
fn a_draft_can_be_pasted_whole_into_a_shell() {
    let daemon = Daemon::start();
    let output = daemon.run(["grant", "suggest", "--unit=nginx.service", "web", "tls*"]);
    let script = String::from_utf8(output.stdout).unwrap();
    // In place of the command, a function that shows its arguments.
    let shell = format!("custodyctl() {{ printf '<%s>' \"$@\"; }}\n{script}");
    let output = std::process::Command::new("sh")
        .args(["-c", &shell])
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "<grant><add><web><tls*><--uid><33><--unit><nginx.service>"
    );
    assert!(output.stderr.is_empty(), "a name ran as a command");
}

/// What custodyd says of a secret that others depend on.
fn depended_on(reason: &str) -> Status {
    let mut details = ErrorDetails::new();
    details.set_error_info(reason, "custodyd", HashMap::new());
    let (unit, disabled) = (
        "unix:uid:33 systemd:id:nginx.service",
        "the version is disabled",
    );
    details.add_precondition_failure_violation("CONSUMER", unit, "");
    details.add_precondition_failure_violation("REFERENCE", "web/front@3#keystore", disabled);
    Status::with_error_details(
        Code::FailedPrecondition,
        "for programs that show it",
        details,
    )
}

#[test]
fn no_force_is_offered_against_a_reference() {
    let daemon = Daemon::failing([depended_on("REFERRED_TO")]);
    let output = daemon.run(["secret", "destroy", "web/tls@1", "--yes"]);
    assert_eq!(output.status.code(), Some(5));
    let told = stderr(&output);
    assert!(
        told.starts_with("custodyctl: web/tls is referred to\n"),
        "{told}"
    );
    assert!(
        told.contains("  web/front@3#keystore: the version is disabled\n"),
        "{told}"
    );
    assert!(
        told.contains("delete that first") && !told.contains("--force"),
        "{told}"
    );
}

#[test]
fn a_secret_in_use_is_deleted_by_force_only() {
    let daemon = Daemon::failing([depended_on("IN_USE")]);
    let output = daemon.run(["secret", "delete", "web/tls", "--yes"]);
    assert_eq!(output.status.code(), Some(5));
    assert_eq!(
        stderr(&output),
        "custodyctl: web/tls is in use\n  \
         unix:uid:33 systemd:id:nginx.service\n  \
         web/front@3#keystore: the version is disabled\n  \
         hint: 'custodyctl consumers web/tls' and 'custodyctl secret references web/tls' show who \
         would miss it; --force does it all the same\n"
    );
    assert!(!daemon.asked().delete.unwrap().force);
    assert!(
        daemon
            .run(["secret", "delete", "web/tls", "--yes", "--force"])
            .status
            .success()
    );
    assert!(daemon.asked().delete.unwrap().force);
}
