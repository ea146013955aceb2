//! Tokens that make the nonce of AES-GCM themselves.

use std::{
    collections::HashMap,
    slice,
    sync::{Mutex, PoisonError},
};

use cryptoki_sys::{
    CK_BYTE, CK_GCM_PARAMS, CK_MECHANISM, CK_OBJECT_HANDLE, CK_RV, CK_SESSION_HANDLE, CK_ULONG,
    CKM_AES_GCM, CKR_BUFFER_TOO_SMALL, CKR_MECHANISM_INVALID, CKR_MECHANISM_PARAM_INVALID, CKR_OK,
};

use crate::{
    chance,
    control::GcmNonce,
    function::Function,
    module::{Call, of_session, real},
    token::has,
};

const LEN: usize = 12;
const LONG: usize = 16;

type Nonce = Vec<CK_BYTE>;

/// The nonces that are to be appended, by session.
#[derive(Default)]
pub(crate) struct Nonces(Mutex<HashMap<CK_SESSION_HANDLE, Nonce>>);

impl Nonces {
    fn begin(&self, session: CK_SESSION_HANDLE, nonce: Option<Nonce>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match nonce {
            Some(nonce) => all.insert(session, nonce),
            None => all.remove(&session),
        };
    }

    fn of(&self, session: CK_SESSION_HANDLE) -> Option<Nonce> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&session).cloned()
    }
}

pub(crate) unsafe extern "C" fn C_EncryptInit(
    session: CK_SESSION_HANDLE,
    mechanism: *mut CK_MECHANISM,
    key: CK_OBJECT_HANDLE,
) -> CK_RV {
    of_session(Function::C_EncryptInit, session, |call, session| {
        // SAFETY: the caller's promises.
        let (given, has) = unsafe { (gcm(mechanism), has(call, mechanism)) };
        if !has {
            return CKR_MECHANISM_INVALID;
        }
        let key = meant(call, key);
        call.module.nonces.begin(session, None);
        let made_by = call.control.token.gcm_nonce;
        let (Some(length), Some(given)) = (length(made_by), given) else {
            // SAFETY: the caller's promises are passed on with the call.
            return unsafe { real!(call.C_EncryptInit(session, mechanism, key)) };
        };
        let place = match usize::try_from(given.ulIvLen) {
            Ok(room) if room >= LEN && !given.pIv.is_null() => {
                // SAFETY: the caller's nonce is that long.
                Some(unsafe { slice::from_raw_parts_mut(given.pIv, LEN) })
            }
            _ => None,
        };
        if made_by == GcmNonce::WrittenBackToZeros
            && !matches!(&place, Some(given) if given.iter().all(|byte| *byte == 0))
        {
            return CKR_MECHANISM_PARAM_INVALID;
        }
        let mut nonce = match made_by {
            GcmNonce::Repeated => vec![1; length],
            _ => fresh(length),
        };
        let mut parameters = *given;
        parameters.pIv = nonce.as_mut_ptr();
        parameters.ulIvLen = length as CK_ULONG;
        parameters.ulIvBits = 8 * length as CK_ULONG;
        let mut own = CK_MECHANISM {
            mechanism: CKM_AES_GCM,
            pParameter: (&raw mut parameters).cast(),
            ulParameterLen: size_of::<CK_GCM_PARAMS>() as CK_ULONG,
        };
        // SAFETY: the caller's promises, and parameters of ours that outlast the call.
        let answer = unsafe { real!(call.C_EncryptInit(session, &raw mut own, key)) };
        match made_by {
            GcmNonce::WrittenBack | GcmNonce::WrittenBackToZeros | GcmNonce::Repeated => {
                if let Some(place) = place {
                    place.copy_from_slice(&nonce);
                }
            }
            GcmNonce::Appended | GcmNonce::AppendedLong => {
                call.module.nonces.begin(session, Some(nonce));
            }
            GcmNonce::Caller | GcmNonce::Kept => {}
        }
        answer
    })
}

pub(crate) unsafe extern "C" fn C_Encrypt(
    session: CK_SESSION_HANDLE,
    data: *mut CK_BYTE,
    data_len: CK_ULONG,
    out: *mut CK_BYTE,
    len: *mut CK_ULONG,
) -> CK_RV {
    of_session(Function::C_Encrypt, session, |call, session| {
        let Some(nonce) = call.module.nonces.of(session) else {
            // SAFETY: the caller's promises are passed on with the call.
            return unsafe { real!(call.C_Encrypt(session, data, data_len, out, len)) };
        };
        // SAFETY: the caller's promises, but for the room that the nonce takes at the end.
        unsafe {
            let room = *len;
            if !out.is_null() {
                let Some(rest) = room.checked_sub(nonce.len() as CK_ULONG) else {
                    return CKR_BUFFER_TOO_SMALL;
                };
                *len = rest;
            }
            let answer = real!(call.C_Encrypt(session, data, data_len, out, len));
            if answer == CKR_OK && !out.is_null() {
                let end = out.add(usize::try_from(*len).unwrap_or(0));
                slice::from_raw_parts_mut(end, nonce.len()).copy_from_slice(&nonce);
            }
            *len += nonce.len() as CK_ULONG;
            answer
        }
    })
}

pub(crate) unsafe extern "C" fn C_DecryptInit(
    session: CK_SESSION_HANDLE,
    mechanism: *mut CK_MECHANISM,
    key: CK_OBJECT_HANDLE,
) -> CK_RV {
    of_session(Function::C_DecryptInit, session, |call, session| {
        // SAFETY: the caller's promises are passed on with the call.
        unsafe {
            if !has(call, mechanism) {
                return CKR_MECHANISM_INVALID;
            }
            real!(call.C_DecryptInit(session, mechanism, meant(call, key)))
        }
    })
}

/// The key that a handle means, as the control file has it.
fn meant(call: &Call<'_>, key: CK_OBJECT_HANDLE) -> CK_OBJECT_HANDLE {
    if call.control.token.mixes_up_keys {
        call.module.found.after(key)
    } else {
        key
    }
}

/// # Safety
///
/// `mechanism` is null or points to one, whose parameters are as it says.
unsafe fn gcm<'a>(mechanism: *const CK_MECHANISM) -> Option<&'a CK_GCM_PARAMS> {
    // SAFETY: the caller's promise.
    let mechanism = unsafe { mechanism.as_ref() }?;
    let len = usize::try_from(mechanism.ulParameterLen).unwrap_or(0);
    let is_gcm = mechanism.mechanism == CKM_AES_GCM && len == size_of::<CK_GCM_PARAMS>();
    // SAFETY: as above, and of that length.
    is_gcm.then(|| unsafe { mechanism.pParameter.cast::<CK_GCM_PARAMS>().as_ref() })?
}

/// Of a nonce that the token makes.
fn length(made_by: GcmNonce) -> Option<usize> {
    match made_by {
        GcmNonce::Caller => None,
        GcmNonce::AppendedLong => Some(LONG),
        GcmNonce::WrittenBack
        | GcmNonce::WrittenBackToZeros
        | GcmNonce::Repeated
        | GcmNonce::Appended
        | GcmNonce::Kept => Some(LEN),
    }
}

fn fresh(length: usize) -> Nonce {
    let bytes = [chance::number(), chance::number()].map(u64::to_ne_bytes);
    bytes.concat()[..length].to_vec()
}
