//! What anyone may know of certificates and public keys.

use std::{collections::BTreeSet, fmt, net::IpAddr};

use aws_lc_rs::digest;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use x509_parser::{
    extensions::GeneralName,
    oid_registry::{OID_KEY_TYPE_EC_PUBLIC_KEY, OID_PKCS1_RSAENCRYPTION, OID_SIG_ED25519},
    prelude::X509Certificate,
    public_key::PublicKey,
    time::ASN1Time,
};

use crate::secret::Properties;

/// How many of a collection are shown one by one.
pub(in crate::secret) const SHOWN: usize = 20;

/// The longest value taken over from what somebody else wrote.
const MAX_TEXT: usize = 256;

/// The properties of one certificate.
pub(in crate::secret) fn certificate(certificate: &X509Certificate<'_>) -> Properties {
    let validity = certificate.validity();
    let mut properties = vec![
        property("subject", text(certificate.subject())),
        property("issuer", text(certificate.issuer())),
        property("serial", text(certificate.raw_serial_as_string())),
        property("not-before", time(validity.not_before)),
        property("not-after", time(validity.not_after)),
        property("key-algorithm", algorithm(certificate)),
        property("signature-algorithm", signature(certificate)),
        property("sha256", fingerprint(certificate.as_raw())),
    ];
    let names = names(certificate);
    if !names.is_empty() {
        properties.insert(3, property("names", some_of(&names, " ")));
    }
    properties
}

/// What certificates have in common that belong to no key: how many there are, which,
/// and when the first of them ends.
pub(in crate::secret) fn collection(certificates: &[X509Certificate<'_>]) -> Properties {
    let subjects: Vec<_> = certificates.iter().map(|one| text(one.subject())).collect();
    let prints: Vec<_> = certificates
        .iter()
        .map(|one| fingerprint(one.as_raw()))
        .collect();
    let mut properties = vec![property("certificates", certificates.len().to_string())];
    properties.extend(first_end("not-after", certificates));
    let keys: BTreeSet<_> = certificates.iter().map(algorithm).collect();
    let keys: Vec<_> = keys.into_iter().collect();
    properties.push(property("key-algorithms", keys.join(", ")));
    properties.push(property("subjects", some_of(&subjects, "; ")));
    properties.push(property("sha256", some_of(&prints, " ")));
    properties
}

/// When the first of `certificates` ends, as a property called `name`.
pub(in crate::secret) fn first_end(
    name: &str,
    certificates: &[X509Certificate<'_>],
) -> Option<(String, String)> {
    let ends = certificates.iter().map(|one| one.validity().not_after);
    ends.min().map(|first| property(name, time(first)))
}

pub(in crate::secret) fn property(name: &str, value: impl Into<String>) -> (String, String) {
    (name.to_owned(), value.into())
}

/// The first of `all`, and how many there are besides.
pub(in crate::secret) fn some_of(all: &[String], separator: &str) -> String {
    let mut shown = all[..all.len().min(SHOWN)].join(separator);
    if all.len() > SHOWN {
        shown += &format!("{separator}and {} more", all.len() - SHOWN);
    }
    shown
}

/// What a certificate says, without what would make a terminal do things, and not
/// without end.
pub(in crate::secret) fn text(value: impl fmt::Display) -> String {
    let value = value.to_string();
    let mut shown: String = value
        .chars()
        .take(MAX_TEXT)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    if value.chars().nth(MAX_TEXT).is_some() {
        shown.push('…');
    }
    shown
}

/// SHA-256 of a certificate, in hexadecimal.
fn fingerprint(der: &[u8]) -> String {
    hex::encode(digest::digest(&digest::SHA256, der))
}

/// SHA-256 of the public key, as RFC 7469 writes pins.
pub(in crate::secret) fn pin(certificate: &X509Certificate<'_>) -> String {
    let digest = digest::digest(&digest::SHA256, certificate.public_key().raw);
    format!("sha256/{}", STANDARD.encode(digest))
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(names)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    names.value.general_names.iter().filter_map(name).collect()
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(text(name)),
        GeneralName::URI(uri) => Some(text(uri)),
        GeneralName::RFC822Name(mail) => Some(text(mail)),
        GeneralName::IPAddress(bytes) => address(bytes).map(|address| address.to_string()),
        _ => None,
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}

fn algorithm(certificate: &X509Certificate<'_>) -> String {
    let key = certificate.public_key();
    let oid = &key.algorithm.algorithm;
    let bits = match key.parsed() {
        Ok(PublicKey::RSA(key)) => key.key_size(),
        // P-521: the library counts whole bytes.
        Ok(PublicKey::EC(point)) if point.key_size() == 528 => 521,
        Ok(PublicKey::EC(point)) => point.key_size(),
        _ => 0,
    };
    if *oid == OID_PKCS1_RSAENCRYPTION {
        format!("RSA {bits}")
    } else if *oid == OID_KEY_TYPE_EC_PUBLIC_KEY {
        format!("EC {bits}")
    } else if *oid == OID_SIG_ED25519 {
        "Ed25519".to_owned()
    } else {
        text(oid.to_id_string())
    }
}

/// What the certificate is signed with, by the name that rules have for it; its object
/// identifier if they have none.
fn signature(certificate: &X509Certificate<'_>) -> String {
    let oid = certificate.signature_algorithm.algorithm.to_id_string();
    match &*oid {
        "1.2.840.113549.1.1.5" => "rsa-sha1",
        "1.2.840.113549.1.1.11" => "rsa-sha256",
        "1.2.840.113549.1.1.12" => "rsa-sha384",
        "1.2.840.113549.1.1.13" => "rsa-sha512",
        "1.2.840.113549.1.1.10" => "rsa-pss",
        "1.2.840.10045.4.1" => "ecdsa-sha1",
        "1.2.840.10045.4.3.2" => "ecdsa-sha256",
        "1.2.840.10045.4.3.3" => "ecdsa-sha384",
        "1.2.840.10045.4.3.4" => "ecdsa-sha512",
        "1.3.101.112" => "ed25519",
        _ => return text(oid),
    }
    .to_owned()
}

/// RFC 3339, in UTC, to the second.
pub(in crate::secret) fn time(time: ASN1Time) -> String {
    let time = time.to_datetime();
    let (date, (hour, minute, second)) = (time.date(), time.to_hms());
    format!("{date}T{hour:02}:{minute:02}:{second:02}Z")
}
