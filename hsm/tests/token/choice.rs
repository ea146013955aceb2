//! Exactly one token, or a refusal that lists what is there.

use hsm::{Error, TokenSelector};

use crate::support::{LABEL, Store, refusal};

#[tokio::test]
async fn two_tokens_of_one_label_are_told_apart_by_serial_and_listed_when_neither_fits() {
    let store = Store::fresh();
    store.add_token(LABEL);
    let serials = store.serials();
    assert_eq!(serials.len(), 2);
    for serial in &serials {
        let mut settings = store.settings();
        settings.token = TokenSelector::new(LABEL.into(), serial.clone());
        let client = hsm::Client::start(settings).await.unwrap();
        assert_eq!(client.token().serial, *serial);
        client.stop().await;
    }
    let mut settings = store.settings();
    settings.token = TokenSelector::new(LABEL.into(), "0".into());
    match refusal(settings).await {
        Error::NoSuchToken { candidates, .. } => assert_eq!(candidates.len(), 2),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_module_that_is_none_is_named() {
    let store = Store::fresh();
    let mut settings = store.settings();
    settings.module = "/nonexistent.so".into();
    let error = refusal(settings).await;
    assert!(error.to_string().contains("/nonexistent.so"), "{error}");
}

#[tokio::test]
async fn a_worker_that_is_none_is_an_error() {
    let store = Store::fresh();
    for line in [
        vec![],
        vec!["/nonexistent".into()],
        vec!["/bin/true".into()],
    ] {
        let mut settings = store.settings();
        settings.worker = line;
        let error = refusal(settings).await;
        assert!(matches!(error, Error::WorkerUnusable(_)), "{error}");
    }
}
