//! Keys of a worker that has many: found by one look at all of them.

use custody::name::KeyId;
use hsm::{Client, Error, KeyRole, KnownKey};

use crate::support::Store;

/// More than are searched for one by one.
const MANY: usize = 40;

fn known(id: KeyId, like: &KnownKey) -> KnownKey {
    let role = like.role.clone();
    KnownKey { id, role }
}

async fn make(client: &Client) -> KnownKey {
    let made = client.generate_gmk("group").await.unwrap();
    let (wrapping, canary) = (made.wrapping, made.canary);
    KnownKey {
        id: made.id,
        role: KeyRole::Gmk {
            wrapping,
            canary,
            blob: None,
        },
    }
}

#[tokio::test]
async fn keys_are_as_good_or_bad_as_when_each_is_searched_for() {
    let store = Store::fresh();
    let maker = store.client().await;
    let mut keys = Vec::new();
    for _ in 0..MANY {
        keys.push(make(&maker).await);
    }
    let [twice, lax, late, missing] = [(); 4].map(|()| KeyId::random().unwrap());
    for id in [twice, twice, lax] {
        store.make_lax_key(*id.as_bytes());
    }
    let client = store.client().await;
    for key in &keys {
        client.load(key.clone()).await.unwrap();
    }
    let load = |id| client.load(known(id, &keys[0]));
    let ambiguous = Error::AmbiguousKey {
        id: twice,
        count: 2,
    };
    assert_eq!(load(twice).await, Err(ambiguous.clone()));
    let error = load(lax).await.unwrap_err();
    assert!(matches!(error, Error::NonConforming { .. }), "{error}");
    assert_eq!(load(missing).await, Err(Error::NoSuchKey { id: missing }));
    // What the look at all of them could not see is there, or there twice, all the same.
    store.make_lax_key(*late.as_bytes());
    let error = load(late).await.unwrap_err();
    assert!(matches!(error, Error::NonConforming { .. }), "{error}");
    let first = keys[0].id;
    store.make_lax_key(*first.as_bytes());
    let ambiguous = Error::AmbiguousKey {
        id: first,
        count: 2,
    };
    assert_eq!(load(first).await, Err(ambiguous));
    client.check_canary(&keys[1].id).await.unwrap();
    assert_eq!(client.health().borrow().generation, 1);
    client.stop().await;
    maker.stop().await;
}
