//! What keeps a journal from being whole.

use crate::journal::public_key::NoPublicKey;

/// Why a journal is not whole.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// A line is no entry.
    #[error("the line after entry {after} is no journal entry")]
    NoEntry {
        /// The entry before it.
        after: u64,
        /// What is wrong with the JSON.
        #[source]
        source: serde_json::Error,
    },
    /// A number is missing, or there twice.
    #[error("entry {found} stands where {expected} belongs: entries are missing, or added")]
    Number {
        /// The number that belongs there.
        expected: u64,
        /// The number that is there.
        found: u64,
    },
    /// The entry before was changed.
    #[error("entry {seq} was not written after the entry that now stands before it")]
    Chain {
        /// The entry.
        seq: u64,
    },
    /// It does not begin like a segment.
    #[error("entry {seq} does not begin a segment")]
    NoSegment {
        /// The entry.
        seq: u64,
    },
    /// It is of another installation.
    #[error("entry {seq} is of another installation or journal key")]
    OtherOrigin {
        /// The entry.
        seq: u64,
    },
    /// The public key is none.
    #[error(transparent)]
    PublicKey(#[from] NoPublicKey),
    /// No journal key vouches for it.
    #[error("the journal key in entry {seq} is one that no other vouches for")]
    Unvouched {
        /// The entry.
        seq: u64,
    },
    /// The signature is not of a journal key.
    #[error("the checkpoint in entry {seq} is not signed by a journal key")]
    Signature {
        /// The entry.
        seq: u64,
    },
    /// The signature is of another hash.
    #[error("the checkpoint in entry {seq} vouches for another entry {covers} than the one here")]
    Covers {
        /// The entry.
        seq: u64,
        /// The entry it covers.
        covers: u64,
    },
}
