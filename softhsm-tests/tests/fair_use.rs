//! Fair use of a token that is slow: who asks for much waits for itself, and not others for it.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use std::{
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use faulty_pkcs11::{Delay, Fault};
use softhsm_tests::{
    Site,
    intruder::STRANGER,
    load::{fetch, put, runtime},
    many::name,
    skip::is_root,
    text, until,
};

const SECRETS: usize = 160;
const CONNECTIONS: usize = 8;

/// The places in the line of which one caller has half.
const PLACES: usize = 64;
const HALF: f64 = PLACES as f64 / 2.0;

/// How many deliveries wait for their turn.
fn waiting(site: &Site) -> f64 {
    site.metrics()["custodyd_token_turns_waiting"]
}

#[test]
fn who_asks_for_much_of_a_slow_token_does_not_keep_others_waiting() {
    if !is_root("who_asks_for_much_of_a_slow_token_does_not_keep_others_waiting") {
        return;
    }
    let site = Site::faulty(&format!(
        "deadline = \"10s\"\ncanary-interval = \"10m\"\nqueue = {PLACES}\n"
    ));
    site.measure();
    let daemon = site.start();
    site.furnish(b"content");
    site.grant(&[&format!("unix:uid:{STRANGER}")]);
    let runtime = runtime();
    let providers = runtime.block_on(async {
        let manager = site.manager().await;
        for number in 0..SECRETS {
            put(&manager, &name(number), b"much").await.unwrap();
        }
        let mut providers = Vec::new();
        for _ in 0..CONNECTIONS {
            providers.push(site.provider().await);
        }
        providers
    });
    site.fault(Fault {
        function: "C_Decrypt".to_owned(),
        delay: Some(Delay::Fixed(100)),
        ..Fault::default()
    });
    // One user has as much under way as it can.
    let stop = Arc::new(AtomicBool::new(false));
    let fetched = Arc::new(AtomicUsize::new(0));
    let much: Vec<_> = (0..SECRETS)
        .map(|number| {
            let provider = providers[number % CONNECTIONS].clone();
            let (stop, fetched) = (Arc::clone(&stop), Arc::clone(&fetched));
            runtime.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let got = usize::from(fetch(&provider, &name(number)).await.is_ok());
                    fetched.fetch_add(got, Ordering::Relaxed);
                }
            })
        })
        .collect();
    until("it has all the places that it may have", || {
        (waiting(&site) >= HALF).then_some(())
    });

    let client = site.custodyctl();
    let asking = Command::new("setpriv")
        .args([format!("--reuid={STRANGER}"), format!("--regid={STRANGER}")])
        .arg("--clear-groups")
        .arg(client.get_program())
        .args(["fetch", "web/key"])
        .env("CUSTODY_PROVIDER", site.path("run/provider.sock"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    until("another waits beside it", || {
        (waiting(&site) > HALF).then_some(())
    });
    let before = fetched.load(Ordering::Relaxed);
    until("it has its turn", || (waiting(&site) <= HALF).then_some(()));
    let meanwhile = fetched.load(Ordering::Relaxed) - before;
    assert!(meanwhile < PLACES / 4, "{meanwhile} went first");
    let output = asking.wait_with_output().unwrap();
    assert_eq!(output.stdout, b"content", "{}", text(&output));
    let there = waiting(&site);
    assert!((1.0..=HALF).contains(&there), "{there} wait");

    stop.store(true, Ordering::Relaxed);
    site.mend();
    for one in much {
        runtime.block_on(one).unwrap();
    }
    assert!(fetched.load(Ordering::Relaxed) > 0, "it got nothing");
    until("nobody waits", || (waiting(&site) == 0.0).then_some(()));
    daemon.stop_unharmed();
}
