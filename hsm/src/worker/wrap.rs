//! How a DEK goes under a key in the token and comes back, by each algorithm.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    rand,
};
use cryptoki::{
    error::Error as CkError,
    mechanism::{Mechanism, aead::GcmParams},
    object::{Attribute, AttributeType, KeyType, ObjectHandle},
    session::Session,
};
use custody::envelope::{PlaintextDek, Wrapping};
use zeroize::Zeroizing;

use super::template;
use crate::Error;

mod oaep;

use oaep::{Hash, PublicHalf};

/// Nonce, ciphertext and tag of a DEK under AES-256-GCM.
const GCM_NONCE: usize = 12;
const GCM_SEALED: usize = PlaintextDek::LEN + 16;
const GCM_TAG_BITS: u64 = 128;
/// A DEK under AES key wrap with padding (RFC 5649).
pub(super) const KWP_BLOB: usize = PlaintextDek::LEN + 8;

/// Why an operation came to nothing.
#[derive(Debug)]
pub(super) enum Fault {
    /// The token refused a call.
    Token(CkError),
    /// What was to be opened cannot be a blob of ours, or did not hold a DEK.
    BadBlob,
    /// The token does not do what the algorithm says.
    Odd(&'static str),
    /// The token signed, and its public key does not verify that.
    WrongSignature,
    /// The request itself has an answer.
    Answer(Error),
}

impl From<CkError> for Fault {
    fn from(error: CkError) -> Self {
        Self::Token(error)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Answer(error)
    }
}

/// A key in the token, and how it wraps.
pub(super) struct Kek {
    handle: ObjectHandle,
    way: Way,
}

enum Way {
    Aes256Gcm,
    AesKwp,
    RsaOaep(PublicHalf),
}

impl Kek {
    /// The key at `handle`, which is the private half if it is one of a pair.
    pub(super) fn new(
        session: &Session,
        handle: ObjectHandle,
        wrapping: Wrapping,
    ) -> Result<Self, Fault> {
        let pair = |hash| PublicHalf::of(session, handle, hash).map(Way::RsaOaep);
        let way = match wrapping {
            Wrapping::Aes256Gcm => Way::Aes256Gcm,
            Wrapping::AesKwp => Way::AesKwp,
            Wrapping::RsaOaepSha256 => pair(Hash::Sha256)?,
            Wrapping::RsaOaepSha1 => pair(Hash::Sha1)?,
        };
        Ok(Self { handle, way })
    }

    pub(super) fn handle(&self) -> ObjectHandle {
        self.handle
    }

    pub(super) fn wrapping(&self) -> Wrapping {
        match &self.way {
            Way::Aes256Gcm => Wrapping::Aes256Gcm,
            Way::AesKwp => Wrapping::AesKwp,
            Way::RsaOaep(public) => public.wrapping(),
        }
    }

    /// Wraps `dek`, bound to `context` where the algorithm can.
    pub(super) fn protect(
        &self,
        session: &Session,
        dek: &[u8],
        context: &[u8],
    ) -> Result<Vec<u8>, Fault> {
        match &self.way {
            Way::Aes256Gcm => {
                let mut nonce = [0; GCM_NONCE];
                rand::fill(&mut nonce)
                    .map_err(|_| Fault::Odd("the system gives no random numbers"))?;
                let ours = nonce;
                let sealed = session.encrypt(&gcm(&mut nonce, context)?, self.handle, dek)?;
                if nonce != ours {
                    return Err(Fault::Odd("the token replaces the nonce that it is given"));
                }
                if sealed.len() != GCM_SEALED {
                    return Err(Fault::Odd("the token adds to ciphertext and tag"));
                }
                Ok([&ours[..], &sealed].concat())
            }
            Way::AesKwp => {
                let object = session.create_object(&template::dek_in(dek))?;
                let blob = session.wrap_key(&Mechanism::AesKeyWrapPad, self.handle, object);
                session.destroy_object(object)?;
                let blob = blob?;
                if blob.len() != KWP_BLOB {
                    return Err(Fault::Odd("the token's key wrap is not that of RFC 5649"));
                }
                Ok(blob)
            }
            Way::RsaOaep(public) => public.protect(dek, context),
        }
    }

    /// Opens what [`Self::protect`] made.
    pub(super) fn reveal(
        &self,
        session: &Session,
        blob: &[u8],
        context: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Fault> {
        let dek = match &self.way {
            Way::Aes256Gcm => {
                let (nonce, sealed) = blob
                    .split_first_chunk::<GCM_NONCE>()
                    .filter(|(_, sealed)| sealed.len() == GCM_SEALED)
                    .ok_or(Fault::BadBlob)?;
                let mut nonce = *nonce;
                let mechanism = gcm(&mut nonce, context)?;
                Zeroizing::new(session.decrypt(&mechanism, self.handle, sealed)?)
            }
            Way::AesKwp => {
                if blob.len() != KWP_BLOB {
                    return Err(Fault::BadBlob);
                }
                let template = template::dek_out();
                let mechanism = Mechanism::AesKeyWrapPad;
                let object = session.unwrap_key(&mechanism, self.handle, blob, &template)?;
                let read = read_dek(session, object);
                session.destroy_object(object)?;
                read?
            }
            Way::RsaOaep(public) => public.reveal(session, self.handle, blob, context)?,
        };
        if dek.len() != PlaintextDek::LEN {
            return Err(Fault::BadBlob);
        }
        Ok(dek)
    }
}

/// Whether a blob of AES-256-GCM opens to `dek` without the token.
pub(super) fn opens_by_ourselves(key: &[u8; 32], blob: &[u8], dek: &[u8], context: &[u8]) -> bool {
    let Some((nonce, sealed)) = blob.split_first_chunk::<GCM_NONCE>() else {
        return false;
    };
    let mut opened = sealed.to_vec();
    UnboundKey::new(&AES_256_GCM, key)
        .and_then(|key| {
            LessSafeKey::new(key).open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(context),
                &mut opened,
            )?;
            Ok(opened.starts_with(dek))
        })
        .unwrap_or(false)
}

fn read_dek(session: &Session, object: ObjectHandle) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let mut found =
        session.get_attributes(object, &[AttributeType::KeyType, AttributeType::Value])?;
    match &mut found[..] {
        [Attribute::KeyType(KeyType::AES), Attribute::Value(value)] => {
            Ok(Zeroizing::new(std::mem::take(value)))
        }
        _ => Err(Fault::BadBlob),
    }
}

fn gcm<'a>(nonce: &'a mut [u8; GCM_NONCE], context: &'a [u8]) -> Result<Mechanism<'a>, Fault> {
    Ok(Mechanism::AesGcm(GcmParams::new(
        nonce,
        context,
        GCM_TAG_BITS.into(),
    )?))
}
