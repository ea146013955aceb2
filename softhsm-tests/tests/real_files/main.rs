//! What the tools of operators make is taken in, or refused with what is wrong with which
//! element, and then nothing is stored.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

mod made;

use std::process::Output;

use softhsm_tests::{
    Site, text,
    tool::{self, Bench},
};

/// Type, `FIELD=FILE` of each field, and what is told.
type Case = (&'static str, &'static str, &'static str);

/// What is taken: a property, and what it has in it.
const TAKEN: &[Case] = &[
    (
        "keystore",
        "pkcs12=modern.p12 passphrase=geheim",
        "chain: complete",
    ),
    (
        "keystore",
        "pkcs12=legacy.p12 passphrase=geheim",
        "chain: complete",
    ),
    (
        "keystore",
        "pkcs12=nss.p12 passphrase=geheim",
        "subject: CN=server",
    ),
    (
        "keystore",
        "pkcs12=two.p12 passphrase=geheim alias=mail",
        "subject: CN=mail",
    ),
    (
        "keystore",
        "jks=two.jks passphrase=geheim key-passphrase=anders alias=mail",
        "subject: CN=mail",
    ),
    (
        "keystore",
        "certificate-chain=alice.chain private-key=pbes1.key passphrase=geheim",
        "key-algorithm: EC 256",
    ),
    (
        "keystore",
        "certificate-chain=alice.chain.crlf private-key=alice.key.crlf",
        "certificates: 2",
    ),
    (
        "keystore",
        "certificate-chain=alice.der private-key=alice-key.der",
        "chain: only the leaf, issued by CN=middle",
    ),
    (
        "keystore",
        "certificate-chain=server.chain private-key=pkcs1.key",
        "chain: ends in an intermediate issued by CN=root",
    ),
    (
        "keystore",
        "certificate-chain=complete.chain private-key=server.key",
        "chain: complete (ends in a self-signed root)",
    ),
    (
        "truststore",
        "pkcs12=plain-trust.p12 passphrase=geheim",
        "certificates: 2",
    ),
    (
        "truststore",
        "pkcs12=java-trust.p12 passphrase=geheim",
        "subjects: CN=root",
    ),
    (
        "truststore",
        "jks=trust.jks passphrase=geheim",
        "subjects: CN=root",
    ),
    (
        "truststore",
        "certificates=attributes.pem",
        "certificates: 3",
    ),
    ("certificate", "certificate=text.crt", "subject: CN=server"),
    (
        "private-key",
        "private-key=pbes2.key passphrase=geheim",
        "key-algorithm: EC 256",
    ),
    (
        "private-key",
        "private-key=pbes2.der passphrase=geheim",
        "key-algorithm: EC 256",
    ),
    (
        "private-key",
        "private-key=parameters.key",
        "key-algorithm: EC 256",
    ),
    (
        "private-key",
        "private-key=explicit.key",
        "key-algorithm: EC 256",
    ),
    (
        "private-key",
        "private-key=mallory.key",
        "key-algorithm: Ed25519",
    ),
    (
        "crl-distributor",
        "crls=root.crl issuers=root.crt",
        "crls: 1",
    ),
    (
        "crl-distributor",
        "crls=crls.pem issuers=authorities.pem",
        "crls: 2",
    ),
];

/// What is refused, and part of what is said.
const REFUSED: &[Case] = &[
    (
        "keystore",
        "jks=two.jceks passphrase=geheim",
        r#""jks" is a JCEKS key store; convert it by: keytool"#,
    ),
    (
        "keystore",
        "pkcs12=modern.p12 passphrase=anders",
        r#""pkcs12" does not open with that passphrase"#,
    ),
    (
        "keystore",
        "pkcs12=modern.p12",
        r#""pkcs12" is under a passphrase; give it as "passphrase""#,
    ),
    (
        "keystore",
        "pkcs12=cut.p12 passphrase=geheim",
        r#""pkcs12" is not a well-formed PKCS#12 file"#,
    ),
    (
        "keystore",
        "pkcs12=changed.p12 passphrase=geheim",
        r#""pkcs12" does not open with that passphrase, or is damaged"#,
    ),
    (
        "keystore",
        "pkcs12=alice.der passphrase=geheim",
        r#""pkcs12" is binary, but no PKCS#12 file"#,
    ),
    (
        "keystore",
        "pkcs12=two.p12 passphrase=geheim",
        r#""pkcs12" holds several private keys; say which by "alias""#,
    ),
    (
        "keystore",
        "pkcs12=two.p12 passphrase=geheim alias=geheim",
        r#""pkcs12" holds no private key of that "alias"; there are: "#,
    ),
    (
        "keystore",
        "pkcs12=java-trust.p12 passphrase=geheim",
        r#""pkcs12" holds no private key"#,
    ),
    (
        "keystore",
        "jks=two.jks passphrase=geheim alias=mail",
        r#"the private key in "jks" does not open with that passphrase; if it has its own"#,
    ),
    (
        "keystore",
        "jks=cut.jks passphrase=geheim",
        r#""jks" does not open with that passphrase, or is damaged"#,
    ),
    (
        "keystore",
        "jks=changed.jks passphrase=geheim",
        r#""jks" does not open with that passphrase, or is damaged"#,
    ),
    (
        "keystore",
        "certificate-chain=turned.chain private-key=server.key",
        r#"certificate 1 of "certificate-chain" was issued by "CN=root", but the one after it is "CN=server"; put the leaf first"#,
    ),
    (
        "keystore",
        "certificate-chain=stranger.chain private-key=server.key",
        r#"certificate 1 of "certificate-chain" was issued by "CN=middle", but the one after it is "CN=alice""#,
    ),
    (
        "keystore",
        "certificate-chain=server.chain private-key=alice.key",
        r#""private-key" is not the key of the first certificate in "certificate-chain""#,
    ),
    (
        "keystore",
        "certificate-chain=with-key.chain private-key=server.key",
        r#""certificate-chain" holds a private key; it takes certificates only"#,
    ),
    (
        "keystore",
        "certificate-chain=chain.p7b private-key=server.key",
        r#""certificate-chain" holds PKCS#7; convert it by: openssl pkcs7"#,
    ),
    (
        "keystore",
        "certificate-chain=server.chain private-key=proc-type.key passphrase=geheim",
        r#""private-key" is encrypted in the way of old OpenSSL"#,
    ),
    (
        "keystore",
        "certificate-chain=alice.chain private-key=scrypt.key passphrase=geheim",
        r#""private-key": its algorithm 1.3.6.1.4.1.11591.4.11 is not read here"#,
    ),
    (
        "keystore",
        "certificate-chain=alice.chain private-key=des.key passphrase=geheim",
        r#""private-key": its algorithm 1.2.840.113549.1.5.3 is not read here"#,
    ),
    (
        "keystore",
        "certificate-chain=alice.chain private-key=pbes1.key",
        r#""private-key" is encrypted; give its passphrase as "passphrase""#,
    ),
    (
        "truststore",
        "pkcs12=modern.p12 passphrase=geheim",
        r#""pkcs12" holds a private key (web)"#,
    ),
    (
        "truststore",
        "certificates=trusted.crt",
        r#""certificates" holds a TRUSTED CERTIFICATE, which only OpenSSL reads"#,
    ),
    (
        "truststore",
        "certificates=changed.der",
        r#"certificate 1 of "certificates" is not a well-formed X.509 certificate"#,
    ),
    (
        "certificate",
        "certificate=cut.crt",
        r#""certificate" is not well-formed PEM: of 1 sections that begin, 0 can be read"#,
    ),
    (
        "certificate",
        "certificate=public.pem",
        r#""certificate" holds no certificate"#,
    ),
    (
        "private-key",
        "private-key=proc-type.key passphrase=geheim",
        r#""private-key" is encrypted in the way of old OpenSSL"#,
    ),
    (
        "private-key",
        "private-key=public.pem",
        r#""private-key" holds no private key"#,
    ),
    (
        "private-key",
        "private-key=twice.key",
        r#""private-key" holds more than one private key"#,
    ),
    (
        "private-key",
        "private-key=pss.key",
        r#""private-key" is an RSA key for PSS only"#,
    ),
    (
        "private-key",
        "private-key=small.key",
        r#""private-key" is no RSA key of 2048 to 8192 bits"#,
    ),
    (
        "private-key",
        "private-key=koblitz.key",
        r#""private-key" is no RSA key of 2048 to 8192 bits, P-256"#,
    ),
    (
        "private-key",
        "private-key=own-curve.key",
        r#""private-key" is no RSA key of 2048 to 8192 bits, P-256"#,
    ),
    (
        "crl-distributor",
        "crls=crls.pem issuers=root.crt",
        r#""issuers" lacks the certificate of "CN=middle", which issued CRL 2 of "crls""#,
    ),
    (
        "crl-distributor",
        "crls=changed.crl issuers=root.crt",
        r#"CRL 1 of "crls" is not signed by the key of "CN=root" in "issuers""#,
    ),
    (
        "crl-distributor",
        "crls=root.crt issuers=root.crt",
        r#""crls" holds no certificate revocation list"#,
    ),
];

fn made(site: &Site, test: &str) -> Option<Bench> {
    if !tool::has(test, &["keytool", "pk12util"]) {
        return None;
    }
    let bench = site.bench("made");
    made::make(&bench);
    site.ctl(&["group", "create", "web"]);
    Some(bench)
}

fn put(site: &Site, bench: &Bench, name: &str, kind: &str, fields: &str) -> Output {
    let mut command = site.custodyctl();
    command.args(["secret", "put", name, "--type", kind]);
    for field in fields.split(' ') {
        let (field, file) = field.split_once('=').unwrap();
        command.arg(format!("{field}={}", bench.at(file)));
    }
    command.output().unwrap()
}

#[test]
fn what_tools_make_is_taken_and_openssl_finds_the_same_in_what_is_delivered() {
    let site = Site::new();
    let _daemon = site.start();
    let test = "what_tools_make_is_taken_and_openssl_finds_the_same_in_what_is_delivered";
    let Some(bench) = made(&site, test) else {
        return;
    };
    site.grant_on("*", &[]);
    assert_eq!(
        bench.read("nss.p12")[..2],
        [0x30, 0x80],
        "a length that is left open"
    );
    for ((kind, fields, told), number) in TAKEN.iter().zip(0..) {
        let name = format!("web/{number}");
        let output = put(&site, &bench, &name, kind, fields);
        assert!(output.status.success(), "{fields}: {}", text(&output));
        let (property, expected) = told.split_once(": ").unwrap();
        let shown = site.ctl_json(&["secret", "show", &name]).to_string();
        let expected = format!(r#""{property}","value":"{expected}"#);
        assert!(shown.contains(&expected), "{fields}: {expected}: {shown}");
        if *kind == "keystore" {
            let out = site.bench(&format!("out-{number}"));
            site.ctl(&["fetch", &name, "--format", "pem", "--out", &out.at("")]);
            let of_certificate = out.run("openssl x509 -in certificate-chain.pem -noout -pubkey");
            let of_key = out.run("openssl pkey -in private-key.pem -pubout");
            assert_eq!(of_certificate, of_key, "{fields}");
        }
    }
}

#[test]
fn what_is_wrong_is_refused_by_its_element_and_nothing_is_stored() {
    let site = Site::new();
    let _daemon = site.start();
    let test = "what_is_wrong_is_refused_by_its_element_and_nothing_is_stored";
    let Some(bench) = made(&site, test) else {
        return;
    };
    let before = site.entries("prepare");
    for (kind, fields, told) in REFUSED {
        let output = put(&site, &bench, "web/refused", kind, fields);
        assert!(text(&output).contains(told), "{fields}: {}", text(&output));
        assert_eq!(output.status.code(), Some(7), "{fields}: {}", text(&output));
        assert!(output.stdout.is_empty(), "{fields}");
    }
    let listed = site.ctl_json(&["secret", "list", "web"]);
    assert!(!listed.to_string().contains("refused"), "{listed}");
    assert_eq!(site.sqlite("SELECT count(*) FROM version"), "0\n");
    // That somebody tried is on record, and no change.
    assert_eq!(site.entries("prepare"), before);
    assert_eq!(site.entries("manage").len(), 1 + REFUSED.len() + 1);
}
