//! The journal as custodyd reads it out to auditors.

use std::{fs, process::Output};

use serde_json::Value;
use tonic::Status;

use super::{Journal, key, pem, refused, tell};
use crate::canned::Daemon;

/// Verifies what custodyd reads out, two entries a message.
fn verify_what_custodyd_sends(journal: &Journal, more: &[&str]) -> Output {
    journal.read_out();
    let instance = journal.instance.to_string();
    let args = [
        "journal",
        "verify",
        "--public-key",
        "key.pem",
        "--instance",
        &instance,
    ];
    journal.daemon.run(args.iter().chain(more))
}

#[test]
fn a_journal_that_custodyd_reads_out_is_verified_with_a_key_from_elsewhere() {
    let journal = Journal::write();
    tell(&journal, 5, &journal.hash());
    let output = verify_what_custodyd_sends(&journal, &["-o", "json"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    let verified: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(verified["public_key"], "file");
    assert_eq!(verified["directory"], Value::Null);
    assert_eq!(
        (&verified["segments"], &verified["covered"]),
        (&1.into(), &3.into())
    );
    let read = journal.daemon.asked().read.unwrap();
    assert_eq!((read.from, read.follow), (0, false));
}

#[test]
fn a_journal_that_custodyd_reads_out_is_not_verified_with_custodyds_own_key() {
    let journal = Journal::write();
    tell(&journal, 5, &journal.hash());
    journal.read_out();
    let output = journal.daemon.run(["journal", "verify"]);
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("would prove nothing"), "{stderr}");
    assert!(journal.daemon.calls().is_empty());
}

#[test]
fn an_entry_that_custodyd_changes_as_it_reads_is_noticed() {
    let journal = Journal::write();
    tell(&journal, 5, &journal.hash());
    journal.edit(|text| text.replace(r#""number":1"#, r#""number":9"#));
    let output = verify_what_custodyd_sends(&journal, &[]);
    refused(&output, "what custodyd sent: entry 3 was not written after");
}

#[test]
fn a_key_that_did_not_sign_what_custodyd_reads_out_is_noticed() {
    let journal = Journal::write();
    tell(&journal, 5, &journal.hash());
    fs::write(journal.daemon.path("key.pem"), pem(&key())).unwrap();
    let output = verify_what_custodyd_sends(&journal, &[]);
    refused(&output, "another installation or journal key");
}

#[test]
fn an_end_that_custodyd_keeps_to_itself_is_noticed() {
    let journal = Journal::write();
    tell(&journal, 5, &journal.hash());
    journal.edit(|text| text.split_inclusive('\n').take(4).collect());
    let output = verify_what_custodyd_sends(&journal, &[]);
    refused(&output, "ends at entry 4, but custodyd has written 5");
}

#[test]
fn the_tail_that_custodyd_reads_out_is_the_newest_entries() {
    let journal = Journal::write();
    journal.read_out();
    // Two entries came since custodyd was asked how many there are.
    tell(&journal, 3, "");
    let tail = |more: &[&str]| {
        let args = ["journal", "tail", "-o", "json"];
        let output = journal.daemon.run(args.iter().chain(more));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let lines = tail(&["-n", "2"]);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains("checkpoint") && lines[1].contains("stop"));
    let read = journal.daemon.asked().read.unwrap();
    assert_eq!((read.from, read.follow), (2, false));

    let followed = tail(&["-n", "1", "--follow"]);
    assert!(journal.daemon.asked().read.unwrap().follow);
    assert_eq!(followed.len(), 5, "all that is sent is shown: {followed:?}");
}

#[test]
fn an_entry_is_shown_in_full_from_files_or_by_custodyd() {
    let journal = Journal::write();
    let show = |args: &[&str]| journal.daemon.run(["journal", "show"].iter().chain(args));
    let text = fs::read_to_string(journal.segment()).unwrap();
    let second = text.lines().nth(1).unwrap();
    journal.daemon.write([format!("{second}\n")]);
    for args in [["2", "-o", "json"].as_slice(), &["2", ".", "-o", "json"]] {
        let output = show(args);
        assert_eq!(String::from_utf8(output.stdout).unwrap().trim_end(), second);
    }
    assert_eq!(journal.daemon.asked().read.unwrap().from, 2);
    let shown = String::from_utf8(show(&["4", "."]).stdout).unwrap();
    assert!(shown.contains("covers     3"), "{shown}");
    // custodyd sends another entry than the one asked for.
    for args in [["3"].as_slice(), &["6", "."], &["0", "."]] {
        let output = show(args);
        assert_eq!(output.status.code(), Some(4), "{args:?}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn only_an_auditor_has_the_journal_read_out() {
    let daemon = Daemon::failing([Status::permission_denied("this takes the role auditor")]);
    let output = daemon.run(["journal", "show", "1"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(output.stdout.is_empty());
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains("the role auditor\n  hint: 'custodyctl role whoami'"),
        "{stderr}"
    );
}
