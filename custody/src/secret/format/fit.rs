//! What a format can hold, as far as the type and the names of fields tell.

use std::collections::BTreeSet;

use super::Format;
use crate::secret::{
    Kind, Refused, Shape,
    certificate::CERTIFICATE,
    keystore::{CHAIN, KEY},
    truststore::CERTIFICATES,
    x509::invalid,
};

impl Format {
    /// Whether the fields called by `names`, all if there are none, of secrets of `kind` can
    /// be written so. What the values decide is not said here.
    ///
    /// # Errors
    ///
    /// If no secret of the type could be.
    pub fn fits(self, kind: Kind, names: &BTreeSet<String>) -> Result<(), Refused> {
        let is_asked = |name: &str| names.is_empty() || names.contains(name);
        let has = |name: &str| kind.has(name) && is_asked(name);
        match self {
            Self::Pem | Self::PemBundle | Self::Der => {
                let may_be = match kind.shape() {
                    Shape::Fields(known) => known
                        .iter()
                        .any(|field| kind.may_be_pem(field.name) && is_asked(field.name)),
                    Shape::Free => true,
                };
                may_be.then_some(()).ok_or_else(|| lacking(kind, "PEM"))
            }
            Self::Pkcs12 if kind.has(KEY) => (has(CHAIN) && has(KEY))
                .then_some(())
                .ok_or_else(|| half(kind)),
            Self::Pkcs12 | Self::JavaTruststore => (has(CERTIFICATES) || has(CERTIFICATE))
                .then_some(())
                .ok_or_else(|| lacking(kind, "a store of trusted certificates")),
            Self::Raw => {
                let count = match kind.shape() {
                    Shape::Fields(known) => known
                        .iter()
                        .filter(|field| field.is_required && is_asked(field.name))
                        .count(),
                    Shape::Free => names.len(),
                };
                (count < 2)
                    .then_some(())
                    .ok_or_else(|| several(kind, count))
            }
            Self::Json | Self::Dotenv => Ok(()),
        }
    }
}

pub(super) fn lacking(kind: Kind, what: &str) -> Refused {
    invalid(format!(
        "what is delivered of this {} has nothing that can be written as {what}",
        kind.name()
    ))
}

pub(super) fn half(kind: Kind) -> Refused {
    invalid(format!(
        "a key store needs {CHAIN:?} and {KEY:?}, and what is delivered of this {} lacks one",
        kind.name()
    ))
}

pub(super) fn several(kind: Kind, count: usize) -> Refused {
    invalid(format!(
        "raw is the bytes of one field, and of this {} {count} are delivered; name the field, or \
         ask for json",
        kind.name()
    ))
}
