//! From a permit to content in the hands of the caller.

use std::collections::BTreeSet;

use crate::{
    caller::{Caller, Evidence, observation::Drift},
    envelope::{Content, Context, Failed, PlaintextDek, SealedContent, SealedDigest, WrappedDek},
    group::MasterKey,
    journal::Receipt,
    name::{KeyId, VersionId},
    policy::{Tampered, Via, Wrong},
    secret::{
        Kind, Refused,
        fields::Fields,
        format::{self, Rendering},
        version::Wrap,
    },
};

mod claimed;

pub use claimed::{Claimed, Fresh, Keeping, Lent};

/// A permit joined with the only ciphertext it is good for. The token unwraps a
/// version's data key for this and for nothing else.
///
/// Only [`Permit::claim`](crate::policy::Permit::claim) makes one:
///
/// ```compile_fail,E0451
/// fn forge(sealed: custody::envelope::SealedContent) -> custody::release::Claim {
///     custody::release::Claim { content: sealed, ..todo!() } // fields are private
/// }
/// ```
#[derive(Debug)]
#[must_use = "an unspent permit was recorded for nothing"]
pub struct Claim {
    pub(crate) caller: Caller,
    pub(crate) via: Option<Via>,
    pub(crate) fields: BTreeSet<String>,
    pub(crate) locked: Locked,
    pub(crate) content: SealedContent,
    pub(crate) receipt: Receipt,
}

impl Claim {
    /// Where the release is recorded.
    pub fn receipt(&self) -> Receipt {
        self.receipt
    }

    /// Who it is for, as it was attested.
    pub fn evidence(&self) -> &Evidence {
        self.caller.evidence()
    }

    /// The version.
    pub fn version(&self) -> &VersionId {
        &self.locked.version
    }
}

/// What it takes to open one version's content, but for the content and the token.
#[derive(Clone, Debug)]
pub struct Locked {
    pub(crate) version: VersionId,
    pub(crate) kind: Kind,
    pub(crate) sealed: SealedDigest,
    /// At least one; any of them will do.
    pub(crate) locks: Vec<Lock>,
}

/// A data key, wrapped under one master key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    gmk: KeyId,
    wrapped: WrappedDek,
}

impl Lock {
    pub(crate) fn of(wrap: &Wrap, key: &MasterKey) -> Self {
        Self {
            gmk: key.id,
            wrapped: wrap.wrapped.clone(),
        }
    }

    /// The group master key that wraps it.
    pub fn gmk(&self) -> &KeyId {
        &self.gmk
    }

    /// The wrapped data key.
    pub fn wrapped(&self) -> &WrappedDek {
        &self.wrapped
    }
}

impl Locked {
    /// The data key under each master key that may reveal it; at least one.
    pub fn locks(&self) -> &[Lock] {
        &self.locks
    }

    /// Those master keys.
    pub fn gmks(&self) -> Vec<KeyId> {
        self.locks.iter().map(|lock| lock.gmk).collect()
    }

    /// The context that the wrap under `gmk` is bound to.
    pub fn context<'a>(&'a self, gmk: &'a KeyId) -> Context<'a> {
        Context::Dek {
            version: &self.version,
            kind: self.kind.name(),
            gmk,
        }
    }

    /// `stored`, if it is the content that the version was written with.
    pub(crate) fn check(&self, stored: Option<SealedContent>) -> Result<SealedContent, Tampered> {
        let tampered = |what| Tampered {
            version: self.version.clone(),
            what,
            expected: self.sealed,
        };
        let content = stored.ok_or_else(|| tampered(Wrong::Missing))?;
        match content.digest() == self.sealed {
            true => Ok(content),
            false => Err(tampered(Wrong::Other)),
        }
    }

    /// Opens it.
    pub(crate) fn open(
        &self,
        content: SealedContent,
        dek: &PlaintextDek,
    ) -> Result<Content, Failed> {
        let context = Context::Content {
            version: &self.version,
            kind: self.kind.name(),
        };
        content.open(dek, context)
    }
}

/// How soon the token is to come to something, where it has more to do than it can at once: what is
/// first here goes first, whatever came first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// A caller waits for content.
    Delivery,
    /// Somebody changes what is there.
    Management,
    /// Nobody waits: keys that age, wraps that are missing, drills.
    Upkeep,
}

impl Urgency {
    /// All of them, in that order.
    pub const ALL: [Self; 3] = [Self::Delivery, Self::Management, Self::Upkeep];
}

/// Something that the token unwraps a data key for: a [`Claim`], [`Keeping`] its data key or not, or
/// the [`crate::inward::Claim`] of content that the daemon uses itself, which are on record; a
/// [`crate::drill::Trial`], which leaves nothing; a [`crate::renew::Claim`], which leaves sealed
/// content; or a [`crate::rewrap::Passage`], which opens no
/// content. There are no others.
pub trait Unlock: sealed::Sealed {
    /// What it opens to.
    type Opened;

    /// How soon.
    const URGENCY: Urgency;

    /// What is to be unwrapped.
    fn locked(&self) -> &Locked;

    /// Uses the data key that the token unwrapped.
    ///
    /// # Errors
    ///
    /// If it is not the key that this content was sealed with.
    fn open(self, dek: &PlaintextDek) -> Result<Self::Opened, Failed>;
}

pub(crate) mod sealed {
    pub trait Sealed {}
}

impl sealed::Sealed for Claim {}

impl Unlock for Claim {
    type Opened = Released;
    const URGENCY: Urgency = Urgency::Delivery;

    fn locked(&self) -> &Locked {
        &self.locked
    }

    fn open(self, dek: &PlaintextDek) -> Result<Released, Failed> {
        let content = self.locked.open(self.content, dek)?;
        Ok(Released {
            caller: self.caller,
            via: self.via,
            fields: self.fields,
            version: self.locked.version,
            kind: self.locked.kind,
            receipt: self.receipt,
            content,
        })
    }
}

/// Content that is on record as released, and not yet out of our hands.
///
/// What is in it comes out by [`Written::hand_over`] alone:
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
    via: Option<Via>,
    fields: BTreeSet<String>,
    version: VersionId,
    kind: Kind,
    receipt: Receipt,
    content: Content,
}

/// Why released content cannot be written for its caller.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Unwritable {
    /// It opened, and is no encoding of fields.
    #[error("the content is no encoding of fields")]
    NoFields,
    /// The format cannot hold it.
    #[error(transparent)]
    Format(#[from] Refused),
}

impl Released {
    /// The content as it is: the fields that the grant gives and the caller asked for.
    ///
    /// # Errors
    ///
    /// If it is no encoding of fields.
    pub fn as_stored(self) -> Result<Written, Unwritable> {
        self.write(|_, fields| Ok(fields))
    }

    /// The same fields as `rendering` says. It may take tenths of a second.
    ///
    /// # Errors
    ///
    /// If the format cannot hold them.
    pub fn render(self, rendering: &Rendering) -> Result<Written, Unwritable> {
        self.write(|kind, fields| format::render(kind, &fields, rendering))
    }

    fn write(
        self,
        form: impl FnOnce(Kind, Fields) -> Result<Fields, Refused>,
    ) -> Result<Written, Unwritable> {
        let mut fields = Fields::decode(&self.content).ok_or(Unwritable::NoFields)?;
        if !self.fields.is_empty() {
            fields.keep(&self.fields);
        }
        let fields = form(self.kind, fields)?;
        Ok(Written {
            caller: self.caller,
            delivery: Delivery {
                via: self.via,
                version: self.version,
                kind: self.kind,
                receipt: self.receipt,
                fields,
            },
        })
    }
}

/// Released content in the form that its caller wants.
#[derive(Debug)]
#[must_use = "content that is not handed over was recorded as released for nothing"]
pub struct Written {
    caller: Caller,
    delivery: Delivery,
}

/// What the caller gets.
#[derive(Debug)]
pub struct Delivery {
    /// What refers to it, unless it was asked for by its name.
    pub via: Option<Via>,
    /// The version released.
    pub version: VersionId,
    /// The secret's type.
    pub kind: Kind,
    /// The entry that records it.
    pub receipt: Receipt,
    /// The fields of the content that the grant gives and the caller asked for; or the
    /// documents that they were written as.
    pub fields: Fields,
}

impl Written {
    /// Gives the content up for sending, if `now`, observed just before, is of the
    /// caller that was attested, unchanged.
    ///
    /// # Errors
    ///
    /// In what the caller changed; the content is wiped.
    pub fn hand_over(self, now: &Evidence) -> Result<Delivery, Drift> {
        self.caller.evidence().unchanged(now)?;
        Ok(self.delivery)
    }
}
