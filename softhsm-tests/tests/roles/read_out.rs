//! The journal as the daemon reads it out to auditors.

use std::{fs, time::Duration};

use client::{JournalLines, Manager};
use serde_json::Value;
use softhsm_tests::{Site, daemon::Daemon, load::runtime, text};
use tokio::time::timeout;

use crate::DENIED;

/// A site whose journal has many small segments.
fn busy() -> Site {
    let site = Site::new();
    site.configure("[journal]\nsegment-size = \"16KiB\"\ncheckpoint-entries = 50\n");
    site
}

/// Makes so many entries.
async fn keep_busy(manager: &Manager, entries: usize) {
    for _ in 0..entries {
        manager.whoami().await.unwrap();
    }
}

/// All that is sent.
async fn all(mut lines: JournalLines) -> String {
    let mut read = String::new();
    while let Some(more) = lines.next().await {
        read.push_str(&more.unwrap());
    }
    read
}

fn number(line: &str) -> u64 {
    let entry: Value = serde_json::from_str(line).unwrap();
    entry["seq"].as_u64().unwrap()
}

fn segments(site: &Site) -> usize {
    fs::read_dir(site.path("state/journal")).unwrap().count()
}

#[tokio::test]
async fn what_is_read_out_is_byte_for_byte_what_is_in_the_files() {
    let site = busy();
    let _daemon = site.start();
    let manager = site.manager().await;
    // More than is sent at once.
    keep_busy(&manager, 300).await;
    assert!(segments(&site) > 5);
    let read = all(manager.read_journal(0, false).await.unwrap()).await;
    let files = site.journal_text();
    assert!(files.starts_with(&read));
    let entries = read.lines().map(|line| serde_json::from_str(line).unwrap());
    let asked = entries.filter(|entry: &Value| entry["operation"] == "read-journal");
    assert_eq!(asked.count(), 1, "the reader sees that it reads");

    // From every kind of place in a segment, and from after the end.
    let lines: Vec<_> = files.split_inclusive('\n').collect();
    for from in 100..160 {
        let read = all(manager.read_journal(from, false).await.unwrap()).await;
        let at = usize::try_from(from).unwrap() - 1;
        assert_eq!(number(lines[at]), from);
        assert!(site.journal_text().contains(&read));
        assert!(read.starts_with(&lines[at..].concat()), "{from}");
    }
    let none = all(manager.read_journal(100_000, false).await.unwrap()).await;
    assert_eq!(none, "");
}

#[tokio::test]
async fn who_follows_sees_every_new_entry_across_segments() {
    let site = busy();
    let _daemon = site.start();
    let manager = site.manager().await;
    let mut following = manager.read_journal(0, true).await.unwrap();
    let before = segments(&site);
    keep_busy(&manager, 250).await;
    assert!(segments(&site) > before + 2);
    let last = number(site.journal_text().lines().last().unwrap());
    let mut read = String::new();
    while read.lines().last().is_none_or(|line| number(line) < last) {
        let more = timeout(Duration::from_secs(30), following.next()).await;
        read.push_str(&more.expect("more is sent").unwrap().unwrap());
    }
    assert!(site.journal_text().starts_with(&read));
}

/// A daemon that has been busy.
fn after_work(site: &Site) -> Daemon<'_> {
    let daemon = site.start();
    runtime().block_on(async { keep_busy(&site.manager().await, 120).await });
    daemon
}

#[test]
fn tail_and_show_print_lines_as_they_are_in_the_files() {
    let site = busy();
    let _daemon = after_work(&site);
    let tail = site.ctl(&["-o", "json", "journal", "tail", "-n", "70"]);
    assert_eq!(tail.lines().count(), 70);
    let files = site.journal_text();
    assert!(files.contains(&tail));
    assert!(tail.lines().last().unwrap().contains("\"read-journal\""));
    for (at, line) in files.lines().enumerate().step_by(17) {
        let shown = site.ctl(&["-o", "json", "journal", "show", &(at + 1).to_string()]);
        assert_eq!(shown.trim_end(), line);
    }
}

#[test]
fn what_is_read_out_verifies_with_the_public_key_and_not_with_another() {
    let site = busy();
    let _daemon = after_work(&site);
    let verify = |key: &str| site.try_ctl(&["journal", "verify", "--public-key", key]);
    let verified = verify(site.path("state/journal.pub").to_str().unwrap());
    assert!(verified.status.success(), "{}", text(&verified));
    let other = Site::new();
    let refused = verify(other.path("state/journal.pub").to_str().unwrap());
    assert_eq!(refused.status.code(), Some(8), "{}", text(&refused));
}

#[test]
fn who_is_no_auditor_gets_nothing_of_the_journal() {
    let site = busy();
    let _daemon = after_work(&site);
    let roles = site.ctl_json(&["role", "whoami"]);
    let mut roles = roles["roles"].as_array().unwrap().iter();
    let auditor = roles.find(|held| held["role"] == "auditor").unwrap();
    site.ctl(&["role", "revoke", "--yes", auditor["id"].as_str().unwrap()]);
    let key = site.path("state/journal.pub").display().to_string();
    let commands: [&[&str]; 4] = [
        &["tail"],
        &["tail", "--follow"],
        &["show", "1"],
        &["verify", "--public-key", &key],
    ];
    for command in commands {
        let output = site.try_ctl(&[&["journal"], command].concat());
        assert_eq!(
            output.status.code(),
            DENIED,
            "{command:?}: {}",
            text(&output)
        );
        assert!(output.stdout.is_empty(), "{command:?}");
    }
    let mut refused = site.entries("refuse");
    refused.retain(|entry| entry["operation"] == "read-journal");
    assert_eq!(refused.len(), commands.len());
}
