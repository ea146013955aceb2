//! Objects that are lost, doubled or mixed up, and keys that get out.

use std::{
    slice,
    sync::{Mutex, PoisonError},
};

use cryptoki_sys::{
    CK_ATTRIBUTE, CK_BYTE, CK_MECHANISM, CK_OBJECT_HANDLE, CK_RV, CK_SESSION_HANDLE, CK_ULONG,
    CK_UNAVAILABLE_INFORMATION, CKA_ID, CKA_VALUE, CKR_ATTRIBUTE_SENSITIVE, CKR_BUFFER_TOO_SMALL,
    CKR_KEY_NOT_WRAPPABLE, CKR_KEY_UNEXTRACTABLE, CKR_MECHANISM_INVALID, CKR_OK,
};

use crate::{
    function::Function,
    module::{of_session, real},
    token::has,
};

/// What gets out in place of a key: as long as an AES-256 key, or one that is wrapped.
const VALUE: [CK_BYTE; 32] = [0x55; 32];
const WRAPPED: [CK_BYTE; 40] = [0x55; 40];

/// The objects that were found in this process, in that order.
#[derive(Default)]
pub(crate) struct Found(Mutex<Vec<CK_OBJECT_HANDLE>>);

impl Found {
    fn note(&self, objects: &[CK_OBJECT_HANDLE]) {
        let mut found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for object in objects {
            if !found.contains(object) {
                found.push(*object);
            }
        }
    }

    /// The object that was found after `object`, or the first after the last; `object`
    /// itself if it was not found by a search.
    pub(crate) fn after(&self, object: CK_OBJECT_HANDLE) -> CK_OBJECT_HANDLE {
        let found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = found.iter().position(|other| *other == object);
        at.map_or(object, |at| found[(at + 1) % found.len()])
    }
}

pub(crate) unsafe extern "C" fn C_FindObjects(
    session: CK_SESSION_HANDLE,
    objects: *mut CK_OBJECT_HANDLE,
    room: CK_ULONG,
    count: *mut CK_ULONG,
) -> CK_RV {
    of_session(Function::C_FindObjects, session, |call, session| {
        // SAFETY: the caller's promises are passed on with the call.
        let answer = unsafe { real!(call.C_FindObjects(session, objects, room, count)) };
        if answer != CKR_OK {
            return answer;
        }
        // SAFETY: the other module has just written so many into the caller's room.
        let (count, room) = unsafe {
            let room = usize::try_from(room).unwrap_or(0);
            (&mut *count, slice::from_raw_parts_mut(objects, room))
        };
        let found = usize::try_from(*count).unwrap_or(0);
        call.module.found.note(&room[..found]);
        let token = &call.control.token;
        if token.loses_objects {
            *count = 0;
        } else if token.duplicates && 2 * found <= room.len() {
            room.copy_within(..found, found);
            *count *= 2;
        }
        answer
    })
}

pub(crate) unsafe extern "C" fn C_GenerateKey(
    session: CK_SESSION_HANDLE,
    mechanism: *mut CK_MECHANISM,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
    key: *mut CK_OBJECT_HANDLE,
) -> CK_RV {
    of_session(Function::C_GenerateKey, session, |call, session| {
        // SAFETY: PKCS#11 has the caller give so many attributes, and the caller's promises are
        // passed on with the call.
        unsafe {
            if !has(call, mechanism) {
                return CKR_MECHANISM_INVALID;
            }
            let mut attributes = Vec::new();
            if !template.is_null() {
                let count = usize::try_from(count).unwrap_or(0);
                attributes.extend_from_slice(slice::from_raw_parts(template, count));
            }
            if call.control.token.forgets_identifiers {
                attributes.retain(|one| one.type_ != CKA_ID);
            }
            let (template, count) = (attributes.as_mut_ptr(), attributes.len() as CK_ULONG);
            real!(call.C_GenerateKey(session, mechanism, template, count, key))
        }
    })
}

pub(crate) unsafe extern "C" fn C_WrapKey(
    session: CK_SESSION_HANDLE,
    mechanism: *mut CK_MECHANISM,
    wrapping_key: CK_OBJECT_HANDLE,
    key: CK_OBJECT_HANDLE,
    out: *mut CK_BYTE,
    len: *mut CK_ULONG,
) -> CK_RV {
    of_session(Function::C_WrapKey, session, |call, session| {
        // SAFETY: the caller's promises are passed on with the call.
        let answer = unsafe {
            if !has(call, mechanism) {
                return CKR_MECHANISM_INVALID;
            }
            real!(call.C_WrapKey(session, mechanism, wrapping_key, key, out, len))
        };
        let kept_in = [CKR_KEY_UNEXTRACTABLE, CKR_KEY_NOT_WRAPPABLE].contains(&answer);
        if kept_in && call.control.token.lets_keys_out {
            // SAFETY: PKCS#11 has the caller give a length, and room for so many bytes.
            return unsafe { let_out(&WRAPPED, out, len) };
        }
        answer
    })
}

pub(crate) unsafe extern "C" fn C_GetAttributeValue(
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
) -> CK_RV {
    of_session(Function::C_GetAttributeValue, session, |call, session| {
        let attributes: &mut [CK_ATTRIBUTE] = if template.is_null() {
            &mut []
        } else {
            // SAFETY: PKCS#11 has the caller give so many attributes.
            unsafe { slice::from_raw_parts_mut(template, usize::try_from(count).unwrap_or(0)) }
        };
        let room: Vec<_> = attributes.iter().map(|one| one.ulValueLen).collect();
        // SAFETY: the caller's promises are passed on with the call.
        let answer = unsafe { real!(call.C_GetAttributeValue(session, object, template, count)) };
        if answer != CKR_ATTRIBUTE_SENSITIVE || !call.control.token.lets_keys_out {
            return answer;
        }
        for (attribute, room) in attributes.iter_mut().zip(room) {
            let kept_in = attribute.ulValueLen == CK_UNAVAILABLE_INFORMATION;
            if kept_in && attribute.type_ == CKA_VALUE {
                attribute.ulValueLen = room;
                let len = &raw mut attribute.ulValueLen;
                // SAFETY: the caller gave so much room.
                let answer = unsafe { let_out(&VALUE, attribute.pValue.cast(), len) };
                if answer != CKR_OK {
                    return answer;
                }
            }
        }
        CKR_OK
    })
}

/// # Safety
///
/// `out` is null or has room for `*len` bytes.
unsafe fn let_out(bytes: &[CK_BYTE], out: *mut CK_BYTE, len: *mut CK_ULONG) -> CK_RV {
    // SAFETY: the caller's promise.
    unsafe {
        let room = usize::try_from(*len).unwrap_or(0);
        *len = bytes.len() as CK_ULONG;
        if out.is_null() {
            return CKR_OK;
        }
        if room < bytes.len() {
            return CKR_BUFFER_TOO_SMALL;
        }
        slice::from_raw_parts_mut(out, bytes.len()).copy_from_slice(bytes);
    }
    CKR_OK
}
