//! `custodyctl expiring`: for people, and for monitoring.

use crate::canned::Daemon;

#[test]
fn what_ends_is_listed_and_told_by_the_exit_code() {
    let daemon = Daemon::start();
    for format in ["table", "json"] {
        let output = daemon.run(["expiring", "web", "--within=12h", "--output", format]);
        assert_eq!(output.status.code(), Some(10));
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.starts_with("custodyctl: what ends by 2"), "{told}");
        assert!(told.ends_with(": 3\n"), "{told}");
        insta::assert_snapshot!(
            format!("expiring {format}"),
            String::from_utf8(output.stdout).unwrap()
        );
    }
    let asked = daemon.asked().expiring.unwrap();
    assert_eq!(asked.group.as_deref(), Some("web"));
    assert!((43_100..=43_200).contains(&asked.within_seconds));
}

#[test]
fn nothing_that_ends_is_success() {
    let daemon = Daemon::start();
    daemon.clean_up();
    let output = daemon.run(["expiring"]);
    assert!(output.status.success());
    assert!(output.stdout.is_empty());
    assert_eq!(output.stderr, b"nothing ends within that time\n");
    let asked = daemon.asked().expiring.unwrap();
    assert_eq!(asked.group, None);
    // Clocks may go forward or back within that time.
    assert!((29 * 86_400..=31 * 86_400).contains(&asked.within_seconds));
}

#[test]
fn no_answer_is_not_taken_for_nothing_found() {
    let daemon = Daemon::failing([tonic::Status::permission_denied("no")]);
    let output = daemon.run(["expiring"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(output.stdout.is_empty());
}
