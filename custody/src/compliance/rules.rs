//! The rules of a group, as they are written, stored and shown.

use std::{collections::BTreeSet, num::NonZeroU32};

use serde::{Deserialize, Serialize};

use crate::{group::Millis, label::Key, name::GroupName};

/// What is done about a version that falls foul of the rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// It is listed.
    #[default]
    Report,
    /// It is listed, and a write that would make it so is refused.
    Enforce,
}

impl Mode {
    /// The name in rules.
    pub fn name(self) -> &'static str {
        match self {
            Self::Report => "report",
            Self::Enforce => "enforce",
        }
    }
}

impl std::str::FromStr for Mode {
    type Err = Unknown;

    fn from_str(text: &str) -> Result<Self, Unknown> {
        match text {
            "report" => Ok(Self::Report),
            "enforce" => Ok(Self::Enforce),
            other => Err(Unknown {
                name: other.to_owned(),
                known: vec!["report", "enforce"],
            }),
        }
    }
}

/// An algorithm, as rules name it.
macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal, $shown:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum $name {
            $(
                #[doc = concat!("`", $text, "`.")]
                #[serde(rename = $text)]
                $variant,
            )*
        }

        impl $name {
            /// All there are.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name in rules.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }

            /// The one that metadata calls so.
            pub(super) fn of(property: &str) -> Option<Self> {
                match property {
                    $($shown => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }

        impl std::str::FromStr for $name {
            type Err = Unknown;

            fn from_str(text: &str) -> Result<Self, Unknown> {
                let found = Self::ALL.iter().find(|one| one.name() == text);
                found.copied().ok_or_else(|| Unknown {
                    name: text.to_owned(),
                    known: Self::ALL.iter().map(|one| one.name()).collect(),
                })
            }
        }
    };
}

/// A name that stands for nothing a rule knows.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{name:?} is none of {}", .known.join(", "))]
pub struct Unknown {
    name: String,
    known: Vec<&'static str>,
}

named! {
    /// A key's algorithm.
    KeyAlgorithm {
        Rsa = "rsa", "RSA";
        Ec = "ec", "EC";
        Ed25519 = "ed25519", "Ed25519";
    }
}

named! {
    /// The algorithm that a certificate is signed with.
    SignatureAlgorithm {
        RsaSha1 = "rsa-sha1", "rsa-sha1";
        RsaSha256 = "rsa-sha256", "rsa-sha256";
        RsaSha384 = "rsa-sha384", "rsa-sha384";
        RsaSha512 = "rsa-sha512", "rsa-sha512";
        RsaPss = "rsa-pss", "rsa-pss";
        EcdsaSha1 = "ecdsa-sha1", "ecdsa-sha1";
        EcdsaSha256 = "ecdsa-sha256", "ecdsa-sha256";
        EcdsaSha384 = "ecdsa-sha384", "ecdsa-sha384";
        EcdsaSha512 = "ecdsa-sha512", "ecdsa-sha512";
        Ed25519 = "ed25519", "ed25519";
    }
}

named! {
    /// What a symmetric key is for.
    SymmetricAlgorithm {
        Aes = "aes", "aes";
        ChaCha20 = "chacha20", "chacha20";
        HmacSha256 = "hmac-sha256", "hmac-sha256";
        HmacSha384 = "hmac-sha384", "hmac-sha384";
        HmacSha512 = "hmac-sha512", "hmac-sha512";
    }
}

named! {
    /// A version of TLS.
    TlsVersion {
        Tls12 = "TLSv1.2", "TLSv1.2";
        Tls13 = "TLSv1.3", "TLSv1.3";
    }
}

/// What every version in use of a group's secrets must be like. What is not said is free.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct Rules {
    /// What is done about those that are not.
    pub mode: Mode,
    /// The smallest RSA key, in bits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_rsa_bits: Option<NonZeroU32>,
    /// The smallest curve, in bits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_ec_bits: Option<NonZeroU32>,
    /// The smallest symmetric key, in bits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_symmetric_bits: Option<NonZeroU32>,
    /// The algorithms that keys may have; any when empty.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub key_algorithms: BTreeSet<KeyAlgorithm>,
    /// The algorithms that certificates may be signed with; any when empty.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub signature_algorithms: BTreeSet<SignatureAlgorithm>,
    /// The algorithms that symmetric keys may be for; any when empty.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub symmetric_algorithms: BTreeSet<SymmetricAlgorithm>,
    /// The lowest version that a TLS context may allow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_tls_version: Option<TlsVersion>,
    /// How many days a certificate or token may be valid from beginning to end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_validity_days: Option<NonZeroU32>,
    /// How many days before its end a version is found to end soon.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warn_before_days: Option<NonZeroU32>,
    /// How many days a version may stay in use after it was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age_days: Option<NonZeroU32>,
    /// The labels that every secret has, whatever their values.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub required_labels: BTreeSet<Key>,
}

/// The rules of one group, as they are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adopted {
    /// The group.
    pub group: GroupName,
    /// The rules.
    pub rules: Rules,
    /// When they were set.
    pub set: Millis,
    /// User id of the operator who set them.
    pub set_by: u32,
}

impl Rules {
    /// The one text that stands for them: JSON, each rule that is set, in order.
    ///
    /// # Panics
    ///
    /// Never: numbers and names have a JSON form.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("numbers and names have a JSON form")
    }

    /// The rules that [`Self::to_json`] wrote.
    pub fn from_json(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}
