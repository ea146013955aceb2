//! Which keys may sign the journal: the one that auditors are given, and those that it, or one
//! of them, vouches for.

use serde::{Deserialize, Serialize};

use super::{
    public_key::{NoPublicKey, PublicKey},
    signing::Signature,
};
use crate::{canonical::Encoder, journal::chain::Hash, name::InstanceId};

/// A journal key's word for another one, in another token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Voucher {
    /// The other one's public half: SubjectPublicKeyInfo, PEM.
    pub public_key: String,
    /// Its signature over [`Statement::digest`], in hexadecimal.
    pub voucher: String,
}

/// That a key may sign the journal of an installation.
#[derive(Clone, Debug)]
pub struct Statement {
    public_key: PublicKey,
    message: Vec<u8>,
}

impl Statement {
    /// About `public_key`.
    pub fn new(instance: &InstanceId, public_key: PublicKey) -> Self {
        let message = Encoder::new("custodyd journal key")
            .bytes(instance.as_bytes())
            .bytes(public_key.as_bytes())
            .finish();
        Self {
            public_key,
            message,
        }
    }

    /// What a journal key's signature is over, before hashing.
    pub fn message(&self) -> &[u8] {
        &self.message
    }

    /// What a journal key signs to vouch for it.
    pub fn digest(&self) -> [u8; 32] {
        *Hash::of(&self.message).as_bytes()
    }

    /// With the signature over that.
    pub fn signed(&self, signature: &Signature) -> Voucher {
        Voucher {
            public_key: self.public_key.to_pem(),
            voucher: signature.to_string(),
        }
    }
}

/// A voucher that is not worth anything.
#[derive(Debug, thiserror::Error)]
pub enum Unvouched {
    /// What it is for is no key.
    #[error(transparent)]
    PublicKey(#[from] NoPublicKey),
    /// None of the keys that are trusted has signed it.
    #[error("no journal key vouches for that key")]
    Signature,
}

/// The keys that may sign the journal of one installation.
#[derive(Clone, Debug)]
pub struct Trust {
    keys: Vec<PublicKey>,
}

impl Trust {
    /// Begins with one.
    pub fn root(key: PublicKey) -> Self {
        Self { keys: vec![key] }
    }

    /// The one that it began with.
    pub fn is_root(&self, key: &PublicKey) -> bool {
        self.keys.first() == Some(key)
    }

    /// Trusts a key that one of those vouches for.
    ///
    /// # Errors
    ///
    /// If none does; nothing is changed.
    pub fn extend(&mut self, instance: &InstanceId, voucher: &Voucher) -> Result<(), Unvouched> {
        let key = PublicKey::from_pem(&voucher.public_key)?;
        let statement = Statement::new(instance, key);
        let signature = Signature::from_hex(&voucher.voucher).ok_or(Unvouched::Signature)?;
        if !self.signed(&statement.message, &signature) {
            return Err(Unvouched::Signature);
        }
        if !self.keys.contains(&statement.public_key) {
            self.keys.push(statement.public_key);
        }
        Ok(())
    }

    /// Whether one of them signed `message`, which begins with what it is of.
    pub(crate) fn signed(&self, message: &[u8], signature: &Signature) -> bool {
        self.keys.iter().any(|key| key.signed(message, signature))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{pair::Pair, signing::Signing};

    fn instance(byte: u8) -> InstanceId {
        InstanceId::from_bytes(&[byte; InstanceId::LEN]).unwrap()
    }

    fn vouch(by: &Pair, instance: &InstanceId, for_key: &Pair) -> Voucher {
        let statement = Statement::new(instance, for_key.public());
        statement.signed(&by.sign(&statement.message))
    }

    fn signs(trust: &Trust, by: &Pair) -> bool {
        trust.signed(b"something", &by.sign(b"something"))
    }

    #[test]
    fn trust_goes_from_key_to_key_and_no_other_way() {
        for [one, other] in [[0, 0], [0, 1], [1, 0], [1, 1]] {
            let pairs = [one, other, one, other].map(|at| Pair::of(Signing::ALL[at]));
            goes_from_key_to_key(&pairs);
        }
    }

    fn goes_from_key_to_key([root, second, third, stranger]: &[Pair; 4]) {
        let mut trust = Trust::root(root.public());
        assert!(signs(&trust, root) && !signs(&trust, second));
        // The second does not vouch for anyone before it is vouched for itself.
        let by_second = vouch(second, &instance(1), third);
        assert!(trust.extend(&instance(1), &by_second).is_err());
        trust
            .extend(&instance(1), &vouch(root, &instance(1), second))
            .unwrap();
        trust.extend(&instance(1), &by_second).unwrap();
        assert!(signs(&trust, second) && signs(&trust, third));

        let by_itself = vouch(stranger, &instance(1), stranger);
        assert!(trust.extend(&instance(1), &by_itself).is_err());
        let of_another = vouch(root, &instance(2), stranger);
        assert!(trust.extend(&instance(1), &of_another).is_err());
        let mut altered = vouch(root, &instance(1), third);
        altered.public_key = stranger.public().to_pem();
        assert!(trust.extend(&instance(1), &altered).is_err());
        assert!(!signs(&trust, stranger));
        assert!(trust.is_root(&root.public()) && !trust.is_root(&second.public()));
    }
}
