//! While everything that a context refers to is rotated as fast as it can be, and what refers
//! to it as well, whoever fetches it gets the versions of one moment.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use client::{Error, Manager, Provider, TlsContext, v1};
use rcgen::KeyPair;
use softhsm_tests::{
    Site,
    kind::Kind,
    load::{rounds, runtime},
    starve::Starved,
    text,
    world::TlsPair,
};

/// The pairs that were written, by the versions of the key store.
type Written = Arc<Mutex<BTreeMap<u32, TlsPair>>>;

async fn put(manager: &Manager, name: &str, kind: &str, fields: &[(&str, &str)]) -> u32 {
    let field = |(name, value): &(&str, &str)| v1::Field {
        name: (*name).to_owned(),
        value: value.as_bytes().to_vec(),
    };
    let request = v1::PutSecretRequest {
        group: "web".to_owned(),
        name: name.to_owned(),
        r#type: kind.to_owned(),
        fields: fields.iter().map(field).collect(),
        ..Default::default()
    };
    manager.put_secret(request).await.unwrap().number
}

/// Writes a key store, then the trust store that has its certificate, over and over; both
/// have as many versions.
async fn rotate(manager: Manager, written: Written, rounds: usize) {
    for _ in 0..rounds {
        let pair = TlsPair::new();
        let keystore = [
            ("certificate-chain", &*pair.certificate),
            ("private-key", &*pair.key),
        ];
        let expected = {
            // Whoever fetches it must find it here.
            let mut written = written.lock().unwrap();
            let next = u32::try_from(written.len()).unwrap() + 1;
            let (certificate, key) = (pair.certificate.clone(), pair.key.clone());
            written.insert(next, TlsPair { certificate, key });
            next
        };
        assert_eq!(put(&manager, "key", "keystore", &keystore).await, expected);
        let truststore = [("certificates", &*pair.certificate)];
        assert_eq!(
            put(&manager, "ca", "truststore", &truststore).await,
            expected
        );
    }
}

fn public(key: &str) -> Vec<u8> {
    use rcgen::PublicKeyData as _;
    KeyPair::from_pem(key).unwrap().subject_public_key_info()
}

/// The key belongs to the certificate, and the trust store was current when the key store was.
fn is_of_one_moment(context: &TlsContext, written: &Written) -> (u32, u32) {
    let fetched = context.fetched();
    let [key, ca] = ["keystore", "truststore"].map(|part| fetched.part(part).unwrap().version);
    let written = written.lock().unwrap();
    let text = |content: Option<&[u8]>| str::from_utf8(content.unwrap()).unwrap().to_owned();
    assert_eq!(text(context.certificate_chain()), written[&key].certificate);
    assert_eq!(
        public(&text(context.private_key())),
        public(&written[&key].key)
    );
    assert_eq!(text(context.truststore()), written[&ca].certificate);
    assert!(
        ca == key || ca + 1 == key,
        "key store {key} was never current with trust store {ca}"
    );
    (key, ca)
}

async fn fetch(provider: Provider, written: Written, is_over: Arc<AtomicBool>) -> Vec<(u32, u32)> {
    let mut seen = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        match provider.fetch_tls_context("web", "ctx").await {
            Ok(context) => seen.push(is_of_one_moment(&context, &written)),
            Err(Error::Unavailable(_)) => {}
            Err(other) => panic!("{other}"),
        }
    }
    seen
}

#[test]
fn a_context_fetched_while_it_is_rotated_is_of_one_moment() {
    const CALLERS: usize = 6;
    let site = Site::new();
    let daemon = site.start();
    site.ctl(&["group", "create", "web"]);
    site.grant_on("*", &[]);
    let written = Written::default();
    let runtime = runtime();
    let seen = runtime.block_on(async {
        let manager = site.manager().await;
        rotate(manager.clone(), Arc::clone(&written), 1).await;
        let refers = [
            ("keystore", "custody:web/key"),
            ("truststore", "custody:web/ca"),
        ];
        put(&manager, "ctx", "tls-context", &refers).await;
        let is_over = Arc::new(AtomicBool::new(false));
        let mut callers = tokio::task::JoinSet::new();
        for _ in 0..CALLERS {
            let provider = site.provider().await;
            callers.spawn(fetch(provider, Arc::clone(&written), Arc::clone(&is_over)));
        }
        let rotating = rotate(manager, Arc::clone(&written), rounds(60));
        tokio::spawn(rotating).await.unwrap();
        is_over.store(true, Ordering::Relaxed);
        callers.join_all().await.concat()
    });
    daemon.stop();
    let mut distinct = seen.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert!(
        distinct.len() > 10,
        "{} states seen in {} fetches",
        distinct.len(),
        seen.len()
    );
    assert!(site.entries("undelivered").is_empty());
    assert_eq!(
        site.entries("allow").len(),
        3 * seen.len(),
        "each part of each is on record"
    );
    let verified = site.verify_journal();
    assert!(verified.status.success(), "{}", text(&verified));
}

async fn fetch_blob(provider: Provider, is_over: Arc<AtomicBool>) -> usize {
    let mut served = 0;
    loop {
        let is_last = is_over.load(Ordering::Relaxed);
        match provider.fetch("web", "key", None).await {
            Ok(_) => served += 1,
            // It came too late, twice.
            Err(Error::Unavailable(_)) => assert!(!is_last, "nothing overtakes it any more"),
            Err(other) => panic!("{other}"),
        }
        if is_last {
            return served;
        }
    }
}

#[test]
fn a_version_that_is_destroyed_while_it_is_fetched_is_not_taken_for_a_forgery() {
    if !Kind::has(
        "a_version_that_is_destroyed_while_it_is_fetched_is_not_taken_for_a_forgery",
        "many answers at once",
    ) {
        return;
    }
    const CALLERS: usize = 8;
    let site = Site::new();
    let daemon = site.start();
    site.furnish(b"first");
    // Most are read only after the next write.
    let _starved = Starved::of(daemon.pid(), "db-reader");
    let served: usize = runtime().block_on(async {
        let manager = site.manager().await;
        let is_over = Arc::new(AtomicBool::new(false));
        let mut callers = tokio::task::JoinSet::new();
        for _ in 0..CALLERS {
            callers.spawn(fetch_blob(site.provider().await, Arc::clone(&is_over)));
        }
        for round in 0..rounds(150) {
            let put = v1::PutSecretRequest {
                group: "web".to_owned(),
                name: "key".to_owned(),
                r#type: "blob".to_owned(),
                fields: vec![v1::Field {
                    name: "content".to_owned(),
                    value: format!("{round}").into_bytes(),
                }],
                // The one before is destroyed at once.
                keep: Some(1),
                ..Default::default()
            };
            manager.put_secret(put).await.unwrap();
        }
        is_over.store(true, Ordering::Relaxed);
        callers.join_all().await.into_iter().sum()
    });
    assert!(served >= CALLERS, "{served}");
    let overtaken = site.entries("undelivered");
    assert!(overtaken.len() > 10, "{} came too late", overtaken.len());
    for undelivered in overtaken {
        assert_eq!(undelivered["reason"]["cause"], "overtaken");
    }
    assert!(site.entries("tampering").is_empty());
}
