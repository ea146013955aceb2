//! Private keys: PEM or DER, plain or encrypted, in; PKCS#8 PEM stored.

use aws_lc_rs::{
    encoding::{AsDer as _, Pkcs8V1Der},
    rsa::KeyPair as RsaKeyPair,
    signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING,
        ECDSA_P521_SHA512_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
    },
};
use rustls_pki_types::{PrivateKeyDer, pem::PemObject as _};
use zeroize::Zeroizing;

use super::{contains, encode, invalid, is_binary, sections};
use crate::secret::{Refused, pbe};

/// A private key that works, and its public half.
pub(in crate::secret) struct Key {
    pkcs8: Zeroizing<Vec<u8>>,
    /// As it stands in the `subjectPublicKey` of a certificate.
    pub(in crate::secret) public: Vec<u8>,
}

impl Key {
    /// Takes PKCS#8, SEC1 or PKCS#1.
    pub(in crate::secret) fn from_der(field: &str, der: &[u8]) -> Result<Self, Refused> {
        rsa(der)
            .or_else(|| elliptic(der))
            .or_else(|| edwards(der))
            .ok_or_else(|| {
                invalid(format!(
                    "{field:?} is no RSA key of 2048 to 8192 bits, P-256, P-384, P-521 or \
                     Ed25519 key"
                ))
            })
    }

    /// The way it is stored.
    pub(in crate::secret) fn to_pem(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(encode("PRIVATE KEY", &self.pkcs8).into_bytes())
    }

    /// The key itself.
    pub(in crate::secret) fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }
}

fn keep(der: &[u8]) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(der.to_vec())
}

fn rsa(der: &[u8]) -> Option<Key> {
    let pair = RsaKeyPair::from_pkcs8(der)
        .or_else(|_| RsaKeyPair::from_der(der))
        .ok()?;
    let pkcs8: Pkcs8V1Der<'_> = pair.as_der().ok()?;
    Some(Key {
        pkcs8: keep(pkcs8.as_ref()),
        public: pair.public_key().as_ref().to_vec(),
    })
}

fn elliptic(der: &[u8]) -> Option<Key> {
    let pair = [
        &ECDSA_P256_SHA256_ASN1_SIGNING,
        &ECDSA_P384_SHA384_ASN1_SIGNING,
        &ECDSA_P521_SHA512_ASN1_SIGNING,
    ]
    .into_iter()
    .find_map(|curve| EcdsaKeyPair::from_private_key_der(curve, der).ok())?;
    Some(Key {
        pkcs8: keep(pair.to_pkcs8v1().ok()?.as_ref()),
        public: pair.public_key().as_ref().to_vec(),
    })
}

fn edwards(der: &[u8]) -> Option<Key> {
    let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).ok()?;
    Some(Key {
        pkcs8: keep(pair.to_pkcs8v1().ok()?.as_ref()),
        public: pair.public_key().as_ref().to_vec(),
    })
}

/// The one key in the value of `field`.
pub(in crate::secret) fn read(
    field: &str,
    bytes: &[u8],
    passphrase: Option<&str>,
) -> Result<Key, Refused> {
    if is_binary(bytes) {
        return match pbe::Encrypted::from_ber(bytes) {
            Some(encrypted) => unlock(field, &encrypted, passphrase),
            None => Key::from_der(field, bytes),
        };
    }
    if contains(bytes, b"Proc-Type: 4,ENCRYPTED") {
        return Err(invalid(format!(
            "{field:?} is encrypted in the way of old OpenSSL, whose key derivation is weak; \
             convert it by: openssl pkcs8 -topk8 -in FILE -out KEY, and give that passphrase"
        )));
    }
    if contains(bytes, b"-----BEGIN ENCRYPTED PRIVATE KEY-----") {
        let found = sections(field, bytes, super::MAX_CHAIN)?;
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
    Key::from_der(field, key.secret_der())
}

fn several(field: &str) -> Refused {
    invalid(format!("{field:?} holds more than one private key"))
}

fn unlock(
    field: &str,
    encrypted: &pbe::Encrypted<'_>,
    passphrase: Option<&str>,
) -> Result<Key, Refused> {
    let Some(passphrase) = passphrase else {
        return Err(invalid(format!(
            "{field:?} is encrypted; give its passphrase as \"passphrase\""
        )));
    };
    let plain = encrypted
        .open(passphrase, &mut pbe::Effort::default())
        .map_err(|error| invalid(format!("{field:?}: {error}")))?;
    Key::from_der(field, &plain)
}
