//! From a permit to content in the hands of the caller.

use std::collections::BTreeSet;

use crate::{
    caller::{Caller, Evidence, observation::Drift},
    envelope::{Content, Context, Failed, PlaintextDek, SealedContent, WrappedDek, Wrapping},
    journal::Receipt,
    name::{KeyId, VersionId},
    secret::fields::Fields,
};

/// A permit joined with the only ciphertext it is good for. The token unwraps a
/// version's data key for this and for nothing else.
///
/// Only [`Permit::claim`](crate::policy::Permit::claim) makes one:
///
/// ```compile_fail,E0451
/// fn forge(sealed: custody::envelope::SealedContent) -> custody::release::Claim {
///     custody::release::Claim { sealed, ..todo!() } // fields are private
/// }
/// ```
#[derive(Debug)]
#[must_use = "an unspent permit was recorded for nothing"]
pub struct Claim {
    pub(crate) caller: Caller,
    pub(crate) fields: BTreeSet<String>,
    pub(crate) version: VersionId,
    pub(crate) kind: &'static str,
    pub(crate) gmk: KeyId,
    pub(crate) wrapping: Wrapping,
    pub(crate) wrapped: WrappedDek,
    pub(crate) sealed: SealedContent,
    pub(crate) receipt: Receipt,
}

impl Claim {
    /// The group master key that wraps the data key.
    pub fn gmk(&self) -> &KeyId {
        &self.gmk
    }

    /// How it wraps.
    pub fn wrapping(&self) -> Wrapping {
        self.wrapping
    }

    /// The wrapped data key.
    pub fn wrapped(&self) -> &WrappedDek {
        &self.wrapped
    }

    /// Where the release is recorded.
    pub fn receipt(&self) -> Receipt {
        self.receipt
    }

    /// The context that the wrap is bound to.
    pub fn context(&self) -> Context<'_> {
        Context::Dek {
            version: &self.version,
            kind: self.kind,
            gmk: &self.gmk,
        }
    }

    /// Opens the content with the data key that the token unwrapped.
    ///
    /// # Errors
    ///
    /// If it is not the key that this content was sealed with.
    pub fn open(self, dek: &PlaintextDek) -> Result<Released, Failed> {
        let context = Context::Content {
            version: &self.version,
            kind: self.kind,
        };
        let content = self.sealed.open(dek, context)?;
        Ok(Released {
            caller: self.caller,
            fields: self.fields,
            version: self.version,
            kind: self.kind,
            receipt: self.receipt,
            content,
        })
    }
}

/// Content that is on record as released, and not yet out of our hands.
///
/// What is in it comes out by [`Released::hand_over`] alone:
///
/// ```compile_fail,E0616
/// fn peek(released: &custody::release::Released) -> &[u8] {
///     released.content.expose() // private
/// }
/// ```
#[derive(Debug)]
#[must_use = "content that is not handed over was recorded as released for nothing"]
pub struct Released {
    caller: Caller,
    fields: BTreeSet<String>,
    version: VersionId,
    kind: &'static str,
    receipt: Receipt,
    content: Content,
}

/// Why released content is not handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Withheld {
    /// The caller is not the one that was attested any more.
    #[error(transparent)]
    Drift(#[from] Drift),
    /// It opened, and is no encoding of fields.
    #[error("the content is no encoding of fields")]
    NoFields,
}

/// What the caller gets.
#[derive(Debug)]
pub struct Delivery {
    /// The version released.
    pub version: VersionId,
    /// Name of the secret's type.
    pub kind: &'static str,
    /// The entry that records it.
    pub receipt: Receipt,
    /// The fields of the content that the grant gives and the caller asked for.
    pub fields: Fields,
}

impl Released {
    /// Gives the content up for sending, if `now`, observed just before, is of the
    /// caller that was attested, unchanged.
    ///
    /// # Errors
    ///
    /// The [`Withheld`]; the content is wiped.
    pub fn hand_over(self, now: &Evidence) -> Result<Delivery, Withheld> {
        self.caller.evidence().unchanged(now)?;
        let mut fields = Fields::decode(&self.content).ok_or(Withheld::NoFields)?;
        if !self.fields.is_empty() {
            fields.keep(&self.fields);
        }
        Ok(Delivery {
            version: self.version,
            kind: self.kind,
            receipt: self.receipt,
            fields,
        })
    }
}
