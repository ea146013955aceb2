//! The main job: what a service gets, and how the daemon comes and goes.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use softhsm_tests::{Site, text, world::TlsPair};

#[test]
fn a_service_gets_the_key_pair_that_the_operator_stored() {
    let site = Site::new();
    let daemon = site.start();
    let pair = TlsPair::new();
    std::fs::write(site.path("cert.pem"), &pair.certificate).unwrap();
    std::fs::write(site.path("key.pem"), &pair.key).unwrap();
    site.ctl(&["group", "create", "web"]);
    let chain = format!("certificate-chain={}", site.path("cert.pem").display());
    let key = format!("private-key={}", site.path("key.pem").display());
    site.ctl(&[
        "secret", "put", "web/tls", "--type", "keystore", &chain, &key,
    ]);

    let denied = site.fetch("web/tls");
    assert_eq!(denied.status.code(), Some(3), "{}", text(&denied));

    site.ctl(&[
        "grant",
        "add",
        "web",
        "tls",
        "--uid",
        &nix::unistd::getuid().to_string(),
    ]);
    std::fs::create_dir(site.path("out")).unwrap();
    site.ctl(&[
        "fetch",
        "web/tls",
        "--out",
        site.path("out").to_str().unwrap(),
    ]);
    let read = |name: &str| std::fs::read_to_string(site.path("out").join(name)).unwrap();
    assert_eq!(read("certificate-chain.pem"), pair.certificate);
    assert_eq!(read("private-key.pem"), pair.key);

    daemon.stop();
    let verified = site.verify_journal();
    assert!(verified.status.success(), "{}", text(&verified));
    assert_eq!(site.entries("allow").len(), 1);
    assert_eq!(site.entries("deny").len(), 1);
}

#[test]
fn what_was_stored_is_there_after_a_restart() {
    let site = Site::new();
    let daemon = site.start();
    site.furnish(b"one");
    daemon.stop();
    let _daemon = site.start();
    assert_eq!(site.fetch("web/key").stdout, b"one");
}
