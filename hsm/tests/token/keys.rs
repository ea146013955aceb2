//! Keys: how they are made, what they bind, and which are refused.

use aws_lc_rs::{digest, signature};
use custody::{
    envelope::{Context, PlaintextDek, WrappedDek, Wrapping},
    invocation::Invocation,
    name::{InstanceId, KeyId},
};
use hsm::{Client, Error, KeyRole, KnownKey, NewGmk};

use crate::support::Store;

fn known(gmk: &NewGmk) -> KnownKey {
    KnownKey {
        id: gmk.id,
        role: KeyRole::Gmk {
            wrapping: gmk.wrapping,
            canary: gmk.canary.clone(),
            blob: gmk.blob.clone(),
        },
    }
}

async fn protect(
    client: &Client,
    gmk: &NewGmk,
    instance: &InstanceId,
) -> (PlaintextDek, WrappedDek) {
    let dek = PlaintextDek::generate().unwrap();
    let context = Context::RowKey {
        instance,
        gmk: &gmk.id,
    };
    let wrapped = client
        .protect_dek(Invocation::uncounted(gmk.id), &dek, context)
        .await
        .unwrap();
    (dek, wrapped)
}

#[tokio::test]
async fn a_wrap_opens_in_its_context_and_in_no_other() {
    let store = Store::fresh();
    let client = store.client().await;
    let gmk = client.generate_gmk("system").await.unwrap();
    assert_eq!(gmk.wrapping, Wrapping::Aes256Gcm);
    let [here, elsewhere] = [InstanceId::random().unwrap(), InstanceId::random().unwrap()];
    let (dek, wrapped) = protect(&client, &gmk, &here).await;

    let opened = client
        .unwrap_row_key(&here, &gmk.id, &wrapped)
        .await
        .unwrap();
    assert_eq!(opened.expose(), dek.expose());

    let moved = client.unwrap_row_key(&elsewhere, &gmk.id, &wrapped).await;
    assert_eq!(moved.unwrap_err(), Error::DoesNotOpen { gmk: gmk.id });
    let mut bent = wrapped.blob().to_vec();
    for bad in [
        {
            bent[20] ^= 1;
            bent.clone()
        },
        vec![],
        vec![0; 59],
        vec![0; 100_000],
    ] {
        let altered = WrappedDek::from_blob(bad);
        let altered = client
            .unwrap_row_key(&here, &gmk.id, &altered)
            .await
            .unwrap_err();
        assert!(
            altered.is_bad_data() && !altered.is_transient(),
            "{altered}"
        );
    }
    // Bad data costs the worker nothing.
    assert_eq!(client.health().borrow().generation, 1);
    client.check_canary(&gmk.id).await.unwrap();
    client.stop().await;
}

#[tokio::test]
async fn key_wrap_serves_where_it_is_what_is_allowed() {
    let store = Store::fresh();
    let mut settings = store.settings();
    settings.wrappings = vec![Wrapping::AesKwp];
    let client = Client::start(settings).await.unwrap();
    let gmk = client.generate_gmk("group").await.unwrap();
    assert_eq!(gmk.wrapping, Wrapping::AesKwp);
    let instance = InstanceId::random().unwrap();
    let (dek, wrapped) = protect(&client, &gmk, &instance).await;
    assert_eq!(wrapped.blob().len(), 40);
    let opened = client
        .unwrap_row_key(&instance, &gmk.id, &wrapped)
        .await
        .unwrap();
    assert_eq!(opened.expose(), dek.expose());
    let mut bent = wrapped.blob().to_vec();
    bent[39] ^= 1;
    let bent = WrappedDek::from_blob(bent);
    let altered = client.unwrap_row_key(&instance, &gmk.id, &bent).await;
    assert_eq!(altered.unwrap_err(), Error::DoesNotOpen { gmk: gmk.id });
    assert_eq!(client.health().borrow().generation, 1);
    client.stop().await;
}

#[tokio::test]
async fn a_key_of_each_wrapping_is_loaded_by_a_later_client() {
    let store = Store::fresh();
    let instance = InstanceId::random().unwrap();
    // RSA-OAEP is there with SHA-1 only.
    for wrapping in [Wrapping::Aes256Gcm, Wrapping::AesKwp, Wrapping::RsaOaepSha1] {
        let mut settings = store.settings();
        settings.wrappings = vec![wrapping];
        let first = Client::start(settings).await.unwrap();
        let gmk = first.generate_gmk("group").await.unwrap();
        let (dek, wrapped) = protect(&first, &gmk, &instance).await;
        first.stop().await;

        let second = store.client().await;
        let early = second.unwrap_row_key(&instance, &gmk.id, &wrapped).await;
        assert_eq!(early.unwrap_err(), Error::KeyNotLoaded { id: gmk.id });
        second.load(known(&gmk)).await.unwrap();
        let opened = second
            .unwrap_row_key(&instance, &gmk.id, &wrapped)
            .await
            .unwrap();
        assert_eq!(opened.expose(), dek.expose());
        second.stop().await;
    }
}

#[tokio::test]
async fn a_key_that_can_do_too_much_is_refused_by_name() {
    let store = Store::fresh();
    let id = KeyId::random().unwrap();
    store.make_lax_key(*id.as_bytes());
    let client = store.client().await;
    let good = client.generate_gmk("group").await.unwrap();
    let lax = KnownKey { id, ..known(&good) };
    match client.load(lax).await.unwrap_err() {
        Error::NonConforming { id: named, why } => {
            assert_eq!(named, id);
            assert_eq!(why, "CKA_WRAP is true, not false");
        }
        other => panic!("{other}"),
    }
    assert!(client.refused(&id).unwrap().contains("CKA_WRAP"));
    let used = client.check_canary(&id).await.unwrap_err();
    assert!(matches!(used, Error::KeyRefused { .. }), "{used}");
    client.check_canary(&good.id).await.unwrap();
    client.stop().await;
}

#[tokio::test]
async fn a_key_of_another_use_does_not_conform() {
    let store = Store::fresh();
    let client = store.client().await;
    let gmk = client.generate_gmk("group").await.unwrap();
    let mut other = known(&gmk);
    if let KeyRole::Gmk { wrapping, .. } = &mut other.role {
        *wrapping = Wrapping::AesKwp;
    }
    let error = client.load(other).await.unwrap_err();
    assert!(matches!(error, Error::NonConforming { .. }), "{error}");
    client.stop().await;
}

#[tokio::test]
async fn the_canary_of_another_key_does_not_open() {
    let store = Store::fresh();
    let client = store.client().await;
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

#[tokio::test]
async fn a_key_that_is_missing_or_there_twice_is_refused() {
    let store = Store::fresh();
    let twice = KeyId::random().unwrap();
    store.make_lax_key(*twice.as_bytes());
    store.make_lax_key(*twice.as_bytes());
    let client = store.client().await;
    let good = client.generate_gmk("group").await.unwrap();
    let missing = KeyId::random().unwrap();
    let load = |id| client.load(KnownKey { id, ..known(&good) });
    assert_eq!(load(missing).await, Err(Error::NoSuchKey { id: missing }));
    let ambiguous = Error::AmbiguousKey {
        id: twice,
        count: 2,
    };
    assert_eq!(load(twice).await, Err(ambiguous));
    client.stop().await;
}

#[tokio::test]
async fn a_signature_verifies_with_the_public_key_that_was_given() {
    let store = Store::fresh();
    let client = store.client().await;
    let journal = client.generate_journal_key("journal").await.unwrap();
    let message = b"checkpoint";
    let digest = digest::digest(&digest::SHA256, message);
    let digest: [u8; 32] = digest.as_ref().try_into().unwrap();
    let signed = client.sign(&journal.id, digest).await.unwrap();
    let verify = |public: &[u8]| {
        signature::UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, public)
            .verify(message, &signed)
    };
    verify(&journal.public_key).unwrap();

    let other = client.generate_journal_key("journal").await.unwrap();
    assert!(verify(&other.public_key).is_err());
    let crossed = KnownKey {
        id: journal.id,
        role: KeyRole::Journal {
            public_key: other.public_key,
        },
    };
    let error = client.load(crossed).await.unwrap_err();
    assert!(matches!(error, Error::NonConforming { .. }), "{error}");
    client.stop().await;
}

#[tokio::test]
async fn random_bytes_are_as_many_as_asked_for_and_others_each_time() {
    let store = Store::fresh();
    let client = store.client().await;
    for length in [1, 64, 256] {
        let bytes = client.random(length).await.unwrap();
        assert_eq!(u32::try_from(bytes.len()).unwrap(), length);
    }
    let [one, other] = [
        client.random(64).await.unwrap(),
        client.random(64).await.unwrap(),
    ];
    assert_ne!(one, other);
    for length in [0, 257, u32::MAX] {
        let refused = client.random(length).await.unwrap_err();
        assert!(matches!(refused, Error::WorkerUnusable(_)), "{refused}");
    }
    assert_eq!(client.health().borrow().generation, 1, "the worker is well");
    client.stop().await;
}
