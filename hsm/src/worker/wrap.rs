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

/// Wraps `dek` under `key`, bound to `context` where the algorithm can.
pub(super) fn protect(
    session: &Session,
    key: ObjectHandle,
    wrapping: Wrapping,
    dek: &[u8],
    context: &[u8],
) -> Result<Vec<u8>, Fault> {
    match wrapping {
        Wrapping::Aes256Gcm => {
            let mut nonce = [0; GCM_NONCE];
            rand::fill(&mut nonce).map_err(|_| Fault::Odd("the system gives no random numbers"))?;
            let ours = nonce;
            let sealed = session.encrypt(&gcm(&mut nonce, context)?, key, dek)?;
            if nonce != ours {
                return Err(Fault::Odd("the token replaces the nonce that it is given"));
            }
            if sealed.len() != GCM_SEALED {
                return Err(Fault::Odd("the token adds to ciphertext and tag"));
            }
            Ok([&ours[..], &sealed].concat())
        }
        Wrapping::AesKwp => {
            let object = session.create_object(&template::dek_in(dek))?;
            let blob = session.wrap_key(&Mechanism::AesKeyWrapPad, key, object);
            session.destroy_object(object)?;
            let blob = blob?;
            if blob.len() != KWP_BLOB {
                return Err(Fault::Odd("the token's key wrap is not that of RFC 5649"));
            }
            Ok(blob)
        }
    }
}

/// Opens what [`protect`] made.
pub(super) fn reveal(
    session: &Session,
    key: ObjectHandle,
    wrapping: Wrapping,
    blob: &[u8],
    context: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let dek = match wrapping {
        Wrapping::Aes256Gcm => {
            let (nonce, sealed) = blob
                .split_first_chunk::<GCM_NONCE>()
                .filter(|(_, sealed)| sealed.len() == GCM_SEALED)
                .ok_or(Fault::BadBlob)?;
            Zeroizing::new(session.decrypt(&gcm(&mut nonce.clone(), context)?, key, sealed)?)
        }
        Wrapping::AesKwp => {
            if blob.len() != KWP_BLOB {
                return Err(Fault::BadBlob);
            }
            let template = template::dek_out();
            let object = session.unwrap_key(&Mechanism::AesKeyWrapPad, key, blob, &template)?;
            let read = read_dek(session, object);
            session.destroy_object(object)?;
            read?
        }
    };
    if dek.len() != PlaintextDek::LEN {
        return Err(Fault::BadBlob);
    }
    Ok(dek)
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
