//! Tokens that have keys of the installation: each can unwrap the row key and sign the journal,
//! so that custodyd starts while one of them is there.

use crate::{
    canonical::Encoder,
    envelope::{WrappedDek, Wrapping},
    group::Millis,
    holder::TokenId,
    journal::{chain::Hash, public_key::PublicKey, signing::Signature, trust::Voucher},
    name::{InstanceId, KeyId},
    row::System,
};

/// A token, and the keys of the installation that it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trustee {
    /// The token.
    pub token: TokenId,
    /// Its system GMK.
    pub gmk: KeyId,
    /// How that wraps.
    pub wrapping: Wrapping,
    /// The canary that it protected at birth.
    pub canary: WrappedDek,
    /// The row key under it. Anybody could have wrapped one of their own under a key that wraps
    /// [publicly](Wrapping::is_public): then it ends in a signature by the journal key, which is
    /// [`RowKeyWrap::signed`].
    pub row_key: WrappedDek,
    /// Its journal key.
    pub journal_key: KeyId,
    /// The public half of that, as [`PublicKey::as_bytes`](crate::journal::public_key::PublicKey::as_bytes)
    /// gives it.
    pub journal_public_key: Vec<u8>,
    /// Another trustee's word for that; the first has none, its key is what auditors are given.
    pub voucher: Option<Voucher>,
    /// When it was made one.
    pub joined: Millis,
    /// When it was given up, if it was: nothing that it has counts any more.
    pub lost: Option<Millis>,
}

/// The row key as it was wrapped under a system GMK, and nothing beside that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowKeyWrap {
    wrap: WrappedDek,
    message: Vec<u8>,
}

/// A row key that is not known to be the installation's.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the token's journal key has not signed the row key")]
pub struct Unsigned;

impl RowKeyWrap {
    /// Of a wrap that was just made under `gmk`.
    pub fn new(instance: &InstanceId, gmk: &KeyId, wrap: WrappedDek) -> Self {
        let message = Encoder::new("custodyd row key")
            .bytes(instance.as_bytes())
            .bytes(gmk.as_bytes())
            .bytes(wrap.blob())
            .finish();
        Self { wrap, message }
    }

    /// The wrap.
    pub fn wrap(&self) -> &WrappedDek {
        &self.wrap
    }

    /// What the journal key signs.
    pub fn digest(&self) -> [u8; 32] {
        *Hash::of(&self.message).as_bytes()
    }

    /// What is stored of it, with that signature.
    pub fn signed(&self, signature: &Signature) -> WrappedDek {
        WrappedDek::from_blob([self.wrap.blob(), signature.as_bytes()].concat())
    }
}

impl Trustee {
    /// The wrap of the row key. That the journal key whose public half the row names is in the
    /// token has to have been seen: nobody but who has the token can have made the wrap then.
    ///
    /// # Errors
    ///
    /// If anybody could have made it, and the journal key did not sign it.
    pub fn row_key_wrap(&self, instance: &InstanceId) -> Result<WrappedDek, Unsigned> {
        if !self.wrapping.is_public() {
            return Ok(self.row_key.clone());
        }
        let key = PublicKey::from_bytes(&self.journal_public_key).map_err(|_| Unsigned)?;
        let stored = self.row_key.blob();
        let end = stored.len().checked_sub(key.signature_len());
        let (wrap, signature) = stored.split_at(end.ok_or(Unsigned)?);
        let signature = Signature::from_bytes(signature.to_vec()).ok_or(Unsigned)?;
        let wrap = RowKeyWrap::new(instance, &self.gmk, WrappedDek::from_blob(wrap));
        match key.signed(&wrap.message, &signature) {
            true => Ok(wrap.wrap),
            false => Err(Unsigned),
        }
    }

    /// The one that `custodyd init` made.
    pub fn first(system: &System) -> Self {
        Self {
            token: TokenId::new(&system.token_label, &system.token_serial),
            gmk: system.gmk,
            wrapping: system.wrapping,
            canary: system.canary.clone(),
            row_key: system.row_key.clone(),
            journal_key: system.journal_key,
            journal_public_key: system.journal_public_key.clone(),
            voucher: None,
            joined: system.created,
            lost: None,
        }
    }

    /// All that are not lost, the first first, `others` being what is stored beside it.
    pub fn all(system: &System, others: impl IntoIterator<Item = Self>) -> Vec<Self> {
        let mut all = vec![Self::first(system)];
        for other in others {
            all.retain(|trustee| trustee.token != other.token);
            all.push(other);
        }
        all.retain(|trustee| trustee.lost.is_none());
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{pair::Pair, signing::Signing};

    fn trustee(wrapping: Wrapping, row_key: WrappedDek, journal: &Pair) -> Trustee {
        Trustee {
            token: TokenId::new("", ""),
            gmk: KeyId::from_bytes(&[1; 16]).unwrap(),
            wrapping,
            canary: WrappedDek::from_blob(vec![]),
            row_key,
            journal_key: KeyId::from_bytes(&[2; 16]).unwrap(),
            journal_public_key: journal.public().as_bytes().to_vec(),
            voucher: None,
            joined: 0,
            lost: None,
        }
    }

    fn signed(wrap: &RowKeyWrap, by: &Pair) -> WrappedDek {
        wrap.signed(&by.sign(&wrap.message))
    }

    #[test]
    fn a_row_key_that_anybody_can_wrap_is_taken_with_a_signature_only() {
        for signing in Signing::ALL {
            is_taken_with_a_signature_only(&Pair::of(signing), &Pair::of(signing));
        }
    }

    fn is_taken_with_a_signature_only(journal: &Pair, other: &Pair) {
        let [here, elsewhere] = [InstanceId::random().unwrap(), InstanceId::random().unwrap()];
        let gmk = KeyId::from_bytes(&[1; 16]).unwrap();
        let plain = WrappedDek::from_blob(vec![7; 256]);
        let wrap = RowKeyWrap::new(&here, &gmk, plain.clone());
        for wrapping in Wrapping::ALL {
            let taken = |stored| trustee(wrapping, stored, journal).row_key_wrap(&here);
            let good = signed(&wrap, journal);
            if !wrapping.is_public() {
                assert_eq!(taken(plain.clone()), Ok(plain.clone()));
                continue;
            }
            assert_eq!(taken(good.clone()), Ok(plain.clone()));
            let mut exchanged = good.blob().to_vec();
            exchanged[9] ^= 1;
            let another =
                RowKeyWrap::new(&here, &KeyId::from_bytes(&[3; 16]).unwrap(), plain.clone());
            for bad in [
                plain.clone(),
                WrappedDek::from_blob(vec![7; 10]),
                WrappedDek::from_blob(exchanged),
                signed(&wrap, other),
                signed(&another, journal),
            ] {
                assert_eq!(taken(bad), Err(Unsigned));
            }
            let moved = trustee(wrapping, good, journal).row_key_wrap(&elsewhere);
            assert_eq!(moved, Err(Unsigned));
        }
    }
}
