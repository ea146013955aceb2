//! Whichever comes first, the daemon or its token: until both are there whoever asks is told to
//! come back, and then all is as it was.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use std::{fs, path::PathBuf, time::Duration};

use nix::sys::signal::Signal;
use prost::Message as _;
use proto::v1;
use softhsm_tests::{Site, daemon::Daemon, fault::answering, load::runtime, raw, text, until};
use tokio::{io::AsyncReadExt as _, net::UnixStream};
use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_types::StatusExt as _;

const CONTENT: &[u8] = b"content";

/// `custodyctl`'s exit code for what may work later.
const UNAVAILABLE: Option<i32> = Some(6);

/// A site with a secret, whose daemon was stopped.
fn furnished(site: &Site) {
    let daemon = site.start();
    site.furnish(CONTENT);
    daemon.stop();
}

/// Where the token is when it is not there.
fn elsewhere(site: &Site) -> PathBuf {
    site.path("elsewhere")
}

fn take_token(site: &Site) {
    fs::rename(site.path("tokens"), elsewhere(site)).unwrap();
    fs::create_dir(site.path("tokens")).unwrap();
}

fn bring_token(site: &Site) {
    // A module that looks there may put something into the folder at any moment.
    fs::rename(site.path("tokens"), site.path("nothing")).unwrap();
    fs::rename(elsewhere(site), site.path("tokens")).unwrap();
}

/// A daemon that waits for its token.
fn waiting(site: &Site) -> Daemon<'_> {
    let daemon = site.launch(site.custodyd("run"));
    until("the daemon waits", || {
        site.log().contains("not usable yet").then_some(())
    });
    daemon
}

fn serves(site: &Site) {
    until("the secret is delivered", || {
        (site.fetch("web/key").stdout == CONTENT).then_some(())
    });
}

#[test]
fn a_token_that_comes_late_is_waited_for_and_everybody_is_told_so() {
    let site = Site::new();
    furnished(&site);
    let starts = site.entries("start").len();
    take_token(&site);
    let mut daemon = waiting(&site);

    for args in [&["fetch", "web/key"][..], &["status"], &["secret", "list"]] {
        let output = site.try_ctl(args);
        assert_eq!(output.status.code(), UNAVAILABLE, "{args:?}");
        assert!(output.stdout.is_empty(), "{args:?}");
        assert!(
            text(&output).contains("waits for its token"),
            "{}",
            text(&output)
        );
    }
    runtime().block_on(async {
        for (socket, path) in [
            ("run/manager.sock", "/custody.v1.Manager/Status"),
            ("run/provider.sock", "/custody.v1.Provider/WhoAmI"),
        ] {
            let channel = raw::connect(site.path(socket)).await;
            let request = v1::StatusRequest {}.encode_to_vec();
            let status = raw::call(&channel, path, request).await.unwrap_err();
            assert_eq!(status.code(), Code::Unavailable);
            assert!(status.get_details_retry_info().is_some(), "{status:?}");
            let mut health = HealthClient::new(channel);
            let all = HealthCheckRequest::default();
            let health = health.check(all).await.unwrap().into_inner();
            assert_eq!(health.status(), ServingStatus::NotServing);
        }
    });
    // Why is in the log, once, and nothing is on record as if it served.
    let log = site.log();
    assert_eq!(log.matches("not usable yet").count(), 1, "{log}");
    assert!(
        log.contains(&site.serial) && log.contains("no token is"),
        "{log}"
    );
    assert_eq!(site.entries("start").len(), starts);
    assert!(site.entries("allow").is_empty());

    bring_token(&site);
    serves(&site);
    assert!(daemon.is_running());
    assert_eq!(site.entries("start").len(), starts + 1);
    daemon.stop();
    assert!(site.verify_journal().status.success());
}

#[test]
fn a_library_that_does_not_come_up_is_waited_for() {
    for (function, code) in [
        ("C_Initialize", "CKR_GENERAL_ERROR"),
        ("C_GetSlotList", "CKR_DEVICE_ERROR"),
        ("C_OpenSession", "CKR_SESSION_COUNT"),
        ("C_FindObjectsInit", "CKR_DEVICE_REMOVED"),
        ("C_DecryptInit", "CKR_DEVICE_ERROR"),
    ] {
        let site = Site::faulty("longest-wait = \"500ms\"\n");
        furnished(&site);
        site.fault(answering(function, code));
        let daemon = waiting(&site);
        let output = site.fetch("web/key");
        assert_eq!(output.status.code(), UNAVAILABLE, "{function}");
        site.mend();
        serves(&site);
        daemon.stop();
    }
}

#[test]
fn a_daemon_that_waits_ends_when_it_is_told_to() {
    let site = Site::new();
    furnished(&site);
    take_token(&site);
    let mut daemon = waiting(&site);
    daemon.signal(Signal::SIGTERM);
    daemon.ends();
    bring_token(&site);
    let daemon = site.start();
    serves(&site);
    daemon.stop();
}

#[test]
fn what_waiting_does_not_mend_is_not_waited_for() {
    let site = Site::new();
    furnished(&site);
    site.intrude(&["destroy", &site.system_gmk()]);
    let mut daemon = site.launch(site.custodyd("run"));
    assert_eq!(daemon.ends().code(), Some(69));

    let site = Site::new();
    site.write_pin("wrong-pin");
    let mut daemon = site.launch(site.custodyd("run"));
    assert_eq!(daemon.ends().code(), Some(77));
    assert!(site.path("state/pin-refused").exists());
}

#[test]
fn connections_from_before_do_not_outlive_the_wait() {
    let site = Site::new();
    furnished(&site);
    take_token(&site);
    let daemon = waiting(&site);
    runtime().block_on(async {
        // One that speaks, and one that never says a word.
        let provider = site.provider().await;
        assert!(provider.whoami().await.is_err());
        let silent = UnixStream::connect(site.path("run/provider.sock")).await;
        let mut silent = silent.unwrap();
        bring_token(&site);
        let served = async {
            while provider.whoami().await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            silent.read_to_end(&mut Vec::new()).await
        };
        let served = tokio::time::timeout(Duration::from_secs(30), served).await;
        served
            .expect("one is made anew, and the other is closed")
            .unwrap();
    });
    daemon.stop();
}
