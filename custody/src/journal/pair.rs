//! Pairs of journal keys outside a token, for tests.

use aws_lc_rs::{
    encoding::AsDer as _,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PSS_SHA256, RsaKeyPair,
    },
};

use super::{
    public_key::PublicKey,
    signing::{Signature, Signing},
};

pub(crate) enum Pair {
    EcdsaP256(EcdsaKeyPair),
    RsaPss(RsaKeyPair),
}

impl Pair {
    pub(crate) fn of(signing: Signing) -> Self {
        match signing {
            Signing::EcdsaP256 => {
                Self::EcdsaP256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
            }
            Signing::RsaPss => Self::RsaPss(RsaKeyPair::generate(KeySize::Rsa3072).unwrap()),
        }
    }

    pub(crate) fn public(&self) -> PublicKey {
        match self {
            Self::EcdsaP256(pair) => PublicKey::from_point(pair.public_key().as_ref()).unwrap(),
            Self::RsaPss(pair) => {
                let info = pair.public_key().as_der().unwrap();
                PublicKey::from_bytes(info.as_ref()).unwrap()
            }
        }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Signature {
        let random = SystemRandom::new();
        let signature = match self {
            Self::EcdsaP256(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Self::RsaPss(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PSS_SHA256, &random, message, &mut signature)
                    .unwrap();
                signature
            }
        };
        Signature::from_bytes(signature).unwrap()
    }
}
