//! P4 recorded, where the daemon uses content itself for an operator: if that cannot be put on
//! record, nothing is opened for it.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use client::{Error, Manager, v1};
use faulty_pkcs11::Function;
use softhsm_tests::{Site, daemon::Daemon, disk::limit_files, load::runtime, pki};

/// How often the token was asked to open anything.
fn opened(site: &Site) -> u64 {
    let counts = site.counts();
    let functions = [
        Function::C_DecryptInit,
        Function::C_Decrypt,
        Function::C_UnwrapKey,
    ];
    let calls = functions.map(|function| counts.calls(function));
    calls.iter().sum()
}

/// Requests a certificate for `web/NAME`, for that subject or that of the one there is.
async fn request(manager: &Manager, name: &str, subject: Option<&str>) -> Result<Vec<u8>, Error> {
    let request = v1::RequestCertificateRequest {
        group: "web".to_owned(),
        name: name.to_owned(),
        subject: subject.map(str::to_owned),
        ..Default::default()
    };
    let requested = manager.request_certificate(request).await?;
    Ok(requested.pem.into_bytes())
}

async fn certify(manager: &Manager, name: &str, chain: &[u8]) -> Result<v1::Version, Error> {
    let request = v1::CertifySecretRequest {
        group: "web".to_owned(),
        name: name.to_owned(),
        certificate_chain: chain.to_vec(),
        ..Default::default()
    };
    manager.certify_secret(request).await
}

/// Leaves the journal room for what admits an operator to `operation`, and for half of the
/// entry that content was used, if both are as long as they were the last time.
fn leave_room(site: &Site, daemon: &Daemon<'_>, operation: &str) {
    let journal = site.journal_text();
    let length = |all: &[(&str, &str)]| {
        let is_it = |line: &&str| {
            let mut members = all.iter();
            members.all(|(name, value)| line.contains(&format!("\"{name}\":\"{value}\"")))
        };
        journal.lines().rfind(is_it).unwrap().len() as u64 + 1
    };
    let admission = length(&[("kind", "manage"), ("operation", operation)]);
    let room = admission + length(&[("kind", "use")]) / 2;
    limit_files(daemon.pid(), Some(journal.len() as u64 + room));
}

/// How often an operator was admitted to `operation`.
fn admitted(site: &Site, operation: &str) -> usize {
    let mut entries = site.entries("manage");
    entries.retain(|entry| entry["operation"] == operation);
    entries.len()
}

#[test]
fn nothing_is_opened_for_an_operator_unless_that_is_on_record() {
    let site = Site::faulty("");
    let daemon = site.start();
    site.ctl(&["group", "create", "web"]);
    let bench = site.bench("authority");
    pki::make(&bench);
    let sign = |csr: Vec<u8>| {
        bench.write("new.csr", csr);
        bench.run("openssl x509 -req -in new.csr -CA middle.crt -CAkey middle.key -out new.crt");
        bench.read("new.crt")
    };
    runtime().block_on(async {
        let manager = site.manager().await;
        let first = sign(request(&manager, "one", Some("CN=one")).await.unwrap());
        let other = sign(request(&manager, "two", Some("CN=two")).await.unwrap());
        certify(&manager, "one", &first).await.unwrap();
        request(&manager, "one", None).await.unwrap();
        assert_eq!(site.entries("use").len(), 2);

        for (operation, used) in [("certify-secret", 2), ("request-certificate", 3)] {
            let attempt = async || match operation {
                "certify-secret" => certify(&manager, "two", &other).await.map(drop),
                _ => request(&manager, "two", None).await.map(drop),
            };
            let before = (opened(&site), admitted(&site, operation));
            leave_room(&site, &daemon, operation);
            let outcome = attempt().await;
            assert!(matches!(outcome, Err(Error::Unavailable(_))), "{outcome:?}");
            assert_eq!(admitted(&site, operation), before.1 + 1, "it came so far");
            assert_eq!(site.entries("use").len(), used);
            assert_eq!(opened(&site), before.0, "the token was asked to open it");

            limit_files(daemon.pid(), None);
            attempt().await.unwrap();
            assert_eq!(site.entries("use").len(), used + 1);
            assert!(opened(&site) > before.0, "opening is counted");
        }
    });
    daemon.stop_unharmed();
}
