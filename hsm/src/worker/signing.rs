//! What a token does for each way to sign: it makes a pair of keys, tells the public half, signs.

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

/// Makes a pair of keys: the public half, and the private one.
pub(super) fn generate(
    session: &Session,
    signing: Signing,
    [public, private]: [&[Attribute]; 2],
) -> Result<(ObjectHandle, ObjectHandle), CkError> {
    let mechanism = match signing {
        Signing::EcdsaP256 => Mechanism::EccKeyPairGen,
        Signing::RsaPss => Mechanism::RsaPkcsKeyPairGen,
    };
    session.generate_key_pair(&mechanism, public, private)
}

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
        ] if is_ours(exponent) => PublicKey::from_modulus(modulus).ok(),
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

/// Some tokens put zeros before it.
fn is_ours(exponent: &[u8]) -> bool {
    let zeros = exponent.iter().take_while(|byte| **byte == 0).count();
    exponent[zeros..] == EXPONENT
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

    #[test]
    fn an_exponent_is_the_same_with_zeros_before_it() {
        assert!(is_ours(&[1, 0, 1]) && is_ours(&[0, 0, 1, 0, 1]));
        assert!(!is_ours(&[3]) && !is_ours(&[1, 0, 1, 0]) && !is_ours(&[]));
    }
}
