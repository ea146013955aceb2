//! `kill -9` under load, over and over, at any moment.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use client::{Manager, Provider};
use softhsm_tests::{
    Site,
    load::{fetch, put, random_time, rounds, runtime},
};

use super::{CONTENT, stop_and_verify, versions};

/// What clients were told while daemons came and went.
#[derive(Default)]
struct Told {
    /// Acknowledged versions, by secret and number.
    kept: BTreeMap<(String, u32), Vec<u8>>,
    /// Everything that was ever sent, acknowledged or not, by secret.
    sent: BTreeMap<String, BTreeSet<Vec<u8>>>,
    receipts: BTreeSet<u64>,
}

impl Told {
    /// Versions or receipts, whichever are fewer.
    fn counts(&self) -> usize {
        self.kept.len().min(self.receipts.len())
    }
}

/// Writes until the daemon is gone.
async fn write(manager: Manager, name: String, shared: bool, round: usize, told: Arc<Mutex<Told>>) {
    for number in 0.. {
        // Some longer than a page, so that a half would show.
        let length = if number % 2 == 0 { 40 } else { 9000 };
        let mut content = format!("{name} {round} {shared} {number} ").into_bytes();
        content.resize(length, b'.');
        told.lock()
            .unwrap()
            .sent
            .entry(name.clone())
            .or_default()
            .insert(content.clone());
        match put(&manager, &name, &content).await {
            Ok(version) => {
                let before = told
                    .lock()
                    .unwrap()
                    .kept
                    .insert((name.clone(), version), content);
                assert_eq!(before, None, "version {version} of {name} was given twice");
            }
            Err(client::Error::Unavailable(_)) => return,
            Err(other) => panic!("{other:?}"),
        }
    }
}

/// Reads until the daemon is gone.
async fn read(provider: Provider, name: &str, told: Arc<Mutex<Told>>) {
    loop {
        match fetch(&provider, name).await {
            Ok((content, fetched)) => {
                let mut told = told.lock().unwrap();
                assert!(
                    told.sent[name].contains(&content),
                    "{}",
                    content.escape_ascii()
                );
                told.receipts.insert(fetched.receipt);
            }
            Err(client::Error::Unavailable(_)) => return,
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_was_acknowledged_is_there_however_often_the_daemon_is_killed() {
    let site = Site::new();
    // Small, so that it is killed between segments, too.
    site.configure("[journal]\nsegment-size = \"16KiB\"\n");
    let daemon = site.start();
    site.furnish(CONTENT);
    daemon.kill();
    let told = Arc::new(Mutex::new(Told::default()));
    told.lock()
        .unwrap()
        .kept
        .insert(("key".to_owned(), 1), CONTENT.to_vec());
    told.lock()
        .unwrap()
        .sent
        .insert("key".to_owned(), [CONTENT.to_vec()].into());
    let runtime = runtime();
    let rounds = rounds(12);
    for round in 0..rounds {
        let daemon = site.start();
        runtime.block_on(async {
            let (manager, provider) = (site.manager().await, site.provider().await);
            let writer = |name: &str, shared| {
                let told = Arc::clone(&told);
                write(manager.clone(), name.to_owned(), shared, round, told)
            };
            let own = writer("own", false);
            let one = writer("key", false);
            let two = writer("key", true);
            let reader = read(provider.clone(), "key", Arc::clone(&told));
            let other = read(site.provider().await, "key", Arc::clone(&told));
            let killer = async {
                // At any moment after the start, and at any moment of busy times.
                let before = told.lock().unwrap().counts();
                while round % 2 == 0 && told.lock().unwrap().counts() <= before {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                tokio::time::sleep(random_time(0, 150)).await;
                daemon.kill();
            };
            tokio::join!(own, one, two, reader, other, killer);
        });
    }

    let daemon = site.start();
    let told = told.lock().unwrap();
    for name in ["key", "own"] {
        let there = versions(&site, &format!("web/{name}"));
        let first_to_last: Vec<_> = (1..=there.len() as u64).collect();
        assert_eq!(there, first_to_last);
        let acknowledged = told.kept.keys().filter(|(kept, _)| kept == name).count();
        // In each round every writer had at most one write in the air.
        assert!(there.len() >= acknowledged && there.len() <= acknowledged + 2 * rounds);
    }
    runtime.block_on(async {
        let provider = site.provider().await;
        for name in ["key", "own"] {
            let last = versions(&site, &format!("web/{name}")).len();
            for version in 1..=u32::try_from(last).unwrap() {
                let fetched = provider.fetch("web", name, Some(version)).await.unwrap();
                let content = fetched.field("content").unwrap();
                match told.kept.get(&(name.to_owned(), version)) {
                    Some(kept) => assert!(kept == content, "{name}@{version} is another"),
                    None => assert!(told.sent[name].contains(content), "{name}@{version}"),
                }
            }
        }
    });
    stop_and_verify(&site, daemon);
    let allowed = site.entries("allow");
    let allowed: BTreeSet<_> = allowed
        .iter()
        .map(|entry| entry["seq"].as_u64().unwrap())
        .collect();
    assert!(told.receipts.is_subset(&allowed));
    assert!(told.counts() >= rounds / 2, "there was no load");
    assert_eq!(site.entries("start").len(), rounds + 2);
    assert!(site.entries("tampering").is_empty());
    // Every change that was begun has one outcome.
    let mut open = None;
    for entry in site.journal() {
        match entry["kind"].as_str().unwrap() {
            "prepare" => assert_eq!(open.replace(entry["number"].clone()), None),
            "commit" | "abort" => assert_eq!(open.take().as_ref(), Some(&entry["number"])),
            _ => {}
        }
    }
    assert_eq!(open, None);
}
