//! How this token wraps, and whether it keeps keys in: found out by trying, on keys that are thrown away.

use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrapPadded as _};
use cryptoki::{
    mechanism::Mechanism,
    object::{Attribute, ObjectHandle},
    session::Session,
};
use custody::envelope::{PlaintextDek, Wrapping};

use super::{
    recovery, template,
    wrap::{self, Fault},
};

const DEK: [u8; PlaintextDek::LEN] = [0x5a; PlaintextDek::LEN];
const CONTEXT: &[u8] = b"custodyd trial";

/// Tries `wrapping`; the error says what the token does otherwise.
pub(super) fn prove(session: &Session, wrapping: Wrapping) -> Result<(), String> {
    with_trial_key(session, wrapping, |key| try_out(session, key, wrapping))?;
    match wrapping {
        Wrapping::Aes256Gcm => Ok(()),
        Wrapping::AesKwp => is_rfc_5649(session),
    }
}

/// Whether the token can wrap and open at all just now.
pub(super) fn works(session: &Session, wrapping: Wrapping) -> bool {
    let round_trip = |key| {
        opens(
            session,
            key,
            wrapping,
            &seal(session, key, wrapping)?,
            CONTEXT,
        )
    };
    with_trial_key(session, wrapping, round_trip) == Ok(true)
}

fn with_trial_key<T>(
    session: &Session,
    wrapping: Wrapping,
    trial: impl FnOnce(ObjectHandle) -> Result<T, String>,
) -> Result<T, String> {
    let key = session
        .generate_key(&Mechanism::AesKeyGen, &template::trial_gmk(wrapping))
        .map_err(|error| recovery::describe(&error))?;
    let outcome = trial(key);
    discard(session, key);
    outcome
}

fn try_out(session: &Session, key: ObjectHandle, wrapping: Wrapping) -> Result<(), String> {
    let blob = seal(session, key, wrapping)?;
    if !opens(session, key, wrapping, &blob, CONTEXT)? {
        return Err("what the token wrapped does not open".to_owned());
    }
    for (what, at) in [
        ("nonce or first block", 0),
        ("ciphertext", blob.len() / 2),
        ("tag or last block", blob.len() - 1),
    ] {
        let mut bent = blob.clone();
        bent[at] ^= 1;
        if opens(session, key, wrapping, &bent, CONTEXT)? {
            return Err(format!("the token opens a blob with an altered {what}"));
        }
    }
    let bound = match wrapping {
        Wrapping::Aes256Gcm => true,
        Wrapping::AesKwp => false,
    };
    if bound && opens(session, key, wrapping, &blob, b"custodyd other")? {
        return Err("the token opens a blob in another context".to_owned());
    }
    Ok(())
}

fn seal(session: &Session, key: ObjectHandle, wrapping: Wrapping) -> Result<Vec<u8>, String> {
    wrap::protect(session, key, wrapping, &DEK, CONTEXT).map_err(in_words)
}

/// Whether it opens, to whatever value. The code with which it does not says nothing.
fn opens(
    session: &Session,
    key: ObjectHandle,
    wrapping: Wrapping,
    blob: &[u8],
    context: &[u8],
) -> Result<bool, String> {
    match wrap::reveal(session, key, wrapping, blob, context) {
        Ok(dek) if **dek == DEK => Ok(true),
        Ok(_) => Err("the token opens a blob to another value".to_owned()),
        Err(Fault::Token(_) | Fault::BadBlob) => Ok(false),
        Err(fault) => Err(in_words(fault)),
    }
}

fn in_words(fault: Fault) -> String {
    match fault {
        Fault::Token(error) => recovery::describe(&error),
        Fault::Odd(what) => what.to_owned(),
        Fault::BadBlob => "it is not of the form it must have".to_owned(),
        Fault::Answer(error) => error.to_string(),
    }
}

/// `CKM_AES_KEY_WRAP_PAD` is RFC 5649 with some modules and something else with others.
fn is_rfc_5649(session: &Session) -> Result<(), String> {
    let kek = [0x07; 32];
    let Ok(key) = session.create_object(&template::known_wrapper(kek)) else {
        // No key may be imported; the length of a blob, checked at each wrap, tells the rest apart.
        return Ok(());
    };
    let blob = seal(session, key, Wrapping::AesKwp);
    discard(session, key);
    let mut expected = [0; wrap::KWP_BLOB];
    AesKek::new(&AES_256, &kek)
        .and_then(|kek| kek.wrap_with_padding(&DEK, &mut expected).map(|_| ()))
        .map_err(|_| "the known answer cannot be computed".to_owned())?;
    if blob? != expected {
        return Err("the token's key wrap is not that of RFC 5649".to_owned());
    }
    Ok(())
}

/// Refuses a module that lets out what it was told to keep.
pub(super) fn keeps_keys_in(session: &Session) -> Result<(), String> {
    let generate = |template: &[Attribute]| {
        session
            .generate_key(&Mechanism::AesKeyGen, template)
            .map_err(|error| {
                format!(
                    "no throw-away key can be made: {}",
                    recovery::describe(&error)
                )
            })
    };
    let captive = generate(&template::trial_captive())?;
    let outcome = escapes(session, captive, generate(&template::trial_wrapper()).ok());
    discard(session, captive);
    match outcome {
        Some(how) => Err(format!("it does not keep a key in: {how}")),
        None => Ok(()),
    }
}

fn escapes(
    session: &Session,
    captive: ObjectHandle,
    wrapper: Option<ObjectHandle>,
) -> Option<&'static str> {
    let mut escaped = None;
    match wrapper {
        Some(wrapper) => {
            let iv = [0; 16];
            for mechanism in [
                Mechanism::AesKeyWrapPad,
                Mechanism::AesKeyWrap,
                Mechanism::AesCbcPad(iv),
            ] {
                if session.wrap_key(&mechanism, wrapper, captive).is_ok() {
                    escaped = Some("C_WrapKey wraps a key that is not extractable");
                }
            }
            discard(session, wrapper);
        }
        None => tracing::warn!("the token makes no key that wraps, so that it was not tried"),
    }
    if let Ok(copy) = session.copy_object(captive, &[Attribute::Extractable(true)]) {
        let still_in = template::check(session, copy, &[Attribute::Extractable(false)]);
        if !matches!(still_in, Ok(Ok(()))) {
            escaped = Some("C_CopyObject makes an extractable copy of a key that is not");
        }
        discard(session, copy);
    }
    escaped
}

fn discard(session: &Session, object: ObjectHandle) {
    if let Err(error) = session.destroy_object(object) {
        let error = recovery::describe(&error);
        tracing::warn!(%error, "a throw-away key stays until its session ends");
    }
}
