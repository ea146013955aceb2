//! Tokens that have keys of the installation: each can unwrap the row key and sign the journal,
//! so that custodyd starts while one of them is there.

use crate::{
    envelope::{WrappedDek, Wrapping},
    group::Millis,
    holder::TokenId,
    journal::trust::Voucher,
    name::KeyId,
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
    /// The row key under it.
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

impl Trustee {
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
