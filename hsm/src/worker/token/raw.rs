//! What a token says of itself, for a module whose token tells the time in a form of its own.
#![expect(
    unsafe_code,
    reason = "cryptoki fails all of a token's description for its clock, and gives the module's functions to nobody"
)]

use std::{path::Path, ptr};

use cryptoki::{
    context::Function,
    error::{Error as CkError, Rv},
    slot::{Slot, TokenInfo},
};
use cryptoki_sys::{CK_TOKEN_INFO, CKF_CLOCK_ON_TOKEN, Pkcs11};

/// As `Pkcs11::get_token_info` of `cryptoki`, as if the token had no clock. The module must be
/// loaded from `path` and initialised.
pub(super) fn without_clock(path: &Path, slot: Slot) -> Result<TokenInfo, CkError> {
    // SAFETY: this process has loaded the library already, and gets the same one again: nothing of
    // it runs here.
    let module = unsafe { Pkcs11::new(path) }?;
    let get_list = module.C_GetFunctionList.as_ref();
    let get_list = get_list.map_err(|_| CkError::MissingSymbol("C_GetFunctionList"))?;
    let mut list = ptr::null_mut();
    // SAFETY: PKCS#11 says what the function is like (v3.1 §5.4), and there is room for a pointer.
    let answer = unsafe { get_list(&raw mut list) };
    Rv::from(answer).into_result(Function::GetFunctionList)?;
    // SAFETY: it is null or points to the module's list, to which nobody writes and which is there
    // for as long as the library is loaded; that is, beyond this function.
    let list = unsafe { list.as_ref() };
    let get_info = list.and_then(|list| list.C_GetTokenInfo);
    let get_info = get_info.ok_or(CkError::NullFunctionPointer)?;
    let mut info = CK_TOKEN_INFO::default();
    // SAFETY: PKCS#11 says what the function is like (v3.1 §5.5), and there is room for a
    // description. It may be called from any thread: that was asked for when the module was initialised.
    let answer = unsafe { get_info(slot.into(), &raw mut info) };
    Rv::from(answer).into_result(Function::GetTokenInfo)?;
    info.flags &= !CKF_CLOCK_ON_TOKEN;
    info.try_into()
}
