//! Where the PIN comes from, and what becomes of a wrong one.

use std::{fs, io::Write as _, os::fd::AsRawFd as _, os::unix::fs::PermissionsExt as _};

use hsm::{Client, Error, PinProblem, PinSource};
use rustix::process::Signal;

use crate::support::{LABEL, PIN, Store, refusal, serves};

#[tokio::test]
async fn a_wrong_pin_is_tried_once_and_not_again_after_a_restart() {
    let store = Store::fresh();
    fs::write(store.pin_file(), "wrong").unwrap();
    let error = refusal(store.settings()).await;
    assert!(matches!(error, Error::PinRefused { .. }), "{error}");
    assert!(store.latch().exists());
    assert!(!store.path("pin-refused.attempt").exists());

    // A restart, even with the right PIN, waits for the operator.
    fs::write(store.pin_file(), PIN).unwrap();
    let mut settings = store.settings();
    settings.worker = vec!["/nonexistent".into()];
    let error = refusal(settings).await;
    assert!(matches!(error, Error::PinLatched { .. }), "{error}");

    fs::remove_file(store.latch()).unwrap();
    store.client().await.stop().await;
}

#[tokio::test]
async fn a_pin_that_turns_wrong_is_tried_once_by_successors() {
    let store = Store::fresh();
    let client = store.client().await;
    fs::write(store.pin_file(), "wrong").unwrap();
    store.signal(Signal::KILL);
    let mut health = client.health();
    let permanent = |health: &hsm::Health| {
        matches!(
            health.state,
            hsm::WorkerState::Failed {
                permanent: true,
                ..
            }
        )
    };
    health.wait_for(permanent).await.unwrap();
    assert!(store.latch().exists());
    let error = client.generate_gmk("x").await.unwrap_err();
    assert!(matches!(error, Error::PinRefused { .. }), "{error}");
    assert_eq!(store.worker(), None);
    client.stop().await;
}

#[tokio::test]
async fn an_interrupted_login_is_latched_if_the_token_saw_a_wrong_pin() {
    let store = Store::fresh();
    fs::write(store.pin_file(), "wrong").unwrap();
    refusal(store.settings()).await;
    // As if the process had been killed before it could latch.
    fs::remove_file(store.latch()).unwrap();
    fs::write(store.path("pin-refused.attempt"), "1").unwrap();
    let error = refusal(store.settings()).await;
    assert!(matches!(error, Error::PinRefused { .. }), "{error}");
    assert!(
        fs::read_to_string(store.latch())
            .unwrap()
            .contains("interrupted")
    );
}

#[tokio::test]
async fn an_interrupted_login_with_the_right_pin_is_forgotten() {
    let store = Store::fresh();
    fs::write(store.path("pin-refused.attempt"), "1").unwrap();
    store.client().await.stop().await;
    assert!(!store.path("pin-refused.attempt").exists());
}

#[tokio::test]
async fn a_lax_pin_file_is_refused() {
    let store = Store::fresh();
    fs::set_permissions(store.pin_file(), fs::Permissions::from_mode(0o640)).unwrap();
    let error = refusal(store.settings()).await;
    let lax = Error::PinUnavailable(PinProblem::Lax {
        path: store.pin_file(),
        mode: 0o640,
    });
    assert_eq!(error, lax);
    assert!(!store.latch().exists());
}

#[tokio::test]
async fn a_descriptor_is_read_once_and_the_pin_outlives_the_worker() {
    let store = Store::fresh();
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(format!("{PIN}\n").as_bytes()).unwrap();
    drop(writer);
    let mut settings = store.settings();
    settings.pin = PinSource::Descriptor(reader.as_raw_fd());
    let client = Client::start(settings).await.unwrap();
    drop(reader);
    store.signal(Signal::KILL);
    serves(&client, 2).await;
    assert_eq!(client.token().label, LABEL);
    client.stop().await;
}

#[tokio::test]
async fn a_credential_is_found_by_its_name() {
    let store = Store::fresh();
    let folder = store.path("credentials");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("pin"), PIN).unwrap();
    let mut settings = store.settings();
    let folder = folder.to_str().unwrap().to_owned();
    settings
        .environment
        .push(("CREDENTIALS_DIRECTORY".into(), folder));
    settings.pin = PinSource::Credential("pin".into());
    Client::start(settings.clone()).await.unwrap().stop().await;
    settings.pin = PinSource::Credential("other".into());
    let missing = Error::PinUnavailable(PinProblem::NoCredential("other".into()));
    assert_eq!(refusal(settings).await, missing);
}
