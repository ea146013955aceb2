//! Killed at each step of a change: what the next start makes of it.

use std::{fs, path::PathBuf};

use serde_json::Value;
use softhsm_tests::{Site, load::random_time};

use super::{CONTENT, DATABASE, content, kill_after, stop_and_verify, versions};

fn last_segment(site: &Site) -> PathBuf {
    let mut segments: Vec<_> = fs::read_dir(site.path("state/journal"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    segments.sort();
    segments.pop().unwrap()
}

/// Cuts the journal behind its last `prepare`, as if the daemon had been killed there.
fn cut_after_prepare(site: &Site) -> Value {
    let path = last_segment(site);
    let journal = fs::read_to_string(&path).unwrap();
    let mut kept = String::new();
    let mut prepared = None;
    let last = site.entries("prepare").pop().unwrap();
    for line in journal.lines() {
        kept.push_str(line);
        kept.push('\n');
        let entry: Value = serde_json::from_str(line).unwrap();
        if entry["seq"] == last["seq"] {
            prepared = Some(entry["number"].clone());
            break;
        }
    }
    fs::write(&path, kept).unwrap();
    prepared.expect("the last segment has it")
}

fn copy_database(site: &Site, from: &str, to: &str) {
    for name in DATABASE {
        let (from, to) = (site.path(from).join(name), site.path(to).join(name));
        if from.exists() {
            fs::copy(&from, &to).unwrap();
        } else if to.exists() {
            fs::remove_file(&to).unwrap();
        }
    }
}

#[test]
fn a_change_that_reached_the_database_is_confirmed_by_the_next_start() {
    let site = Site::new();
    let daemon = site.start();
    site.furnish(b"one");
    site.put("web/key", b"two");
    daemon.kill();
    let number = cut_after_prepare(&site);

    let daemon = site.start();
    let commits = site.entries("commit");
    assert_eq!(commits.last().unwrap()["number"], number);
    assert!(site.entries("abort").is_empty());
    assert_eq!(content(&site, "web/key", 1), b"one");
    assert_eq!(content(&site, "web/key", 2), b"two");
    stop_and_verify(&site, daemon);
}

#[test]
fn a_change_that_did_not_reach_the_database_is_given_up_by_the_next_start() {
    let site = Site::new();
    // What other keys encrypt is counted, and the count would be a change of its own.
    site.configure("wrapping = [\"aes-kw\", \"rsa-oaep-sha256\"]\n");
    let daemon = site.start();
    site.furnish(b"one");
    daemon.kill();
    fs::create_dir(site.path("before")).unwrap();
    copy_database(&site, "state", "before");
    let daemon = site.start();
    site.put("web/key", b"two");
    daemon.kill();
    copy_database(&site, "before", "state");
    let number = cut_after_prepare(&site);

    let daemon = site.start();
    let aborts = site.entries("abort");
    assert_eq!(aborts.len(), 1);
    assert_eq!(aborts[0]["number"], number);
    assert_eq!(versions(&site, "web/key"), [1]);
    assert_eq!(site.fetch("web/key").stdout, b"one");
    // And what comes after it is not taken for it.
    assert!(site.put("web/key", b"three").status.success());
    daemon.kill();
    let daemon = site.start();
    assert_eq!(content(&site, "web/key", 2), b"three");
    stop_and_verify(&site, daemon);
    let last = site.entries("commit").pop().unwrap();
    assert!(last["number"].as_u64() >= number.as_u64());
}

#[test]
fn a_settled_change_stays_settled_when_the_daemon_is_killed_while_it_settles() {
    let site = Site::new();
    let daemon = site.start();
    site.furnish(b"one");
    daemon.kill();
    cut_after_prepare(&site);
    for _ in 0..3 {
        // Again and again, at any moment of the start.
        kill_after(&site, site.custodyd("run"), random_time(1, 200));
    }
    let daemon = site.start();
    assert_eq!(site.fetch("web/key").stdout, b"one");
    stop_and_verify(&site, daemon);
    let number = &site.entries("prepare").pop().unwrap()["number"];
    let mut commits = site.entries("commit");
    commits.retain(|commit| &commit["number"] == number);
    assert_eq!(commits.len(), 1);
}

#[test]
fn an_entry_that_was_being_written_is_cut_off_and_nothing_else() {
    let site = Site::new();
    let daemon = site.start();
    site.furnish(CONTENT);
    daemon.kill();
    let whole = site.journal_text();
    let path = last_segment(&site);
    for half in ["{", "{\"seq\":99,\"time\":\"2026", "\0\0\0\0\0\0\0\0"] {
        let before = fs::read(&path).unwrap();
        fs::write(&path, [&before, half.as_bytes()].concat()).unwrap();
        let daemon = site.start();
        assert!(fs::read(&path).unwrap().starts_with(&before));
        assert_eq!(site.fetch("web/key").stdout, CONTENT);
        daemon.kill();
        // `journal` panics on a line that is no JSON.
        assert_eq!(site.journal().last().unwrap()["kind"], "allow");
    }
    assert!(site.journal_text().starts_with(&whole));
    let daemon = site.start();
    stop_and_verify(&site, daemon);
}

#[test]
fn a_segment_that_was_being_begun_does_not_stop_a_start() {
    let site = Site::new();
    let daemon = site.start();
    site.furnish(CONTENT);
    daemon.kill();
    for half in ["", "{\"seq\":"] {
        let next = site.journal().last().unwrap()["seq"].as_u64().unwrap() + 1;
        fs::write(
            site.path(&format!("state/journal/journal-{next:020}.jsonl")),
            half,
        )
        .unwrap();
        let daemon = site.start();
        assert_eq!(site.fetch("web/key").stdout, CONTENT);
        daemon.kill();
    }
    let daemon = site.start();
    stop_and_verify(&site, daemon);
}
