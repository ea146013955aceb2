//! Keys: how they are made, what they bind, and which are refused.

use std::time::Duration;

use aws_lc_rs::digest;
use custody::{
    envelope::{WrappedDek, Wrapping},
    journal::{public_key::PublicKey, signing::Signing},
    name::{InstanceId, KeyId},
};
use hsm::{Client, Error, KeyRole, KnownKey, NewJournalKey};

use crate::{
    gmk::{known, protect},
    support::Store,
};

#[tokio::test]
async fn a_wrap_opens_in_its_context_and_in_no_other() {
    let store = Store::fresh();
    let client = store.client().await;
    let gmk = client.generate_gmk("system").await.unwrap();
    assert_eq!(gmk.wrapping, Wrapping::Aes256Gcm);
    let [here, elsewhere] = [InstanceId::random().unwrap(), InstanceId::random().unwrap()];
    let (dek, wrapped) = protect(&client, &gmk.id, &here).await;

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
    let (dek, wrapped) = protect(&client, &gmk.id, &instance).await;
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
    for wrapping in Wrapping::ALL {
        if wrapping == Wrapping::RsaOaepSha256 {
            continue;
        }
        let mut settings = store.settings();
        settings.wrappings = vec![wrapping];
        let first = Client::start(settings).await.unwrap();
        let gmk = first.generate_gmk("group").await.unwrap();
        let (dek, wrapped) = protect(&first, &gmk.id, &instance).await;
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

/// A client that waits for RSA keys, which take their time on a busy machine.
async fn patient(store: &Store) -> Client {
    let mut settings = store.settings();
    settings.deadline = Duration::from_secs(30);
    Client::start(settings).await.unwrap()
}

/// Whether the token signs by the private half of `key`.
async fn signs(client: &Client, key: &NewJournalKey) -> bool {
    let message = b"checkpoint";
    let digest = digest::digest(&digest::SHA256, message);
    let digest = digest.as_ref().try_into().unwrap();
    let signed = client.sign(&key.id, digest).await.unwrap();
    public(key).signed(message, &signed)
}

fn public(key: &NewJournalKey) -> PublicKey {
    PublicKey::from_bytes(&key.public_key).unwrap()
}

fn known_journal(id: KeyId, public_key: &NewJournalKey) -> KnownKey {
    let public_key = public_key.public_key.clone();
    KnownKey {
        id,
        role: KeyRole::Journal { public_key },
    }
}

#[tokio::test]
async fn a_signature_verifies_with_the_public_key_that_was_given() {
    let ways: [(&[_], _); 2] = [(&[], Signing::EcdsaP256), (&["CKM_ECDSA"], Signing::RsaPss)];
    for (missing, signing) in ways {
        let store = Store::fresh_without(missing);
        let client = patient(&store).await;
        let journal = client.generate_journal_key("journal").await.unwrap();
        assert_eq!(public(&journal).signing(), signing);
        assert!(signs(&client, &journal).await);

        let other = client.generate_journal_key("journal").await.unwrap();
        let crossed = NewJournalKey {
            id: other.id,
            ..journal.clone()
        };
        assert!(!signs(&client, &crossed).await);
        let error = client.load(known_journal(journal.id, &other)).await;
        let error = error.unwrap_err();
        assert!(matches!(error, Error::NonConforming { .. }), "{error}");
        client.stop().await;
    }
}

#[tokio::test]
async fn a_journal_key_of_either_kind_is_loaded_by_a_later_client() {
    for missing in [&[][..], &["CKM_ECDSA"]] {
        let store = Store::fresh_without(missing);
        let first = patient(&store).await;
        let journal = first.generate_journal_key("journal").await.unwrap();
        first.stop().await;
        let second = store.client().await;
        second
            .load(known_journal(journal.id, &journal))
            .await
            .unwrap();
        assert!(signs(&second, &journal).await);
        second.stop().await;
    }
}

#[tokio::test]
async fn a_journal_key_is_of_the_kind_that_its_public_half_says() {
    let store = Store::fresh();
    let client = patient(&store).await;
    let journal = client.generate_journal_key("journal").await.unwrap();
    let modulus = [&[0xff; 383][..], &[1]].concat();
    let of_rsa = PublicKey::from_modulus(&modulus).unwrap();
    let load = |public_key: &[u8]| {
        let role = KeyRole::Journal {
            public_key: public_key.to_vec(),
        };
        client.load(KnownKey {
            id: journal.id,
            role,
        })
    };
    for (public_key, because) in [
        (of_rsa.as_bytes(), "CKA_KEY_TYPE"),
        (&[4; 64], "its public key is none"),
    ] {
        match load(public_key).await.unwrap_err() {
            Error::NonConforming { why, .. } => assert!(why.contains(because), "{why}"),
            other => panic!("{other}"),
        }
    }
    load(&journal.public_key).await.unwrap();
    assert!(signs(&client, &journal).await);
    client.stop().await;
}

#[tokio::test]
async fn a_journal_key_that_cannot_sign_is_not_left_in_the_token() {
    // It makes keys of either kind.
    let store = Store::fresh_without(&["CKM_ECDSA"]);
    let client = patient(&store).await;
    let journal = client.generate_journal_key("journal").await.unwrap();
    assert_eq!(public(&journal).signing(), Signing::RsaPss);
    assert_eq!(store.objects(), 2);
    client.stop().await;

    let store = Store::fresh_without(&["CKM_ECDSA", "CKM_RSA_PKCS_PSS"]);
    let client = patient(&store).await;
    match client.generate_journal_key("journal").await.unwrap_err() {
        Error::NoSigning { tried } => {
            for way in Signing::ALL {
                let why = format!("{way}: C_SignInit answered CKR_MECHANISM_INVALID");
                assert!(tried.contains(&why), "{tried}");
            }
        }
        other => panic!("{other}"),
    }
    assert_eq!(store.objects(), 0);
    assert_eq!(client.health().borrow().generation, 1, "the worker is well");
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
