//! Group master keys that are pairs: RSA-OAEP.

use std::time::Duration;

use aws_lc_rs::{
    encoding::AsDer as _,
    rsa::{KeyPair, KeySize, OAEP_SHA1_MGF1SHA1, OaepPrivateDecryptingKey, PrivateDecryptingKey},
    signature::KeyPair as _,
};
use custody::{
    envelope::Wrapping,
    name::{InstanceId, KeyId},
};
use hsm::{Client, Error, KeyRole, KnownKey};

use crate::{
    gmk::{bent, known, opens_unaltered_only, protect},
    support::Store,
};

/// RSA of 3072 bits.
const BLOB: usize = 384;

async fn client_of(store: &Store) -> Client {
    let mut settings = store.settings();
    // SoftHSM does SHA-1 only.
    settings.wrappings = vec![Wrapping::RsaOaepSha256, Wrapping::RsaOaepSha1];
    // A pair takes its time.
    settings.deadline = Duration::from_secs(60);
    Client::start(settings).await.unwrap()
}

#[tokio::test]
async fn what_a_pair_wraps_opens_in_its_context_and_unaltered_only() {
    let store = Store::fresh();
    let client = client_of(&store).await;
    let gmk = client.generate_gmk("group").await.unwrap();
    assert_eq!(gmk.wrapping, Wrapping::RsaOaepSha1);
    assert_eq!(store.objects(), 2, "both halves, and nothing of the trial");
    opens_unaltered_only(&client, &gmk.id, BLOB, |blob| {
        vec![
            bent(blob, 0),
            bent(blob, 200),
            bent(blob, BLOB - 1),
            vec![],
            vec![0; BLOB],
            vec![0xff; BLOB],
            blob[1..].to_vec(),
        ]
    })
    .await;
    client.stop().await;
}

#[tokio::test]
async fn an_exchanged_public_half_gets_no_data_key() {
    let store = Store::fresh();
    let client = client_of(&store).await;
    let gmk = client.generate_gmk("group").await.unwrap();
    client.stop().await;
    let theirs = KeyPair::generate(KeySize::Rsa3072).unwrap();
    let modulus = theirs.public_key().modulus();
    store.exchange_public_half(
        *gmk.id.as_bytes(),
        modulus.big_endian_without_leading_zero(),
    );

    let client = client_of(&store).await;
    client.load(known(&gmk)).await.unwrap();
    let instance = InstanceId::random().unwrap();
    let (dek, wrapped) = protect(&client, &gmk.id, &instance).await;
    let opened = client.unwrap_row_key(&instance, &gmk.id, &wrapped).await;
    assert_eq!(opened.unwrap().expose(), dek.expose());
    let theirs = PrivateDecryptingKey::from_pkcs8(theirs.as_der().unwrap().as_ref()).unwrap();
    let theirs = OaepPrivateDecryptingKey::new(theirs).unwrap();
    let mut room = [0; BLOB];
    let got = theirs.decrypt(&OAEP_SHA1_MGF1SHA1, wrapped.blob(), &mut room, None);
    assert!(got.is_err());
    client.stop().await;
}

#[tokio::test]
async fn a_pair_that_can_do_too_much_is_refused_by_name() {
    let store = Store::fresh();
    let id = KeyId::random().unwrap();
    store.make_lax_pair(*id.as_bytes());
    let client = client_of(&store).await;
    let good = client.generate_gmk("group").await.unwrap();
    let lax = KnownKey { id, ..known(&good) };
    let why = "CKA_SIGN is true, not false".to_owned();
    let refused = client.load(lax).await.unwrap_err();
    assert_eq!(refused, Error::NonConforming { id, why });
    client.check_canary(&good.id).await.unwrap();
    client.stop().await;
}

#[tokio::test]
async fn a_pair_is_found_as_one_only_and_only_once() {
    let store = Store::fresh();
    let twice = KeyId::random().unwrap();
    store.make_lax_pair(*twice.as_bytes());
    store.make_lax_pair(*twice.as_bytes());
    let client = client_of(&store).await;
    let good = client.generate_gmk("group").await.unwrap();
    let ambiguous = KnownKey {
        id: twice,
        ..known(&good)
    };
    let count = 2;
    let refused = client.load(ambiguous).await.unwrap_err();
    assert_eq!(refused, Error::AmbiguousKey { id: twice, count });
    let mut secret = known(&good);
    if let KeyRole::Gmk { wrapping, .. } = &mut secret.role {
        *wrapping = Wrapping::AesKwp;
    }
    let refused = client.load(secret).await.unwrap_err();
    assert_eq!(refused, Error::NoSuchKey { id: good.id });
    client.stop().await;
}

#[tokio::test]
async fn the_canary_of_another_pair_does_not_open() {
    let store = Store::fresh();
    let client = client_of(&store).await;
    let one = client.generate_gmk("one").await.unwrap();
    let other = client.generate_gmk("other").await.unwrap();
    let crossed = KnownKey {
        id: one.id,
        ..known(&other)
    };
    let error = client.load(crossed).await.unwrap_err();
    assert_eq!(error, Error::CanaryDoesNotOpen { id: one.id });
    client.check_canary(&other.id).await.unwrap();
    assert_eq!(client.health().borrow().generation, 1);
    client.stop().await;
}
