//! Keys that custodyd makes and an authority certifies, end to end: with OpenSSL as the
//! authority, through refusals, restarts and kills.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

#[path = "certificates/kills.rs"]
mod kills;

use std::{fs, path::Path, process::Command};

use serde_json::{Value, json};
use softhsm_tests::{Site, daemon::Daemon, load::runtime, text};

const CONFLICT: Option<i32> = Some(5);
const INVALID: Option<i32> = Some(7);

/// Runs openssl in the site's folder, where it has to succeed.
fn openssl(site: &Site, arguments: &str) -> String {
    let output = Command::new("openssl")
        .args(arguments.split(' '))
        .current_dir(site.folder())
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments}: {}", text(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Writes the concatenation of `parts` to `file`.
fn join(site: &Site, file: &str, parts: &[&str]) -> String {
    let all: String = parts
        .iter()
        .map(|part| fs::read_to_string(site.path(part)).unwrap())
        .collect();
    fs::write(site.path(file), all).unwrap();
    path(site, file)
}

fn path(site: &Site, file: &str) -> String {
    site.path(file).to_str().unwrap().to_owned()
}

/// A root and an intermediate authority.
fn authorities(site: &Site) {
    fs::write(
        site.path("ca.ext"),
        "basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign\n",
    )
    .unwrap();
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(
        site,
        &format!("req -x509 {key} -keyout root.key -out root.crt -subj /CN=root -days 30"),
    );
    openssl(
        site,
        &format!("req -new {key} -keyout int.key -out int.csr -subj /CN=intermediate"),
    );
    openssl(
        site,
        "x509 -req -in int.csr -CA root.crt -CAkey root.key -days 20 -extfile ca.ext -out int.crt",
    );
}

/// Has the intermediate authority sign `csr`; the chain is in `file`.
fn signed(site: &Site, csr: &str, file: &str) -> String {
    openssl(
        site,
        &format!(
            "x509 -req -in {csr} -CA int.crt -CAkey int.key -days 10 -copy_extensions copyall \
             -out leaf.crt"
        ),
    );
    join(site, file, &["leaf.crt", "int.crt"])
}

/// A daemon with the group `web`, whose secrets are granted to this user, and authorities.
fn prepared(site: &Site) -> Daemon<'_> {
    let daemon = site.start();
    site.ctl(&["group", "create", "web"]);
    site.grant_on("*", &[]);
    authorities(site);
    daemon
}

/// Requests a certificate for `www.example.org`.
fn request(site: &Site, secret: &str, more: &[&str]) -> Value {
    let csr = path(site, "new.csr");
    let request = ["secret", "rotate", secret, "--csr", &csr];
    site.ctl_json(&[&request[..], more].concat())
}

const NAMED: [&str; 6] = [
    "--subject",
    "CN=www.example.org,O=Example\\, Inc.",
    "--san",
    "dns:www.example.org",
    "--san",
    "ip:192.0.2.7",
];

/// This process fetches a version of `web/NAME`: the chain and the key.
fn fetched(site: &Site, name: &str, version: Option<u32>) -> Option<(Vec<u8>, Vec<u8>)> {
    runtime().block_on(async {
        let provider = site.provider().await;
        let fetched = provider.fetch("web", name, version).await.ok()?;
        let field = |name| fetched.field(name).unwrap().to_vec();
        Some((field("certificate-chain"), field("private-key")))
    })
}

#[test]
fn an_authority_signs_what_was_requested_and_the_pair_is_delivered() {
    let site = Site::new();
    let _daemon = prepared(&site);
    for algorithm in ["ec-p256", "ec-p384", "ed25519", "rsa-3072"] {
        let secret = format!("web/{algorithm}");
        let made = request(
            &site,
            &secret,
            &[&NAMED[..], &["--key-algorithm", algorithm]].concat(),
        );
        assert_eq!(made["version"]["state"], "requested");
        openssl(&site, "req -in new.csr -verify -noout");
        assert_eq!(fetched(&site, algorithm, Some(1)), None);
        assert_eq!(site.entries("deny").pop().unwrap()["reason"], "requested");

        let chain = signed(&site, "new.csr", "chain.pem");
        let made = site.ctl_json(&["secret", "certify", &secret, &chain]);
        assert_eq!(made["version"]["number"], 2);
        let (chain, key) = fetched(&site, algorithm, None).unwrap();
        fs::write(site.path("got.crt"), chain).unwrap();
        fs::write(site.path("got.key"), key).unwrap();
        openssl(&site, "verify -CAfile root.crt -untrusted int.crt got.crt");
        assert_eq!(
            openssl(&site, "x509 -in got.crt -noout -pubkey"),
            openssl(&site, "pkey -in got.key -pubout")
        );
        let names = openssl(
            &site,
            "x509 -in got.crt -noout -subject -ext subjectAltName",
        );
        assert!(names.contains("O = \"Example, Inc.\""), "{names}");
        assert!(
            names.contains("DNS:www.example.org, IP Address:192.0.2.7"),
            "{names}"
        );

        // Once more, like the one there is.
        request(&site, &secret, &[]);
        let again = openssl(&site, "req -in new.csr -noout -subject -text -verify");
        assert!(again.contains("O = \"Example, Inc.\""), "{again}");
        assert!(
            again.contains("DNS:www.example.org, IP Address:192.0.2.7"),
            "{again}"
        );
        let public = |text: &str| {
            text.lines()
                .filter(|line| line.contains("Public-Key"))
                .count()
        };
        assert!(algorithm == "ed25519" || public(&again) == 1);
        assert_ne!(
            openssl(&site, "req -in new.csr -noout -pubkey"),
            openssl(&site, "pkey -in got.key -pubout"),
            "the key is new"
        );
        let (same, _) = fetched(&site, algorithm, None).unwrap();
        assert_eq!(
            same,
            fs::read(site.path("got.crt")).unwrap(),
            "nothing else changed"
        );
    }
    let used = site.entries("use");
    let operations: Vec<_> = used
        .iter()
        .map(|entry| entry["operation"].as_str().unwrap())
        .collect();
    assert_eq!(operations, ["certify", "renew"].repeat(4));
    assert_eq!(used[0]["secret"], "ec-p256");
    assert!(used[0]["operator"]["uid"].is_number());
    assert!(site.verify_journal().status.success());
}

#[test]
fn a_renewal_overlaps_and_can_be_staged_and_watchers_are_told() {
    let site = Site::new();
    let _daemon = prepared(&site);
    request(&site, "web/tls", &NAMED);
    let chain = signed(&site, "new.csr", "chain.pem");
    site.ctl(&["secret", "certify", "web/tls", &chain]);
    let runtime = runtime();
    let mut watch = runtime.block_on(async {
        let mut watch = site.provider().await.watch("web", "tls").await.unwrap();
        assert_eq!(watch.next().await.unwrap().unwrap(), 2);
        watch
    });
    request(&site, "web/tls", &[]);
    let chain = signed(&site, "new.csr", "chain.pem");
    let made = site.ctl_json(&["secret", "certify", "web/tls", &chain, "--pending"]);
    assert_eq!(
        (&made["version"]["number"], &made["pending"]),
        (&json!(4), &json!(true))
    );
    let secret = site.ctl_json(&["secret", "show", "web/tls"]);
    assert_eq!(
        (&secret["current"]["number"], &secret["pending"]),
        (&json!(2), &json!(4))
    );
    site.ctl(&["secret", "activate", "web/tls", "--overlap", "7d"]);
    runtime.block_on(async { assert_eq!(watch.next().await.unwrap().unwrap(), 4) });
    assert!(fetched(&site, "tls", Some(2)).is_some(), "they overlap");
    let versions = site.ctl_json(&["secret", "versions", "web/tls"]);
    let states: Vec<_> = versions["versions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|version| version["state"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["destroyed", "enabled", "destroyed", "enabled"]);
    let contents = site.sqlite("SELECT group_concat(number) FROM content");
    assert_eq!(contents.trim(), "2,4", "the requests are gone");
}

#[test]
fn what_was_not_signed_for_the_key_is_refused_and_the_request_waits_on() {
    let site = Site::new();
    let _daemon = prepared(&site);
    let refused = |args: &[&str], code, says: &str| {
        let prepared = site.entries("prepare").len();
        let refused = site.try_ctl(args);
        assert_eq!(refused.status.code(), code, "{}", text(&refused));
        assert!(text(&refused).contains(says), "{}", text(&refused));
        assert_eq!(site.entries("prepare").len(), prepared);
    };
    let csr = path(&site, "x.csr");
    let ask = ["secret", "rotate", "web/tls", "--csr", &csr];
    refused(&ask, INVALID, "subject and names");
    for (more, says) in [
        (
            ["--subject", "www.example.org"],
            "cannot be part of a subject",
        ),
        (["--subject", "C=Germany"], "cannot be part of a subject"),
        (["--san", "www.example.org"], "is no name for a certificate"),
        (["--san", "ip:300.1.1.1"], "is no name for a certificate"),
        (["--key-algorithm", "rsa-1024"], "no algorithm of keys"),
    ] {
        let code = if more[0] == "--key-algorithm" {
            Some(2)
        } else {
            INVALID
        };
        refused(&[&ask[..], &more].concat(), code, says);
    }
    assert!(!Path::new(&csr).exists());
    request(&site, "web/tls", &NAMED);
    refused(
        &[&ask[..], &NAMED].concat(),
        CONFLICT,
        "version 1 of web/tls waits",
    );
    refused(
        &["secret", "activate", "web/tls@1"],
        CONFLICT,
        "is requested",
    );
    refused(&["secret", "enable", "web/tls@1"], CONFLICT, "is requested");

    let good = signed(&site, "new.csr", "good.pem");
    openssl(
        &site,
        "req -new -newkey ed25519 -nodes -keyout other.key -out other.csr -subj /CN=www.example.org",
    );
    fs::copy(site.path("leaf.crt"), site.path("mine.crt")).unwrap();
    let other = signed(&site, "other.csr", "other.pem");
    let order = join(&site, "order.pem", &["int.crt", "mine.crt"]);
    let gap = join(&site, "gap.pem", &["mine.crt", "root.crt"]);
    fs::write(site.path("none.pem"), "no certificate").unwrap();
    let none = path(&site, "none.pem");
    openssl(
        &site,
        "x509 -req -in new.csr -CA int.crt -CAkey int.key -days 0 -out ended.crt",
    );
    let ended = join(&site, "ended.pem", &["ended.crt", "int.crt"]);
    for (file, says) in [
        (
            &other,
            "\"private-key\" is not the key of the first certificate",
        ),
        (
            &order,
            "certificate 1 of \"certificate-chain\" was issued by \"CN=root\"",
        ),
        (
            &gap,
            "certificate 1 of \"certificate-chain\" was issued by \"CN=intermediate\"",
        ),
        (&none, "\"certificate-chain\""),
        (
            &ended,
            "\"certificate-chain\" holds a certificate that has ended",
        ),
    ] {
        refused(&["secret", "certify", "web/tls", file], INVALID, says);
    }
    refused(
        &["secret", "certify", "web/tls", &good, "--expect", "7"],
        CONFLICT,
        "is 0, not 7",
    );
    assert_eq!(fetched(&site, "tls", None), None);
    site.ctl(&["secret", "certify", "web/tls", &good]);
    refused(
        &["secret", "certify", "web/tls", &good],
        Some(4),
        "waits for a certificate",
    );
    assert!(fetched(&site, "tls", None).is_some());
}
