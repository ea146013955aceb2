//! How this token wraps, and whether it keeps keys in: found out by trying, on keys that are thrown away.

use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrapPadded as _};
use cryptoki::{
    error::Error as CkError,
    mechanism::Mechanism,
    object::{Attribute, ObjectHandle},
    session::Session,
};
use custody::envelope::{PlaintextDek, Wrapping};

use super::{
    recovery::{self, Codes, Remedy, TRIES},
    template,
    wrap::{self, Fault},
};

const DEK: [u8; PlaintextDek::LEN] = [0x5a; PlaintextDek::LEN];
const CONTEXT: &[u8] = b"custodyd trial";

/// What a token does otherwise than it must.
pub(super) struct Amiss {
    pub(super) what: String,
    cause: Cause,
}

enum Cause {
    /// It is always so.
    Lasting,
    /// It may be well in a moment.
    Passing,
    /// The code says which.
    Token(CkError),
}

impl Amiss {
    fn lasting(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            cause: Cause::Lasting,
        }
    }

    fn may_pass(&self, codes: &Codes) -> bool {
        match &self.cause {
            Cause::Lasting => false,
            Cause::Passing => true,
            Cause::Token(error) => codes.remedy(error) != Remedy::Answer,
        }
    }
}

impl From<CkError> for Amiss {
    fn from(error: CkError) -> Self {
        Self {
            what: recovery::describe(&error),
            cause: Cause::Token(error),
        }
    }
}

impl From<Fault> for Amiss {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Token(error) => error.into(),
            Fault::Odd(what) => Self::lasting(what),
            Fault::BadBlob => Self::lasting("it is not of the form it must have"),
            Fault::Answer(error) => Self::lasting(error.to_string()),
        }
    }
}

/// Tries `wrapping`, and again if what is amiss may pass: a way that is not taken for a new
/// key is not taken for good.
pub(super) fn prove(session: &Session, codes: &Codes, wrapping: Wrapping) -> Result<(), Amiss> {
    let mut tries = 1;
    loop {
        match try_once(session, wrapping) {
            Err(amiss) if tries < TRIES && amiss.may_pass(codes) => tries += 1,
            outcome => return outcome,
        }
    }
}

fn try_once(session: &Session, wrapping: Wrapping) -> Result<(), Amiss> {
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
    matches!(with_trial_key(session, wrapping, round_trip), Ok(true))
}

fn with_trial_key<T>(
    session: &Session,
    wrapping: Wrapping,
    trial: impl FnOnce(ObjectHandle) -> Result<T, Amiss>,
) -> Result<T, Amiss> {
    let key = session.generate_key(&Mechanism::AesKeyGen, &template::trial_gmk(wrapping))?;
    let outcome = trial(key);
    discard(session, key);
    outcome
}

fn try_out(session: &Session, key: ObjectHandle, wrapping: Wrapping) -> Result<(), Amiss> {
    let blob = seal(session, key, wrapping)?;
    if !opens(session, key, wrapping, &blob, CONTEXT)? {
        return Err(Amiss {
            what: "what the token wrapped does not open".to_owned(),
            cause: Cause::Passing,
        });
    }
    for (what, at) in [
        ("nonce or first block", 0),
        ("ciphertext", blob.len() / 2),
        ("tag or last block", blob.len() - 1),
    ] {
        let mut bent = blob.clone();
        bent[at] ^= 1;
        if opens(session, key, wrapping, &bent, CONTEXT)? {
            let what = format!("the token opens a blob with an altered {what}");
            return Err(Amiss::lasting(what));
        }
    }
    let bound = match wrapping {
        Wrapping::Aes256Gcm => true,
        Wrapping::AesKwp => false,
    };
    if bound && opens(session, key, wrapping, &blob, b"custodyd other")? {
        return Err(Amiss::lasting("the token opens a blob in another context"));
    }
    Ok(())
}

fn seal(session: &Session, key: ObjectHandle, wrapping: Wrapping) -> Result<Vec<u8>, Amiss> {
    Ok(wrap::protect(session, key, wrapping, &DEK, CONTEXT)?)
}

/// Whether it opens, to whatever value. The code with which it does not says nothing.
fn opens(
    session: &Session,
    key: ObjectHandle,
    wrapping: Wrapping,
    blob: &[u8],
    context: &[u8],
) -> Result<bool, Amiss> {
    match wrap::reveal(session, key, wrapping, blob, context) {
        Ok(dek) if **dek == DEK => Ok(true),
        Ok(_) => Err(Amiss::lasting("the token opens a blob to another value")),
        Err(Fault::Token(_) | Fault::BadBlob) => Ok(false),
        Err(fault) => Err(fault.into()),
    }
}

/// `CKM_AES_KEY_WRAP_PAD` is RFC 5649 with some modules and something else with others.
fn is_rfc_5649(session: &Session) -> Result<(), Amiss> {
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
        .map_err(|_| Amiss::lasting("the known answer cannot be computed"))?;
    if blob? != expected {
        return Err(Amiss::lasting(
            "the token's key wrap is not that of RFC 5649",
        ));
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
