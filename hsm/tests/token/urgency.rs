//! What a token does first when it has more to do than it can at once.

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex},
};

use custody::{
    envelope::{Context, PlaintextDek, WrappedDek},
    invocation::Invocation,
    name::{InstanceId, KeyId},
    release::Urgency,
};
use hsm::{Client, Error};
use rustix::process::Signal;
use tokio::task::JoinSet;

use crate::{gmk::protect, support::Store};

/// How many requests are made of each urgency.
const MANY: usize = 40;
/// How many a worker of one session has at a time.
const TAKEN: usize = 16;

/// Something to ask a token.
struct Asking {
    client: Client,
    instance: InstanceId,
    gmk: KeyId,
    dek: [u8; 32],
    wrapped: WrappedDek,
}

impl Asking {
    async fn of(client: Client) -> Self {
        let gmk = client.generate_gmk("system").await.unwrap().id;
        let instance = InstanceId::random().unwrap();
        let (dek, wrapped) = protect(&client, &gmk, &instance).await;
        Self {
            client,
            instance,
            gmk,
            dek: *dek.expose(),
            wrapped,
        }
    }

    async fn ask(&self, urgency: Urgency) -> Result<(), Error> {
        let (instance, gmk) = (&self.instance, &self.gmk);
        match urgency {
            Urgency::Delivery => {
                let dek = self.client.unwrap_row_key(instance, gmk, &self.wrapped);
                assert_eq!(*dek.await?.expose(), self.dek);
            }
            Urgency::Management => {
                self.client.random(32).await?;
            }
            Urgency::Upkeep => {
                let counted = Invocation::uncounted(*gmk).for_upkeep();
                let dek = PlaintextDek::generate().unwrap();
                let context = Context::RowKey { instance, gmk };
                self.client.protect_dek(counted, &dek, context).await?;
            }
        }
        Ok(())
    }
}

#[tokio::test]
async fn deliveries_go_before_management_and_that_before_upkeep() {
    let store = Store::fresh();
    let mut settings = store.settings();
    settings.sessions = NonZeroUsize::MIN;
    let asking = Arc::new(Asking::of(Client::start(settings).await.unwrap()).await);
    store.freeze().await;
    let done = Arc::new(Mutex::new(Vec::new()));
    let mut all = JoinSet::new();
    for urgency in Urgency::ALL.into_iter().rev() {
        for _ in 0..MANY {
            let (asking, done) = (Arc::clone(&asking), Arc::clone(&done));
            all.spawn(async move {
                asking.ask(urgency).await.unwrap();
                done.lock().unwrap().push(urgency);
            });
        }
        // Each is asked before the next is; and the driver comes to them.
        for _ in 0..MANY {
            tokio::task::yield_now().await;
        }
    }
    store.signal(Signal::CONT);
    while let Some(asked) = all.join_next().await {
        asked.unwrap();
    }
    asking.client.stop().await;
    let done = done.lock().unwrap();
    let (taken, waited) = done.split_at(TAKEN);
    assert_eq!(taken, [Urgency::Upkeep; TAKEN], "what the worker had");
    assert!(waited.is_sorted(), "{waited:?}");
    assert_eq!(waited.len(), 3 * MANY - TAKEN);
}

#[tokio::test]
async fn what_has_time_leaves_room_for_what_has_none() {
    let store = Store::fresh();
    let mut settings = store.settings();
    settings.sessions = NonZeroUsize::MIN;
    settings.queue = NonZeroUsize::new(MANY - 1).unwrap();
    let asking = Arc::new(Asking::of(Client::start(settings).await.unwrap()).await);
    store.freeze().await;
    let mut taken = Vec::new();
    for urgency in Urgency::ALL.into_iter().rev() {
        let mut all = JoinSet::new();
        for _ in 0..MANY {
            let asking = Arc::clone(&asking);
            all.spawn(async move { asking.ask(urgency).await });
        }
        for _ in 0..MANY {
            tokio::task::yield_now().await;
        }
        taken.push(all);
    }
    store.signal(Signal::CONT);
    let mut served = Vec::new();
    for mut all in taken {
        let mut good = 0;
        while let Some(asked) = all.join_next().await {
            match asked.unwrap() {
                Ok(()) => good += 1,
                Err(error) => assert_eq!(error, Error::Busy),
            }
        }
        served.push(good);
    }
    assert_eq!(served, [MANY / 2, MANY / 4, MANY / 4]);
    asking.client.stop().await;
}
