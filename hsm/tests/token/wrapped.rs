//! Group master keys that are kept outside the token, wrapped by a root key in it.

use custody::{envelope::Wrapping, name::InstanceId};
use hsm::{Client, Error, NewGmk};

use crate::{
    gmk::{known, protect},
    support::Store,
};

/// Has a data key wrapped and unwrapped under `gmk`.
async fn is_of_use(client: &Client, gmk: &NewGmk) {
    let instance = InstanceId::random().unwrap();
    let (dek, wrapped) = protect(client, &gmk.id, &instance).await;
    let opened = client.unwrap_row_key(&instance, &gmk.id, &wrapped).await;
    assert_eq!(opened.unwrap().expose(), dek.expose());
}

#[tokio::test]
async fn wrapped_keys_take_no_room_and_are_loaded_by_a_later_client() {
    for wrapping in [Wrapping::Aes256Gcm, Wrapping::AesKwp] {
        let store = Store::fresh();
        let mut settings = store.settings();
        settings.wrappings = vec![wrapping];
        let client = Client::start(settings).await.unwrap();
        let first = client.generate_wrapped_gmk(None).await.unwrap();
        assert_eq!(first.wrapping, wrapping);
        let root = first.blob.as_ref().unwrap().root;
        let mut made = vec![first];
        for _ in 0..20 {
            made.push(client.generate_wrapped_gmk(Some(root)).await.unwrap());
        }
        assert_eq!(store.objects(), 1);
        for gmk in &made {
            is_of_use(&client, gmk).await;
        }
        client.stop().await;

        let later = store.client().await;
        for gmk in &made {
            later.load(known(gmk)).await.unwrap();
            is_of_use(&later, gmk).await;
            // Once more, as after it was refused for a while.
            later.load(known(gmk)).await.unwrap();
            is_of_use(&later, gmk).await;
        }
        assert_eq!(store.objects(), 1);
        later.stop().await;
    }
}

#[tokio::test]
async fn a_blob_that_was_altered_or_is_anothers_is_refused_and_the_token_goes_on() {
    let store = Store::fresh();
    let client = store.client().await;
    let one = client.generate_wrapped_gmk(None).await.unwrap();
    let root = one.blob.as_ref().unwrap().root;
    let other = client.generate_wrapped_gmk(Some(root)).await.unwrap();
    client.stop().await;

    let client = store.client().await;
    let mut bent = one.clone();
    bent.blob.as_mut().unwrap().wrapped[20] ^= 1;
    let refused = client.load(known(&bent)).await.unwrap_err();
    let why = format!("root key {root} does not unwrap it");
    assert_eq!(refused, Error::NonConforming { id: one.id, why });
    let mut exchanged = one.clone();
    exchanged.blob.clone_from(&other.blob);
    let refused = client.load(known(&exchanged)).await.unwrap_err();
    assert_eq!(refused, Error::CanaryDoesNotOpen { id: one.id });
    let mut rootless = one.clone();
    rootless.blob.as_mut().unwrap().root = one.id;
    let refused = client.load(known(&rootless)).await.unwrap_err();
    assert_eq!(refused, Error::NoSuchKey { id: one.id });
    let mut short = one.clone();
    short.blob.as_mut().unwrap().wrapped.clear();
    let refused = client.load(known(&short)).await.unwrap_err();
    let why = "its blob is not one of aes-kwp".to_owned();
    assert_eq!(refused, Error::NonConforming { id: one.id, why });
    assert!(client.refused(&one.id).is_some());

    client.load(known(&other)).await.unwrap();
    is_of_use(&client, &other).await;
    client.load(known(&one)).await.unwrap();
    is_of_use(&client, &one).await;
    assert_eq!(client.health().borrow().generation, 1);
    client.stop().await;
}

#[tokio::test]
async fn no_root_key_is_made_in_place_of_one_that_is_gone() {
    let store = Store::fresh();
    let client = store.client().await;
    let one = client.generate_wrapped_gmk(None).await.unwrap();
    let refused = client.generate_wrapped_gmk(Some(one.id)).await;
    assert_eq!(refused.unwrap_err(), Error::NoSuchKey { id: one.id });
    assert_eq!(store.objects(), 1);
    client.stop().await;
}

#[tokio::test]
async fn a_pair_is_kept_in_the_token_only() {
    let store = Store::fresh();
    let mut settings = store.settings();
    settings.wrappings = vec![Wrapping::RsaOaepSha256, Wrapping::RsaOaepSha1];
    let client = Client::start(settings).await.unwrap();
    let refused = client.generate_wrapped_gmk(None).await.unwrap_err();
    let Error::NoWrapping { tried } = refused else {
        panic!("{refused}");
    };
    assert_eq!(tried.len(), 2);
    assert_eq!(tried[1].why, "no root key wraps a pair");
    assert_eq!(store.objects(), 0);
    client.stop().await;
}
