//! Files that were made to do harm are refused, or taken within bounds, and others are served
//! meanwhile.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use client::{Manager, v1};
use nix::unistd::Pid;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, IsCa,
    KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber, date_time_ymd,
};
use softhsm_tests::{
    Site,
    load::{fetch, runtime},
    tool::Bench,
    verdict::CONTENT,
};

/// A secret to store, and what is said to it.
struct Hostile {
    what: &'static str,
    kind: &'static str,
    fields: Vec<(&'static str, Vec<u8>)>,
    /// Part of the refusal, or of a property if it is taken.
    told: Result<&'static str, &'static str>,
}

/// More than 1 MiB is no secret, and more than 4 MiB no message.
const MESSAGE: usize = 64 << 20;

fn all(bench: &Bench) -> Vec<Hostile> {
    let hostile = |what, kind, fields, told| Hostile {
        what,
        kind,
        fields,
        told,
    };
    let many = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n".repeat(10_000);
    let endless = [0x30, 0x80].repeat(100_000);
    let (certificate, key) = many_names(100_000);
    let (short, issuer) = revoked(20_000);
    let (long, its_issuer) = revoked(100_000);
    let passphrase = || ("passphrase", b"geheim".to_vec());
    vec![
        hostile(
            "a message of 64 MiB",
            "blob",
            vec![("content", vec![1; MESSAGE])],
            Err("too large"),
        ),
        hostile(
            "a blob of 2 MiB",
            "blob",
            vec![("content", vec![1; 2 << 20])],
            Err("a secret holds at most 1048576"),
        ),
        hostile(
            "10,000 certificates",
            "truststore",
            vec![("certificates", many.clone().into())],
            Err("\"certificates\" has over 1000 certificates"),
        ),
        hostile(
            "10,000 certificates for pins",
            "certificate-pin-set",
            vec![("certificates", many.into())],
            Err("\"certificates\" has over 1000 certificates"),
        ),
        hostile(
            "a PKCS#12 file of open lengths",
            "keystore",
            vec![("pkcs12", endless.clone()), passphrase()],
            Err("\"pkcs12\" is not a well-formed PKCS#12 file"),
        ),
        hostile(
            "a certificate of open lengths",
            "certificate",
            vec![("certificate", endless.clone())],
            Err("certificate 1 of \"certificate\" is not a well-formed"),
        ),
        hostile(
            "a key of open lengths",
            "private-key",
            vec![("private-key", endless), passphrase()],
            Err("\"private-key\" holds no private key"),
        ),
        hostile(
            "a list in lists",
            "crl-distributor",
            vec![("crls", nested(100_000)), ("issuers", issuer.clone())],
            Err("CRL 1 of \"crls\" is not a well-formed"),
        ),
        hostile(
            "a certificate in certificates",
            "truststore",
            vec![("certificates", nested(100_000))],
            Err("certificate 1 of \"certificates\" is not a well-formed"),
        ),
        hostile(
            "key derivation without end",
            "keystore",
            vec![("pkcs12", endless_derivation(bench)), passphrase()],
            Err("it asks for over 5000000 iterations"),
        ),
        hostile(
            "an RSA key of 16,384 bits",
            "private-key",
            vec![("private-key", huge_rsa())],
            Err("\"private-key\" is no RSA key of 2048 to 8192 bits"),
        ),
        hostile(
            "a revocation list over the limit",
            "crl-distributor",
            vec![("crls", long), ("issuers", its_issuer)],
            Err("a secret holds at most 1048576"),
        ),
        hostile(
            "100,000 names",
            "keystore",
            vec![("certificate-chain", certificate), ("private-key", key)],
            Ok("and 99980 more"),
        ),
        hostile(
            "20,000 revoked",
            "crl-distributor",
            vec![("crls", short), ("issuers", issuer)],
            Ok("20000 revoked"),
        ),
    ]
}

/// A certificate of `count` names, and its key.
fn many_names(count: usize) -> (Vec<u8>, Vec<u8>) {
    let key = KeyPair::generate().unwrap();
    let names: Vec<_> = (0..count).map(|_| "a.b".to_owned()).collect();
    let params = CertificateParams::new(names).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    (certificate.der().to_vec(), key.serialize_der())
}

/// A list on which `count` certificates are revoked, and the certificate of its issuer.
fn revoked(count: u64) -> (Vec<u8>, Vec<u8>) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let revoked = (0..count).map(|number| RevokedCertParams {
        serial_number: SerialNumber::from(number),
        revocation_time: date_time_ymd(2026, 1, 1),
        reason_code: None,
        invalidity_date: None,
    });
    let list = CertificateRevocationListParams {
        this_update: date_time_ymd(2026, 1, 1),
        next_update: date_time_ymd(2027, 1, 1),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: revoked.collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let list = list.signed_by(&authority).unwrap();
    (list.der().to_vec(), authority.pem().into_bytes())
}

/// A SEQUENCE that holds one that holds one, `depth` levels deep, with lengths as DER has them.
fn nested(depth: usize) -> Vec<u8> {
    let mut backwards = Vec::new();
    for _ in 0..depth {
        let length = u32::try_from(backwards.len()).unwrap().to_be_bytes();
        backwards.extend(length.iter().rev());
        backwards.extend([0x84, 0x30]);
    }
    backwards.reverse();
    backwards
}

/// A PKCS#12 file of openssl in which each key is said to take 8 million iterations.
fn endless_derivation(bench: &Bench) -> Vec<u8> {
    bench.run("openssl genpkey -algorithm ed25519 -out key");
    bench.write("config", "[req]\ndistinguished_name = name\n[name]\n");
    bench.run("openssl req -config config -x509 -key key -subj /CN=x -out certificate");
    bench.run(
        "openssl pkcs12 -export -inkey key -in certificate -iter 80000 -nomac -passout \
         pass:geheim -out store",
    );
    let mut store = bench.read("store");
    let written = [2, 3, 0x01, 0x38, 0x80];
    let found: Vec<_> = (0..store.len())
        .filter(|at| store[*at..].starts_with(&written))
        .collect();
    assert!(!found.is_empty());
    for at in found {
        store[at + 2] = 0x7f;
    }
    store
}

/// PKCS#1 of a key whose numbers are all of 16,384 bits.
fn huge_rsa() -> Vec<u8> {
    let element = |tag: u8, bytes: &[u8]| {
        let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
        [&[tag, 0x82], &length[..], bytes].concat()
    };
    let numbers = element(2, &[0x7f; 2048]).repeat(8);
    element(0x30, &[&[2, 1, 0], &numbers[..]].concat())
}

/// Stores it, or is refused, as it says.
async fn put(manager: &Manager, hostile: &Hostile, name: &str) {
    let fields = hostile.fields.iter().map(|(name, value)| v1::Field {
        name: (*name).to_owned(),
        value: value.clone(),
    });
    let request = v1::PutSecretRequest {
        group: "web".to_owned(),
        name: name.to_owned(),
        r#type: hostile.kind.to_owned(),
        fields: fields.collect(),
        ..Default::default()
    };
    let what = hostile.what;
    match (manager.put_secret(request).await, hostile.told) {
        (Ok(version), Ok(told)) => {
            let shown = format!("{version:?}");
            assert!(shown.contains(told), "{what}: {shown}");
            assert!(shown.len() < 20_000, "{what}: {} bytes", shown.len());
        }
        (Err(refused), Err(told)) => {
            let refused = refused.to_string();
            assert!(refused.contains(told), "{what}: {refused}");
            assert!(refused.len() < 1000, "{what}: {refused}");
        }
        (put, _) => panic!("{what}: {put:?}"),
    }
}

/// How long a process has had a processor. Linux tells in hundredths of a second.
fn work(process: Pid) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let (_, after) = stat.rsplit_once(')').unwrap();
    // After the name: state first, then ten more before those of user and kernel.
    let ticks = after.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

/// The most memory that a process has had, in KiB.
fn memory(process: Pid) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.unwrap().split_whitespace().nth(1).unwrap();
    kib.parse().unwrap()
}

/// What the daemon may do for one of them, as it is built for tests.
const MAX_WORK: Duration = Duration::from_secs(10);
const MAX_MEMORY_KIB: u64 = 192 << 10;

#[test]
fn what_was_made_to_do_harm_costs_little() {
    let site = Site::new();
    let daemon = site.start();
    site.furnish(CONTENT);
    let all = all(&site.bench("made"));
    let before = memory(daemon.pid());
    runtime().block_on(async {
        let manager = site.manager().await;
        for hostile in &all {
            let before = work(daemon.pid());
            put(&manager, hostile, hostile.kind).await;
            let spent = work(daemon.pid()).saturating_sub(before);
            assert!(spent < MAX_WORK, "{}: {spent:?}", hostile.what);
        }
    });
    let grown = memory(daemon.pid()) - before;
    assert!(grown < MAX_MEMORY_KIB, "{grown} KiB");
}

#[test]
fn services_are_served_while_harm_is_tried() {
    let site = Site::new();
    let _daemon = site.start();
    site.furnish(CONTENT);
    let all = all(&site.bench("made"));
    let done = AtomicBool::new(false);
    let served = runtime().block_on(async {
        let tries = async {
            let manager = site.manager().await;
            for (hostile, number) in all.iter().zip(0..) {
                put(&manager, hostile, &format!("hostile-{number}")).await;
            }
            done.store(true, Ordering::Relaxed);
        };
        let serves = async {
            let provider = site.provider().await;
            let mut served = 0;
            while !done.load(Ordering::Relaxed) {
                let (content, _) = fetch(&provider, "key").await.unwrap();
                assert_eq!(content, CONTENT);
                served += 1;
            }
            served
        };
        tokio::join!(tries, serves).1
    });
    assert!(served > 10, "{served}");
}
