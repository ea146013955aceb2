//! What a token does for each way to sign: it tells the public half of a key, and signs.

use cryptoki::{
    error::Error as CkError,
    mechanism::{
        Mechanism, MechanismType,
        rsa::{PkcsMgfType, PkcsPssParams},
    },
    object::{Attribute, AttributeType, ObjectHandle},
    session::Session,
};
use custody::journal::{
    public_key::{EXPONENT, PublicKey},
    signing::Signing,
};

use super::wrap::Fault;

/// Length of the salt: that of a SHA-256 digest (RFC 8017 §9.1).
const SALT: u64 = 32;

/// What the token says of a public half.
pub(super) fn public_key(
    session: &Session,
    signing: Signing,
    public: ObjectHandle,
) -> Result<PublicKey, Fault> {
    let kinds: &[_] = match signing {
        Signing::EcdsaP256 => &[AttributeType::EcPoint],
        Signing::RsaPss => &[AttributeType::Modulus, AttributeType::PublicExponent],
    };
    let key = match &session.get_attributes(public, kinds)?[..] {
        [Attribute::EcPoint(point)] => PublicKey::from_point(bare_point(point)).ok(),
        [
            Attribute::Modulus(modulus),
            Attribute::PublicExponent(exponent),
        ] if bare(exponent) == EXPONENT => PublicKey::from_modulus(modulus).ok(),
        _ => None,
    };
    key.ok_or(Fault::Odd("the token does not tell a public key"))
}

/// Signs a SHA-256 digest.
pub(super) fn sign(
    session: &Session,
    signing: Signing,
    private: ObjectHandle,
    digest: &[u8],
) -> Result<Vec<u8>, CkError> {
    let mechanism = match signing {
        Signing::EcdsaP256 => Mechanism::Ecdsa,
        Signing::RsaPss => Mechanism::RsaPkcsPss(PkcsPssParams {
            hash_alg: MechanismType::SHA256,
            mgf: PkcsMgfType::MGF1_SHA256,
            s_len: SALT.into(),
        }),
    };
    session.sign(&mechanism, private, digest)
}

/// The standard has the point in a DER octet string; some tokens give it bare.
fn bare_point(encoded: &[u8]) -> &[u8] {
    encoded.strip_prefix(&[0x04, 0x41]).unwrap_or(encoded)
}

/// Without the zeros that some tokens put in front.
pub(super) fn bare(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_taken_in_a_string_or_bare() {
        let mut point = [7; 65];
        point[0] = 4;
        let wrapped = [&[0x04, 0x41][..], &point].concat();
        assert_eq!(bare_point(&wrapped), point);
        assert_eq!(bare_point(&point), point);
    }
}
