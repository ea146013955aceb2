//! What people and programs get to see: the output is an interface.

use crate::canned::{CONTENT, Daemon};

const COMMANDS: &[&[&str]] = &[
    &["group", "create", "web"],
    &["group", "list"],
    &["group", "update", "web", "--environment=test"],
    &["group", "cache", "web", "--off"],
    &["group", "rotate", "web", "--wait"],
    &["group", "rotate", "web", "--compromised"],
    &["group", "compromise-key", "web", "2"],
    &["group", "exposure", "web"],
    &["group", "hold", "web", "--writes=any-then-repair"],
    &["group", "destroy-key", "web", "1", "--yes"],
    &["group", "spare-key", "web", "1"],
    &["hsm", "lost", "standby", "--accept-loss=1", "--yes"],
    &["secret", "put", "web/tls", "--type=password"],
    &["secret", "generate", "web/tls", "--type=password"],
    &["secret", "rotate", "web/tls", "--pending"],
    &["secret", "rotate", "web/tls", "--csr=tls.csr"],
    &["secret", "csr", "web/tls"],
    &["secret", "certify", "web/tls", "tls.csr", "--overlap=7d"],
    &["secret", "list", "web"],
    &["secret", "search", "example.org"],
    &["secret", "show", "web/tls"],
    &["secret", "update", "web/tls", "--remove-label=team"],
    &["secret", "versions", "web/tls"],
    &["secret", "references", "web/tls"],
    &["secret", "delete", "web/tls", "--yes"],
    &["grant", "add", "web", "tls", "--uid=33", "--uses=1"],
    &["grant", "add", "web", "tls", "--uid=33", "--dry-run"],
    &["grant", "list"],
    &["grant", "show", "0011223344556677"],
    &["grant", "revoke", "0011223344556677", "--yes"],
    &["grant", "lint"],
    &["grant", "explain", "web/tls@2", "--pid=4711"],
    &["grant", "suggest", "--unit=nginx.service", "web", "tls*"],
    &["role", "assign", "writer", "--group=web", "--uid=1000"],
    &["role", "list"],
    &["role", "revoke", "aabbccddeeff0011", "--yes"],
    &["role", "whoami"],
    &["import", "app.env", "--group=web", "--yes"],
    &["consumers", "web"],
    &["whoami"],
    &["status"],
];

fn transcript(format: &str) -> String {
    let daemon = Daemon::start();
    std::fs::write(daemon.path("app.env"), format!("A={CONTENT}\n")).unwrap();
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

fn help(args: &[&str]) -> String {
    let daemon = Daemon::start();
    let mut command = daemon.command();
    let output = command.env_clear().args(args).arg("--help").output();
    String::from_utf8(output.unwrap().stdout).unwrap()
}

#[test]
fn help_tells_the_exit_codes() {
    insta::assert_snapshot!(help(&[]));
}

#[test]
fn help_shows_how_a_grant_is_written() {
    insta::assert_snapshot!(help(&["grant", "add"]));
}

#[test]
fn help_tells_what_each_role_may_do() {
    insta::assert_snapshot!(help(&["role", "assign"]));
}

#[test]
fn every_command_has_a_manual_page() {
    let daemon = Daemon::start();
    assert!(daemon.run(["man", "."]).status.success());
    for page in [
        "custodyctl",
        "custodyctl-fetch",
        "custodyctl-journal-verify",
        "custodyctl-grant-explain",
        "custodyctl-role-assign",
        "custodyctl-consumers",
        "custodyctl-import",
        "custodyctl-expiring",
        "custodyctl-compliance",
        "custodyctl-group-rules",
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
    let script = String::from_utf8(output.stdout).unwrap();
    for word in [
        "whoami",
        "consumers",
        "--allow-weak",
        "crypto-officer",
        "--on-conflict",
    ] {
        assert!(script.contains(word), "{word}");
    }
}
