//! The journal's verification, as an auditor has it: with files alone.

mod socket;

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Output, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use aws_lc_rs::{
    encoding::{AsDer as _, PublicKeyX509Der},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use custody::{
    journal::{
        Event,
        chain::{Head, checkpoint_message},
    },
    name::InstanceId,
};

use client::v1;
use serde_json::Value;

use crate::canned::Daemon;

/// A journal of one segment with five entries, the fourth of which signs the third.
struct Journal {
    daemon: Daemon,
    instance: InstanceId,
}

fn key() -> EcdsaKeyPair {
    EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()
}

fn pem(key: &EcdsaKeyPair) -> String {
    let der: PublicKeyX509Der<'_> = key.public_key().as_der().unwrap();
    let text = base64(der.as_ref());
    format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n")
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk
            .iter()
            .fold(0_u32, |word, &b| word << 8 | u32::from(b));
        let word = word << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let index = (word >> (18 - 6 * place)) & 63;
            let symbol = ALPHABET[usize::try_from(index).unwrap()];
            text.push(if place > chunk.len() {
                '='
            } else {
                char::from(symbol)
            });
        }
    }
    text
}

impl Journal {
    fn write() -> Self {
        let this = Self {
            daemon: Daemon::start(),
            instance: InstanceId::random().unwrap(),
        };
        let key = key();
        let mut out = Vec::new();
        let add = |head: Head, event: &Event, out: &mut Vec<u8>| {
            head.append("2026-01-02T03:04:05Z", event, out)
        };
        let segment = Event::Segment {
            instance: this.instance,
            public_key: pem(&key),
            settled: None,
        };
        let head = add(Head::START, &segment, &mut out);
        let head = add(head, &Event::Commit { number: 1 }, &mut out);
        let covers = add(head, &Event::Commit { number: 2 }, &mut out);
        let message = checkpoint_message(&this.instance, covers);
        let signature = key.sign(&SystemRandom::new(), &message).unwrap();
        let checkpoint = Event::Checkpoint {
            covers: covers.seq,
            hash: covers.hash.to_string(),
            signature: signature
                .as_ref()
                .iter()
                .map(|b| format!("{b:02x}"))
                .collect(),
        };
        let head = add(covers, &checkpoint, &mut out);
        add(head, &Event::Stop, &mut out);
        fs::write(this.segment(), out).unwrap();
        fs::write(this.daemon.path("key.pem"), pem(&key)).unwrap();
        this
    }

    fn segment(&self) -> PathBuf {
        self.daemon.path("journal-00000000000000000001.jsonl")
    }

    /// Changes the text of the segment.
    fn edit(&self, change: impl FnOnce(String) -> String) {
        let text = fs::read_to_string(self.segment()).unwrap();
        fs::write(self.segment(), change(text)).unwrap();
    }

    /// Has custodyd read it out, two entries a message.
    fn read_out(&self) {
        let text = fs::read_to_string(self.segment()).unwrap();
        let lines: Vec<_> = text.split_inclusive('\n').collect();
        self.daemon.write(lines.chunks(2).map(<[&str]>::concat));
    }

    /// Hash of the last entry.
    fn hash(&self) -> String {
        let args = [
            "journal",
            "verify",
            ".",
            "--public-key",
            "key.pem",
            "-o",
            "json",
        ];
        let verified: Value = serde_json::from_slice(&self.daemon.run(args).stdout).unwrap();
        verified["hash"].as_str().unwrap().to_owned()
    }

    fn verify(&self, more: &[&str]) -> Output {
        let args = ["journal", "verify", ".", "--public-key", "key.pem"];
        let output = self.daemon.run(args.iter().chain(more));
        assert!(self.daemon.calls().is_empty(), "an auditor has no custodyd");
        output
    }
}

fn refused(output: &Output, because: &str) {
    assert_eq!(output.status.code(), Some(8));
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(stderr.contains(because), "{stderr}");
}

#[test]
fn a_whole_journal_verifies_without_custodyd() {
    let journal = Journal::write();
    let output = journal.verify(&["--instance", &journal.instance.to_string()]);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("1 to 5"), "{text}");
    assert!(text.contains("up to entry 3"), "{text}");
}

#[test]
fn an_edited_entry_is_noticed() {
    let journal = Journal::write();
    journal.edit(|text| text.replace(r#""number":1"#, r#""number":9"#));
    refused(&journal.verify(&[]), "entry 3 was not written after");
}

#[test]
fn the_journal_of_another_key_is_refused() {
    let journal = Journal::write();
    fs::write(journal.daemon.path("key.pem"), pem(&key())).unwrap();
    refused(&journal.verify(&[]), "another installation or journal key");
}

#[test]
fn the_journal_of_another_installation_is_refused() {
    let journal = Journal::write();
    refused(
        &journal.verify(&["--instance", &"00".repeat(16)]),
        "not of 0000",
    );
}

#[test]
fn a_journal_that_nobody_signed_is_refused() {
    let journal = Journal::write();
    journal.edit(|text| text.split_inclusive('\n').take(3).collect());
    refused(&journal.verify(&[]), "no entry of it is signed");
}

/// Has custodyd say that the journal's last entry is `sequence`.
fn tell(journal: &Journal, sequence: u64, hash: &str) {
    journal.daemon.tell(v1::JournalStatus {
        sequence,
        hash: hash.to_owned(),
        checkpoint: None,
        public_key: fs::read_to_string(journal.daemon.path("key.pem")).unwrap(),
        directory: "/nowhere".to_owned(),
    });
}

/// Verifies against a custodyd that says the journal's last entry is `sequence`.
fn verify_against_custodyd(journal: &Journal, sequence: u64, hash: &str) -> Output {
    tell(journal, sequence, hash);
    let instance = journal.instance.to_string();
    let args = [
        "journal",
        "verify",
        ".",
        "--instance",
        &instance,
        "-o",
        "json",
    ];
    journal.daemon.run(args)
}

#[test]
fn a_journal_that_was_cut_off_is_noticed_while_custodyd_runs() {
    let journal = Journal::write();
    refused(
        &verify_against_custodyd(&journal, 6, ""),
        "ends at entry 5, but custodyd has written 6",
    );
}

#[test]
fn a_journal_that_was_written_anew_is_noticed_while_custodyd_runs() {
    let journal = Journal::write();
    let other = "00".repeat(32);
    refused(
        &verify_against_custodyd(&journal, 5, &other),
        "entry 5 is not the one",
    );
}

#[test]
fn custodyd_can_be_asked_for_the_key() {
    let journal = Journal::write();
    let verified: Value = serde_json::from_slice(&journal.verify(&["-o", "json"]).stdout).unwrap();
    assert_eq!(verified["public_key"], "file");
    let hash = verified["hash"].as_str().unwrap();
    let output = verify_against_custodyd(&journal, 5, hash);
    assert!(output.status.success());
    let verified: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(verified["public_key"], "custodyd");
}

#[test]
fn an_entry_that_is_being_written_is_no_break() {
    let journal = Journal::write();
    journal.edit(|text| text + r#"{"seq":6,"ti"#);
    let output = journal.verify(&[]);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("12 bytes at the end are no entry yet"),
        "{text}"
    );
}

#[test]
fn the_tail_is_the_newest_entries() {
    let journal = Journal::write();
    let output = journal.daemon.run(["journal", "tail", ".", "-n", "2"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[0].contains("checkpoint") && lines[0].contains("covers=3"));
    assert!(lines[1].contains("stop"));
}

#[test]
fn the_tail_follows_into_the_next_segment() {
    let journal = Journal::write();
    let mut child = journal
        .daemon
        .command()
        .args(["journal", "tail", ".", "-n", "1", "--follow", "-o", "json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        lines
            .map_while(Result::ok)
            .try_for_each(|line| sender.send(line))
    });
    let next = || receiver.recv_timeout(Duration::from_secs(20)).unwrap();
    assert!(next().contains(r#""kind":"stop""#));
    journal.edit(|text| text + "six\n");
    assert_eq!(next(), "six");
    // The end of one segment and the beginning of the next, between two looks.
    journal.edit(|text| text + "seven\n");
    let segment = journal.daemon.path("journal-00000000000000000008.jsonl");
    fs::write(segment, "eight\n").unwrap();
    assert_eq!([next(), next()], ["seven", "eight"]);
    child.kill().unwrap();
    child.wait().unwrap();
}
