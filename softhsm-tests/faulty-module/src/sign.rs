//! Signatures that no key verifies.

use cryptoki_sys::{CK_BYTE, CK_RV, CK_SESSION_HANDLE, CK_ULONG, CKR_OK};

use crate::{
    function::Function,
    module::{of_session, real},
};

pub(crate) unsafe extern "C" fn C_Sign(
    session: CK_SESSION_HANDLE,
    data: *mut CK_BYTE,
    data_len: CK_ULONG,
    out: *mut CK_BYTE,
    len: *mut CK_ULONG,
) -> CK_RV {
    of_session(Function::C_Sign, session, |call, session| {
        // SAFETY: the caller's promises are passed on with the call.
        let answer = unsafe { real!(call.C_Sign(session, data, data_len, out, len)) };
        if answer == CKR_OK && call.control.token.signs_wrongly && !out.is_null() {
            // SAFETY: the other module has just written so many bytes.
            unsafe {
                let last = usize::try_from(*len).unwrap_or(0).saturating_sub(1);
                *out.add(last) ^= 1;
            }
        }
        answer
    })
}
