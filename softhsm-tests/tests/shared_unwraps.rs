//! Deliveries of one version that wait at the same time: the token is asked once, and each is
//! attested, decided and recorded by itself.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use std::collections::BTreeSet;

use client::Provider;
use faulty_pkcs11::{Delay, Fault, Function};
use softhsm_tests::{
    Site,
    fault::answering,
    load::{fetch, put, runtime},
    text, until,
};
use tokio::task::JoinHandle;

const CALLERS: usize = 32;

/// A site where nothing but deliveries has the token decrypt.
fn site() -> Site {
    Site::faulty("deadline = \"20s\"\ncanary-interval = \"10m\"\n")
}

/// Has the token take its time over the first `calls` of `C_Decrypt` from now on.
fn slow(site: &Site, millis: u64, calls: Option<u64>) {
    site.fault(Fault {
        function: "C_Decrypt".to_owned(),
        delay: Some(Delay::Fixed(millis)),
        times: calls,
        ..Fault::default()
    });
}

fn decrypts(site: &Site) -> u64 {
    site.counts().calls(Function::C_Decrypt)
}

/// Fetches `web/NAME` over each connection at once.
async fn fetch_all(providers: &[Provider], name: &'static str) -> Vec<Result<Vec<u8>, String>> {
    let fetches: Vec<JoinHandle<_>> = providers
        .iter()
        .map(|provider| {
            let provider = provider.clone();
            tokio::spawn(async move {
                let fetched = fetch(&provider, name).await;
                fetched
                    .map(|(content, _)| content)
                    .map_err(|error| error.to_string())
            })
        })
        .collect();
    let mut all = Vec::with_capacity(fetches.len());
    for fetch in fetches {
        all.push(fetch.await.unwrap());
    }
    all
}

async fn connections(site: &Site) -> Vec<Provider> {
    let mut all = Vec::new();
    for _ in 0..CALLERS {
        all.push(site.provider().await);
    }
    all
}

#[test]
fn deliveries_of_one_version_at_a_time_ask_the_token_once_and_are_each_on_record() {
    let site = site();
    site.measure();
    let daemon = site.start();
    site.furnish(b"content");
    let runtime = runtime();
    let providers = runtime.block_on(connections(&site));
    slow(&site, 1000, None);
    let start = decrypts(&site);
    runtime.block_on(async {
        assert_eq!(fetch(&providers[0], "key").await.unwrap().0, b"content");
    });
    let middle = decrypts(&site);
    let of_one = middle - start;
    assert!(of_one > 0);
    let shared = || site.counted_of(&site.serial, "unwraps_shared");
    assert_eq!(shared(), 0.0);

    let before = site.entries("allow").len();
    let all = runtime.block_on(fetch_all(&providers, "key"));
    assert_eq!(all, vec![Ok(b"content".to_vec()); CALLERS]);
    // A machine that is busy enough may be late with a few.
    let times = (decrypts(&site) - middle) / of_one;
    assert!(
        (1..=4).contains(&times),
        "the token was asked {times} times"
    );
    assert_eq!(shared(), CALLERS as f64 - times as f64);
    let entries = site.entries("allow");
    assert_eq!(entries.len() - before, CALLERS);
    let numbers: BTreeSet<_> = entries.iter().map(|entry| entry["seq"].as_u64()).collect();
    assert_eq!(numbers.len(), entries.len());
    assert_eq!(site.entries("undelivered").len(), 0);
    daemon.stop_unharmed();
}

#[test]
fn a_failure_while_several_wait_is_on_record_for_each_and_the_next_are_served() {
    let site = site();
    let daemon = site.start();
    site.furnish(b"content");
    let runtime = runtime();
    let providers = runtime.block_on(connections(&site));
    let before = decrypts(&site);
    site.fault(Fault {
        delay: Some(Delay::Fixed(1000)),
        ..answering("C_Decrypt", "CKR_FUNCTION_FAILED")
    });
    let all = runtime.block_on(fetch_all(&providers, "key"));
    assert!(all.iter().all(Result::is_err), "{all:?}");
    // The token is asked again on another session, and so is its successor.
    let calls = decrypts(&site) - before;
    assert!(calls < 20, "{calls} calls for {CALLERS} deliveries");
    // Each is on record twice: that it was allowed, and that nothing was delivered.
    let numbers = |kind, field: &str| -> BTreeSet<_> {
        let entries = site.entries(kind).into_iter();
        entries.map(|entry| entry[field].as_u64()).collect()
    };
    let allowed = numbers("allow", "seq");
    assert!(allowed.len() >= CALLERS);
    assert_eq!(numbers("undelivered", "allowed"), allowed);
    site.mend();
    until("it is delivered again", || {
        (site.fetch("web/key").stdout == b"content").then_some(())
    });
    daemon.stop();
    let verified = site.verify_journal();
    assert!(verified.status.success(), "{}", text(&verified));
}

#[test]
fn a_new_version_is_not_served_from_what_is_asked_for_the_old_one() {
    let site = site();
    let daemon = site.start();
    site.furnish(b"content");
    let runtime = runtime();
    let (first, manager, second) = runtime.block_on(async {
        (
            site.provider().await,
            site.manager().await,
            site.provider().await,
        )
    });
    slow(&site, 6000, Some(1));
    let old = runtime.spawn(async move { fetch(&first, "key").await.unwrap().0 });
    until("the token is asked", || {
        (site.counts().strikes(0) > 0).then_some(())
    });
    runtime.block_on(async {
        put(&manager, "key", b"newer").await.unwrap();
        assert_eq!(fetch(&second, "key").await.unwrap().0, b"newer");
    });
    assert!(!old.is_finished(), "they are served one after the other");
    assert_eq!(runtime.block_on(old).unwrap(), b"content");
    daemon.stop_unharmed();
}
