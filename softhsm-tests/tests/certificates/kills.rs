//! The daemon is killed while a request waits, and while its certificate is taken.

use std::{fs, process::Stdio};

use softhsm_tests::{
    Site,
    load::{random_time, rounds},
    text,
};

use super::{CONFLICT, NAMED, fetched, openssl, prepared, request, signed};

#[test]
fn a_request_survives_a_kill_and_its_doom_does_not_make_it_deliverable() {
    let site = Site::new();
    let daemon = prepared(&site);
    request(&site, "web/tls", &NAMED);
    let csr = fs::read_to_string(site.path("new.csr")).unwrap();
    daemon.kill();
    let daemon = site.start();
    assert_eq!(site.ctl(&["secret", "csr", "web/tls"]).trim(), csr.trim());
    site.ctl(&["secret", "destroy", "web/tls@1", "--yes"]);
    let none = site.try_ctl(&["secret", "csr", "web/tls"]);
    assert_eq!(none.status.code(), Some(4), "{}", text(&none));
    site.ctl(&["secret", "restore", "web/tls@1"]);
    let enabled = site.try_ctl(&["secret", "enable", "web/tls@1"]);
    assert_eq!(enabled.status.code(), CONFLICT, "{}", text(&enabled));
    assert_eq!(site.ctl(&["secret", "csr", "web/tls"]).trim(), csr.trim());
    // Another takes its place while it is doomed: only one can wait.
    site.ctl(&["secret", "destroy", "web/tls@1", "--yes"]);
    request(&site, "web/tls", &NAMED);
    let restored = site.try_ctl(&["secret", "restore", "web/tls@1"]);
    assert_eq!(restored.status.code(), CONFLICT, "{}", text(&restored));
    assert!(text(&restored).contains("version 2 of web/tls waits"));
    daemon.kill();

    let _daemon = site.start();
    let chain = signed(&site, "new.csr", "chain.pem");
    site.ctl(&["secret", "certify", "web/tls", &chain]);
    let (_, key) = fetched(&site, "tls", None).unwrap();
    fs::write(site.path("got.key"), &key).unwrap();
    assert_eq!(
        openssl(&site, "x509 -in leaf.crt -noout -pubkey"),
        openssl(&site, "pkey -in got.key -pubout")
    );
    // What was made is nowhere else.
    let key = String::from_utf8(key).unwrap();
    let line = key.lines().nth(1).unwrap();
    let files = ["custody.db", "custody.db-wal"].map(|name| site.path("state").join(name));
    assert!(files[0].is_file());
    let stored = files.iter().filter_map(|path| fs::read(path).ok());
    for text in stored.chain([site.log().into_bytes(), site.journal_text().into_bytes()]) {
        assert!(!text.windows(line.len()).any(|at| at == line.as_bytes()));
    }
    assert!(site.verify_journal().status.success());
}

#[test]
fn a_kill_while_a_certificate_is_taken_leaves_the_request_or_the_pair_and_no_half() {
    let site = Site::new();
    let mut daemon = prepared(&site);
    let (mut waiting, mut finished, mut cut_short) = (false, 0, 0);
    for _ in 0..rounds(12) {
        if !waiting {
            request(&site, "web/tls", &NAMED);
        }
        let chain = signed(&site, "new.csr", "chain.pem");
        let mut certify = site.custodyctl();
        certify.args(["secret", "certify", "web/tls", &chain]);
        let mut certify = certify
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(random_time(0, 60));
        daemon.kill();
        let is_acknowledged = certify.wait().unwrap().success();
        daemon = site.start();

        let csr = site.try_ctl(&["secret", "csr", "web/tls"]);
        waiting = csr.status.success();
        let versions = site.ctl_json(&["secret", "versions", "web/tls"]);
        let versions = versions["versions"].as_array().unwrap();
        let newest = versions.last().unwrap();
        if waiting {
            assert!(!is_acknowledged, "an acknowledged certificate is lost");
            assert_eq!(newest["state"], "requested");
            cut_short += 1;
        } else {
            assert_eq!(newest["state"], "enabled");
            let request = &versions[versions.len() - 2];
            assert_eq!(request["state"], "destroyed");
            let (_, key) = fetched(&site, "tls", None).unwrap();
            fs::write(site.path("got.key"), &key).unwrap();
            assert_eq!(
                openssl(&site, "x509 -in leaf.crt -noout -pubkey"),
                openssl(&site, "pkey -in got.key -pubout")
            );
            finished += 1;
        }
        assert_eq!(
            site.sqlite("SELECT count(*) FROM content"),
            site.sqlite("SELECT count(*) FROM version WHERE state != 'destroyed'")
        );
    }
    assert!(finished + cut_short > 0);
    assert!(site.verify_journal().status.success());
}
