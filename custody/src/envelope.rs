//! Content under a data-encryption key, and that key under a group master key.

use std::fmt;

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    digest, rand,
};
use zeroize::{Zeroize as _, Zeroizing};

use crate::{
    canonical::Encoder,
    name::{InstanceId, KeyId, VersionId},
};

mod wrapping;

pub use wrapping::{Form, KeyWrap, Wrapping};

/// The version of the formats that [`Context`] authenticates.
pub const FORMAT: u8 = 1;

/// A data-encryption key in plaintext, wiped when dropped.
///
/// There is one way in and one way out, so `git grep expose` lists every place
/// that touches key bytes. It cannot be printed:
///
/// ```compile_fail,E0277
/// fn leak(dek: custody::envelope::PlaintextDek) -> String {
///     format!("{dek}")
/// }
/// ```
///
/// nor copied, outside this crate:
///
/// ```compile_fail,E0308
/// fn copy(dek: &custody::envelope::PlaintextDek) -> custody::envelope::PlaintextDek {
///     dek.clone() // clones the reference, for want of Clone
/// }
/// ```
pub struct PlaintextDek(Box<Zeroizing<[u8; Self::LEN]>>);

impl PlaintextDek {
    /// Length of a DEK in bytes (AES-256).
    pub const LEN: usize = 32;

    /// Makes a fresh one from the system's random number generator.
    ///
    /// # Errors
    ///
    /// If the generator fails.
    pub fn generate() -> Result<Self, Failed> {
        let mut dek = Box::new(Zeroizing::new([0; Self::LEN]));
        rand::fill(&mut dek[..]).map_err(|_| Failed::Random)?;
        Ok(Self(dek))
    }

    /// Moves `bytes` in, wiping the buffer they came in. `None` if they are not as
    /// many as needed; the buffer is wiped all the same.
    pub fn take(bytes: &mut [u8]) -> Option<Self> {
        let mut dek = Box::new(Zeroizing::new([0; Self::LEN]));
        let fits = bytes.len() == Self::LEN;
        if fits {
            dek.copy_from_slice(bytes);
        }
        bytes.zeroize();
        fits.then_some(Self(dek))
    }

    /// The same key once more, wiped by itself.
    pub(crate) fn copy(&self) -> Self {
        let mut dek = Box::new(Zeroizing::new([0; Self::LEN]));
        dek.copy_from_slice(self.expose());
        Self(dek)
    }

    /// The key itself.
    pub fn expose(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl fmt::Debug for PlaintextDek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PlaintextDek(..)")
    }
}

/// What a secret holds, in plaintext: the encoded fields of its type. Wiped when
/// dropped, not `Clone`, and its `Debug` says nothing.
pub struct Content(Zeroizing<Vec<u8>>);

impl Content {
    /// The most bytes a version holds.
    pub const MAX_LEN: usize = 1 << 20;

    /// Takes `bytes` over.
    pub fn take(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes themselves.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Content(..)")
    }
}

/// A key wrapped in the token. Only the token can tell whether it is whole.
#[derive(Clone, PartialEq, Eq)]
pub struct WrappedDek(Box<[u8]>);

impl WrappedDek {
    /// Takes what the token, or the database, gave.
    pub fn from_blob(blob: impl Into<Box<[u8]>>) -> Self {
        Self(blob.into())
    }

    /// The blob, as its [`Wrapping`] lays it out.
    pub fn blob(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for WrappedDek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WrappedDek({} bytes)", self.0.len())
    }
}

/// What is authenticated along with a ciphertext, so that it opens nowhere else.
#[derive(Clone, Copy, Debug)]
pub enum Context<'a> {
    /// Content of a version, under its DEK. It does not name the GMK: a version may
    /// have wraps under several.
    Content {
        /// The version.
        version: &'a VersionId,
        /// Name of the secret's type.
        kind: &'a str,
    },
    /// The DEK of a version, under a GMK.
    Dek {
        /// The version.
        version: &'a VersionId,
        /// Name of the secret's type.
        kind: &'a str,
        /// The GMK.
        gmk: &'a KeyId,
    },
    /// The row key, under the system GMK.
    RowKey {
        /// The installation.
        instance: &'a InstanceId,
        /// The system GMK.
        gmk: &'a KeyId,
    },
    /// The value that a GMK protected at birth.
    Canary {
        /// The GMK.
        gmk: &'a KeyId,
    },
}

impl Context<'_> {
    /// The canonical encoding: format, purpose, then the parts in order.
    pub fn encode(&self) -> Vec<u8> {
        let start = Encoder::new("custodyd context").byte(FORMAT);
        let version = |encoder: Encoder, version: &VersionId, kind: &str| {
            encoder
                .text(version.secret.group.as_str())
                .text(version.secret.name.as_str())
                .u32(version.number)
                .text(kind)
        };
        match *self {
            Context::Content { version: id, kind } => version(start.byte(1), id, kind),
            Context::Dek {
                version: id,
                kind,
                gmk,
            } => version(start.byte(2), id, kind).bytes(gmk.as_bytes()),
            Context::RowKey { instance, gmk } => start
                .byte(3)
                .bytes(instance.as_bytes())
                .bytes(gmk.as_bytes()),
            Context::Canary { gmk } => start.byte(4).bytes(gmk.as_bytes()),
        }
        .finish()
    }
}

/// The value that GMK `id` protects at birth and opens after every connection.
pub fn canary(id: &KeyId) -> [u8; PlaintextDek::LEN] {
    let encoded = Encoder::new("custodyd canary")
        .bytes(id.as_bytes())
        .finish();
    let digest = digest::digest(&digest::SHA256, &encoded);
    digest.as_ref().try_into().expect("SHA-256 gives 32 bytes")
}

/// Content encrypted with AES-256-GCM under a DEK of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedContent {
    /// The nonce. Random; the DEK encrypts nothing else.
    pub nonce: [u8; NONCE_LEN],
    /// Ciphertext, then the tag of 16 bytes.
    pub ciphertext: Vec<u8>,
}

/// SHA-256 of sealed content: what a version's row says of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SealedDigest([u8; 32]);

impl SealedDigest {
    /// The digest with these bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for SealedDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedDigest({})", hex::encode(self.0))
    }
}

/// An envelope that could not be made or opened.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone, Copy)]
pub enum Failed {
    /// The system's random number generator failed.
    #[error("the system's random number generator failed")]
    Random,
    /// The ciphertext, the key or the context is not the one it was sealed with.
    #[error("the content does not open under its key and context")]
    DoesNotOpen,
}

impl SealedContent {
    /// Seals `content` under `dek`, which must never seal anything else.
    ///
    /// # Errors
    ///
    /// If the system's random number generator fails.
    pub fn seal(
        content: &Content,
        dek: &PlaintextDek,
        context: Context<'_>,
    ) -> Result<Self, Failed> {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).map_err(|_| Failed::Random)?;
        // Room for the tag, so that appending it does not move the plaintext.
        let mut buffer = Zeroizing::new(Vec::with_capacity(
            content.expose().len() + AES_256_GCM.tag_len(),
        ));
        buffer.extend_from_slice(content.expose());
        aead(dek)
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(context.encode()),
                &mut *buffer,
            )
            .expect("content is bounded far below the limit of GCM");
        Ok(Self {
            nonce,
            ciphertext: std::mem::take(&mut *buffer),
        })
    }

    /// Opens it. Outside this crate content is opened by [`crate::release::Claim`] only.
    pub(crate) fn open(
        mut self,
        dek: &PlaintextDek,
        context: Context<'_>,
    ) -> Result<Content, Failed> {
        let nonce = Nonce::assume_unique_for_key(self.nonce);
        let length = aead(dek)
            .open_in_place(nonce, Aad::from(context.encode()), &mut self.ciphertext)
            .map_err(|_| Failed::DoesNotOpen)?
            .len();
        let mut content = Content::take(self.ciphertext);
        content.0.truncate(length);
        Ok(content)
    }

    /// What the version's row says of this content.
    pub fn digest(&self) -> SealedDigest {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(&self.nonce);
        context.update(&self.ciphertext);
        let digest = context.finish();
        SealedDigest(digest.as_ref().try_into().expect("SHA-256 gives 32 bytes"))
    }
}

fn aead(dek: &PlaintextDek) -> LessSafeKey {
    let key = UnboundKey::new(&AES_256_GCM, dek.expose()).expect("a DEK has the length of the key");
    LessSafeKey::new(key)
}

#[cfg(test)]
mod tests;
