//! What the token is made out to be.

use std::{ptr, slice};

use cryptoki_sys::{
    CK_BBOOL, CK_FLAGS, CK_MECHANISM, CK_MECHANISM_INFO, CK_MECHANISM_TYPE, CK_RV, CK_SLOT_ID,
    CK_TOKEN_INFO, CK_ULONG, CKF_CLOCK_ON_TOKEN, CKF_USER_PIN_COUNT_LOW, CKF_USER_PIN_FINAL_TRY,
    CKF_USER_PIN_LOCKED, CKF_USER_PIN_TO_BE_CHANGED, CKR_BUFFER_TOO_SMALL, CKR_MECHANISM_INVALID,
    CKR_OK,
};

use crate::{
    control::PinFlag,
    function::Function,
    module::{Call, call, of_slot, real},
};

/// Whether the token has a mechanism, by its parameters; it has the one that is none.
///
/// # Safety
///
/// `mechanism` is null or points to one.
pub(crate) unsafe fn has(call: &Call<'_>, mechanism: *const CK_MECHANISM) -> bool {
    // SAFETY: the caller's promise.
    let mechanism = unsafe { mechanism.as_ref() };
    mechanism.is_none_or(|mechanism| is_there(call, mechanism.mechanism))
}

fn is_there(call: &Call<'_>, mechanism: CK_MECHANISM_TYPE) -> bool {
    !call.control.token.without_mechanisms.contains(&mechanism)
}

pub(crate) unsafe extern "C" fn C_GetSlotList(
    with_token: CK_BBOOL,
    slots: *mut CK_SLOT_ID,
    count: *mut CK_ULONG,
) -> CK_RV {
    call(Function::C_GetSlotList, None, |call| {
        // SAFETY: the caller's promises are passed on with the call.
        let answer = unsafe { real!(call.C_GetSlotList(with_token, slots, count)) };
        if answer == CKR_OK && !slots.is_null() {
            // SAFETY: the other module has just written so many.
            for slot in unsafe { listed(slots, count) } {
                *slot += call.control.token.slot_shift;
            }
        }
        answer
    })
}

pub(crate) unsafe extern "C" fn C_GetTokenInfo(
    slot: CK_SLOT_ID,
    info: *mut CK_TOKEN_INFO,
) -> CK_RV {
    of_slot(Function::C_GetTokenInfo, slot, |call, slot| {
        // SAFETY: the caller's promises are passed on with the call.
        let answer = unsafe { real!(call.C_GetTokenInfo(slot, info)) };
        // SAFETY: the caller gives room for one, and the other module may have written to it.
        let info = unsafe { info.as_mut() };
        if let (CKR_OK, Some(info)) = (answer, info) {
            let token = &call.control.token;
            if let Some(label) = &token.label {
                info.label = padded(label);
            }
            if let Some(serial) = &token.serial {
                info.serialNumber = padded(serial);
            }
            if let Some(clock) = &token.clock {
                info.flags |= CKF_CLOCK_ON_TOKEN;
                info.utcTime = padded(clock);
            }
            info.flags |= token.flags.iter().fold(0, |all, flag| all | flag.bit());
        }
        answer
    })
}

pub(crate) unsafe extern "C" fn C_GetMechanismList(
    slot: CK_SLOT_ID,
    mechanisms: *mut CK_MECHANISM_TYPE,
    count: *mut CK_ULONG,
) -> CK_RV {
    of_slot(Function::C_GetMechanismList, slot, |call, slot| {
        let mut all = 0;
        // SAFETY: a question for the count alone.
        let answer = unsafe { real!(call.C_GetMechanismList(slot, ptr::null_mut(), &raw mut all)) };
        if answer != CKR_OK {
            return answer;
        }
        let mut list = vec![0; usize::try_from(all).unwrap_or(0)];
        // SAFETY: there is room for so many.
        let answer =
            unsafe { real!(call.C_GetMechanismList(slot, list.as_mut_ptr(), &raw mut all)) };
        if answer != CKR_OK {
            return answer;
        }
        list.retain(|mechanism| is_there(call, *mechanism));
        let left = list.len() as CK_ULONG;
        // SAFETY: PKCS#11 has the caller give a count, and room for so many.
        unsafe {
            let room = *count;
            *count = left;
            if mechanisms.is_null() {
                return CKR_OK;
            }
            if room < left {
                return CKR_BUFFER_TOO_SMALL;
            }
            listed(mechanisms, count).copy_from_slice(&list);
        }
        CKR_OK
    })
}

pub(crate) unsafe extern "C" fn C_GetMechanismInfo(
    slot: CK_SLOT_ID,
    mechanism: CK_MECHANISM_TYPE,
    info: *mut CK_MECHANISM_INFO,
) -> CK_RV {
    of_slot(Function::C_GetMechanismInfo, slot, |call, slot| {
        if !is_there(call, mechanism) {
            return CKR_MECHANISM_INVALID;
        }
        // SAFETY: the caller's promises are passed on with the call.
        unsafe { real!(call.C_GetMechanismInfo(slot, mechanism, info)) }
    })
}

/// # Safety
///
/// `list` has room for `*count` items.
unsafe fn listed<'a, T>(list: *mut T, count: *const CK_ULONG) -> &'a mut [T] {
    // SAFETY: the caller's promise.
    unsafe { slice::from_raw_parts_mut(list, usize::try_from(*count).unwrap_or(0)) }
}

fn padded<const LEN: usize>(text: &str) -> [u8; LEN] {
    let mut padded = [b' '; LEN];
    for (byte, letter) in padded.iter_mut().zip(text.bytes()) {
        *byte = letter;
    }
    padded
}

impl PinFlag {
    fn bit(self) -> CK_FLAGS {
        match self {
            Self::CountLow => CKF_USER_PIN_COUNT_LOW,
            Self::FinalTry => CKF_USER_PIN_FINAL_TRY,
            Self::Locked => CKF_USER_PIN_LOCKED,
            Self::ToBeChanged => CKF_USER_PIN_TO_BE_CHANGED,
        }
    }
}
