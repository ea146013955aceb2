//! Where the master keys of a group are kept: in the token, or outside, wrapped by a key in it.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::{envelope::KeyWrap, name::KeyId};

/// Where a group has its new master keys kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keeping {
    /// Each is an object of its token, which it never leaves.
    #[default]
    InToken,
    /// Each is stored as a [`Blob`], so that it takes no room in the token.
    Wrapped,
}

impl Keeping {
    /// Both of them, the usual one first.
    pub const ALL: [Self; 2] = [Self::InToken, Self::Wrapped];

    /// The name that is stored and shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::InToken => "in-token",
            Self::Wrapped => "wrapped",
        }
    }

    /// The one of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|keeping| keeping.name() == name)
    }
}

impl fmt::Display for Keeping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Keeping {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.name())
    }
}

/// A master key that is kept outside its token, where only that token can use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// The key in the token that unwraps it: its `CKA_ID`.
    pub root: KeyId,
    /// How that wraps it.
    pub by: KeyWrap,
    /// The master key, wrapped so; empty once it is destroyed.
    pub wrapped: Vec<u8>,
}

impl Blob {
    /// After the master key was destroyed: the rest says only what unwrapped it.
    #[must_use]
    pub fn shredded(&self) -> Self {
        Self {
            root: self.root,
            by: self.by,
            wrapped: Vec::new(),
        }
    }
}
