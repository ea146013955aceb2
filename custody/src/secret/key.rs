//! Private keys in the forms that tools write: PKCS#8, PKCS#1 and SEC1.

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der},
    rsa::KeyPair as RsaKeyPair,
    signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING,
        ECDSA_P521_SHA512_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    },
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

/// A private key, checked to be one that TLS libraries use, and its public half.
pub(super) struct PrivateKey {
    pkcs8: Zeroizing<Vec<u8>>,
    public: Vec<u8>,
    spki: Vec<u8>,
    algorithm: String,
}

impl PrivateKey {
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
