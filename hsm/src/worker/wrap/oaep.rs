//! RSA-OAEP: a DEK goes under the public half of a pair out here, and comes back in the token.

use aws_lc_rs::{
    digest,
    rsa::{
        OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepAlgorithm, OaepPublicEncryptingKey,
        PublicEncryptingKey, PublicKeyComponents,
    },
};
use cryptoki::{
    mechanism::{
        Mechanism, MechanismType,
        rsa::{PkcsMgfType, PkcsOaepParams, PkcsOaepSource},
    },
    object::{Attribute, AttributeType, ObjectHandle},
    session::Session,
};
use custody::{
    envelope::{PlaintextDek, Wrapping},
    journal::public_key::EXPONENT,
};
use zeroize::Zeroizing;

use super::Fault;
use crate::worker::signing::bare;

/// The DEK, then the digest of the context: not every token takes a label.
const PLAINTEXT: usize = PlaintextDek::LEN + digest::SHA256_OUTPUT_LEN;

/// The hash of OAEP, and of its mask.
#[derive(Clone, Copy)]
pub(super) enum Hash {
    Sha256,
    Sha1,
}

/// The public half of a pair that the token has, by the word of the private half: what another
/// object of the token says of it may be another's.
pub(super) struct PublicHalf {
    key: OaepPublicEncryptingKey,
    hash: Hash,
}

impl PublicHalf {
    pub(super) fn of(session: &Session, private: ObjectHandle, hash: Hash) -> Result<Self, Fault> {
        let wanted = [AttributeType::Modulus, AttributeType::PublicExponent];
        let found = session.get_attributes(private, &wanted)?;
        let [
            Attribute::Modulus(modulus),
            Attribute::PublicExponent(exponent),
        ] = &found[..]
        else {
            return Err(Fault::Odd(
                "the token does not say what a private key's public half is",
            ));
        };
        if bare(exponent) != EXPONENT {
            return Err(Fault::Odd(
                "the token has another exponent than it was told",
            ));
        }
        let components = PublicKeyComponents {
            n: bare(modulus),
            e: &EXPONENT[..],
        };
        let key: Result<PublicEncryptingKey, _> = components.try_into();
        let key = key.and_then(OaepPublicEncryptingKey::new);
        let key =
            key.map_err(|_| Fault::Odd("the token's RSA key is none of 2048 bits or more"))?;
        Ok(Self { key, hash })
    }

    pub(super) fn wrapping(&self) -> Wrapping {
        match self.hash {
            Hash::Sha256 => Wrapping::RsaOaepSha256,
            Hash::Sha1 => Wrapping::RsaOaepSha1,
        }
    }

    pub(super) fn protect(&self, dek: &[u8], context: &[u8]) -> Result<Vec<u8>, Fault> {
        let mut plaintext = Zeroizing::new([0; PLAINTEXT]);
        let (key, bound) = plaintext.split_at_mut(PlaintextDek::LEN);
        if dek.len() != key.len() {
            return Err(Fault::Odd("it is no data key that is to be wrapped"));
        }
        key.copy_from_slice(dek);
        bound.copy_from_slice(digest::digest(&digest::SHA256, context).as_ref());
        let mut blob = vec![0; self.key.ciphertext_size()];
        let sealed = self
            .key
            .encrypt(self.algorithm(), &plaintext[..], &mut blob, None);
        match sealed.map(|sealed| sealed.len()) {
            Ok(length) if length == blob.len() => Ok(blob),
            _ => Err(Fault::Odd("RSA-OAEP fails under the token's public key")),
        }
    }

    /// Has `private`, the other half, open what [`Self::protect`] made.
    pub(super) fn reveal(
        &self,
        session: &Session,
        private: ObjectHandle,
        blob: &[u8],
        context: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Fault> {
        if blob.len() != self.key.ciphertext_size() {
            return Err(Fault::BadBlob);
        }
        let opened = session.decrypt(&self.mechanism(), private, blob);
        let mut opened = Zeroizing::new(opened.inspect_err(|_| {
            // With tpm2-pkcs11 an operation that fails goes on, on this session and this key,
            // until it is ended. Elsewhere there is none by now, and the answer says so.
            let _ended = session.decrypt_final();
        })?);
        let bound = digest::digest(&digest::SHA256, context);
        if opened.len() != PLAINTEXT || opened[PlaintextDek::LEN..] != *bound.as_ref() {
            return Err(Fault::BadBlob);
        }
        opened.truncate(PlaintextDek::LEN);
        Ok(opened)
    }

    fn algorithm(&self) -> &'static OaepAlgorithm {
        match self.hash {
            Hash::Sha256 => &OAEP_SHA256_MGF1SHA256,
            Hash::Sha1 => &OAEP_SHA1_MGF1SHA1,
        }
    }

    fn mechanism(&self) -> Mechanism<'static> {
        let (hash, mask) = match self.hash {
            Hash::Sha256 => (MechanismType::SHA256, PkcsMgfType::MGF1_SHA256),
            Hash::Sha1 => (MechanismType::SHA1, PkcsMgfType::MGF1_SHA1),
        };
        let label = PkcsOaepSource::empty();
        Mechanism::RsaPkcsOaep(PkcsOaepParams::new(hash, mask, label))
    }
}
