//! What each `CKR_` code tells: one table, and how far a configuration may differ from it.

use std::{fmt, str::FromStr};

use cryptoki::error::{Rv, RvError};

/// What a code tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The session is dead or stuck; the token is good.
    Session,
    /// The login, or what a handle stood for, is gone.
    Login,
    /// The token is gone, or the library has lost it.
    Device,
    /// The data is bad or the token is: the code does not tell.
    Ambiguous,
    /// The data is bad, unless the token is in trouble and says the wrong thing.
    Data,
    /// There is no room: for memory, objects or sessions.
    Capacity,
    /// The token does not do this, or not with this key: as set up, or as called.
    Policy,
    /// The PIN or the user is at fault. Another login could cost one more try.
    Authentication,
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Session,
        Self::Login,
        Self::Device,
        Self::Ambiguous,
        Self::Data,
        Self::Capacity,
        Self::Policy,
        Self::Authentication,
    ];

    /// Its name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Login => "login",
            Self::Device => "device",
            Self::Ambiguous => "ambiguous",
            Self::Data => "data",
            Self::Capacity => "capacity",
            Self::Policy => "policy",
            Self::Authentication => "authentication",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.name() == name)
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Codes of PKCS#11 3.x that `cryptoki` has no name for.
const NEWER: [(u64, &str, Class); 10] = [
    (0x42, "CKR_AEAD_DECRYPT_FAILED", Class::Data),
    (0x201, "CKR_TOKEN_RESOURCE_EXCEEDED", Class::Capacity),
    (0x202, "CKR_OPERATION_CANCEL_FAILED", Class::Session),
    (0x203, "CKR_KEY_EXHAUSTED", Class::Policy),
    (0x204, "CKR_PENDING", Class::Ambiguous),
    (0x205, "CKR_SESSION_ASYNC_NOT_SUPPORTED", Class::Policy),
    (0x206, "CKR_SEED_RANDOM_REQUIRED", Class::Policy),
    (0x207, "CKR_OPERATION_NOT_VALIDATED", Class::Policy),
    (0x208, "CKR_TOKEN_NOT_INITIALIZED", Class::Device),
    (0x209, "CKR_PARAMETER_SET_NOT_SUPPORTED", Class::Policy),
];

/// The last number that the standard gives out, but for vendors' own.
const LAST: u64 = 0x209;

/// What `code` tells of, of a module about which nothing else is known.
pub(crate) fn class(code: RvError) -> Class {
    use RvError as Rv;
    match code {
        // Closed by someone, or stuck after another failure; NSS and Kryoptic end the
        // operation when a buffer is too small.
        Rv::SessionHandleInvalid
        | Rv::SessionClosed
        | Rv::OperationActive
        | Rv::OperationNotInitialized
        | Rv::BufferTooSmall => Class::Session,

        Rv::UserNotLoggedIn
        | Rv::KeyHandleInvalid
        | Rv::ObjectHandleInvalid
        | Rv::UnwrappingKeyHandleInvalid
        | Rv::WrappingKeyHandleInvalid => Class::Login,

        Rv::DeviceRemoved
        | Rv::TokenNotPresent
        | Rv::TokenNotRecognized
        | Rv::SlotIdInvalid
        | Rv::CryptokiNotInitialized
        | Rv::CryptokiAlreadyInitialized
        | Rv::LibraryLoadFailed
        | Rv::MutexBad
        | Rv::MutexNotLocked
        | Rv::FipsSelfTestFailed => Class::Device,

        // Modules answer a tampered blob with any of these, and a failing token too.
        Rv::GeneralError
        | Rv::DeviceError
        | Rv::FunctionFailed
        | Rv::FunctionCanceled
        | Rv::Cancel
        | Rv::VendorDefined(_) => Class::Ambiguous,
        Rv::UnknownErrorCode(number) => newer(number).map_or(Class::Ambiguous, |(_, class)| class),

        Rv::EncryptedDataInvalid
        | Rv::EncryptedDataLenRange
        | Rv::WrappedKeyInvalid
        | Rv::WrappedKeyLenRange
        | Rv::DataInvalid
        | Rv::DataLenRange
        | Rv::KeySizeRange
        | Rv::SignatureInvalid
        | Rv::SignatureLenRange => Class::Data,

        Rv::HostMemory | Rv::DeviceMemory | Rv::SessionCount => Class::Capacity,

        Rv::PinIncorrect
        | Rv::PinInvalid
        | Rv::PinLenRange
        | Rv::PinExpired
        | Rv::PinLocked
        | Rv::PinTooWeak
        | Rv::UserAlreadyLoggedIn
        | Rv::UserPinNotInitialized
        | Rv::UserTypeInvalid
        | Rv::UserAnotherAlreadyLoggedIn
        | Rv::UserTooManyTypes
        | Rv::NewPinMode
        | Rv::NextOtp
        | Rv::ExceededMaxIterations => Class::Authentication,

        Rv::ArgumentsBad
        | Rv::NoEvent
        | Rv::NeedToCreateThreads
        | Rv::CantLock
        | Rv::AttributeReadOnly
        | Rv::AttributeSensitive
        | Rv::AttributeTypeInvalid
        | Rv::AttributeValueInvalid
        | Rv::ActionProhibited
        | Rv::FunctionNotParallel
        | Rv::FunctionNotSupported
        | Rv::FunctionRejected
        | Rv::CurveNotSupported
        | Rv::KeyTypeInconsistent
        | Rv::KeyNotNeeded
        | Rv::KeyChanged
        | Rv::KeyNeeded
        | Rv::KeyIndigestible
        | Rv::KeyFunctionNotPermitted
        | Rv::KeyNotWrappable
        | Rv::KeyUnextractable
        | Rv::MechanismInvalid
        | Rv::MechanismParamInvalid
        | Rv::SessionParallelNotSupported
        | Rv::SessionReadOnly
        | Rv::SessionExists
        | Rv::SessionReadOnlyExists
        | Rv::SessionReadWriteSoExists
        | Rv::TemplateIncomplete
        | Rv::TemplateInconsistent
        | Rv::TokenWriteProtected
        | Rv::UnwrappingKeySizeRange
        | Rv::UnwrappingKeyTypeInconsistent
        | Rv::WrappingKeySizeRange
        | Rv::WrappingKeyTypeInconsistent
        | Rv::RandomSeedNotSupported
        | Rv::RandomNoRng
        | Rv::DomainParamsInvalid
        | Rv::SavedStateInvalid
        | Rv::InformationSensitive
        | Rv::StateUnsaveable
        | Rv::PublicKeyInvalid => Class::Policy,
    }
}

fn newer(number: u64) -> Option<(&'static str, Class)> {
    let found = NEWER.into_iter().find(|(known, ..)| *known == number);
    found.map(|(_, name, class)| (name, class))
}

/// The standard's name of `code`, or its number.
pub(crate) fn name(code: RvError) -> String {
    match code {
        RvError::VendorDefined(number) => format!("{number:#x}"),
        RvError::UnknownErrorCode(number) => match newer(number) {
            Some((name, _)) => name.to_owned(),
            None => format!("{number:#x}"),
        },
        known => constant("CKR", &known),
    }
}

/// The standard's name for a value that cryptoki names in its own way: `CKR_PIN_LOCKED`
/// for `PinLocked`.
pub(crate) fn constant(prefix: &str, value: &impl fmt::Debug) -> String {
    let mut name = prefix.to_owned();
    for letter in format!("{value:?}").chars() {
        if letter.is_uppercase() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

/// Every code of the standard, in the order of their numbers.
pub(crate) fn all() -> impl Iterator<Item = RvError> {
    (1..=LAST).filter_map(|number| match Rv::from(number) {
        Rv::Error(RvError::UnknownErrorCode(number)) if newer(number).is_none() => None,
        Rv::Error(code) => Some(code),
        Rv::Ok => None,
    })
}

/// A code of which a configuration says that this module means something else by it than
/// the table has. It can only be made to be taken more seriously.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeOverride {
    pub(crate) code: RvError,
    pub(crate) class: Class,
}

/// A code that cannot be taken so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodeOverrideError {
    /// Neither a name of the standard nor a number.
    #[error("{0:?} is no code: use a name such as CKR_DEVICE_ERROR or a number such as 0x80000001")]
    NoCode(String),
    /// Not one of the classes.
    #[error("{0:?} is none of {known}", known = Class::ALL.map(Class::name).join(", "))]
    NoClass(String),
    /// It would be taken more lightly, or could cost a try of the PIN.
    #[error(
        "{code} is of class {is} and cannot be of class {wanted}: a code can be taken more seriously, and one that tells of the PIN or of bad data not at all"
    )]
    Unsafe {
        /// The code.
        code: String,
        /// Its class in the table.
        is: Class,
        /// What was wanted.
        wanted: Class,
    },
}

impl CodeOverride {
    /// `code`, a name of the standard or a number, tells of `class`.
    ///
    /// # Errors
    ///
    /// If there is no such code or class, or if it would be unsafe: what may be an outage
    /// is never taken for a plain answer, bad data never for the token's trouble, and what
    /// tells of the PIN never leads to another login.
    pub fn new(code: &str, class: &str) -> Result<Self, CodeOverrideError> {
        let found = parse(code).ok_or_else(|| CodeOverrideError::NoCode(code.to_owned()))?;
        let wanted =
            Class::from_name(class).ok_or_else(|| CodeOverrideError::NoClass(class.to_owned()))?;
        let is = self::class(found);
        if !may_become(is, wanted) {
            return Err(CodeOverrideError::Unsafe {
                code: code.to_owned(),
                is,
                wanted,
            });
        }
        Ok(Self {
            code: found,
            class: wanted,
        })
    }
}

/// Whether a code that the table has as `is` may be taken for one of `wanted`.
fn may_become(is: Class, wanted: Class) -> bool {
    use Class as C;
    let climbs = matches!(wanted, C::Session | C::Login | C::Device);
    match is {
        C::Authentication => false,
        // Whoever writes the database could have sessions and workers replaced.
        C::Data => matches!(wanted, C::Data | C::Ambiguous),
        C::Capacity | C::Policy | C::Ambiguous => {
            climbs || matches!(wanted, C::Ambiguous | C::Data)
        }
        C::Session => climbs,
        C::Login | C::Device => matches!(wanted, C::Login | C::Device),
    }
}

fn parse(text: &str) -> Option<RvError> {
    let number = text.strip_prefix("0x");
    let number = number.map(|digits| u64::from_str_radix(digits, 16));
    match number {
        Some(Ok(number)) => match Rv::from(number) {
            Rv::Error(code) => Some(code),
            Rv::Ok => None,
        },
        Some(Err(_)) => None,
        None => all().find(|code| name(*code) == text),
    }
}

impl fmt::Display for CodeOverride {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", name(self.code), self.class)
    }
}

impl FromStr for CodeOverride {
    type Err = CodeOverrideError;

    fn from_str(text: &str) -> Result<Self, CodeOverrideError> {
        let (code, class) = text.split_once('=').unwrap_or((text, ""));
        Self::new(code, class)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_of_the_standard_is_known_by_its_name() {
        let names: Vec<_> = all().map(name).collect();
        assert_eq!(names.len(), 103);
        for (code, name) in all().zip(&names) {
            assert!(name.starts_with("CKR_"), "{name}");
            assert_eq!(parse(name), Some(code));
        }
        assert_eq!(name(RvError::VendorDefined(0x8000_0001)), "0x80000001");
        assert_eq!(
            name(RvError::UnknownErrorCode(0x42)),
            "CKR_AEAD_DECRYPT_FAILED"
        );
    }

    #[test]
    fn a_number_is_a_code_too() {
        assert_eq!(parse("0x30"), Some(RvError::DeviceError));
        assert_eq!(
            parse("0x80000001"),
            Some(RvError::VendorDefined(0x8000_0001))
        );
        for none in ["0x0", "0xg", "48", "DEVICE_ERROR", ""] {
            assert_eq!(parse(none), None, "{none}");
        }
    }

    #[test]
    fn overrides_are_read_as_they_are_written() {
        let one = CodeOverride::new("CKR_FUNCTION_REJECTED", "device").unwrap();
        assert_eq!(one.to_string(), "CKR_FUNCTION_REJECTED=device");
        assert_eq!(one.to_string().parse(), Ok(one));
        assert_eq!(
            CodeOverride::new("CKR_NONE", "device"),
            Err(CodeOverrideError::NoCode("CKR_NONE".to_owned()))
        );
        assert_eq!(
            CodeOverride::new("CKR_CANCEL", "fatal"),
            Err(CodeOverrideError::NoClass("fatal".to_owned()))
        );
    }
}
