//! What a person at a terminal is asked.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    process::Command,
};

use nix::pty::{Winsize, openpty};

use crate::canned::{CONTENT, Daemon};

/// Columns of the terminal.
const WIDTH: u16 = 60;

/// Runs the command on a terminal where `answer` was typed; gives its exit code and
/// what the terminal showed.
pub(crate) fn at_a_terminal(daemon: &Daemon, args: &[&str], answer: &str) -> (Option<i32>, String) {
    let size = Winsize {
        ws_row: 24,
        ws_col: WIDTH,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let pty = openpty(Some(&size), None).unwrap();
    let mut person = File::from(pty.master);
    // In a session of its own, whose terminal this is.
    let mut command = Command::new("setsid");
    let custodyctl = daemon.command();
    let sockets = custodyctl.get_envs();
    command.envs(sockets.filter_map(|(name, value)| Some((name, value?))));
    command
        .args(["--ctty", "--wait"])
        .arg(custodyctl.get_program());
    let mut child = command
        .args(custodyctl.get_args())
        .args(args)
        .stdin(pty.slave.try_clone().unwrap())
        .stdout(pty.slave.try_clone().unwrap())
        .stderr(pty.slave)
        .spawn()
        .unwrap();
    // It has the terminal open, too.
    drop(command);
    // A line, and then the end of what is typed.
    write!(person, "{answer}\n\x04").unwrap();
    let mut shown = Vec::new();
    let mut buffer = [0; 4096];
    // EIO, pty(7): the command was the last to have the terminal open.
    while let Ok(length @ 1..) = person.read(&mut buffer) {
        shown.extend_from_slice(&buffer[..length]);
    }
    let code = child.wait().unwrap().code();
    (code, String::from_utf8(shown).unwrap())
}

#[test]
fn a_secret_is_printed_to_a_terminal_only_after_a_yes() {
    let daemon = Daemon::start();
    let (code, shown) = at_a_terminal(&daemon, &["fetch", "web/tls"], "n");
    assert_eq!(code, Some(9));
    assert!(shown.contains("print the secret web/tls to this terminal? [y/N]"));
    assert!(!shown.contains(CONTENT));
    assert!(daemon.calls().is_empty(), "what is declined is not fetched");

    let (code, shown) = at_a_terminal(&daemon, &["fetch", "web/tls"], "y");
    assert_eq!(code, Some(0));
    assert!(shown.contains(CONTENT));
}

#[test]
fn a_secret_is_destroyed_only_after_a_yes() {
    let daemon = Daemon::start();
    let args = ["secret", "delete", "web/tls"];
    assert_eq!(at_a_terminal(&daemon, &args, "").0, Some(9));
    assert!(daemon.calls().is_empty());
    assert_eq!(at_a_terminal(&daemon, &args, "yes").0, Some(0));
    assert_eq!(daemon.calls(), ["delete_secret"]);
}

#[test]
fn content_is_not_typed() {
    let daemon = Daemon::start();
    let args = ["secret", "put", "web/pw", "--type=password"];
    let (code, shown) = at_a_terminal(&daemon, &args, "");
    assert_eq!(code, Some(2));
    assert!(shown.contains("name a file, or pipe the content in"));
    assert!(daemon.calls().is_empty());
}

#[test]
fn what_is_asked_for_is_typed_twice_and_not_shown() {
    let daemon = Daemon::start();
    let args = [
        "secret",
        "put",
        "web/pw",
        "--type=password",
        "--prompt=password",
    ];
    let (code, shown) = at_a_terminal(&daemon, &args, &[CONTENT, CONTENT].join("\n"));
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("password: ") && shown.contains("password again: "));
    assert_eq!(daemon.put(), [("password".to_owned(), CONTENT.len())]);

    let (code, shown) = at_a_terminal(&daemon, &args, &[CONTENT, "other"].join("\n"));
    assert_eq!(code, Some(7), "{shown}");
    assert_eq!(daemon.calls(), ["put_secret"]);
}

#[test]
fn what_a_secret_is_made_of_is_typed_once() {
    let daemon = Daemon::start();
    let args = [
        "secret",
        "put",
        "web/k",
        "--type=symmetric-key",
        "--set=algorithm=aes",
        "--prompt=key-hex",
    ];
    assert_eq!(at_a_terminal(&daemon, &args, "0011").0, Some(0));
    let expected = [("algorithm".to_owned(), 3), ("key-hex".to_owned(), 4)];
    assert_eq!(daemon.put(), expected);
}

#[test]
fn a_table_fits_the_terminal() {
    let daemon = Daemon::start();
    for args in [
        ["grant", "list"],
        ["group", "list"],
        ["role", "list"],
        ["role", "whoami"],
        ["grant", "lint"],
    ] {
        let (code, shown) = at_a_terminal(&daemon, &args, "");
        assert_eq!(code, Some(0));
        for line in shown.lines() {
            assert!(line.chars().count() <= WIDTH.into(), "{shown}");
        }
    }
}
