//! Private keys in the forms that tools write: PKCS#8, PKCS#1 and SEC1, as PEM or DER.

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der},
    rsa::KeyPair as RsaKeyPair,
    signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING,
        ECDSA_P521_SHA512_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    },
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls_pki_types::{PrivateKeyDer, pem::PemObject as _};
use zeroize::Zeroizing;

/// Why bytes are no private key that is kept. Each is said of a named element.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum Refused {
    #[error("holds no private key (PKCS#8, PKCS#1 or SEC1, as PEM or DER)")]
    NoKey,
    #[error("is encrypted; decrypt it first, as with 'openssl pkey -in FILE -out FILE'")]
    Encrypted,
    #[error("holds more than one private key")]
    SeveralKeys,
    #[error("is no RSA key of 2048 to 8192 bits, P-256, P-384, P-521 or Ed25519 key")]
    UnknownKey,
}

/// A private key, checked to be one that TLS libraries use, and its public half.
pub(super) struct PrivateKey {
    pkcs8: Zeroizing<Vec<u8>>,
    public: Vec<u8>,
    spki: Vec<u8>,
    algorithm: String,
}

impl PrivateKey {
    /// Reads the only key in `bytes`, PEM or DER.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Refused> {
        // A DER key is a SEQUENCE; PEM is text.
        if bytes.first() == Some(&0x30) {
            PrivateKeyDer::try_from(bytes).map_err(|_| Refused::NoKey)?;
            return Self::from_der(bytes).ok_or(Refused::UnknownKey);
        }
        Self::from_pem(bytes)
    }

    /// Reads the only key in `pem`, whatever else is in it.
    pub(super) fn from_pem(pem: &[u8]) -> Result<Self, Refused> {
        // PKCS#8, and RFC 1421 as OpenSSL uses it for PKCS#1 and SEC1.
        for mark in [
            "-----BEGIN ENCRYPTED PRIVATE KEY-----",
            "Proc-Type: 4,ENCRYPTED",
        ] {
            if pem.windows(mark.len()).any(|part| part == mark.as_bytes()) {
                return Err(Refused::Encrypted);
            }
        }
        let mut keys = PrivateKeyDer::pem_slice_iter(pem);
        let Some(Ok(key)) = keys.next() else {
            return Err(Refused::NoKey);
        };
        if keys.next().is_some() {
            return Err(Refused::SeveralKeys);
        }
        Self::from_der(key.secret_der()).ok_or(Refused::UnknownKey)
    }

    /// The key in `der`: PKCS#8, SEC1 or PKCS#1. `None` if it is none that is kept.
    pub(super) fn from_der(der: &[u8]) -> Option<Self> {
        let rsa = RsaKeyPair::from_pkcs8(der).or_else(|_| RsaKeyPair::from_der(der));
        if let Ok(pair) = rsa {
            let pkcs8 = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).ok()?;
            let bits = pair.public_modulus_len() * 8;
            return Self::new(pkcs8.as_ref(), pair.public_key(), format!("RSA {bits}"));
        }
        for (curve, bits) in [
            (&ECDSA_P256_SHA256_ASN1_SIGNING, 256),
            (&ECDSA_P384_SHA384_ASN1_SIGNING, 384),
            (&ECDSA_P521_SHA512_ASN1_SIGNING, 521),
        ] {
            if let Ok(pair) = EcdsaKeyPair::from_private_key_der(curve, der) {
                let pkcs8 = pair.to_pkcs8v1().ok()?;
                return Self::new(pkcs8.as_ref(), pair.public_key(), format!("EC {bits}"));
            }
        }
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).ok()?;
        let pkcs8 = pair.to_pkcs8v1().ok()?;
        Self::new(pkcs8.as_ref(), pair.public_key(), "Ed25519".to_owned())
    }

    fn new<P>(pkcs8: &[u8], public: &P, algorithm: String) -> Option<Self>
    where
        P: AsRef<[u8]> + AsDer<PublicKeyX509Der<'static>>,
    {
        Some(Self {
            pkcs8: Zeroizing::new(pkcs8.to_vec()),
            public: public.as_ref().to_vec(),
            spki: public.as_der().ok()?.as_ref().to_vec(),
            algorithm,
        })
    }

    /// The algorithm and, where it has several, the size in bits: `RSA 2048`, `EC 256`,
    /// `Ed25519`.
    pub(super) fn algorithm(&self) -> &str {
        &self.algorithm
    }

    /// The public key as it stands in the `subjectPublicKey` of a certificate.
    pub(super) fn public(&self) -> &[u8] {
        &self.public
    }

    /// The public key as a DER `SubjectPublicKeyInfo`, which pins are the SHA-256 of.
    pub(super) fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// The key as PKCS#8 DER.
    pub(super) fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// The key as PKCS#8 PEM, in lines of 64 characters (RFC 7468).
    pub(super) fn to_pem(&self) -> Zeroizing<Vec<u8>> {
        // Enough room from the start, so that growing leaves no copies behind.
        let mut pem = Zeroizing::new(String::with_capacity(self.pkcs8.len() * 3 / 2 + 80));
        pem.push_str("-----BEGIN PRIVATE KEY-----\n");
        for line in self.pkcs8.chunks(48) {
            STANDARD.encode_string(line, &mut pem);
            pem.push('\n');
        }
        pem.push_str("-----END PRIVATE KEY-----\n");
        Zeroizing::new(std::mem::take(&mut *pem).into_bytes())
    }
}

#[cfg(test)]
mod tests;
