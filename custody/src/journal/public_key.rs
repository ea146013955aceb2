//! The journal key's public half.

use std::fmt;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use rustls_pki_types::{SubjectPublicKeyInfoDer, pem::PemObject as _};
use x509_parser::{prelude::FromDer as _, x509::SubjectPublicKeyInfo};

/// Something else than a public key of P-256.
#[derive(Debug, thiserror::Error)]
#[error("the public key is not a SubjectPublicKeyInfo of P-256 in PEM")]
pub struct NoPublicKey;

/// Length of an uncompressed point: a tag, and two coordinates of 32 bytes (SEC 1 §2.3.3).
const POINT: usize = 65;

/// The tag of an uncompressed point (SEC 1 §2.3.3).
const UNCOMPRESSED: u8 = 4;

/// What comes before the point in the `SubjectPublicKeyInfo` of a P-256 key (RFC 5480 §2).
const SPKI_P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// The journal key's public half, to verify checkpoints with.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(Vec<u8>);

impl PublicKey {
    /// Takes an uncompressed point of P-256, which is what a token gives.
    ///
    /// # Errors
    ///
    /// If it is none.
    pub fn from_point(point: &[u8]) -> Result<Self, NoPublicKey> {
        match point {
            [UNCOMPRESSED, ..] if point.len() == POINT => Ok(Self(point.to_vec())),
            _ => Err(NoPublicKey),
        }
    }

    /// Writes it as a `SubjectPublicKeyInfo` in PEM.
    pub fn to_pem(&self) -> String {
        let der = [&SPKI_P256[..], &self.0].concat();
        let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
        pem::encode_config(&pem::Pem::new("PUBLIC KEY", der), config)
    }

    /// Reads a `SubjectPublicKeyInfo` in PEM.
    ///
    /// # Errors
    ///
    /// If it is none, or not of P-256.
    pub fn from_pem(pem: &str) -> Result<Self, NoPublicKey> {
        let der =
            SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()).map_err(|_| NoPublicKey)?;
        match SubjectPublicKeyInfo::from_der(&der) {
            Ok(([], info)) => Self::from_point(&info.subject_public_key.data),
            _ => Err(NoPublicKey),
        }
    }

    /// The uncompressed point, 65 bytes.
    pub(crate) fn point(&self) -> &[u8] {
        &self.0
    }

    /// Whether `signature` (r ‖ s) is over `message`, which begins with what it is of.
    pub(crate) fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &self.0)
            .verify(message, signature)
            .is_ok()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", hex::encode(&self.0))
    }
}
