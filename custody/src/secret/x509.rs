//! X.509 certificates as people have them: PEM or DER in, PEM stored.

use pem::{EncodeConfig, LineEnding, Pem};
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::Refused;

pub(super) mod chain;
pub(super) mod describe;
pub(super) mod key;

/// One certificate, owned.
pub(super) type Der = CertificateDer<'static>;

const CERTIFICATES: &str = "certificates";

/// More certificates than any honest chain has.
pub(super) const MAX_CHAIN: usize = 16;

/// More certificates than any honest collection of authorities has.
pub(super) const MAX_COLLECTION: usize = 1000;

pub(super) fn invalid(what: impl Into<String>) -> Refused {
    Refused::Invalid(what.into())
}

/// Whether `bytes` are binary ASN.1 rather than text: a SEQUENCE of a length that no
/// character has, or of just theirs.
pub(super) fn is_binary(bytes: &[u8]) -> bool {
    match bytes {
        [0x30, length, rest @ ..] => *length >= 0x80 || usize::from(*length) == rest.len(),
        _ => false,
    }
}

/// The certificates in the value of `field`, at least one and at most `most`.
pub(super) fn read(field: &str, bytes: &[u8], most: usize) -> Result<Vec<Der>, Refused> {
    let found = if is_binary(bytes) {
        read_der(field, bytes, most)?
    } else {
        read_pem(field, bytes, most)?
    };
    parse(field, &found)?;
    Ok(found)
}

fn read_der(field: &str, mut rest: &[u8], most: usize) -> Result<Vec<Der>, Refused> {
    let mut found = Vec::new();
    while !rest.is_empty() {
        let (after, certificate) = X509Certificate::from_der(rest).map_err(|_| {
            invalid(format!(
                "certificate {} of {field:?} is not a well-formed X.509 certificate in DER; \
                 PKCS#12 files and Java key stores have fields of their own, and PKCS#7 is \
                 converted by: openssl pkcs7 -inform DER -print_certs",
                found.len() + 1
            ))
        })?;
        if found.len() == most {
            return Err(too_many(field, most, CERTIFICATES));
        }
        found.push(Der::from(certificate.as_raw().to_vec()));
        rest = after;
    }
    Ok(found)
}

fn read_pem(field: &str, bytes: &[u8], most: usize) -> Result<Vec<Der>, Refused> {
    if contains(bytes, b"PRIVATE KEY-----") {
        return Err(invalid(format!(
            "{field:?} holds a private key; it takes certificates only"
        )));
    }
    if contains(bytes, b"-----BEGIN TRUSTED CERTIFICATE-----") {
        return Err(invalid(format!(
            "{field:?} holds a TRUSTED CERTIFICATE, which only OpenSSL reads; \
             convert it by: openssl x509 -in FILE -out CERTIFICATE"
        )));
    }
    if contains(bytes, b"-----BEGIN PKCS7-----") {
        return Err(invalid(format!(
            "{field:?} holds PKCS#7; convert it by: openssl pkcs7 -in FILE -print_certs"
        )));
    }
    let found = sections(field, bytes, most, CERTIFICATES)?
        .into_iter()
        // The second is an old name for the first, which OpenSSL reads too.
        .filter(|pem| matches!(pem.tag(), "CERTIFICATE" | "X509 CERTIFICATE"))
        .map(|pem| Der::from(pem.into_contents()))
        .collect::<Vec<_>>();
    if found.is_empty() {
        return Err(invalid(format!("{field:?} holds no certificate in PEM")));
    }
    Ok(found)
}

/// The sections of PEM in `bytes`, at most `most` of `what`; text between them is skipped.
pub(super) fn sections(
    field: &str,
    bytes: &[u8],
    most: usize,
    what: &str,
) -> Result<Vec<Pem>, Refused> {
    const BEGIN: &[u8] = b"-----BEGIN ";
    let begun = bytes.windows(BEGIN.len()).filter(|at| *at == BEGIN).count();
    if begun > most {
        return Err(too_many(field, most, what));
    }
    let found = pem::parse_many(bytes).unwrap_or_default();
    if found.len() != begun {
        return Err(invalid(format!(
            "{field:?} is not well-formed PEM: of {begun} sections that begin, {} can be read",
            found.len()
        )));
    }
    Ok(found)
}

pub(super) fn too_many(field: &str, most: usize, what: &str) -> Refused {
    invalid(format!("{field:?} has over {most} {what}"))
}

pub(super) fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|at| at == wanted)
}

/// Takes each certificate apart; the one that cannot be is named by its number.
pub(super) fn parse<'a>(
    field: &str,
    found: &'a [Der],
) -> Result<Vec<X509Certificate<'a>>, Refused> {
    let parsed = found
        .iter()
        .zip(1..)
        .map(|(der, number)| match X509Certificate::from_der(der) {
            Ok(([], certificate)) => Ok(certificate),
            _ => Err(invalid(format!(
                "certificate {number} of {field:?} is not a well-formed X.509 certificate"
            ))),
        });
    parsed.collect()
}

/// Writes certificates the way they are stored.
pub(super) fn to_pem(certificates: &[Der]) -> Vec<u8> {
    let encode = |der: &Der| encode("CERTIFICATE", der);
    certificates.iter().map(encode).collect::<String>().into()
}

/// One section of PEM, with lines ended as on Unix.
pub(super) fn encode(tag: &str, der: &[u8]) -> String {
    let config = EncodeConfig::new().set_line_ending(LineEnding::LF);
    pem::encode_config(&Pem::new(tag, der), config)
}
