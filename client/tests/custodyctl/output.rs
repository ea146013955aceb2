//! What people and programs get to see: the output is an interface.

use crate::canned::{CONTENT, Daemon};

const COMMANDS: [&[&str]; 11] = [
    &["group", "create", "web"],
    &["group", "list"],
    &["secret", "put", "web/tls", "--type=password"],
    &["secret", "list", "web"],
    &["secret", "show", "web/tls"],
    &["secret", "versions", "web/tls"],
    &["secret", "delete", "web/tls", "--yes"],
    &["grant", "list"],
    &["grant", "revoke", "0011223344556677", "--yes"],
    &["whoami"],
    &["status"],
];

fn transcript(format: &str) -> String {
    let daemon = Daemon::start();
    let mut text = String::new();
    for args in COMMANDS {
        let output = daemon.run(args.iter().copied().chain(["--output", format]));
        assert!(output.status.success(), "{args:?}");
        assert!(output.stderr.is_empty(), "{args:?}");
        let stdout = String::from_utf8(output.stdout).unwrap();
        text += &format!("$ custodyctl {}\n{stdout}\n", args.join(" "));
    }
    assert!(!text.contains(CONTENT));
    text
}

#[test]
fn tables_are_for_people() {
    let text = transcript("table");
    assert!(
        !text.contains('\x1b'),
        "a terminal could be told what to do"
    );
    insta::assert_snapshot!(text);
}

#[test]
fn json_is_for_programs() {
    insta::assert_snapshot!(transcript("json"));
}

#[test]
fn help_tells_the_exit_codes() {
    let daemon = Daemon::start();
    let mut command = daemon.command();
    command.env_clear().arg("--help");
    let output = command.output().unwrap();
    insta::assert_snapshot!(String::from_utf8(output.stdout).unwrap());
}

#[test]
fn every_command_has_a_manual_page() {
    let daemon = Daemon::start();
    assert!(daemon.run(["man", "."]).status.success());
    for page in [
        "custodyctl",
        "custodyctl-fetch",
        "custodyctl-journal-verify",
    ] {
        assert!(daemon.path(&format!("{page}.1")).exists(), "{page}");
    }
    let page = std::fs::read_to_string(daemon.path("custodyctl.1")).unwrap();
    assert!(page.contains("Exit codes"));
}

#[test]
fn completions_know_the_commands() {
    let daemon = Daemon::start();
    let output = daemon.run(["completions", "bash"]);
    assert!(String::from_utf8(output.stdout).unwrap().contains("whoami"));
}
