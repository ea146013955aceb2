//! Which `CKR_` code means what, and what is done about it.

use std::fmt;

use cryptoki::error::{Error as CkError, RvError};

use crate::Error;

/// What is done about an error of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remedy {
    /// The request fails; the session and the token are good.
    Answer,
    /// The data or the token is bad: the key's canary tells which.
    AskCanary,
    /// The session is dead or stuck: another is opened and the operation tried once more.
    ReplaceSession,
    /// The process has lost the token: a successor finds it again.
    ReplaceWorker,
}

/// How often something is tried before it is held to fail by itself and not by a token that
/// fails now and then, when a canary opens after each failure: if one call of five fails,
/// two or three of a million are held so wrongly.
pub(super) const TRIES: usize = 8;

/// The remedy for `error`.
pub(super) fn remedy(error: &CkError) -> Remedy {
    match error {
        CkError::Pkcs11(code, _) => of_code(*code),
        _ => Remedy::Answer,
    }
}

fn of_code(code: RvError) -> Remedy {
    use RvError as Rv;
    match code {
        // Stuck after another failure, or closed by someone; NSS and Kryoptic end the
        // operation when a buffer is too small.
        Rv::OperationActive
        | Rv::OperationNotInitialized
        | Rv::SessionHandleInvalid
        | Rv::SessionClosed
        | Rv::BufferTooSmall => Remedy::ReplaceSession,

        // The login, the keys or the token itself are gone from under us.
        Rv::CryptokiNotInitialized
        | Rv::DeviceRemoved
        | Rv::TokenNotPresent
        | Rv::TokenNotRecognized
        | Rv::SlotIdInvalid
        | Rv::UserNotLoggedIn
        | Rv::KeyHandleInvalid
        | Rv::ObjectHandleInvalid
        | Rv::UnwrappingKeyHandleInvalid
        | Rv::WrappingKeyHandleInvalid
        | Rv::MutexBad
        | Rv::MutexNotLocked
        | Rv::FipsSelfTestFailed => Remedy::ReplaceWorker,

        // Modules answer a tampered blob with any of these, and a failing token too.
        Rv::GeneralError
        | Rv::DeviceError
        | Rv::FunctionFailed
        | Rv::FunctionCanceled
        | Rv::EncryptedDataInvalid
        | Rv::EncryptedDataLenRange
        | Rv::WrappedKeyInvalid
        | Rv::WrappedKeyLenRange
        | Rv::DataInvalid
        | Rv::DataLenRange
        | Rv::KeySizeRange
        | Rv::UnknownErrorCode(_)
        | Rv::VendorDefined(_) => Remedy::AskCanary,

        // Out of memory, a refused attribute, a use that is not permitted: the next try is no better.
        _ => Remedy::Answer,
    }
}

/// Whether a login that ended so says nothing about the PIN.
pub(super) fn is_outage(error: &CkError) -> bool {
    use RvError as Rv;
    match error {
        CkError::Pkcs11(code, _) => matches!(
            code,
            Rv::GeneralError
                | Rv::FunctionFailed
                | Rv::DeviceError
                | Rv::DeviceMemory
                | Rv::DeviceRemoved
                | Rv::HostMemory
                | Rv::SessionClosed
                | Rv::SessionHandleInvalid
                | Rv::SlotIdInvalid
                | Rv::TokenNotPresent
                | Rv::TokenNotRecognized
                | Rv::CryptokiNotInitialized
        ),
        _ => true,
    }
}

/// The error for whoever asked, with the function's and the code's names.
pub(super) fn token_error(error: &CkError) -> Error {
    match error {
        CkError::Pkcs11(code, function) => Error::Token {
            function: format!("C_{function:?}"),
            code: code_name(*code),
        },
        other => Error::Token {
            function: "the PKCS#11 library".to_owned(),
            code: other.to_string(),
        },
    }
}

/// The error in words.
pub(super) fn describe(error: &CkError) -> String {
    match error {
        CkError::Pkcs11(code, function) => format!("C_{function:?} answered {}", code_name(*code)),
        other => other.to_string(),
    }
}

fn code_name(code: RvError) -> String {
    if let RvError::VendorDefined(number) | RvError::UnknownErrorCode(number) = code {
        return format!("{number:#x}");
    }
    constant("CKR", &code)
}

/// The standard's name for a value that cryptoki names in its own way: `CKR_PIN_LOCKED`
/// for `PinLocked`.
pub(super) fn constant(prefix: &str, value: &impl fmt::Debug) -> String {
    let mut name = prefix.to_owned();
    for letter in format!("{value:?}").chars() {
        if letter.is_uppercase() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use cryptoki::context::Function;

    use super::*;

    #[test]
    fn dead_sessions_are_replaced_and_nothing_more() {
        for code in [
            RvError::OperationActive,
            RvError::SessionHandleInvalid,
            RvError::SessionClosed,
        ] {
            assert_eq!(of_code(code), Remedy::ReplaceSession, "{code:?}");
        }
    }

    #[test]
    fn a_lost_token_ends_the_worker() {
        for code in [
            RvError::CryptokiNotInitialized,
            RvError::DeviceRemoved,
            RvError::TokenNotPresent,
            RvError::UserNotLoggedIn,
            RvError::KeyHandleInvalid,
            RvError::ObjectHandleInvalid,
        ] {
            assert_eq!(of_code(code), Remedy::ReplaceWorker, "{code:?}");
        }
    }

    #[test]
    fn codes_that_do_not_tell_tampering_from_trouble_are_put_to_the_canary() {
        for code in [
            RvError::GeneralError,
            RvError::DeviceError,
            RvError::FunctionFailed,
            RvError::EncryptedDataInvalid,
            RvError::WrappedKeyInvalid,
            RvError::UnknownErrorCode(0x42),
        ] {
            assert_eq!(of_code(code), Remedy::AskCanary, "{code:?}");
        }
    }

    #[test]
    fn a_refusal_or_lack_of_memory_does_not_end_the_worker() {
        for code in [
            RvError::HostMemory,
            RvError::DeviceMemory,
            RvError::KeyFunctionNotPermitted,
            RvError::MechanismInvalid,
            RvError::TemplateInconsistent,
        ] {
            assert_eq!(of_code(code), Remedy::Answer, "{code:?}");
        }
    }

    #[test]
    fn errors_carry_the_names_of_the_standard() {
        let error = CkError::Pkcs11(RvError::GeneralError, Function::UnwrapKey);
        assert_eq!(describe(&error), "C_UnwrapKey answered CKR_GENERAL_ERROR");
        assert_eq!(code_name(RvError::VendorDefined(0x8000_0001)), "0x80000001");
    }
}
