//! What a client is told of keys, and says of those that it has made.

use custody::{
    envelope::{WrappedDek, Wrapping},
    group::Blob,
    name::KeyId,
};

use super::MAX_BLOB;
use crate::{
    Error,
    wire::{self, Load, Proof},
};

/// A key that is in the token, or usable there alone, and what proves it.
#[derive(Clone, Debug)]
pub struct KnownKey {
    /// Its `CKA_ID`.
    pub id: KeyId,
    /// What it is for.
    pub role: KeyRole,
}

/// What a key is for.
#[derive(Clone, Debug)]
pub enum KeyRole {
    /// It wraps data keys.
    Gmk {
        /// How.
        wrapping: Wrapping,
        /// The value that it protected at birth.
        canary: WrappedDek,
        /// The key itself, if it is not in the token.
        blob: Option<Blob>,
    },
    /// It signs the journal.
    Journal {
        /// Its public half, as [`PublicKey::as_bytes`](custody::journal::public_key::PublicKey::as_bytes)
        /// gives it.
        public_key: Vec<u8>,
    },
}

/// A group master key, just made. What is here must be stored: unless it has a blob the key is in
/// the token for good, and if it has, it is lost with that.
#[derive(Clone, Debug)]
pub struct NewGmk {
    /// Its `CKA_ID`.
    pub id: KeyId,
    /// How it wraps.
    pub wrapping: Wrapping,
    /// The value that it protected at birth.
    pub canary: WrappedDek,
    /// The key itself, if it is not in the token.
    pub blob: Option<Blob>,
}

/// A journal key, just made.
#[derive(Clone, Debug)]
pub struct NewJournalKey {
    /// Its `CKA_ID`.
    pub id: KeyId,
    /// Its public half, as [`PublicKey::as_bytes`](custody::journal::public_key::PublicKey::as_bytes)
    /// gives it.
    pub public_key: Vec<u8>,
}

impl KnownKey {
    pub(super) fn is_gmk(&self) -> bool {
        matches!(self.role, KeyRole::Gmk { .. })
    }

    /// Refuses what no key of ours can have, before it is sent anywhere.
    pub(super) fn check(&self) -> Result<(), Error> {
        match &self.role {
            KeyRole::Gmk { canary, .. } if canary.blob().len() > MAX_BLOB => {
                Err(Error::CanaryDoesNotOpen { id: self.id })
            }
            KeyRole::Gmk {
                blob: Some(blob), ..
            } if blob.wrapped.len() > MAX_BLOB => {
                let why = "its blob is too long".to_owned();
                Err(Error::NonConforming { id: self.id, why })
            }
            KeyRole::Journal { public_key } if public_key.len() > MAX_BLOB => {
                let why = "its public key is too long".to_owned();
                Err(Error::NonConforming { id: self.id, why })
            }
            _ => Ok(()),
        }
    }

    pub(super) fn to_wire(&self) -> Load {
        let id = self.id.as_bytes().to_vec();
        let proof = match &self.role {
            KeyRole::Gmk {
                wrapping,
                canary,
                blob,
            } => Proof::Gmk(wire::Gmk {
                id: id.clone(),
                wrapping: wrapping.name().to_owned(),
                canary: canary.blob().to_vec(),
                kept: blob.as_ref().map(|blob| Box::new(blob.into())),
            }),
            KeyRole::Journal { public_key } => Proof::Journal(public_key.clone()),
        };
        Load {
            id,
            proof: Some(proof),
        }
    }
}

impl NewGmk {
    pub(super) fn from_wire(made: wire::Gmk) -> Option<Self> {
        let blob = match made.kept {
            Some(kept) => Some(kept.blob()?),
            None => None,
        };
        Some(Self {
            id: KeyId::from_bytes(&made.id)?,
            wrapping: Wrapping::from_name(&made.wrapping)?,
            canary: WrappedDek::from_blob(made.canary),
            blob,
        })
    }

    pub(super) fn known(self) -> KnownKey {
        let Self {
            id,
            wrapping,
            canary,
            blob,
        } = self;
        let role = KeyRole::Gmk {
            wrapping,
            canary,
            blob,
        };
        KnownKey { id, role }
    }
}

impl NewJournalKey {
    pub(super) fn from_wire(made: wire::Journal) -> Option<Self> {
        Some(Self {
            id: KeyId::from_bytes(&made.id)?,
            public_key: made.public_key,
        })
    }

    pub(super) fn known(self) -> KnownKey {
        let Self { id, public_key } = self;
        let role = KeyRole::Journal { public_key };
        KnownKey { id, role }
    }
}
