//! What is done about an error of the token: by its class, which [`code`] has, or the profile.

use cryptoki::error::{Error as CkError, RvError};
use custody::invocation;

use crate::{
    Error,
    code::{self, Class, CodeOverride},
    profile::Profile,
    wire::Amiss,
};

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

impl Remedy {
    const fn of(class: Class) -> Self {
        match class {
            Class::Session => Self::ReplaceSession,
            Class::Login | Class::Device => Self::ReplaceWorker,
            // A token in trouble may answer as if the data were bad.
            Class::Ambiguous | Class::Data => Self::AskCanary,
            // The next try is no better; and a successor would log in, which may cost a try.
            Class::Capacity | Class::Policy | Class::Authentication => Self::Answer,
        }
    }
}

/// What the codes of this module mean.
#[derive(Clone, Debug)]
pub(super) struct Codes {
    pub(super) profile: Profile,
    /// The configuration's, which go before the profile's.
    pub(super) overrides: Vec<CodeOverride>,
}

impl Codes {
    /// The remedy for `error`.
    pub(super) fn remedy(&self, error: &CkError) -> Remedy {
        Remedy::of(self.class(error))
    }

    /// Whether the token does not do what it was asked, now or later. Where it only lacks room,
    /// nothing follows for what it can do.
    pub(super) fn cannot(&self, error: &CkError) -> bool {
        self.class(error) == Class::Policy
    }

    fn class(&self, error: &CkError) -> Class {
        match error {
            CkError::Pkcs11(code, _) => self.class_of(*code),
            // What the module cannot do at all, or says in a form that cannot be read.
            CkError::LibraryLoading(_)
            | CkError::NotSupported
            | CkError::TryFromInt(_)
            | CkError::TryFromSlice(_)
            | CkError::ParseInt(_)
            | CkError::Utf8(_)
            | CkError::NulError(_)
            | CkError::NullFunctionPointer
            | CkError::MissingSymbol(_)
            | CkError::InvalidValue
            | CkError::PinNotSet => Class::Policy,
        }
    }

    fn class_of(&self, code: RvError) -> Class {
        let own = self.overrides.iter().find(|own| own.code == code);
        own.map(|own| own.class)
            .or_else(|| self.profile.differs(code))
            .unwrap_or_else(|| code::class(code))
    }
}

/// How often something is tried before it is held to fail by itself and not by a token that
/// fails now and then, when a canary opens after each failure: if one call of five fails,
/// two or three of a million are held so wrongly.
pub(super) const TRIES: usize = 8;

/// Two workers may each try a wrap so often, and open the session anew once.
const _: () = assert!(2 * (TRIES as u64 + 1) <= invocation::PER_WRAP);

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
    let Amiss { function, code } = amiss(error);
    Error::Token { function, code }
}

/// The function's and the code's names.
pub(super) fn amiss(error: &CkError) -> Amiss {
    match error {
        CkError::Pkcs11(code, function) => Amiss {
            function: format!("C_{function:?}"),
            code: code::name(*code),
        },
        other => Amiss {
            function: "the PKCS#11 library".to_owned(),
            code: other.to_string(),
        },
    }
}

/// The error in words.
pub(super) fn describe(error: &CkError) -> String {
    match error {
        CkError::Pkcs11(code, function) => format!("C_{function:?} answered {}", code::name(*code)),
        other => other.to_string(),
    }
}

/// An error with its causes.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use cryptoki::context::Function;

    use super::*;

    const MANUAL: &str = include_str!("../../../docs/tokens/codes.md");

    fn codes(profile: Profile, overrides: Vec<CodeOverride>) -> Codes {
        Codes { profile, overrides }
    }

    fn of(codes: &Codes, code: RvError) -> Remedy {
        codes.remedy(&CkError::Pkcs11(code, Function::Decrypt))
    }

    /// How much is done about it.
    fn weight(remedy: Remedy) -> u8 {
        match remedy {
            Remedy::Answer => 0,
            Remedy::AskCanary => 1,
            Remedy::ReplaceSession => 2,
            Remedy::ReplaceWorker => 3,
        }
    }

    /// Every code of the standard, and some of vendors.
    fn every_code() -> impl Iterator<Item = RvError> {
        let theirs = [0x8000_0000, 0x8000_0001, 0xce53_4351, 0xce53_4352];
        let unknown = RvError::UnknownErrorCode(0x7fff_ffff);
        let vendors = theirs.map(RvError::VendorDefined);
        code::all().chain(vendors).chain([unknown])
    }

    #[test]
    fn the_manual_has_every_code() {
        let mut table =
            "| number | code | class | what is done | with these |\n|---|---|---|---|---|\n"
                .to_owned();
        for code in code::all() {
            let class = code::class(code);
            let others: Vec<_> = Profile::ALL
                .into_iter()
                .filter_map(|profile| Some((profile.name(), profile.differs(code)?)))
                .map(|(profile, class)| format!("{profile}: {class}"))
                .collect();
            let number = number(code);
            let (name, done) = (code::name(code), said(Remedy::of(class)));
            let others = others.join(", ");
            writeln!(
                table,
                "| {number:#x} | `{name}` | {class} | {done} | {others} |"
            )
            .expect("written to memory");
        }
        for profile in Profile::ALL {
            for (code, class) in profile.differences() {
                if let RvError::VendorDefined(number) = code {
                    let (profile, done) = (profile.name(), said(Remedy::of(*class)));
                    writeln!(table, "| {number:#x} | | ambiguous | ask the canary | {profile}: {class} ({done}) |")
                        .expect("written to memory");
                }
            }
        }
        assert!(
            MANUAL.contains(&table),
            "docs/tokens/codes.md wants:\n{table}"
        );
    }

    fn number(code: RvError) -> u64 {
        let known =
            |number: &u64| cryptoki::error::Rv::from(*number) == cryptoki::error::Rv::Error(code);
        (1..0x1000).find(known).expect("a code of the standard")
    }

    fn said(remedy: Remedy) -> &'static str {
        match remedy {
            Remedy::Answer => "fail the request",
            Remedy::AskCanary => "ask the canary",
            Remedy::ReplaceSession => "replace the session",
            Remedy::ReplaceWorker => "replace the worker",
        }
    }

    #[test]
    fn no_profile_takes_an_outage_for_an_answer_or_bad_data_for_an_outage() {
        for profile in Profile::ALL {
            let codes = codes(profile, Vec::new());
            for code in every_code() {
                let (class, remedy) = (code::class(code), of(&codes, code));
                let what = format!("{profile:?} {code:?}");
                match class {
                    Class::Authentication => assert_eq!(remedy, Remedy::Answer, "{what}"),
                    Class::Data => assert_eq!(remedy, Remedy::AskCanary, "{what}"),
                    Class::Ambiguous | Class::Session | Class::Device => {
                        assert_ne!(remedy, Remedy::Answer, "{what}");
                    }
                    Class::Login | Class::Capacity | Class::Policy => {}
                }
            }
        }
    }

    #[test]
    fn a_configuration_can_only_have_more_done_and_nothing_about_pins_or_bad_data() {
        for profile in Profile::ALL {
            for code in every_code() {
                for class in Class::ALL {
                    let name = code::name(code);
                    let Ok(own) = CodeOverride::new(&name, class.name()) else {
                        continue;
                    };
                    let table = Remedy::of(code::class(code));
                    let remedy = of(&codes(profile, vec![own]), code);
                    let what = format!("{profile:?} {own}");
                    assert!(weight(remedy) >= weight(table).max(1), "{what}");
                    assert_ne!(class, Class::Authentication, "{what}");
                    match code::class(code) {
                        Class::Authentication => panic!("{what}"),
                        Class::Data => assert_eq!(remedy, Remedy::AskCanary, "{what}"),
                        _ => assert_eq!(remedy, Remedy::of(class), "{what}"),
                    }
                }
            }
        }
    }

    #[test]
    fn what_can_be_overridden_is() {
        for (code, class) in [
            ("CKR_FUNCTION_REJECTED", "device"),
            ("CKR_DEVICE_ERROR", "device"),
            ("CKR_KEY_HANDLE_INVALID", "device"),
            ("CKR_OPERATION_ACTIVE", "login"),
            ("0x80000001", "session"),
            ("0x80000001", "data"),
        ] {
            assert!(CodeOverride::new(code, class).is_ok(), "{code} {class}");
        }
        for (code, class) in [
            ("CKR_DEVICE_ERROR", "policy"),
            ("CKR_GENERAL_ERROR", "capacity"),
            ("0x80000001", "policy"),
            ("CKR_TEMPLATE_INCONSISTENT", "policy"),
            ("CKR_PIN_INCORRECT", "device"),
            ("CKR_USER_PIN_NOT_INITIALIZED", "ambiguous"),
            ("CKR_ENCRYPTED_DATA_INVALID", "device"),
            ("CKR_DEVICE_REMOVED", "session"),
        ] {
            assert!(CodeOverride::new(code, class).is_err(), "{code} {class}");
        }
    }

    #[test]
    fn what_a_configuration_says_goes_before_the_profile() {
        let code = RvError::WrappingKeyHandleInvalid;
        let own = CodeOverride::new("CKR_WRAPPING_KEY_HANDLE_INVALID", "device").unwrap();
        let kryoptic = |own| of(&codes(Profile::Kryoptic, own), code);
        assert_eq!(kryoptic(vec![own]), Remedy::ReplaceWorker);
        assert_eq!(kryoptic(Vec::new()), Remedy::Answer);
        assert_eq!(
            of(&codes(Profile::Generic, Vec::new()), code),
            Remedy::ReplaceWorker
        );
    }

    #[test]
    fn whatever_else_a_login_is_answered_may_have_cost_a_try() {
        let outages: Vec<_> = every_code()
            .filter(|code| is_outage(&CkError::Pkcs11(*code, Function::Login)))
            .map(code::name)
            .collect();
        let expected = [
            "CKR_HOST_MEMORY",
            "CKR_SLOT_ID_INVALID",
            "CKR_GENERAL_ERROR",
            "CKR_FUNCTION_FAILED",
            "CKR_DEVICE_ERROR",
            "CKR_DEVICE_MEMORY",
            "CKR_DEVICE_REMOVED",
            "CKR_SESSION_CLOSED",
            "CKR_SESSION_HANDLE_INVALID",
            "CKR_TOKEN_NOT_PRESENT",
            "CKR_TOKEN_NOT_RECOGNIZED",
            "CKR_CRYPTOKI_NOT_INITIALIZED",
        ];
        assert_eq!(outages, expected);
    }

    #[test]
    fn errors_carry_the_names_of_the_standard() {
        let error = CkError::Pkcs11(RvError::GeneralError, Function::UnwrapKey);
        assert_eq!(describe(&error), "C_UnwrapKey answered CKR_GENERAL_ERROR");
    }

    #[test]
    fn modules_are_known_by_what_their_libraries_say() {
        for (manufacturer, description, profile) in [
            ("SoftHSM", "Implementation of PKCS11", Profile::SoftHsm),
            ("Kryoptic", "Kryoptic PKCS11 Module", Profile::Kryoptic),
            (
                "Mozilla Foundation",
                "NSS Internal Crypto Services",
                Profile::Nss,
            ),
            ("IBM", "Meta PKCS11 LIBRARY", Profile::OpenCryptoki),
            ("IBM", "openCryptoki", Profile::OpenCryptoki),
            ("IBM", "IBM PKCS#11 for something else", Profile::Generic),
            ("tpm2-software.github.io", "TPM2.0 Cryptoki", Profile::Tpm2),
            ("SafeNet", "Chrystoki", Profile::Generic),
        ] {
            assert_eq!(Profile::of(manufacturer, description), profile);
        }
        for profile in Profile::ALL {
            assert_eq!(Profile::from_name(profile.name()), Some(profile));
        }
    }
}
