//! The journal key's public half.

use std::fmt;

use aws_lc_rs::{
    digest::{Digest, SHA256},
    encoding::AsDer as _,
    signature::{
        ECDSA_P256_SHA256_FIXED, RSA_PSS_2048_8192_SHA256, RsaPublicKeyComponents,
        UnparsedPublicKey, VerificationAlgorithm,
    },
};
use rustls_pki_types::{SubjectPublicKeyInfoDer, pem::PemObject as _};
use x509_parser::{
    prelude::FromDer as _,
    public_key::{PublicKey as Parsed, RSAPublicKey},
    x509::SubjectPublicKeyInfo,
};

use super::signing::{Signature, Signing};

/// Something else than a public key of a kind that signs journals.
#[derive(Debug, thiserror::Error)]
#[error(
    "the public key is not a SubjectPublicKeyInfo of P-256, or of RSA with 2048 to 4096 bits, in PEM"
)]
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

/// How long an RSA modulus may be, in bits: SP 800-131A has no shorter one, and no token that
/// was met makes a longer one.
const MODULUS: std::ops::RangeInclusive<usize> = 2048..=4096;

/// The public exponent of RSA keys, F4: 65537.
pub const EXPONENT: [u8; 3] = [1, 0, 1];

/// The journal key's public half, to verify what that signed.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    signing: Signing,
    /// The point of P-256, or the `SubjectPublicKeyInfo` of RSA. There is one for each key.
    bytes: Vec<u8>,
    signature_len: usize,
}

impl PublicKey {
    /// Takes an uncompressed point of P-256, which is what a token gives.
    ///
    /// # Errors
    ///
    /// If it is none.
    pub fn from_point(point: &[u8]) -> Result<Self, NoPublicKey> {
        match point {
            [UNCOMPRESSED, ..] if point.len() == POINT => Ok(Self {
                signing: Signing::EcdsaP256,
                bytes: point.to_vec(),
                signature_len: Signature::ECDSA_P256,
            }),
            _ => Err(NoPublicKey),
        }
    }

    /// Takes the modulus of an RSA key, big-endian, whose public exponent is [`EXPONENT`].
    ///
    /// # Errors
    ///
    /// If it is none, or too short or too long.
    pub fn from_modulus(modulus: &[u8]) -> Result<Self, NoPublicKey> {
        let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
        let modulus = &modulus[zeros..];
        let high = modulus.first().map_or(0, |byte| byte.leading_zeros());
        let bits = 8 * modulus.len() - usize::try_from(high).map_err(|_| NoPublicKey)?;
        let is_odd = modulus.last().is_some_and(|byte| byte % 2 == 1);
        if !is_odd || !MODULUS.contains(&bits) {
            return Err(NoPublicKey);
        }
        let (n, e) = (modulus, &EXPONENT[..]);
        let info = RsaPublicKeyComponents { n, e }.as_der();
        Ok(Self {
            signing: Signing::RsaPss,
            bytes: info.map_err(|_| NoPublicKey)?.as_ref().to_vec(),
            signature_len: modulus.len(),
        })
    }

    /// Takes what [`as_bytes`](Self::as_bytes) gave.
    ///
    /// # Errors
    ///
    /// If it is something else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NoPublicKey> {
        Self::from_point(bytes).or_else(|_| Self::from_rsa_info(bytes))
    }

    /// Reads a `SubjectPublicKeyInfo` in PEM.
    ///
    /// # Errors
    ///
    /// If it is none, or of a key of another kind.
    pub fn from_pem(pem: &str) -> Result<Self, NoPublicKey> {
        let der =
            SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()).map_err(|_| NoPublicKey)?;
        match der.strip_prefix(&SPKI_P256) {
            Some(point) => Self::from_point(point),
            None => Self::from_rsa_info(&der),
        }
    }

    fn from_rsa_info(der: &[u8]) -> Result<Self, NoPublicKey> {
        let ([], info) = SubjectPublicKeyInfo::from_der(der).map_err(|_| NoPublicKey)? else {
            return Err(NoPublicKey);
        };
        let key = match info.parsed() {
            Ok(Parsed::RSA(RSAPublicKey { modulus, .. })) => Self::from_modulus(modulus)?,
            _ => return Err(NoPublicKey),
        };
        // There is one way to write each, and one exponent.
        match key.bytes == der {
            true => Ok(key),
            false => Err(NoPublicKey),
        }
    }

    /// Writes it as a `SubjectPublicKeyInfo` in PEM.
    pub fn to_pem(&self) -> String {
        let der = match self.signing {
            Signing::EcdsaP256 => [&SPKI_P256[..], &self.bytes].concat(),
            Signing::RsaPss => self.bytes.clone(),
        };
        let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
        pem::encode_config(&pem::Pem::new("PUBLIC KEY", der), config)
    }

    /// As it is stored, and signed where another key vouches for it: the uncompressed point of
    /// P-256, 65 bytes; of RSA the `SubjectPublicKeyInfo` in DER.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How its private half signs.
    pub fn signing(&self) -> Signing {
        self.signing
    }

    /// How many bytes its private half's signatures have.
    pub fn signature_len(&self) -> usize {
        self.signature_len
    }

    /// Whether `signature` is over `message`, which begins with what it is of.
    pub fn signed(&self, message: &[u8], signature: &Signature) -> bool {
        let key = self.verifying();
        key.verify(message, signature.as_bytes()).is_ok()
    }

    /// Whether `signature` is over the message whose SHA-256 is `digest`: for what was just given to
    /// be signed so. What others hand over is verified as a [message](Self::signed).
    pub fn signed_digest(&self, digest: &[u8], signature: &Signature) -> bool {
        let digest = Digest::import_less_safe(digest, &SHA256);
        let verified =
            digest.and_then(|it| self.verifying().verify_digest(&it, signature.as_bytes()));
        verified.is_ok()
    }

    fn verifying(&self) -> UnparsedPublicKey<&[u8]> {
        let algorithm: &dyn VerificationAlgorithm = match self.signing {
            Signing::EcdsaP256 => &ECDSA_P256_SHA256_FIXED,
            Signing::RsaPss => &RSA_PSS_2048_8192_SHA256,
        };
        UnparsedPublicKey::new(algorithm, &self.bytes)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "PublicKey({}, {})",
            self.signing,
            hex::encode(&self.bytes)
        )
    }
}

#[cfg(test)]
mod tests;
