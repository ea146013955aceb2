//! AES-256-CBC of a DEK as data, then HMAC-SHA-256 of that and its context, by two keys in the
//! token: for one that has no authenticated way.

use aws_lc_rs::{
    cipher::{AES_256, DecryptingKey, DecryptionContext, UnboundCipherKey},
    constant_time::verify_slices_are_equal,
    hmac::{self, HMAC_SHA256},
    iv::FixedLength,
    rand,
};
use cryptoki::{mechanism::Mechanism, object::ObjectHandle, session::Session};
use custody::envelope::PlaintextDek;
use zeroize::Zeroizing;

use super::{Fault, Twins};

const IV: usize = 16;
const TAG: usize = 32;
/// IV and ciphertext, which has no padding.
const SEALED: usize = IV + PlaintextDek::LEN;

/// IV, ciphertext and tag.
pub(super) fn seal(
    session: &Session,
    twins: Twins,
    dek: &[u8],
    context: &[u8],
) -> Result<Vec<u8>, Fault> {
    let mut iv = [0; IV];
    rand::fill(&mut iv).map_err(|_| Fault::Odd("the system gives no random numbers"))?;
    let ciphertext = session.encrypt(&Mechanism::AesCbc(iv), twins.cipher, dek)?;
    if ciphertext.len() != PlaintextDek::LEN {
        return Err(Fault::Odd("the token's AES-CBC adds to the ciphertext"));
    }
    let sealed = [&iv[..], &ciphertext].concat();
    let tag = tag(session, twins.mac, &sealed, context)?;
    Ok([sealed, tag].concat())
}

/// Opens what [`seal`] made. What the tag is not of is not decrypted.
pub(super) fn open(
    session: &Session,
    twins: Twins,
    blob: &[u8],
    context: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let (iv, sealed, stated) = parts(blob).ok_or(Fault::BadBlob)?;
    let tag = tag(session, twins.mac, sealed, context)?;
    verify_slices_are_equal(&tag, stated).map_err(|_| Fault::BadBlob)?;
    let ciphertext = &sealed[IV..];
    let dek = session.decrypt(&Mechanism::AesCbc(iv), twins.cipher, ciphertext)?;
    Ok(Zeroizing::new(dek))
}

/// Computed by the token and compared by us: some tokens verify tags that are cut short.
fn tag(
    session: &Session,
    mac: ObjectHandle,
    sealed: &[u8],
    context: &[u8],
) -> Result<Vec<u8>, Fault> {
    let tag = session.sign(&Mechanism::Sha256Hmac, mac, &bound(sealed, context))?;
    match tag.len() == TAG {
        true => Ok(tag),
        false => Err(Fault::Odd("the token's HMAC is not as long as SHA-256")),
    }
}

/// What the tag is of. The end has one length, so that nothing else is of the same bytes.
fn bound(sealed: &[u8], context: &[u8]) -> Vec<u8> {
    [context, sealed].concat()
}

/// Whether a blob opens to `dek` without the token.
pub(in super::super) fn opens_by_ourselves(
    [cipher, mac]: [&[u8; 32]; 2],
    blob: &[u8],
    dek: &[u8],
    context: &[u8],
) -> bool {
    let Some((iv, sealed, tag)) = parts(blob) else {
        return false;
    };
    let mac = hmac::Key::new(HMAC_SHA256, mac);
    if hmac::verify(&mac, &bound(sealed, context), tag).is_err() {
        return false;
    }
    let mut opened = sealed[IV..].to_vec();
    let iv = DecryptionContext::Iv128(FixedLength::from(iv));
    let outcome = UnboundCipherKey::new(&AES_256, cipher)
        .and_then(DecryptingKey::cbc)
        .and_then(|key| Ok(key.decrypt(&mut opened, iv)? == dek));
    outcome.unwrap_or(false)
}

/// The IV, what begins with it, and the tag.
fn parts(blob: &[u8]) -> Option<([u8; IV], &[u8], &[u8])> {
    let (sealed, tag) = blob.split_at_checked(SEALED)?;
    (tag.len() == TAG).then_some((*sealed.first_chunk()?, sealed, tag))
}
