//! AES-256-GCM of a DEK as data, whoever makes the nonce.

use std::fmt;

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    rand,
};
use cryptoki::{
    mechanism::{Mechanism, aead::GcmParams},
    object::ObjectHandle,
    session::Session,
};
use custody::envelope::PlaintextDek;
use zeroize::Zeroizing;

use super::Fault;

/// Of a nonce of ours. The standard way to make a counter block of it takes none that is longer.
const NONCE: usize = 12;
/// Of a nonce that some tokens make: any length will do for GCM (NIST SP 800-38D, section 8.2.2).
const LONG_NONCE: usize = 16;
const SEALED: usize = PlaintextDek::LEN + TAG_BITS / 8;
const TAG_BITS: usize = 128;

/// What a token is given for a nonce.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in super::super) enum Nonces {
    /// One that was drawn at random. Some tokens use another all the same, and tell which.
    #[default]
    Ours,
    /// Zeros, by tokens that make each themselves and refuse another.
    Zeros,
}

impl Nonces {
    pub(in super::super) const ALL: [Self; 2] = [Self::Ours, Self::Zeros];
}

/// Who made the nonce of a blob, and how it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Maker {
    Caller,
    WrittenBack,
    Appended,
}

impl fmt::Display for Maker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Caller => "takes our nonces",
            Self::WrittenBack => "makes the nonces itself and writes them back",
            Self::Appended => "makes the nonces itself and appends them",
        })
    }
}

/// A DEK, sealed.
pub(in super::super) struct Sealed {
    /// Nonce, ciphertext and tag.
    pub(in super::super) blob: Vec<u8>,
    pub(in super::super) maker: Maker,
}

impl Sealed {
    pub(in super::super) fn nonce(&self) -> &[u8] {
        &self.blob[..self.blob.len() - SEALED]
    }
}

/// Seals `dek`. What comes of it is to be opened before it is used: that alone tells whether the
/// nonce is the one that was used.
pub(super) fn seal(
    session: &Session,
    key: ObjectHandle,
    nonces: Nonces,
    dek: &[u8],
    context: &[u8],
) -> Result<Sealed, Fault> {
    let mut given = [0; NONCE];
    if nonces == Nonces::Ours {
        rand::fill(&mut given).map_err(|_| Fault::Odd("the system gives no random numbers"))?;
    }
    let mut nonce = given;
    let answer = session.encrypt(&mechanism(&mut nonce, context)?, key, dek)?;
    let (sealed, rest) = answer.split_at_checked(SEALED).ok_or(Fault::Odd(
        "the token leaves out something of ciphertext and tag",
    ))?;
    let (nonce, maker) = match rest.len() {
        0 if nonce != given => (&nonce[..], Maker::WrittenBack),
        // Each time the same: that must not get out.
        0 if nonces == Nonces::Zeros => {
            return Err(Fault::Changed(
                "C_Encrypt",
                "the nonce of zeros that it was given",
            ));
        }
        0 => (&nonce[..], Maker::Caller),
        NONCE | LONG_NONCE => (rest, Maker::Appended),
        _ => return Err(Fault::Odd("the token adds to ciphertext and tag")),
    };
    Ok(Sealed {
        blob: [nonce, sealed].concat(),
        maker,
    })
}

/// Opens the blob of a [`Sealed`].
pub(super) fn open(
    session: &Session,
    key: ObjectHandle,
    blob: &[u8],
    context: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let (nonce, sealed) = parts(blob).ok_or(Fault::BadBlob)?;
    let mut nonce = nonce.to_vec();
    let mechanism = mechanism(&mut nonce, context)?;
    Ok(Zeroizing::new(session.decrypt(&mechanism, key, sealed)?))
}

/// Whether a blob opens to `dek` without the token; `None` if that cannot be found out.
pub(in super::super) fn opens_by_ourselves(
    key: &[u8; 32],
    blob: &[u8],
    dek: &[u8],
    context: &[u8],
) -> Option<bool> {
    let (nonce, sealed) = parts(blob)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut opened = sealed.to_vec();
    let outcome = UnboundKey::new(&AES_256_GCM, key).and_then(|key| {
        LessSafeKey::new(key).open_in_place(nonce, Aad::from(context), &mut opened)?;
        Ok(opened.starts_with(dek))
    });
    Some(outcome.unwrap_or(false))
}

/// Nonce, and ciphertext with tag. There is no blob without a nonce.
fn parts(blob: &[u8]) -> Option<(&[u8], &[u8])> {
    let (nonce, sealed) = blob.split_at_checked(blob.len().checked_sub(SEALED)?)?;
    matches!(nonce.len(), NONCE | LONG_NONCE).then_some((nonce, sealed))
}

fn mechanism<'a>(nonce: &'a mut [u8], context: &'a [u8]) -> Result<Mechanism<'a>, Fault> {
    let tag_bits = u64::try_from(TAG_BITS).map_err(|_| Fault::BadBlob)?;
    Ok(Mechanism::AesGcm(GcmParams::new(
        nonce,
        context,
        tag_bits.into(),
    )?))
}
