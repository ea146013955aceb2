//! A group with many secrets whose master keys change while callers go on.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use client::{Manager, Provider};
use serde_json::Value;

use crate::{
    Site,
    load::{fetch, put, runtime},
};

/// The name of one of many secrets.
pub fn name(number: usize) -> String {
    format!("s{number}")
}

/// What it holds, if the test does not say otherwise.
pub fn content(number: usize) -> Vec<u8> {
    format!("content of {number}").into_bytes()
}

/// A configuration where callers have no limits, and the token may be busy with moves for `share`
/// percent of the time.
pub fn limits(share: u32) -> String {
    format!(
        "[limits]\nconnections-per-uid = 1024\nrequests-per-second = 1000000\n\
         burst = 1000000\nrewrap-share = {share}\n"
    )
}

impl Site {
    /// One that [`limits`] configures.
    pub fn moving(share: u32) -> Self {
        let site = Self::new();
        site.configure(&limits(share));
        site
    }

    /// Puts so many secrets into `web`, which is there.
    pub fn put_many(&self, secrets: usize, content: impl Fn(usize) -> Vec<u8>) {
        runtime().block_on(async {
            let manager = self.manager().await;
            for number in 0..secrets {
                let content = content(number);
                put(&manager, &name(number), &content).await.unwrap();
            }
        });
    }

    /// Puts so many secrets into `web`, all granted to whoever runs the test.
    pub fn furnish_many(&self, secrets: usize) {
        self.furnish(b"content");
        self.put_many(secrets, content);
    }

    /// All of these are delivered as they were written.
    pub fn all_open(&self, secrets: usize) {
        runtime().block_on(async {
            let provider = self.provider().await;
            for number in 0..secrets {
                let (found, _) = fetch(&provider, &name(number)).await.unwrap();
                assert_eq!(found, content(number), "{number}");
            }
        });
    }

    /// What is shown of the master keys of `web`.
    pub fn master_keys(&self) -> Vec<Value> {
        let group = self.ctl_json(&["group", "show", "web"]);
        group["master_keys"].as_array().unwrap().clone()
    }

    /// Of the changes that were made, by the journal, those called `change`.
    pub fn changes_made(&self, change: &str) -> Vec<Value> {
        let settled = self.entries("commit");
        let settled: Vec<_> = settled.iter().map(|entry| &entry["number"]).collect();
        let prepared = self.entries("prepare").into_iter();
        prepared
            .filter(|entry| entry["change"]["change"] == change)
            .filter(|entry| settled.contains(&&entry["number"]))
            .collect()
    }

    /// How often each version of `web` was in a change called so, which lists many.
    pub fn times_changed(&self, change: &str) -> BTreeMap<String, usize> {
        let mut times = BTreeMap::new();
        for entry in self.changes_made(change) {
            for (secret, numbers) in entry["change"]["versions"].as_object().unwrap() {
                for number in numbers.as_array().unwrap() {
                    *times.entry(format!("web/{secret}@{number}")).or_default() += 1;
                }
            }
        }
        times
    }
}

/// Has so many callers make a request again and again while `meanwhile` goes on: none fails. What
/// makes one is told whose it is, and how many that one has made.
pub fn nobody_notices<Request>(
    site: &Site,
    callers: usize,
    request: impl Fn(Provider, Manager, usize, usize) -> Request + Copy + Send + 'static,
    meanwhile: impl FnOnce(),
) where
    Request: Future<Output = ()> + Send,
{
    let runtime = runtime();
    let stop = Arc::new(AtomicBool::new(false));
    let right = Arc::new(AtomicUsize::new(0));
    let callers: Vec<_> = (0..callers)
        .map(|caller| {
            let (stop, right) = (Arc::clone(&stop), Arc::clone(&right));
            let (provider, manager) =
                runtime.block_on(async { (site.provider().await, site.manager().await) });
            runtime.spawn(async move {
                let mut made = 0;
                while !stop.load(Ordering::Relaxed) {
                    request(provider.clone(), manager.clone(), caller, made).await;
                    right.fetch_add(1, Ordering::Relaxed);
                    made += 1;
                }
            })
        })
        .collect();
    meanwhile();
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        runtime.block_on(caller).expect("no request failed");
    }
    assert!(right.load(Ordering::Relaxed) > 0);
}
