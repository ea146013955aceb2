//! What is known of a vendor's module beyond the standard: the codes that it means otherwise.

use cryptoki::error::RvError;

use crate::code::Class;

/// A kind of module, by what it says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Nothing is known of it: every code means what the table says.
    Generic,
    /// SoftHSM 2.
    SoftHsm,
    /// Kryoptic.
    Kryoptic,
    /// NSS softokn.
    Nss,
    /// openCryptoki's soft token.
    OpenCryptoki,
    /// tpm2-pkcs11.
    Tpm2,
}

/// NSS: its certificate database, and its key database, cannot be used.
const CKR_NSS_CERTDB_FAILED: u64 = 0xce53_4351;
const CKR_NSS_KEYDB_FAILED: u64 = 0xce53_4352;

impl Profile {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Generic,
        Self::SoftHsm,
        Self::Kryoptic,
        Self::Nss,
        Self::OpenCryptoki,
        Self::Tpm2,
    ];

    /// Its name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Self::Generic => "generic",
            Self::SoftHsm => "softhsm",
            Self::Kryoptic => "kryoptic",
            Self::Nss => "nss",
            Self::OpenCryptoki => "opencryptoki",
            Self::Tpm2 => "tpm2",
        }
    }

    /// The profile of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.name() == name)
    }

    /// The kind of a module whose library says this of itself. The token's word does not
    /// count: tpm2-pkcs11 names there who made the TPM.
    pub(crate) fn of(manufacturer: &str, description: &str) -> Self {
        let by = |start: &str| manufacturer.starts_with(start);
        if by("SoftHSM") {
            Self::SoftHsm
        } else if by("Kryoptic") {
            Self::Kryoptic
        } else if by("Mozilla") {
            Self::Nss
        } else if by("IBM")
            && (description.starts_with("Meta PKCS11") || description.contains("openCryptoki"))
        {
            Self::OpenCryptoki
        } else if by("tpm2-software") {
            Self::Tpm2
        } else {
            Self::Generic
        }
    }

    /// Whether this module goes by a key's attributes, so that who changes them changes what can
    /// be done with it. tpm2-pkcs11 keeps them in a file, and takes any change: what is done with a
    /// key is up to the TPM, which goes by what the key was made with.
    pub(crate) fn goes_by_attributes(self) -> bool {
        self != Self::Tpm2
    }

    /// Whether one session of one process is all that this module is to be used on. With
    /// tpm2-pkcs11 a process does not see the keys that another makes while it lives.
    pub(crate) fn is_for_one(self) -> bool {
        self == Self::Tpm2
    }

    /// What `code` tells of, where this module differs from the standard.
    pub(crate) fn differs(self, code: RvError) -> Option<Class> {
        let (_, class) = self.differences().iter().find(|(own, _)| *own == code)?;
        Some(*class)
    }

    /// Each code that this module means otherwise. All are measured.
    pub(crate) fn differences(self) -> &'static [(RvError, Class)] {
        match self {
            // The standard's meaning will do, as far as is known.
            Self::Generic | Self::OpenCryptoki | Self::Tpm2 => &[],
            // 2.6 fails so, now and then, at keys that are made while others are looked for.
            Self::SoftHsm => &[(RvError::TemplateInconsistent, Class::Ambiguous)],
            // The wrapping key is not allowed to wrap; one that is gone gives CKR_GENERAL_ERROR.
            Self::Kryoptic => &[(RvError::WrappingKeyHandleInvalid, Class::Policy)],
            Self::Nss => &[
                (RvError::VendorDefined(CKR_NSS_CERTDB_FAILED), Class::Device),
                (RvError::VendorDefined(CKR_NSS_KEYDB_FAILED), Class::Device),
                // A parameter that it cannot use.
                (RvError::HostMemory, Class::Ambiguous),
            ],
        }
    }
}
