//! Writing PKCS#12 (RFC 7292) with PBES2, PBKDF2-HMAC-SHA-256 and AES-256.

use std::num::NonZeroU32;

use asn1_rs::{Oid, oid};
use aws_lc_rs::{
    cipher::{AES_256, DecryptionContext, PaddedBlockEncryptingKey, UnboundCipherKey},
    digest,
    error::Unspecified,
    hmac, pbkdf2, rand,
};
use zeroize::Zeroizing;

use super::der::{Element, NULL, element, explicit, integer, octets, oid as number, sequence, set};
use crate::secret::{
    pbe::kdf::{Passphrase, Purpose},
    x509::Der,
};

/// Ten times what Java's keytool writes.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(100_000).expect("not 0");

const DATA: Oid<'static> = oid!(1.2.840.113549.1.7.1);
const SHA256: Oid<'static> = oid!(2.16.840.1.101.3.4.2.1);

/// The alias of the one key.
const ALIAS: &str = "keystore";

/// A key store of one key and its chain.
pub(super) fn keystore(
    chain: &[Der],
    pkcs8: &[u8],
    password: &str,
) -> Result<Element, Unspecified> {
    let id = chain.first().map_or_else(Vec::new, |leaf| {
        digest::digest(&digest::SHA256, leaf).as_ref().to_vec()
    });
    let is_leaf = |at| at == 0;
    let certificates: Vec<_> = chain
        .iter()
        .enumerate()
        .map(|(at, der)| {
            certificate(
                der,
                if is_leaf(at) {
                    named(ALIAS, &id)
                } else {
                    Vec::new()
                },
            )
        })
        .collect();
    let (algorithm, ciphertext) = encrypt(pkcs8, password)?;
    let key = bag(
        &oid!(1.2.840.113549.1.12.10.1.2),
        &sequence(&[&algorithm, &octets(&ciphertext)]),
        named(ALIAS, &id),
    );
    let keys = sequence(&[&number(&DATA), &explicit(&octets(&sequence(&[&key])))]);
    seal(&[&encrypted(&certificates, password)?, &keys], password)
}

/// A store of certificates that Java trusts.
pub(super) fn truststore(trusted: &[Der], password: &str) -> Result<Element, Unspecified> {
    let certificates: Vec<_> = trusted
        .iter()
        .zip(1..)
        .map(|(der, place)| {
            // Without this attribute, Java takes a certificate for a link of some chain.
            let any_usage = number(&oid!(2.5.29.37.0));
            let trust = attribute(&oid!(2.16.840.1.113894.746875.1.1), any_usage);
            certificate(der, vec![name(&format!("certificate-{place}")), trust])
        })
        .collect();
    seal(&[&encrypted(&certificates, password)?], password)
}

fn attribute(kind: &Oid<'_>, value: Element) -> Element {
    sequence(&[&number(kind), &set(vec![value])])
}

fn name(alias: &str) -> Element {
    let wide: Vec<u8> = alias.encode_utf16().flat_map(u16::to_be_bytes).collect();
    attribute(&oid!(1.2.840.113549.1.9.20), element(0x1e, &[&wide]))
}

fn named(alias: &str, id: &[u8]) -> Vec<Element> {
    let id = attribute(&oid!(1.2.840.113549.1.9.21), octets(id));
    vec![name(alias), id]
}

fn bag(kind: &Oid<'_>, value: &[u8], attributes: Vec<Element>) -> Element {
    let value = explicit(value);
    let attributes = match attributes.is_empty() {
        true => Element::default(),
        false => set(attributes),
    };
    sequence(&[&number(kind), &value, &attributes])
}

fn certificate(der: &Der, attributes: Vec<Element>) -> Element {
    let x509 = number(&oid!(1.2.840.113549.1.9.22.1));
    let value = sequence(&[&x509, &explicit(&octets(der))]);
    bag(&oid!(1.2.840.113549.1.12.10.1.3), &value, attributes)
}

/// A part of the file that is encrypted as a whole.
fn encrypted(bags: &[Element], password: &str) -> Result<Element, Unspecified> {
    let contents = sequence(&bags.iter().map(|bag| &bag[..]).collect::<Vec<_>>());
    let (algorithm, ciphertext) = encrypt(&contents, password)?;
    let info = sequence(&[&number(&DATA), &algorithm, &element(0x80, &[&ciphertext])]);
    let data = sequence(&[&integer(0), &info]);
    let kind = number(&oid!(1.2.840.113549.1.7.6));
    Ok(sequence(&[&kind, &explicit(&data)]))
}

fn encrypt(plain: &[u8], password: &str) -> Result<(Element, Vec<u8>), Unspecified> {
    let mut salt = [0; 16];
    rand::fill(&mut salt)?;
    let mut key = Zeroizing::new([0; 32]);
    let prf = pbkdf2::PBKDF2_HMAC_SHA256;
    pbkdf2::derive(prf, ITERATIONS, &salt, password.as_bytes(), &mut key[..]);
    let cipher = PaddedBlockEncryptingKey::cbc_pkcs7(UnboundCipherKey::new(&AES_256, &key[..])?)?;
    let mut text = Zeroizing::new(Vec::with_capacity(plain.len() + 16));
    text.extend_from_slice(plain);
    let DecryptionContext::Iv128(iv) = cipher.encrypt(&mut *text)? else {
        return Err(Unspecified);
    };
    let hmac = sequence(&[&number(&oid!(1.2.840.113549.2.9)), NULL]);
    let stretch = sequence(&[&octets(&salt), &integer(ITERATIONS.get()), &hmac]);
    let derivation = sequence(&[&number(&oid!(1.2.840.113549.1.5.12)), &stretch]);
    let iv: &[u8; 16] = iv.as_ref();
    let scheme = sequence(&[&number(&oid!(2.16.840.1.101.3.4.1.42)), &octets(iv)]);
    let pbes2 = number(&oid!(1.2.840.113549.1.5.13));
    let algorithm = sequence(&[&pbes2, &sequence(&[&derivation, &scheme])]);
    Ok((algorithm, text.to_vec()))
}

/// Puts parts together under a MAC.
fn seal(parts: &[&[u8]], password: &str) -> Result<Element, Unspecified> {
    let safes = sequence(parts);
    let mut salt = [0; 16];
    rand::fill(&mut salt)?;
    let key = Passphrase::new(password).derive(
        &digest::SHA256,
        Purpose::Mac,
        &salt,
        ITERATIONS,
        digest::SHA256_OUTPUT_LEN,
    );
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), &safes);
    let algorithm = sequence(&[&number(&SHA256), NULL]);
    let info = sequence(&[&algorithm, &octets(tag.as_ref())]);
    let mac = sequence(&[&info, &octets(&salt), &integer(ITERATIONS.get())]);
    let content = sequence(&[&number(&DATA), &explicit(&octets(&safes))]);
    Ok(sequence(&[&integer(3), &content, &mac]))
}
