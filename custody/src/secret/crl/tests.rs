use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevokedCertParams, SerialNumber};

use super::*;
use crate::secret::tool::{Authority, Bench, accept, property, refusal, root};

fn list(issuer: &Authority, revoked: u64, year: i32) -> String {
    let crl = CertificateRevocationListParams {
        this_update: rcgen::date_time_ymd(2026, 1, 1),
        next_update: rcgen::date_time_ymd(year, 1, 1),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: (0..revoked)
            .map(|serial| RevokedCertParams {
                serial_number: SerialNumber::from(serial + 1),
                revocation_time: rcgen::date_time_ymd(2026, 1, 1),
                reason_code: None,
                invalidity_date: None,
            })
            .collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    crl.signed_by(issuer).unwrap().pem().unwrap()
}

#[test]
fn lists_are_described_and_the_first_to_end_is_shown() {
    let (one, two) = (root("one"), root("two"));
    let crls = list(&one, 3, 2028) + &list(&two, 0, 2027);
    let issuers = one.pem() + &two.pem();
    let given: &[(&str, &[u8])] = &[
        (CRLS, crls.as_bytes()),
        (ISSUERS, issuers.as_bytes()),
        (POINTS, b"http://crl.example.org/one.crl\n\n"),
    ];
    let accepted = accept("crl-distributor", given).unwrap();
    for (name, value) in [
        ("crls", "2"),
        ("next-update", "2027-01-01T00:00:00Z"),
        (
            "crl",
            "CN=one; this-update 2026-01-01T00:00:00Z; next-update 2028-01-01T00:00:00Z; 3 revoked",
        ),
        (POINTS, "http://crl.example.org/one.crl"),
    ] {
        assert_eq!(property(&accepted.properties, name), value);
    }
}

#[test]
fn as_many_lists_as_are_taken_are_kept_and_the_first_are_shown() {
    let one = root("one");
    let crl = list(&one, 1, 2027);
    let issuers = one.pem();
    let pem = crl.repeat(MAX_CRLS);
    let der = pem::parse(&crl).unwrap().into_contents().repeat(MAX_CRLS);
    for crls in [pem.as_bytes(), &der] {
        let given: &[(&str, &[u8])] = &[(CRLS, crls), (ISSUERS, issuers.as_bytes())];
        let accepted = accept("crl-distributor", given).unwrap();
        assert_eq!(property(&accepted.properties, "crls"), "100");
        let shown = accepted.properties.iter().filter(|(name, _)| name == "crl");
        assert_eq!(shown.count(), describe::SHOWN);
        let stored = Fields::decode(&accepted.content).unwrap();
        assert_eq!(stored.get(CRLS), Some(pem.as_bytes()));
    }
}

#[test]
fn a_list_that_its_issuer_did_not_sign_is_refused() {
    let (one, two) = (root("one"), root("two"));
    let crls = list(&one, 1, 2027);
    let told = |issuers: &str| {
        let given: &[(&str, &[u8])] = &[(CRLS, crls.as_bytes()), (ISSUERS, issuers.as_bytes())];
        refusal("crl-distributor", given)
    };
    assert!(told(&two.pem()).contains("lacks the certificate of \"CN=one\""));
    let namesake = root("one");
    assert!(told(&namesake.pem()).contains("CRL 1 of \"crls\" is not signed by the key"));
    for both in [namesake.pem() + &one.pem(), one.pem() + &namesake.pem()] {
        let given: &[(&str, &[u8])] = &[(CRLS, crls.as_bytes()), (ISSUERS, both.as_bytes())];
        assert!(
            accept("crl-distributor", given).is_ok(),
            "one of two namesakes signed"
        );
    }
}

#[test]
fn what_is_no_list_or_address_is_refused_for_what_it_is() {
    let one = root("one");
    let issuers = one.pem();
    let crl = list(&one, 0, 2027);
    let told = |crls: &[u8], points: &[u8]| {
        let issuers = issuers.as_bytes();
        refusal(
            "crl-distributor",
            &[(CRLS, crls), (ISSUERS, issuers), (POINTS, points)],
        )
    };
    let fine = b"http://a/";
    assert!(told(issuers.as_bytes(), fine).contains("holds no certificate revocation list"));
    assert!(told(&[0x30, 0x82, 0, 1, 0], fine).contains("CRL 1 of"));
    assert!(told(&crl.as_bytes()[..60], fine).contains("not well-formed PEM"));
    let empty = "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n";
    assert!(told(empty.as_bytes(), fine).contains("CRL 1 of"));
    let many = crl.repeat(MAX_CRLS + 1);
    assert!(told(many.as_bytes(), fine).contains("over 100 lists"));
    let der = pem::parse(&crl).unwrap().into_contents();
    let told_of_der = told(&der.repeat(MAX_CRLS + 1), fine);
    assert!(told_of_der.contains("over 100 lists"), "{told_of_der}");
    for point in [
        "file:///etc",
        "http://",
        "http://user:pw@host/",
        "http://a b",
        "http://é",
        &format!("http://{}", "a".repeat(1001)),
    ] {
        let told = told(crl.as_bytes(), format!("http://a/\n{point}").as_bytes());
        assert!(told.starts_with("line 2 of "), "{point}: {told}");
    }
    let many = "http://a/\n".repeat(MAX_POINTS + 1);
    assert!(told(crl.as_bytes(), many.as_bytes()).contains("over 100 addresses"));
}

#[test]
fn what_openssl_makes_is_read_as_pem_and_as_der() {
    let Some(bench) = Bench::with("openssl") else {
        return;
    };
    bench.put(
        "conf",
        "[ca]\ndefault_ca=d\n[d]\ndatabase=index\ndefault_md=sha256\n\
                       default_crl_days=30\ncrlnumber=number\n",
    );
    bench.put(
        "index",
        "R\t300101000000Z\t260101000000Z\t01\tunknown\t/CN=gone\n",
    );
    bench.put("number", "01\n");
    bench.run("openssl req -x509 -newkey rsa:2048 -nodes -keyout key -subj /CN=ca -out ca");
    bench.run("openssl ca -config conf -gencrl -cert ca -keyfile key -out crl");
    bench.run("openssl crl -in crl -outform DER -out crl.der");
    for form in ["crl", "crl.der"] {
        let given: &[(&str, &[u8])] = &[(CRLS, &bench.take(form)), (ISSUERS, &bench.take("ca"))];
        let accepted = accept("crl-distributor", given).unwrap();
        assert!(property(&accepted.properties, "crl").ends_with("1 revoked"));
        let stored = Fields::decode(&accepted.content).unwrap();
        assert_eq!(stored.get(CRLS), Some(&bench.take("crl")[..]));
    }
}
