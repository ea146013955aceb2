//! What is said about groups and secrets, as it reaches custodyd.

use crate::canned::Daemon;

fn succeeds(daemon: &Daemon, line: &str) {
    let output = daemon.run(line.split(' '));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{line}: {said}");
}

#[test]
fn what_is_said_reaches_custodyd() {
    let daemon = Daemon::start();
    succeeds(
        &daemon,
        "group create web --business-group payments --environment production \
         --description front-ends --label team=edge --label a/b=c=d",
    );
    succeeds(
        &daemon,
        "group update web --environment= --label team=core --remove-label a/b",
    );
    std::fs::write(daemon.path("pw"), "x").unwrap();
    succeeds(
        &daemon,
        "secret put web/tls --type password pw --description door --label team=",
    );
    succeeds(
        &daemon,
        "secret update web/tls --description= --remove-label team --remove-label x",
    );
    let asked = daemon.asked();
    let (create, said) = (asked.create_group.unwrap(), asked.said.unwrap());
    let (group, secret) = (asked.update_group.unwrap(), asked.update_secret.unwrap());
    insta::assert_debug_snapshot!((create, group, said, secret));
}

#[test]
fn what_changes_nothing_or_is_no_label_is_refused_before_custodyd_is_asked() {
    let daemon = Daemon::start();
    for line in [
        "group update web",
        "secret update web/tls",
        "secret update web/tls --label team",
        "secret update web/tls --label Team=edge",
        "secret update web/tls --remove-label Team",
        "group create web --label team=a\u{1b}b",
    ] {
        let output = daemon.run(line.split(' '));
        assert_eq!(output.status.code(), Some(2), "{line}");
    }
    assert!(daemon.calls().is_empty());
}
