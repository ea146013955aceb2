//! The forms in which content is delivered: what they hold, and what is refused when.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use client::{Error, v1};
use softhsm_tests::{Site, load::runtime, until, verdict::CONTENT};

fn request(name: &str, format: &str) -> v1::FetchRequest {
    v1::FetchRequest {
        group: "web".to_owned(),
        name: name.to_owned(),
        format: Some(format.to_owned()),
        ..Default::default()
    }
}

fn fetch(site: &Site, request: v1::FetchRequest) -> Result<client::Fetched, Error> {
    runtime().block_on(async { site.provider().await.fetch_with(request).await })
}

#[test]
fn openssl_opens_a_key_store_with_the_password_that_was_made_for_it() {
    let site = Site::new();
    let _daemon = site.start();
    let pair = site.put_tls("web/tls");
    site.grant_on("tls", &[]);
    let out = site.bench("out");
    let folder = out.at("");
    site.ctl(&["fetch", "web/tls", "--format", "pkcs12", "--out", &folder]);
    let printed = out.run("openssl pkcs12 -in keystore.p12 -noenc -passin file:password");
    assert!(printed.contains(pair.certificate.trim_end()), "{printed}");
    assert!(printed.contains("-----BEGIN PRIVATE KEY-----"));
}

#[test]
fn an_answer_names_its_format_and_its_documents() {
    let site = Site::new();
    let _daemon = site.start();
    site.put_tls("web/tls");
    site.grant_on("tls", &[]);
    let with_password = v1::FetchRequest {
        password: Some(v1::StorePassword {
            value: "changeit".to_owned(),
        }),
        ..request("tls", "pkcs12")
    };
    for (request, documents) in [
        (
            request("tls", "pem"),
            &["certificate-chain.pem", "private-key.pem"][..],
        ),
        (request("tls", "pem-bundle"), &["bundle.pem"]),
        (
            request("tls", "der"),
            &["certificate-chain.der", "private-key.der"],
        ),
        (request("tls", "pkcs12"), &["keystore.p12", "password"]),
        (with_password, &["keystore.p12"]),
        (request("tls", "json"), &["secret.json"]),
        (request("tls", "dotenv"), &["secret.env"]),
    ] {
        let format = request.format.clone();
        let fetched = fetch(&site, request).unwrap();
        assert_eq!(fetched.format, format);
        let names: Vec<_> = fetched.fields.iter().map(|(name, _)| &**name).collect();
        assert_eq!(names, documents);
    }
}

#[test]
fn the_largest_content_fits_an_answer_however_it_is_written() {
    let site = Site::new();
    let _daemon = site.start();
    // A control character is six bytes of JSON.
    site.furnish(&vec![1; 1 << 20]);
    let fetched = fetch(&site, request("key", "json")).unwrap();
    let written = fetched.field("secret.json").unwrap();
    assert!(written.len() > 6 << 20);
}

#[test]
fn what_no_such_secret_could_be_written_as_is_refused_before_it_is_on_record() {
    let site = Site::new();
    let _daemon = site.start();
    site.put_tls("web/tls");
    let grant = site.grant_on("tls", &["--uses", "1"]);
    for format in ["java-truststore", "raw"] {
        let refused = fetch(&site, request("tls", format)).unwrap_err();
        assert!(matches!(refused, Error::Precondition(_)), "{refused}");
        assert!(refused.to_string().contains("keystore"), "{refused}");
    }
    assert!(site.entries("allow").is_empty());
    assert_eq!(site.used(&grant), 0);
    fetch(&site, request("tls", "pem")).unwrap();
}

#[test]
fn content_that_turns_out_not_to_fit_is_on_record_as_not_delivered() {
    let site = Site::new();
    let _daemon = site.start();
    site.furnish_ungranted();
    assert!(site.put("web/key", b"\xff").status.success());
    let grant = site.grant_on("key", &["--uses", "1"]);
    let refused = fetch(&site, request("key", "dotenv")).unwrap_err();
    assert!(matches!(refused, Error::Precondition(_)), "{refused}");
    let undelivered = site.entries("undelivered").pop().unwrap();
    assert_eq!(undelivered["reason"]["cause"], "format");
    let allowed = site.entries("allow").pop().unwrap();
    assert_eq!(undelivered["allowed"], allowed["seq"]);
    assert_eq!(site.used(&grant), 0, "the use is given back");
}

#[test]
fn who_has_no_grant_learns_nothing_from_formats() {
    let site = Site::new();
    let _daemon = site.start();
    site.furnish_ungranted();
    for name in ["key", "no-such-secret"] {
        for format in ["json", "pkcs12", "raw"] {
            let refused = fetch(&site, request(name, format)).unwrap_err();
            assert!(
                matches!(refused, Error::Denied),
                "{name} {format}: {refused}"
            );
        }
    }
    // What is wrong with a request itself is said to anyone, whatever there is.
    for name in ["key", "no-such-secret"] {
        let refused = fetch(&site, request(name, "pfx")).unwrap_err();
        assert!(matches!(refused, Error::Invalid(_)), "{name}: {refused}");
    }
    assert!(site.entries("allow").is_empty());
}

#[test]
fn services_are_served_while_keys_under_slow_passwords_are_stored() {
    let site = Site::new();
    let _daemon = site.start();
    site.furnish(CONTENT);
    let bench = site.bench("bench");
    bench.run("openssl genpkey -algorithm ed25519 -out key");
    bench.run("openssl req -x509 -new -key key -subj /CN=x -out certificate");
    // As many rounds as are taken.
    bench.run("openssl pkcs8 -topk8 -in key -iter 4000000 -passout pass:x -out slow");
    let put = || {
        bench.write("passphrase", "x");
        let mut command = site.custodyctl();
        command
            .args(["secret", "put", "web/slow", "--type", "keystore"])
            .arg(format!("certificate-chain={}", bench.at("certificate")))
            .arg(format!("private-key={}", bench.at("slow")))
            .arg(format!("passphrase={}", bench.at("passphrase")));
        command.spawn().unwrap()
    };
    let mut puts = vec![put(), put()];
    let mut served = 0;
    until("all are stored or refused", || {
        assert_eq!(site.fetch("web/key").stdout, CONTENT);
        served += 1;
        puts.retain_mut(|put| put.try_wait().unwrap().is_none());
        puts.is_empty().then_some(())
    });
    assert!(served > 10, "{served} fetches");
}
