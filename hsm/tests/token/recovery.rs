//! A worker that is lost costs requests a clear error while it lasts, and nothing after it.

use std::{num::NonZeroUsize, time::Duration};

use hsm::{Client, Error};
use rustix::process::{Pid, Signal};

use crate::{
    load::under_load,
    support::{Store, eventually, serves},
};

#[tokio::test]
async fn a_killed_worker_is_replaced_under_load() {
    let store = Store::fresh();
    let client = store.client().await;
    let (good, bad) = under_load(&client, async || {
        for generation in 2..=3 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            store.signal(Signal::KILL);
            serves(&client, generation).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    })
    .await;
    assert!(good > 0);
    assert!(!bad.is_empty());
    assert!(
        bad.iter().all(|error| *error == Error::Restarting),
        "{bad:?}"
    );
    client.stop().await;
}

#[tokio::test]
async fn a_worker_that_hangs_is_replaced_at_the_deadline() {
    let store = Store::fresh();
    let mut settings = store.settings();
    settings.deadline = Duration::from_millis(500);
    let client = Client::start(settings).await.unwrap();
    let hung = std::cell::Cell::new(None);
    let (good, bad) = under_load(&client, async || {
        tokio::time::sleep(Duration::from_millis(50)).await;
        hung.set(store.worker());
        store.freeze().await;
        serves(&client, 2).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    })
    .await;
    assert!(good > 0);
    assert!(bad.contains(&Error::Deadline), "{bad:?}");
    assert!(bad.iter().all(Error::is_transient), "{bad:?}");
    assert_ne!(store.worker(), hung.get());
    client.stop().await;
}

#[tokio::test]
async fn requests_wait_for_the_successor() {
    let store = Store::fresh();
    let client = store.client().await;
    let gmk = client.generate_gmk("group").await.unwrap().id;
    store.signal(Signal::KILL);
    eventually("the worker is missed", || {
        client.health().borrow().generation == 2
    })
    .await;
    client.check_canary(&gmk).await.unwrap();
    client.stop().await;
}

#[tokio::test]
async fn requests_over_the_queue_are_turned_away_at_once() {
    let store = Store::fresh();
    let mut settings = store.settings();
    settings.queue = NonZeroUsize::MIN;
    settings.deadline = Duration::from_secs(2);
    let client = Client::start(settings).await.unwrap();
    let gmk = client.generate_gmk("group").await.unwrap().id;
    store.freeze().await;
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.check_canary(&gmk).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(client.check_canary(&gmk).await, Err(Error::Busy));
    assert!(waiting.iter().all(|request| !request.is_finished()));
    for request in waiting {
        assert!(request.await.unwrap().unwrap_err().is_transient());
    }
    serves(&client, 2).await;
    client.check_canary(&gmk).await.unwrap();
    client.stop().await;
}

#[tokio::test]
async fn a_stopped_client_leaves_no_worker_and_says_so() {
    let store = Store::fresh();
    let client = store.client().await;
    let gmk = client.generate_gmk("group").await.unwrap().id;
    client.stop().await;
    assert_eq!(store.worker(), None);
    assert_eq!(client.check_canary(&gmk).await, Err(Error::Stopped));
    client.stop().await;
}

#[tokio::test]
async fn a_dropped_client_leaves_no_worker() {
    let store = Store::fresh();
    drop(store.client().await);
    eventually("the worker is gone", || store.worker().is_none()).await;
}

#[tokio::test]
async fn a_worker_does_not_outlive_its_parent() {
    let store = Store::fresh();
    let mut parent = store.parent().spawn().unwrap();
    eventually("the parent serves", || store.path("ready").exists()).await;
    let worker = store.worker().expect("it has a worker");
    assert_ne!(worker, Pid::from_child(&parent));
    parent.kill().unwrap();
    parent.wait().unwrap();
    eventually("the worker is gone", || store.worker().is_none()).await;
}
