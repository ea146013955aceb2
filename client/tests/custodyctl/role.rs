//! Roles, and what an operator without one is told.

use std::process::Output;

use tonic::Status;

use crate::canned::Daemon;

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_missing_role_is_named_with_a_way_out() {
    let message = "this takes the role group-administrator of web";
    let daemon = Daemon::failing([Status::permission_denied(message)]);
    let output = daemon.run(["grant", "list", "web"]);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(
        stderr(&output),
        format!(
            "custodyctl: {message}\n  hint: 'custodyctl role whoami' shows your roles; a crypto \
             officer assigns them with 'custodyctl role assign'\n"
        )
    );
}

#[test]
fn a_service_is_told_no_more_than_denied() {
    let daemon = Daemon::failing([Status::permission_denied("denied")]);
    let output = daemon.run(["fetch", "web/tls"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).starts_with("custodyctl: denied\n"));
    assert!(stderr(&output).contains("'custodyctl whoami' shows what custodyd sees"));
    assert!(!stderr(&output).contains("role"));
}

#[test]
fn a_role_is_assigned_as_it_was_written() {
    let daemon = Daemon::start();
    let args = [
        "role",
        "assign",
        "writer",
        "--group=web",
        "--user=bob",
        "--host-only",
    ];
    assert!(daemon.run(args).status.success());
    let asked = daemon.asked().role.unwrap();
    assert_eq!(
        (&*asked.role, asked.group.as_deref()),
        ("writer", Some("web"))
    );
    assert_eq!(asked.selectors[0], "unix:user:bob");
    assert_eq!(asked.selectors.len(), 4);
    assert!(!asked.allow_weak);

    let args = ["role", "assign", "auditor", "--uid=7", "--allow-weak"];
    assert!(daemon.run(args).status.success());
    let asked = daemon.asked().role.unwrap();
    assert_eq!(asked.group, None);
    assert!(asked.allow_weak);
}

#[test]
fn a_weak_role_is_refused_like_a_weak_grant() {
    let weak = "two-roles: uid 7 is crypto-officer already; choose another user";
    let daemon = Daemon::failing([Status::failed_precondition(weak)]);
    let output = daemon.run(["role", "assign", "auditor", "--uid=7"]);
    assert_eq!(output.status.code(), Some(5));
    let stderr = stderr(&output);
    assert!(
        stderr.starts_with("custodyctl: the role was not assigned: it is weak\n"),
        "{stderr}"
    );
    assert!(
        stderr.contains(weak) && stderr.contains("--allow-weak"),
        "{stderr}"
    );
}

#[test]
fn an_operator_without_a_role_is_told_who_assigns_them() {
    let daemon = Daemon::start();
    daemon.take_roles();
    let output = daemon.run(["role", "whoami"]);
    assert!(output.status.success());
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(stdout.contains("No role is yours"), "{stdout}");
}
