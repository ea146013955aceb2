//! Fair use of a token that is slow: who asks for much waits for itself, and not others for it.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
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

/// How many deliveries wait for their turn.
fn waiting(site: &Site) -> usize {
    let mut stream = UnixStream::connect(site.path("run/metrics.sock")).unwrap();
    let request = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
    stream.write_all(request).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let mut lines = answer.lines();
    let value = lines.find_map(|line| line.strip_prefix("custodyd_token_turns_waiting "));
    value.unwrap().trim().parse().unwrap()
}

#[test]
fn who_asks_for_much_of_a_slow_token_does_not_keep_others_waiting() {
    if !is_root("who_asks_for_much_of_a_slow_token_does_not_keep_others_waiting") {
        return;
    }
    let (site, socket) = (Site::faulty(""), "run/metrics.sock");
    let metrics = site.path(socket);
    site.configure_faulty(&format!(
        "deadline = \"10s\"\ncanary-interval = \"10m\"\nqueue = {PLACES}\n\
         [metrics]\nsocket = {metrics:?}\n"
    ));
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
    let much: Vec<_> = (0..SECRETS)
        .map(|number| {
            let provider = providers[number % CONNECTIONS].clone();
            let stop = Arc::clone(&stop);
            runtime.spawn(async move {
                let mut fetched = 0;
                while !stop.load(Ordering::Relaxed) {
                    fetched += usize::from(fetch(&provider, &name(number)).await.is_ok());
                }
                fetched
            })
        })
        .collect();
    until("it has all the places that it may have", || {
        (waiting(&site) >= PLACES / 2).then_some(())
    });

    let began = Instant::now();
    let client = site.custodyctl();
    let output = Command::new("setpriv")
        .args([format!("--reuid={STRANGER}"), format!("--regid={STRANGER}")])
        .arg("--clear-groups")
        .arg(client.get_program())
        .args(["fetch", "web/key"])
        .env("CUSTODY_PROVIDER", site.path("run/provider.sock"))
        .output()
        .unwrap();
    let took = began.elapsed();
    assert_eq!(output.stdout, b"content", "{}", text(&output));
    // What the workers have already comes first: some three seconds of it.
    assert!(took < Duration::from_secs(8), "it took {took:?}");
    let there = waiting(&site);
    assert!((1..=PLACES / 2).contains(&there), "{there} wait");

    stop.store(true, Ordering::Relaxed);
    site.mend();
    let fetched: usize = much
        .into_iter()
        .map(|one| runtime.block_on(one).unwrap())
        .sum();
    assert!(fetched > 0, "it got nothing");
    until("nobody waits", || (waiting(&site) == 0).then_some(()));
    daemon.stop_unharmed();
}
