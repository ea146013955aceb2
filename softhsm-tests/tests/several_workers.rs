//! P8 recovering, with two workers of one token: callers do not notice that one crashes, hangs or
//! is replaced.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use std::{fs, time::Duration};

use client::{Manager, Provider};
use faulty_pkcs11::{Delay, Fault};
use nix::sys::signal::{Signal, kill};
use serde_json::Value;
use softhsm_tests::{
    Site,
    load::{fetch, put, random_time, rounds},
    many::{content, name, nobody_notices},
    text, until,
};

const CONTENT: &[u8] = b"the content of the secret";
const NEW_PIN: &str = "abcd1234";

/// `custodyctl`'s exit code for what may work later.
const UNAVAILABLE: Option<i32> = Some(6);

fn site() -> Site {
    let site = Site::new();
    site.configure("workers = 2\ndeadline = \"2s\"\nlongest-wait = \"200ms\"\n");
    site
}

/// The numbers of the workers, once both serve and there have been as many as `generation`.
fn until_both_serve(site: &Site, generation: u64) -> Vec<u64> {
    until("both workers serve", || {
        let token = site.token();
        let workers = token["workers"].as_array().unwrap();
        let serve = workers.iter().all(|worker| worker["state"] == "serving");
        let there = token["worker_generation"].as_u64() == Some(generation);
        let numbers = workers
            .iter()
            .map(|worker| worker["number"].as_u64().unwrap());
        (workers.len() == 2 && serve && there).then(|| numbers.collect())
    })
}

/// What the journal says of workers: number and state.
fn on_record(site: &Site) -> Vec<(u64, String)> {
    let entries = site.journal().into_iter();
    entries
        .filter(|entry| entry["kind"] == "token")
        .map(|entry| {
            let state = entry["state"].as_str().unwrap();
            (entry["generation"].as_u64().unwrap(), state.to_owned())
        })
        .collect()
}

/// Has callers fetch and write without a pause while `meanwhile` goes on.
fn undisturbed(site: &Site, meanwhile: impl FnOnce()) {
    let request = |provider: Provider, manager: Manager, caller, _| async move {
        let content = content(caller);
        put(&manager, &name(caller), &content).await.unwrap();
        let (found, _) = fetch(&provider, &name(caller)).await.unwrap();
        assert_eq!(found, content);
    };
    nobody_notices(site, 4, request, meanwhile);
}

#[test]
fn a_worker_that_crashes_or_hangs_fails_no_request_and_is_on_record_once() {
    let site = site();
    let daemon = site.start();
    site.furnish(CONTENT);
    until_both_serve(&site, 2);
    let mut expected = Vec::new();
    undisturbed(&site, || {
        let mut generation = 2;
        for signal in [Signal::SIGKILL, Signal::SIGSTOP].repeat(rounds(2)) {
            for which in 0..2 {
                std::thread::sleep(random_time(20, 100));
                kill(daemon.workers()[which], signal).unwrap();
                generation += 1;
                until_both_serve(&site, generation);
                expected.push((generation, "serving".to_owned()));
            }
        }
    });
    assert_eq!(on_record(&site), expected);
    assert!(!site.path("state/pin-refused").exists());
    daemon.stop_unharmed();
}

#[test]
fn a_command_that_is_soon_over_logs_in_once() {
    let site = Site::without_init();
    site.configure_faulty("workers = 2\n");
    let output = site.init().output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(site.logins(), 1);
}

#[test]
fn a_wrong_pin_is_tried_once_by_two_workers_that_start_at_a_time() {
    let site = Site::faulty("workers = 2\n");
    let daemon = site.start();
    until_both_serve(&site, 2);
    fs::write(site.path("pin"), "wrong").unwrap();
    // So that the second would begin before the first has its answer.
    site.fault(Fault {
        function: "C_Login".to_owned(),
        delay: Some(Delay::Fixed(500)),
        ..Fault::default()
    });
    let before = site.logins();
    for worker in daemon.workers() {
        kill(worker, Signal::SIGKILL).unwrap();
    }
    until("both have given up", || {
        let token = site.token();
        let workers = token["workers"].as_array().unwrap();
        let failed = workers.iter().all(|worker| worker["state"] == "failed");
        failed.then_some(())
    });
    assert_eq!(site.logins(), before + 1);
}

#[test]
fn a_key_that_workers_lacked_when_they_started_is_in_use_once_the_token_behaves() {
    // No canary is opened meanwhile.
    let site = Site::faulty("workers = 2\nlongest-wait = \"200ms\"\ncanary-interval = \"10m\"\n");
    let daemon = site.start();
    site.furnish(CONTENT);
    let mut generation = 2;
    until_both_serve(&site, generation);
    // One worker after the other starts without the key, while another serves.
    site.misbehave(|control| control.token.duplicates = true);
    for which in [0, 0] {
        kill(daemon.workers()[which], Signal::SIGKILL).unwrap();
        generation += 1;
        until_both_serve(&site, generation);
    }
    let fetched = site.fetch("web/key");
    assert_eq!(fetched.status.code(), UNAVAILABLE, "{}", text(&fetched));
    site.mend();
    until("the secret is delivered again", || {
        (site.fetch("web/key").stdout == CONTENT).then_some(())
    });
    assert_eq!(daemon.workers().len(), 2);
    daemon.stop_unharmed();
}

#[test]
fn a_pin_that_was_changed_is_taken_over_by_a_reload() {
    let site = site();
    let daemon = site.start();
    site.furnish(CONTENT);
    until_both_serve(&site, 2);
    let before = daemon.workers();
    undisturbed(&site, || {
        site.intrude(&["set-pin", NEW_PIN]);
        fs::write(site.path("pin"), NEW_PIN).unwrap();
        daemon.signal(Signal::SIGHUP);
        assert_eq!(until_both_serve(&site, 4).len(), 2);
    });
    until("those of before are gone", || {
        let now = daemon.workers();
        (now.len() == 2 && before.iter().all(|worker| !now.contains(worker))).then_some(())
    });
    // Successors log in with it, too.
    kill(daemon.workers()[0], Signal::SIGKILL).unwrap();
    until_both_serve(&site, 5);
    assert!(!site.path("state/pin-refused").exists());
    daemon.stop_unharmed();
}

#[test]
fn a_reload_with_a_wrong_pin_leaves_the_workers_as_they_are() {
    let site = site();
    let daemon = site.start();
    site.furnish(CONTENT);
    until_both_serve(&site, 2);
    let before = daemon.workers();
    fs::write(site.path("pin"), "wrong").unwrap();
    daemon.signal(Signal::SIGHUP);
    let token = until("both say why they were not replaced", || {
        let token = site.token();
        let workers = token["workers"].as_array().unwrap();
        let told = workers.iter().all(|worker| worker["problem"].is_string());
        told.then(|| token.clone())
    });
    let workers = token["workers"].as_array().unwrap();
    let problems: Vec<_> = workers
        .iter()
        .map(|worker| worker["problem"].as_str().unwrap())
        .collect();
    let earlier = problems
        .iter()
        .filter(|problem| problem.contains("earlier"));
    assert_eq!(earlier.count(), 1, "it was tried once: {problems:?}");
    assert!(site.path("state/pin-refused").exists());
    assert_eq!(token["state"], "serving");
    assert_eq!(daemon.workers(), before);
    assert_eq!(site.fetch("web/key").stdout, CONTENT);
    assert_eq!(on_record(&site), [], "nothing changed");
}

#[test]
fn the_status_of_the_token_says_what_is_amiss_and_ends_so() {
    let site = site();
    let daemon = site.start();
    site.furnish(CONTENT);
    site.ctl(&["group", "create", "other"]);
    until_both_serve(&site, 2);
    let fine = site.try_ctl(&["hsm", "status"]);
    assert_eq!(fine.status.code(), Some(0), "{}", text(&fine));
    assert!(
        text(&fine).contains("2, none refused, and each canary opened"),
        "{}",
        text(&fine)
    );

    let gone = site.gmk("web");
    site.intrude(&["destroy", &gone]);
    for worker in daemon.workers() {
        kill(worker, Signal::SIGKILL).unwrap();
    }
    until_both_serve(&site, 4);
    let amiss = site.try_ctl(&["hsm", "status", "-o", "json"]);
    assert_eq!(amiss.status.code(), Some(10), "{}", text(&amiss));
    let status: Value = serde_json::from_slice(&amiss.stdout).unwrap();
    let [key] = &status["amiss"].as_array().unwrap()[..] else {
        panic!("{status:#}");
    };
    assert_eq!((&key["group"], &key["id"]), (&"web".into(), &gone.into()));
    let refused = key["refused"].as_str().unwrap();
    assert!(refused.contains("is not in the token"), "{refused}");
}

#[test]
fn requests_are_refused_at_once_while_no_worker_can_be_started() {
    let site = Site::new();
    site.configure("workers = 2\ndeadline = \"1m\"\nlongest-wait = \"200ms\"\n");
    let daemon = site.start();
    site.furnish(CONTENT);
    until_both_serve(&site, 2);
    let (there, away) = (site.path("tokens"), site.path("away"));
    fs::rename(&there, &away).unwrap();
    fs::create_dir(&there).unwrap();
    for worker in daemon.workers() {
        kill(worker, Signal::SIGKILL).unwrap();
    }
    until("the breaker opens", || {
        (site.token()["breaker"] == "open").then_some(())
    });
    let begun = std::time::Instant::now();
    let fetched = site.fetch("web/key");
    assert_eq!(fetched.status.code(), UNAVAILABLE, "{}", text(&fetched));
    assert!(fetched.stdout.is_empty());
    assert!(begun.elapsed() < Duration::from_secs(30), "it waited");
    let status = text(&site.try_ctl(&["status"]));
    assert!(status.contains("refused at once"), "{status}");

    fs::remove_dir(&there).unwrap();
    fs::rename(&away, &there).unwrap();
    until("it is closed again", || {
        (site.token()["breaker"] == "closed").then_some(())
    });
    assert_eq!(site.fetch("web/key").stdout, CONTENT);
    daemon.stop_unharmed();
}
