//! Group master keys that are two secret keys: AES-256-CBC and HMAC-SHA-256.

use custody::{envelope::Wrapping, name::KeyId};
use hsm::{Client, Error, NewGmk};

use crate::{
    gmk::{bent, known, opens_unaltered_only},
    support::Store,
};

/// IV, ciphertext and tag.
const BLOB: usize = 16 + 32 + 32;

async fn client_of(store: &Store) -> Client {
    let mut settings = store.settings();
    settings.wrappings = vec![Wrapping::AesCbcHmac];
    Client::start(settings).await.unwrap()
}

/// A store with a master key, which nobody uses just now.
async fn made() -> (Store, NewGmk) {
    let store = Store::fresh();
    let client = client_of(&store).await;
    let gmk = client.generate_gmk("group").await.unwrap();
    assert_eq!(gmk.wrapping, Wrapping::AesCbcHmac);
    assert_eq!(store.objects(), 2, "both keys, and nothing of the trial");
    client.stop().await;
    (store, gmk)
}

async fn refusal(store: &Store, gmk: &NewGmk) -> Error {
    let client = client_of(store).await;
    let refused = client.load(known(gmk)).await.unwrap_err();
    assert!(client.refused(&gmk.id).is_some());
    client.stop().await;
    refused
}

#[tokio::test]
async fn what_two_keys_wrap_opens_in_its_context_and_unaltered_only() {
    let (store, gmk) = made().await;
    let client = client_of(&store).await;
    client.load(known(&gmk)).await.unwrap();
    opens_unaltered_only(&client, &gmk.id, BLOB, |blob| {
        let mut altered: Vec<_> = (0..BLOB).map(|at| bent(blob, at)).collect();
        altered.extend([
            vec![],
            blob[..BLOB - 32].to_vec(),
            blob[..BLOB - 1].to_vec(),
            [blob, &[0]].concat(),
        ]);
        altered
    })
    .await;
    client.stop().await;
}

#[tokio::test]
async fn a_key_without_its_other_half_is_none() {
    let (store, gmk) = made().await;
    store.have_made(&format!("no-mac {}", gmk.id));
    assert_eq!(store.objects(), 1);
    assert_eq!(refusal(&store, &gmk).await, Error::NoSuchKey { id: gmk.id });
    assert_eq!(store.objects(), 1, "none is made in its place");
}

#[tokio::test]
async fn another_half_is_not_taken_for_it() {
    let (store, gmk) = made().await;
    store.have_made(&format!("mac {} sign", gmk.id));
    assert_eq!(
        refusal(&store, &gmk).await,
        Error::CanaryDoesNotOpen { id: gmk.id }
    );
    store.have_made(&format!("mac {} verify", gmk.id));
    let why = "CKA_VERIFY is true, not false".to_owned();
    assert_eq!(
        refusal(&store, &gmk).await,
        Error::NonConforming { id: gmk.id, why }
    );
}

#[tokio::test]
async fn neither_half_is_a_key_of_another_kind() {
    let (store, gmk) = made().await;
    for wrapping in [Wrapping::Aes256Gcm, Wrapping::AesKwp] {
        let mut other = gmk.clone();
        other.wrapping = wrapping;
        let (id, count) = (gmk.id, 2);
        assert_eq!(
            refusal(&store, &other).await,
            Error::AmbiguousKey { id, count }
        );
    }
    let mut other = gmk;
    other.id = KeyId::random().unwrap();
    assert_eq!(
        refusal(&store, &other).await,
        Error::NoSuchKey { id: other.id }
    );
}
