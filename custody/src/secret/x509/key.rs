//! Private keys: PEM or DER, plain or encrypted, in; PKCS#8 PEM stored.

use asn1_rs::{Oid, oid};
use rustls_pki_types::{PrivateKeyDer, pem::PemObject as _};

use super::{contains, invalid, is_binary, sections};
use crate::secret::{Refused, ber::Reader, key::PrivateKey, pbe};

/// The key in `der`: PKCS#8, SEC1 or PKCS#1.
pub(in crate::secret) fn from_der(field: &str, der: &[u8]) -> Result<PrivateKey, Refused> {
    PrivateKey::from_der(der).ok_or_else(|| {
        let what = if PrivateKeyDer::try_from(der).is_err() {
            "holds no private key in PEM or DER (PKCS#8, PKCS#1 or SEC1)"
        } else if is_of(der, &OID_RSASSA_PSS) {
            "is an RSA key for PSS only, which many TLS libraries cannot use; make one by: openssl \
             genpkey -algorithm RSA"
        } else {
            "is no RSA key of 2048 to 8192 bits, P-256, P-384, P-521 or Ed25519 key"
        };
        invalid(format!("{field:?} {what}"))
    })
}

const OID_RSASSA_PSS: Oid<'static> = oid!(1.2.840.113549.1.1.10);

/// Whether `der` is PKCS#8 of a key of that algorithm.
fn is_of(der: &[u8], wanted: &Oid<'_>) -> bool {
    let found = Reader::new(der).sequence().and_then(|mut key| {
        key.integer()?;
        key.algorithm()
    });
    found.is_ok_and(|(algorithm, _)| algorithm == *wanted)
}

/// The one key in the value of `field`.
pub(in crate::secret) fn read(
    field: &str,
    bytes: &[u8],
    passphrase: Option<&str>,
) -> Result<PrivateKey, Refused> {
    if is_binary(bytes) {
        return match pbe::Encrypted::from_ber(bytes) {
            Some(encrypted) => unlock(field, &encrypted, passphrase),
            None => from_der(field, bytes),
        };
    }
    if contains(bytes, b"Proc-Type: 4,ENCRYPTED") {
        return Err(invalid(format!(
            "{field:?} is encrypted in the way of old OpenSSL, whose key derivation is weak; \
             convert it by: openssl pkcs8 -topk8 -in FILE -out KEY, and give that passphrase"
        )));
    }
    if contains(bytes, b"-----BEGIN ENCRYPTED PRIVATE KEY-----") {
        let found = sections(field, bytes, super::MAX_CHAIN, "sections")?;
        let mut keys = found
            .iter()
            .filter(|pem| pem.tag().ends_with("PRIVATE KEY"));
        let (Some(key), None) = (keys.next(), keys.next()) else {
            return Err(several(field));
        };
        let encrypted = pbe::Encrypted::from_ber(key.contents()).ok_or_else(|| {
            invalid(format!(
                "{field:?} is not a well-formed encrypted key (PKCS#8)"
            ))
        })?;
        return unlock(field, &encrypted, passphrase);
    }
    let mut keys = PrivateKeyDer::pem_slice_iter(bytes);
    let Some(Ok(key)) = keys.next() else {
        return Err(invalid(format!(
            "{field:?} holds no private key in PEM or DER (PKCS#8, PKCS#1 or SEC1)"
        )));
    };
    if keys.next().is_some() {
        return Err(several(field));
    }
    from_der(field, key.secret_der())
}

fn several(field: &str) -> Refused {
    invalid(format!("{field:?} holds more than one private key"))
}

fn unlock(
    field: &str,
    encrypted: &pbe::Encrypted<'_>,
    passphrase: Option<&str>,
) -> Result<PrivateKey, Refused> {
    let Some(passphrase) = passphrase else {
        return Err(Refused::Locked(format!(
            "{field:?} is encrypted; give its passphrase as \"passphrase\""
        )));
    };
    let plain = encrypted
        .open(passphrase, &mut pbe::Effort::default())
        .map_err(|error| match error {
            pbe::Error::Passphrase => Refused::Locked(format!("{field:?}: {error}")),
            _ => invalid(format!("{field:?}: {error}")),
        })?;
    from_der(field, &plain)
}
