//! How journal keys sign, and what they sign with it.

use std::fmt;

/// How a journal key signs. Its public half says which way that is; a signature does not, so
/// that nobody can have it verified in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signing {
    /// ECDSA on P-256 with SHA-256. A signature is r ‖ s.
    EcdsaP256,
    /// RSASSA-PSS with SHA-256, MGF1 with SHA-256 and a salt of 32 bytes (RFC 8017 §8.1).
    RsaPss,
}

impl Signing {
    /// Every way, the preferred first.
    pub const ALL: [Self; 2] = [Self::EcdsaP256, Self::RsaPss];

    /// The name that is shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::EcdsaP256 => "ecdsa-p256",
            Self::RsaPss => "rsa-pss",
        }
    }
}

impl fmt::Display for Signing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A signature of a length that a journal key's has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature(Vec<u8>);

impl Signature {
    /// Length of one by ECDSA on P-256.
    pub(crate) const ECDSA_P256: usize = 64;

    /// Length of one by RSA with 2048 bits.
    const SHORTEST_RSA: usize = 256;

    /// Length of the longest: by RSA with 4096 bits.
    pub(crate) const LONGEST: usize = 512;

    /// Takes what a token gave. `None` if no journal key signs so.
    pub fn from_bytes(bytes: Vec<u8>) -> Option<Self> {
        match bytes.len() {
            Self::ECDSA_P256 | Self::SHORTEST_RSA..=Self::LONGEST => Some(Self(bytes)),
            _ => None,
        }
    }

    /// Reads one in hexadecimal. `None` if it is none.
    pub fn from_hex(text: impl AsRef<[u8]>) -> Option<Self> {
        Self::from_bytes(hex::decode(text).ok()?)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_has_the_length_of_one_by_a_journal_key() {
        for length in [64, 256, 384, 512] {
            let signature = Signature::from_bytes(vec![7; length]).unwrap();
            let read = Signature::from_hex(signature.to_string());
            assert_eq!(read, Some(signature));
        }
        for length in [0, 63, 65, 128, 255, 513] {
            assert_eq!(Signature::from_bytes(vec![7; length]), None);
        }
        assert_eq!(Signature::from_hex("no hexadecimal"), None);
    }
}
