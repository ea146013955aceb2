//! Each function: counted, struck by what the control file says, and passed on.

use std::os::raw::c_void;

use cryptoki_sys::*;

use crate::{
    function::Function,
    module::{call, of_session, of_slot, real},
    token::has,
};
pub(crate) use crate::{
    keys::{C_FindObjects, C_GenerateKey, C_GetAttributeValue, C_WrapKey},
    module::{C_Finalize, C_GetFunctionList, C_Initialize},
    nonce::{C_DecryptInit, C_Encrypt, C_EncryptInit},
    session::{C_CloseAllSessions, C_CloseSession, C_OpenSession},
    sign::C_Sign,
    token::{C_GetMechanismInfo, C_GetMechanismList, C_GetSlotList, C_GetTokenInfo},
};

/// Calls about no session and no slot.
macro_rules! of_the_module {
    ($($name:ident($($arg:ident: $type:ty),*);)*) => {$(
        pub(crate) unsafe extern "C" fn $name($($arg: $type),*) -> CK_RV {
            // SAFETY: the caller's promises are passed on with the call.
            call(Function::$name, None, |module| unsafe { real!(module.$name($($arg),*)) })
        }
    )*};
}

/// Calls whose first argument is a slot.
macro_rules! of_slots {
    ($($name:ident($($arg:ident: $type:ty),*);)*) => {$(
        pub(crate) unsafe extern "C" fn $name(slot: CK_SLOT_ID, $($arg: $type),*) -> CK_RV {
            // SAFETY: the caller's promises are passed on with the call.
            of_slot(Function::$name, slot, |module, slot| unsafe {
                real!(module.$name(slot, $($arg),*))
            })
        }
    )*};
}

/// Calls whose first argument is a session.
macro_rules! of_sessions {
    ($($name:ident($($arg:ident: $type:ty),*);)*) => {$(
        pub(crate) unsafe extern "C" fn $name(
            session: CK_SESSION_HANDLE,
            $($arg: $type),*
        ) -> CK_RV {
            // SAFETY: the caller's promises are passed on with the call.
            of_session(Function::$name, session, |module, session| unsafe {
                real!(module.$name(session, $($arg),*))
            })
        }
    )*};
}

/// Calls whose arguments begin with a session and a mechanism, which may be missing.
macro_rules! with_mechanisms {
    ($($name:ident($($arg:ident: $type:ty),*);)*) => {$(
        pub(crate) unsafe extern "C" fn $name(
            session: CK_SESSION_HANDLE,
            mechanism: *mut CK_MECHANISM,
            $($arg: $type),*
        ) -> CK_RV {
            // SAFETY: the caller's promises are passed on with the call.
            of_session(Function::$name, session, |module, session| unsafe {
                if !has(module, mechanism) {
                    return CKR_MECHANISM_INVALID;
                }
                real!(module.$name(session, mechanism, $($arg),*))
            })
        }
    )*};
}

of_the_module! {
    C_GetInfo(a: *mut CK_INFO);
    C_WaitForSlotEvent(a: CK_FLAGS, b: *mut CK_SLOT_ID, c: *mut c_void);
}

of_slots! {
    C_GetSlotInfo(a: *mut CK_SLOT_INFO);
    C_InitToken(a: *mut CK_UTF8CHAR, b: CK_ULONG, c: *mut CK_UTF8CHAR);
}

of_sessions! {
    C_InitPIN(a: *mut CK_UTF8CHAR, b: CK_ULONG);
    C_SetPIN(a: *mut CK_UTF8CHAR, b: CK_ULONG, c: *mut CK_UTF8CHAR, d: CK_ULONG);
    C_GetSessionInfo(a: *mut CK_SESSION_INFO);
    C_GetOperationState(a: *mut CK_BYTE, b: *mut CK_ULONG);
    C_SetOperationState(a: *mut CK_BYTE, b: CK_ULONG, c: CK_OBJECT_HANDLE, d: CK_OBJECT_HANDLE);
    C_Login(a: CK_USER_TYPE, b: *mut CK_UTF8CHAR, c: CK_ULONG);
    C_Logout();
    C_CreateObject(a: *mut CK_ATTRIBUTE, b: CK_ULONG, c: *mut CK_OBJECT_HANDLE);
    C_CopyObject(a: CK_OBJECT_HANDLE, b: *mut CK_ATTRIBUTE, c: CK_ULONG, d: *mut CK_OBJECT_HANDLE);
    C_DestroyObject(a: CK_OBJECT_HANDLE);
    C_GetObjectSize(a: CK_OBJECT_HANDLE, b: *mut CK_ULONG);
    C_SetAttributeValue(a: CK_OBJECT_HANDLE, b: *mut CK_ATTRIBUTE, c: CK_ULONG);
    C_FindObjectsInit(a: *mut CK_ATTRIBUTE, b: CK_ULONG);
    C_FindObjectsFinal();
    C_EncryptUpdate(a: *mut CK_BYTE, b: CK_ULONG, c: *mut CK_BYTE, d: *mut CK_ULONG);
    C_EncryptFinal(a: *mut CK_BYTE, b: *mut CK_ULONG);
    C_Decrypt(a: *mut CK_BYTE, b: CK_ULONG, c: *mut CK_BYTE, d: *mut CK_ULONG);
    C_DecryptUpdate(a: *mut CK_BYTE, b: CK_ULONG, c: *mut CK_BYTE, d: *mut CK_ULONG);
    C_DecryptFinal(a: *mut CK_BYTE, b: *mut CK_ULONG);
    C_Digest(a: *mut CK_BYTE, b: CK_ULONG, c: *mut CK_BYTE, d: *mut CK_ULONG);
    C_DigestUpdate(a: *mut CK_BYTE, b: CK_ULONG);
    C_DigestKey(a: CK_OBJECT_HANDLE);
    C_DigestFinal(a: *mut CK_BYTE, b: *mut CK_ULONG);
    C_SignUpdate(a: *mut CK_BYTE, b: CK_ULONG);
    C_SignFinal(a: *mut CK_BYTE, b: *mut CK_ULONG);
    C_SignRecover(a: *mut CK_BYTE, b: CK_ULONG, c: *mut CK_BYTE, d: *mut CK_ULONG);
    C_Verify(a: *mut CK_BYTE, b: CK_ULONG, c: *mut CK_BYTE, d: CK_ULONG);
    C_VerifyUpdate(a: *mut CK_BYTE, b: CK_ULONG);
    C_VerifyFinal(a: *mut CK_BYTE, b: CK_ULONG);
    C_VerifyRecover(a: *mut CK_BYTE, b: CK_ULONG, c: *mut CK_BYTE, d: *mut CK_ULONG);
    C_DigestEncryptUpdate(a: *mut CK_BYTE, b: CK_ULONG, c: *mut CK_BYTE, d: *mut CK_ULONG);
    C_DecryptDigestUpdate(a: *mut CK_BYTE, b: CK_ULONG, c: *mut CK_BYTE, d: *mut CK_ULONG);
    C_SignEncryptUpdate(a: *mut CK_BYTE, b: CK_ULONG, c: *mut CK_BYTE, d: *mut CK_ULONG);
    C_DecryptVerifyUpdate(a: *mut CK_BYTE, b: CK_ULONG, c: *mut CK_BYTE, d: *mut CK_ULONG);
    C_SeedRandom(a: *mut CK_BYTE, b: CK_ULONG);
    C_GenerateRandom(a: *mut CK_BYTE, b: CK_ULONG);
    C_GetFunctionStatus();
    C_CancelFunction();
}

with_mechanisms! {
    C_DigestInit();
    C_SignInit(a: CK_OBJECT_HANDLE);
    C_SignRecoverInit(a: CK_OBJECT_HANDLE);
    C_VerifyInit(a: CK_OBJECT_HANDLE);
    C_VerifyRecoverInit(a: CK_OBJECT_HANDLE);
    C_GenerateKeyPair(a: *mut CK_ATTRIBUTE, b: CK_ULONG, c: *mut CK_ATTRIBUTE, d: CK_ULONG, e: *mut CK_OBJECT_HANDLE, f: *mut CK_OBJECT_HANDLE);
    C_UnwrapKey(a: CK_OBJECT_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_ATTRIBUTE, e: CK_ULONG, f: *mut CK_OBJECT_HANDLE);
    C_DeriveKey(a: CK_OBJECT_HANDLE, b: *mut CK_ATTRIBUTE, c: CK_ULONG, d: *mut CK_OBJECT_HANDLE);
}
