//! Keys as OpenSSL writes them, in `samples/`.

use aws_lc_rs::digest;
use rustls_pki_types::{
    PrivateKeyDer,
    pem::{PemObject as _, SectionKind},
};

use super::*;
use crate::secret::{Refused, x509};

/// Each key, what it is called, and what `openssl pkey -pubout -outform DER | sha256sum`
/// says of it.
const KEYS: [(&str, &str, &str); 7] = [
    (
        include_str!("samples/rsa-pkcs1.pem"),
        "RSA 2048",
        "7baba2c97249d03078d60abf4e7c0b111f5aa60e22f2e9c33c986bcc1e4942c1",
    ),
    (
        include_str!("samples/rsa-pkcs8.pem"),
        "RSA 2048",
        "7baba2c97249d03078d60abf4e7c0b111f5aa60e22f2e9c33c986bcc1e4942c1",
    ),
    (
        include_str!("samples/p256-sec1.pem"),
        "EC 256",
        "ec3ec6a0f07f8858d1a4614500b2712468217670c20be89ef4f1a4ea035cbd88",
    ),
    (
        include_str!("samples/p256-pkcs8.pem"),
        "EC 256",
        "ec3ec6a0f07f8858d1a4614500b2712468217670c20be89ef4f1a4ea035cbd88",
    ),
    (
        include_str!("samples/p384-sec1.pem"),
        "EC 384",
        "0b9742dbf1bf1c608ab60b61aa08083235f83444035a3ea862791c99e6f62811",
    ),
    (
        include_str!("samples/p521-sec1.pem"),
        "EC 521",
        "e376bc1affa669fe6fbc3eef08d8bdfed2d11104d8a685259b887f384e59321e",
    ),
    (
        include_str!("samples/ed25519-pkcs8.pem"),
        "Ed25519",
        "741e3fa375e3a9dee88f01e528fa5821818b2b471fb3f112e2e2982756843f6a",
    ),
];

fn spki_sha256(key: &PrivateKey) -> String {
    hex::encode(digest::digest(&digest::SHA256, key.spki()))
}

fn read(bytes: &[u8]) -> Result<PrivateKey, Refused> {
    x509::key::read("key", bytes, None)
}

fn der(pem: &str) -> Vec<u8> {
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap();
    key.secret_der().to_vec()
}

#[test]
fn a_key_is_the_same_from_pem_and_der() {
    for (pem, algorithm, sha256) in KEYS {
        for bytes in [pem.as_bytes().to_vec(), der(pem)] {
            let key = read(&bytes).unwrap();
            assert_eq!(key.algorithm(), algorithm);
            assert_eq!(spki_sha256(&key), sha256, "{algorithm}");
            assert!(key.spki().ends_with(key.public()), "{algorithm}");
        }
    }
}

#[test]
fn a_key_comes_out_as_the_pkcs8_that_openssl_writes() {
    let pair = [
        (
            include_str!("samples/rsa-pkcs1.pem"),
            include_str!("samples/rsa-pkcs8.pem"),
        ),
        (
            include_str!("samples/p256-sec1.pem"),
            include_str!("samples/p256-pkcs8.pem"),
        ),
        (
            include_str!("samples/p384-sec1.pem"),
            include_str!("samples/p384-pkcs8.pem"),
        ),
    ];
    for (given, pkcs8) in pair {
        let key = read(given.as_bytes()).unwrap();
        assert_eq!(*key.to_pem(), pkcs8.as_bytes());
    }
    for (pem, ..) in KEYS {
        let key = read(pem.as_bytes()).unwrap();
        let (kind, _) = <(SectionKind, Vec<u8>)>::from_pem_slice(&key.to_pem()).unwrap();
        assert_eq!(kind, SectionKind::PrivateKey);
        let again = read(&key.to_pem()).unwrap();
        assert_eq!(again.to_pem(), key.to_pem());
    }
}

#[test]
fn what_is_no_key_to_keep_is_refused_for_what_it_is() {
    let refused = |bytes: &[u8]| read(bytes).err().unwrap().to_string();
    let p256 = include_str!("samples/p256-pkcs8.pem");
    let told = refused(include_bytes!("samples/encrypted-pkcs8.pem"));
    assert!(told.contains("is encrypted; give its passphrase"), "{told}");
    let told = refused(include_bytes!("samples/encrypted-sec1.pem"));
    assert!(told.contains("in the way of old OpenSSL"), "{told}");
    for unknown in [
        include_str!("samples/rsa-1024.pem"),
        include_str!("samples/secp256k1.pem"),
    ] {
        let told = refused(unknown.as_bytes());
        assert!(
            told.contains("is no RSA key of 2048 to 8192 bits"),
            "{told}"
        );
    }
    let told = refused(p256.repeat(2).as_bytes());
    assert!(told.contains("holds more than one private key"), "{told}");
    for nothing in [&b""[..], b"x", b"\x30\x04abc", &p256.as_bytes()[..100]] {
        let told = refused(nothing);
        assert!(told.contains("holds no private key"), "{told}");
    }
}
