//! P8 recovering: a token that crashes, hangs, goes away or refuses costs requests a clear,
//! retryable error while it lasts, and nothing after it. `CUSTODYD_SOAK=N` kills and
//! stops the worker N times under load instead of a few.
//! With nextest, add `--profile soak`: its other profile ends what takes long.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

#[path = "p8_recovering/under_load.rs"]
mod under_load;

use std::{
    fs,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use softhsm_tests::{
    Site,
    disk::{SmallDisk, with_own_mounts},
    is_root,
    kind::Kind,
    load::{children, rounds},
    text, until,
};

const CONTENT: &[u8] = b"the content of the secret";

/// `custodyctl`'s exit codes.
const DENIED: Option<i32> = Some(3);
const UNAVAILABLE: Option<i32> = Some(6);

/// The daemon's, for a PIN that was refused.
const REFUSED: Option<i32> = Some(77);

fn until_serving(site: &Site, generation: u64) -> Value {
    until("a successor serves", || {
        let token = site.token();
        let serves = token["state"] == "serving";
        (serves && token["worker_generation"].as_u64().unwrap() >= generation).then_some(token)
    })
}

fn generation(site: &Site) -> u64 {
    site.token()["worker_generation"].as_u64().unwrap()
}

/// The PIN was not refused, and no login is in doubt.
fn no_login_is_in_doubt(site: &Site) {
    assert!(!site.path("state/pin-refused").exists());
    assert!(!site.path("state/pin-refused.attempt").exists());
    assert!(!site.log().contains("refused the PIN"), "{}", site.log());
}

#[test]
fn one_worker_after_another_can_be_killed() {
    let site = Site::new();
    let daemon = site.start();
    site.furnish(CONTENT);
    // They are replaced at ever longer intervals, up to some seconds.
    let kills = rounds(6) as u64;
    for round in 1..=kills {
        // Only as it serves: killed in the middle of a login, it leaves a doubt.
        let start = Instant::now();
        let token = until_serving(&site, round);
        assert!(
            start.elapsed() < Duration::from_secs(15),
            "{:?}",
            start.elapsed()
        );
        assert_eq!(token["worker_generation"], round);
        assert_eq!(site.fetch("web/key").stdout, CONTENT);
        kill(daemon.worker(), Signal::SIGKILL).unwrap();
        until("it is noticed", || {
            (generation(&site) > round).then_some(())
        });
    }
    until_serving(&site, kills + 1);
    assert_eq!(site.fetch("web/key").stdout, CONTENT);
    no_login_is_in_doubt(&site);
    daemon.stop_unharmed();
    let served: Vec<_> = site
        .entries("token")
        .iter()
        .map(|entry| {
            (
                entry["generation"].as_u64().unwrap(),
                entry["state"].clone(),
            )
        })
        .collect();
    let expected: Vec<_> = (2..=kills + 1)
        .map(|generation| (generation, "serving".into()))
        .collect();
    assert_eq!(served, expected);
}

#[test]
fn a_hung_worker_blocks_neither_management_nor_denials() {
    let site = Site::new();
    site.configure_deadline(60_000);
    let daemon = site.start();
    site.furnish(CONTENT);
    let worker = daemon.worker();
    kill(worker, Signal::SIGSTOP).unwrap();
    let mut stuck = site.custodyctl();
    stuck
        .args(["fetch", "web/key"])
        .stdout(std::process::Stdio::piped());
    let stuck = stuck.spawn().unwrap();
    until("the release is on record", || {
        site.entries("allow").first().cloned()
    });

    let start = Instant::now();
    for read in [
        &["status"][..],
        &["group", "list"],
        &["secret", "versions", "web/key"],
        &["grant", "list"],
        &["whoami"],
    ] {
        site.ctl(read);
    }
    assert_eq!(site.fetch("nothing/key").status.code(), DENIED);
    site.ctl(&[
        "grant",
        "add",
        "--allow-weak",
        "web",
        "other",
        "--uid",
        "12345",
    ]);
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );

    // And the request that waited is answered after all.
    kill(worker, Signal::SIGCONT).unwrap();
    assert_eq!(stuck.wait_with_output().unwrap().stdout, CONTENT);
    assert_eq!(daemon.worker(), worker);
    assert!(site.entries("undelivered").is_empty());
    daemon.stop_unharmed();
}

#[test]
fn an_answer_that_does_not_come_is_refused_within_the_deadline() {
    if !Kind::has(
        "an_answer_that_does_not_come_is_refused_within_the_deadline",
        "keys that are made within a second",
    ) {
        return;
    }
    let site = Site::new();
    site.configure_deadline(1000);
    let daemon = site.start();
    site.furnish(CONTENT);
    // Successors hang as well: there is no token for them.
    fs::rename(site.path("tokens"), site.path("elsewhere")).unwrap();
    kill(daemon.worker(), Signal::SIGSTOP).unwrap();
    let start = Instant::now();
    let output = site.fetch("web/key");
    // The client tries twice.
    assert!(
        start.elapsed() < Duration::from_secs(4),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(output.status.code(), UNAVAILABLE, "{}", text(&output));
    assert!(output.stdout.is_empty());
    fs::rename(site.path("elsewhere"), site.path("tokens")).unwrap();
    drop(daemon);
}

#[test]
fn a_token_that_goes_away_and_comes_back_is_found_again() {
    let site = Site::new();
    site.configure_deadline(1000);
    let daemon = site.start();
    site.furnish(CONTENT);
    fs::rename(site.path("tokens"), site.path("elsewhere")).unwrap();
    kill(daemon.worker(), Signal::SIGKILL).unwrap();
    let token = until("it is seen to be gone", || {
        Some(site.token()).filter(|token| token["state"] == "failed")
    });
    assert!(
        token["problem"]
            .as_str()
            .is_some_and(|problem| !problem.is_empty()),
        "{token}"
    );
    let output = site.fetch("web/key");
    assert_eq!(output.status.code(), UNAVAILABLE, "{}", text(&output));
    assert!(output.stdout.is_empty());
    let put = site.put("web/key", b"another");
    assert_eq!(put.status.code(), UNAVAILABLE, "{}", text(&put));
    assert_eq!(site.fetch("nothing/key").status.code(), DENIED);

    fs::rename(site.path("elsewhere"), site.path("tokens")).unwrap();
    until_serving(&site, 2);
    assert_eq!(site.fetch("web/key").stdout, CONTENT);
    no_login_is_in_doubt(&site);
    let states: Vec<_> = site
        .entries("token")
        .iter()
        .map(|entry| entry["state"].clone())
        .collect();
    // Once, however often it was tried.
    assert_eq!(states, ["failed", "serving"]);
    daemon.stop_unharmed();
}

#[test]
fn a_worker_that_is_lost_on_a_full_disk_is_replaced_once_there_is_room() {
    if !is_root("a_worker_that_is_lost_on_a_full_disk_is_replaced_once_there_is_room") {
        return;
    }
    with_own_mounts(|| {
        let site = Site::new();
        site.configure_deadline(1000);
        let disk = SmallDisk::under(&site, 512);
        let daemon = site.start();
        site.furnish(CONTENT);
        disk.fill(0);
        // It cannot note down that it is about to log in, so it does not.
        kill(daemon.worker(), Signal::SIGKILL).unwrap();
        until("it is seen to be gone", || {
            (site.token()["state"] == "failed").then_some(())
        });
        let output = site.fetch("web/key");
        assert_eq!(output.status.code(), UNAVAILABLE, "{}", text(&output));
        assert!(output.stdout.is_empty());

        disk.make_room();
        until_serving(&site, 2);
        assert_eq!(site.fetch("web/key").stdout, CONTENT);
        no_login_is_in_doubt(&site);
        daemon.stop_unharmed();
    });
}

/// What SoftHSM's files say of the token: a login that fails is written there.
fn token_files(site: &Site) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let folder = match Kind::chosen() {
        Kind::SoftHsm | Kind::Kryoptic | Kind::OpenCryptoki => "tokens",
        Kind::Tpm2 => "tpm",
    };
    softhsm_tests::disk::files(&site.path(folder))
}

#[test]
fn a_pin_that_was_refused_is_not_tried_again_until_a_person_says_so() {
    let site = Site::new();
    let good = token_files(&site);
    site.write_pin("wrong-pin");
    let (status, log) = site.refused_start();
    assert_eq!(status.code(), REFUSED, "{log}");
    assert!(log.contains("pin-refused"), "{log}");
    assert!(site.path("state/pin-refused").exists());
    // SoftHSM notes down that a wrong PIN was entered (CKF_USER_PIN_COUNT_LOW).
    let tried = token_files(&site);
    assert_ne!(
        tried, good,
        "the token does not show whether a PIN was tried"
    );

    // Not by the same PIN, nor by the right one as long as the note is there.
    for pin in ["wrong-pin", softhsm_tests::PIN] {
        site.write_pin(pin);
        let (status, log) = site.refused_start();
        assert_eq!(status.code(), REFUSED, "{log}");
        assert_eq!(token_files(&site), tried, "the PIN was tried again");
    }
    fs::remove_file(site.path("state/pin-refused")).unwrap();
    let daemon = site.start();
    site.furnish(CONTENT);
    assert_eq!(site.fetch("web/key").stdout, CONTENT);
    assert!(!site.path("state/pin-refused").exists());
    assert!(!site.path("state/pin-refused.attempt").exists());
    daemon.stop_unharmed();
}

#[test]
fn a_pin_that_is_changed_under_a_running_daemon_is_tried_once() {
    let site = Site::new();
    site.configure_deadline(1000);
    let daemon = site.start();
    site.furnish(CONTENT);
    site.write_pin("wrong-pin");
    kill(daemon.worker(), Signal::SIGKILL).unwrap();
    until("the PIN was refused", || {
        site.path("state/pin-refused").exists().then_some(())
    });
    let tried = token_files(&site);
    until("that is said", || {
        let token = site.token();
        let problem = token["problem"].as_str().unwrap_or_default().to_owned();
        problem.contains("pin-refused").then_some(())
    });
    for _ in 0..3 {
        let output = site.fetch("web/key");
        assert!(
            !output.status.success() && output.stdout.is_empty(),
            "{}",
            text(&output)
        );
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(token_files(&site), tried, "the PIN was tried again");
    assert_eq!(children(daemon.pid(), "hsm-worker"), Vec::<Pid>::new());
    drop(daemon);
}
