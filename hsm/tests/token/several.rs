//! Several workers of one token: what ends or holds up one is nothing to whoever asks, and a
//! worker is replaced without a request that fails.

use std::{fs, time::Duration};

use hsm::{Breaker, Client, Error, WorkerState};
use rustix::process::{Signal, kill_process};

use crate::{
    load::under_load,
    support::{PIN, Store, all_serve, eventually},
};

#[tokio::test]
async fn a_worker_that_is_killed_costs_no_request_if_there_is_another() {
    let store = Store::fresh();
    let client = store.client_of_two().await;
    let (good, bad) = under_load(&client, async || {
        for generation in 3..=6 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let workers = store.workers();
            assert_eq!(workers.len(), 2);
            let killed = workers[usize::try_from(generation % 2).unwrap()];
            kill_process(killed, Signal::KILL).unwrap();
            all_serve(&client, generation).await;
        }
    })
    .await;
    assert!(good > 0);
    assert_eq!(bad, []);
    client.stop().await;
    assert_eq!(store.workers(), []);
}

#[tokio::test]
async fn a_worker_that_hangs_holds_up_no_request_for_long_if_there_is_another() {
    let store = Store::fresh();
    let mut settings = store.settings_for_two();
    settings.deadline = Duration::from_secs(2);
    let client = Client::start(settings).await.unwrap();
    all_serve(&client, 2).await;
    let (good, bad) = under_load(&client, async || {
        for (index, generation) in [(0, 3), (1, 4)] {
            tokio::time::sleep(Duration::from_millis(50)).await;
            store.freeze_one(store.workers()[index]).await;
            all_serve(&client, generation).await;
        }
    })
    .await;
    assert!(good > 0);
    assert_eq!(bad, []);
    client.stop().await;
}

#[tokio::test]
async fn a_new_key_is_used_by_each_worker() {
    let store = Store::fresh();
    let client = store.client_of_two().await;
    let gmk = client.generate_gmk("group").await.unwrap().id;
    for frozen in store.workers() {
        store.freeze_one(frozen).await;
        client.check_canary(&gmk).await.unwrap();
        kill_process(frozen, Signal::CONT).unwrap();
    }
    assert_eq!(client.health().borrow().generation, 2);
    client.stop().await;
}

#[tokio::test]
async fn a_wrong_pin_is_tried_once_however_many_workers_there_are() {
    let store = Store::fresh();
    let client = store.client_of_two().await;
    fs::write(store.pin_file(), "wrong").unwrap();
    for worker in store.workers() {
        kill_process(worker, Signal::KILL).unwrap();
    }
    let mut health = client.health();
    let given_up = |health: &hsm::Health| {
        let mut workers = health.workers.iter();
        workers.all(|worker| {
            matches!(
                worker.state,
                WorkerState::Failed {
                    permanent: true,
                    ..
                }
            )
        })
    };
    let health = health.wait_for(given_up).await.unwrap().clone();
    let refused: Vec<_> = health
        .workers
        .iter()
        .filter_map(|worker| match &worker.state {
            WorkerState::Failed { problem, .. } => Some(problem.contains("earlier")),
            _ => None,
        })
        .collect();
    assert_eq!(
        refused.iter().filter(|earlier| **earlier).count(),
        1,
        "one tried it, the other did not: {health:?}"
    );
    assert!(store.latch().exists());
    client.stop().await;
}

#[tokio::test]
async fn workers_are_replaced_without_a_request_that_fails() {
    let store = Store::fresh();
    let client = store.client_of_two().await;
    let before = store.workers();
    let (good, bad) = under_load(&client, async || {
        tokio::time::sleep(Duration::from_millis(50)).await;
        client.renew(store.settings_for_two());
        all_serve(&client, 4).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    })
    .await;
    assert!(good > 0);
    assert_eq!(bad, []);
    eventually("those of before are gone", || {
        let now = store.workers();
        now.len() == 2 && before.iter().all(|worker| !now.contains(worker))
    })
    .await;
    client.stop().await;
}

#[tokio::test]
async fn a_worker_that_has_grown_is_replaced() {
    let store = Store::fresh();
    let mut settings = store.settings();
    settings.worker_growth = Some(1);
    let client = Client::start(settings).await.unwrap();
    let first = store.worker();
    let mut gmk = client.generate_gmk("group").await.unwrap().id;
    for _ in 0..50 {
        gmk = client.generate_gmk("group").await.unwrap().id;
    }
    let replaced = async {
        while store.worker() == first || client.health().borrow().generation < 2 {
            client.check_canary(&gmk).await.unwrap();
        }
    };
    let replaced = tokio::time::timeout(Duration::from_secs(30), replaced).await;
    replaced.unwrap();
    client.check_canary(&gmk).await.unwrap();
    client.stop().await;
}

#[tokio::test]
async fn a_worker_that_nobody_asks_is_found_to_hang() {
    let store = Store::fresh();
    let mut settings = store.settings_for_two();
    settings.canary_interval = Duration::from_millis(100);
    settings.deadline = Duration::from_millis(500);
    let client = Client::start(settings).await.unwrap();
    all_serve(&client, 2).await;
    client.generate_gmk("group").await.unwrap();
    // Whoever asks nothing more is answered by neither.
    for generation in 3..=4 {
        store.freeze_one(store.workers()[0]).await;
        all_serve(&client, generation).await;
    }
    client.stop().await;
}

#[tokio::test]
async fn the_last_order_counts() {
    let store = Store::fresh();
    let client = store.client().await;
    let gmk = client.generate_gmk("group").await.unwrap().id;
    for order in ["first", "second", "third"] {
        let mut settings = store.settings();
        settings
            .environment
            .push(("HSM_TEST_ORDER".into(), order.into()));
        client.renew(settings);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    eventually("the worker that is there was ordered last", || {
        let is_of_third = |worker: &rustix::process::Pid| {
            let environment = fs::read(format!("/proc/{worker}/environ")).unwrap_or_default();
            environment
                .split(|byte| *byte == 0)
                .any(|variable| variable == b"HSM_TEST_ORDER=third")
        };
        let workers = store.workers();
        workers.len() == 1 && workers.iter().all(is_of_third)
    })
    .await;
    client.check_canary(&gmk).await.unwrap();
    client.stop().await;
    assert_eq!(store.workers(), []);
}

#[tokio::test]
async fn a_worker_that_is_old_is_replaced() {
    let store = Store::fresh();
    let mut settings = store.settings();
    settings.worker_age = Some(Duration::from_millis(200));
    let client = Client::start(settings).await.unwrap();
    let gmk = client.generate_gmk("group").await.unwrap().id;
    let first = store.worker();
    let replaced = async {
        while store.worker() == first || client.health().borrow().generation < 2 {
            client.check_canary(&gmk).await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(20), replaced)
        .await
        .unwrap();
    client.stop().await;
}

#[tokio::test]
async fn a_worker_serves_on_if_its_successor_is_refused_the_pin() {
    let store = Store::fresh();
    let client = store.client().await;
    let gmk = client.generate_gmk("group").await.unwrap().id;
    let first = store.worker();
    fs::write(store.pin_file(), "wrong").unwrap();
    client.renew(store.settings());
    let mut health = client.health();
    let told = |health: &hsm::Health| health.workers[0].renewal_problem.is_some();
    let told = health.wait_for(told).await.unwrap().clone();
    let problem = told.workers[0].renewal_problem.as_deref();
    assert!(problem.unwrap().contains("refused the PIN"), "{problem:?}");
    assert_eq!(told.state, WorkerState::Serving);
    assert!(store.latch().exists());
    client.check_canary(&gmk).await.unwrap();
    assert_eq!(store.worker(), first);

    // Once the operator has acted, and not before.
    fs::write(store.pin_file(), PIN).unwrap();
    fs::remove_file(store.latch()).unwrap();
    client.renew(store.settings());
    all_serve(&client, 2).await;
    assert_eq!(client.health().borrow().workers[0].renewal_problem, None);
    client.check_canary(&gmk).await.unwrap();
    client.stop().await;
}

#[tokio::test]
async fn requests_are_refused_at_once_while_no_worker_can_be_started() {
    let store = Store::fresh();
    let mut settings = store.settings_for_two();
    settings.deadline = Duration::from_secs(10);
    settings.longest_wait = Duration::from_millis(200);
    let client = Client::start(settings).await.unwrap();
    all_serve(&client, 2).await;
    let gmk = client.generate_gmk("group").await.unwrap().id;
    let (there, away) = (store.path("tokens"), store.path("away"));
    fs::rename(&there, &away).unwrap();
    fs::create_dir(&there).unwrap();
    for worker in store.workers() {
        kill_process(worker, Signal::KILL).unwrap();
    }
    let mut health = client.health();
    let open = |health: &hsm::Health| health.breaker() == Breaker::Open;
    health.wait_for(open).await.unwrap();
    let asked = std::time::Instant::now();
    let error = client.check_canary(&gmk).await.unwrap_err();
    assert!(asked.elapsed() < Duration::from_secs(5), "it did not wait");
    let Error::Outage { problem } = &error else {
        panic!("{error:?}");
    };
    assert!(problem.contains("no token is"), "{problem}");
    assert!(error.is_transient());

    fs::remove_dir(&there).unwrap();
    fs::rename(&away, &there).unwrap();
    let closed = |health: &hsm::Health| health.breaker() == Breaker::Closed;
    health.wait_for(closed).await.unwrap();
    client.check_canary(&gmk).await.unwrap();
    client.stop().await;
}
