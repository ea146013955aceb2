//! From a permit to content in the hands of the caller.

use crate::{
    caller::{Caller, Evidence, observation::Drift},
    envelope::{Content, Context, Failed, PlaintextDek, SealedContent, WrappedDek, Wrapping},
    journal::Receipt,
    name::{KeyId, VersionId},
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
    version: VersionId,
    kind: &'static str,
    receipt: Receipt,
    content: Content,
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
    /// The content.
    pub content: Content,
}

impl Released {
    /// Gives the content up for sending, if `now`, observed just before, is of the
    /// caller that was attested, unchanged.
    ///
    /// # Errors
    ///
    /// The [`Drift`]; the content is wiped.
    pub fn hand_over(self, now: &Evidence) -> Result<Delivery, Drift> {
        self.caller.evidence().unchanged(now)?;
        Ok(Delivery {
            version: self.version,
            kind: self.kind,
            receipt: self.receipt,
            content: self.content,
        })
    }
}
