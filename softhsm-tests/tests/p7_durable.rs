//! P7 durable: a write that was acknowledged survives kill -9 and a full disk; one that
//! was not leaves no half. `CUSTODYD_SOAK=N` kills the daemon N times instead of a dozen.
//! With nextest, add `--profile soak`: its other profile ends what takes long.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

#[path = "p7_durable/full_disk.rs"]
mod full_disk;
#[path = "p7_durable/init.rs"]
mod init;
#[path = "p7_durable/kills.rs"]
mod kills;
#[path = "p7_durable/steps.rs"]
mod steps;

use std::{
    fs,
    process::{Command, Stdio},
    time::Duration,
};

use softhsm_tests::{
    Site,
    daemon::Daemon,
    load::{put, runtime},
    text,
};

const CONTENT: &[u8] = b"the content of the secret";
const DATABASE: [&str; 3] = ["custody.db", "custody.db-wal", "custody.db-shm"];

/// Kills what `command` starts after `time`, and undoes what that did to the token: SoftHSM's
/// files do not survive a kill that hits a login. The PIN is vouched for, as by a person:
/// after two logins without an answer there is one an hour.
fn kill_after(site: &Site, mut command: Command, time: Duration) {
    let copy = |from: &str, to: &str| {
        let output = Command::new("cp")
            .arg("-a")
            .args([site.path(from), site.path(to)])
            .output();
        assert!(output.unwrap().status.success());
    };
    copy("tokens", "tokens-before");
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(time);
    child.kill().unwrap();
    let aside = format!("tokens-{}", child.id());
    // Its worker, which may be at a login, has this end of the pipe, too.
    child.wait_with_output().unwrap();
    fs::rename(site.path("tokens"), site.path(&aside)).unwrap();
    fs::rename(site.path("tokens-before"), site.path("tokens")).unwrap();
    let _none = fs::remove_file(site.path("state/pin-refused.attempt"));
}

/// Stops the daemon, and has the whole journal verified.
fn stop_and_verify(site: &Site, daemon: Daemon<'_>) {
    daemon.stop();
    let verified = site.verify_journal();
    assert!(verified.status.success(), "{}", text(&verified));
}

fn versions(site: &Site, secret: &str) -> Vec<u64> {
    let listed = site.ctl_json(&["secret", "versions", secret]);
    let listed = listed["versions"].as_array().unwrap();
    let mut numbers: Vec<_> = listed
        .iter()
        .map(|version| version["number"].as_u64().unwrap())
        .collect();
    numbers.sort_unstable();
    numbers
}

fn content(site: &Site, secret: &str, version: u64) -> Vec<u8> {
    let output = site.fetch(&format!("{secret}@{version}"));
    assert!(
        output.status.success(),
        "{secret}@{version}: {}",
        text(&output)
    );
    output.stdout
}

#[test]
fn versions_that_are_written_at_once_are_distinct_and_consecutive() {
    const WRITERS: usize = 6;
    const EACH: usize = 5;
    let site = Site::new();
    let daemon = site.start();
    site.furnish(CONTENT);
    let written: Vec<(u32, Vec<u8>)> = runtime().block_on(async {
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..WRITERS {
            let manager = site.manager().await;
            writers.spawn(async move {
                let mut written = Vec::new();
                for number in 0..EACH {
                    let content = format!("{writer} {number}").into_bytes();
                    written.push((put(&manager, "key", &content).await.unwrap(), content));
                }
                written
            });
        }
        writers.join_all().await.concat()
    });
    daemon.kill();

    let daemon = site.start();
    let expected: Vec<_> = (1..=1 + (WRITERS * EACH) as u64).collect();
    assert_eq!(versions(&site, "web/key"), expected);
    for (version, written) in written {
        assert_eq!(content(&site, "web/key", version.into()), written);
    }
    stop_and_verify(&site, daemon);
}

#[test]
fn a_daemon_that_is_told_to_stop_as_soon_as_it_serves_ends_in_order() {
    let site = Site::new();
    for _ in 0..5 {
        // `stop` asserts the exit code.
        site.start().stop();
        let kinds: Vec<_> = site
            .journal()
            .iter()
            .map(|entry| entry["kind"].clone())
            .collect();
        assert_eq!(kinds[kinds.len() - 2..], ["stop", "checkpoint"]);
    }
    assert!(site.verify_journal().status.success());
}
