//! Workers that are killed or hang while callers fetch and write.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use nix::sys::signal::{Signal, kill};
use softhsm_tests::{
    Site,
    load::{children, fetch, put, random_time, rounds, runtime},
    until,
};
use tokio::task::JoinSet;

use super::{CONTENT, generation, no_login_is_in_doubt, until_serving};

#[derive(Default)]
struct Tally {
    right: AtomicUsize,
    later: AtomicUsize,
    stop: AtomicBool,
}

/// Fetches, and writes a little, until it is told to stop. Every answer is right, or
/// says to try again later. Each caller has a secret of its own, so that an answer to
/// another shows.
async fn callers(site: &Site, count: usize, tally: &Arc<Tally>) -> JoinSet<()> {
    let mut callers = JoinSet::new();
    let manager = site.manager().await;
    for caller in 0..count {
        let (name, own) = (format!("key-{caller}"), format!("content of {caller}"));
        put(&manager, &name, own.as_bytes()).await.unwrap();
        let provider = site.provider().await;
        let tally = Arc::clone(tally);
        callers.spawn(async move {
            while !tally.stop.load(Ordering::Relaxed) {
                match fetch(&provider, &name).await {
                    Ok((content, _)) => {
                        assert_eq!(content, own.as_bytes());
                        tally.right.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(client::Error::Unavailable(_)) => {
                        tally.later.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(other) => panic!("{other:?}"),
                }
            }
        });
    }
    let tally = Arc::clone(tally);
    callers.spawn(async move {
        while !tally.stop.load(Ordering::Relaxed) {
            match put(&manager, "other", b"other content").await {
                Ok(_) | Err(client::Error::Unavailable(_)) => {}
                Err(other) => panic!("{other:?}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    callers
}

/// Sends `signal` to worker after worker under load.
fn under_load(signal: Signal, times: usize) {
    let site = Site::new();
    site.configure_deadline(1000);
    let daemon = site.start();
    site.furnish(CONTENT);
    let tally = Arc::new(Tally::default());
    let runtime = runtime();
    let callers = runtime.block_on(callers(&site, 8, &tally));
    for _ in 0..times {
        std::thread::sleep(random_time(20, 200));
        let before = generation(&site);
        kill(daemon.worker(), signal).unwrap();
        until_serving(&site, before + 1);
        let right = tally.right.load(Ordering::Relaxed);
        until("callers are served again", || {
            (tally.right.load(Ordering::Relaxed) > right + 8).then_some(())
        });
    }
    tally.stop.store(true, Ordering::Relaxed);
    runtime.block_on(callers.join_all());

    // Nothing of it is left.
    assert!(tally.right.load(Ordering::Relaxed) > 10 * times);
    for _ in 0..20 {
        assert_eq!(site.fetch("web/key").stdout, CONTENT);
    }
    assert_eq!(children(daemon.pid(), "hsm-worker").len(), 1);
    no_login_is_in_doubt(&site);
    let token = site.token();
    assert_eq!(token["state"], "serving");
    assert!(token["worker_generation"].as_u64().unwrap() > times as u64);
    assert!(
        site.entries("token")
            .iter()
            .any(|entry| entry["state"] == "serving")
    );
    daemon.stop_unharmed();
    // Whatever was allowed and not delivered says so: answers are not lost unnoticed.
    let allowed = site.entries("allow").len();
    let undelivered = site.entries("undelivered").len();
    assert_eq!(
        allowed - undelivered,
        tally.right.load(Ordering::Relaxed) + 20
    );
}

#[test]
fn a_worker_that_is_killed_under_load_costs_nothing_but_retries() {
    under_load(Signal::SIGKILL, rounds(4));
}

#[test]
fn a_worker_that_hangs_under_load_costs_nothing_but_retries() {
    under_load(Signal::SIGSTOP, rounds(2));
}
