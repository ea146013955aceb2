//! The decision that a grant leads to, and what may be done with it.

use std::{collections::BTreeSet, fmt, marker::PhantomData};

use serde::{Serialize, Serializer};

use crate::{
    cache::{Source, Terms},
    caller::{Caller, Evidence},
    envelope::{SealedContent, SealedDigest},
    group::{KeyState, Millis},
    journal::Receipt,
    name::{GroupName, SecretId, SecretName, VersionId},
    release::{Claim, Claimed, Locked},
    secret::{Refused, format::Format, version::Which},
    usage::Usage,
};

pub mod explain;
pub mod rule;

use self::rule::Rule;

/// What a caller asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The group.
    pub group: GroupName,
    /// The secret's name in it.
    pub name: SecretName,
    /// Which version.
    pub version: Which,
    /// The fields; all that a grant gives if empty.
    pub fields: BTreeSet<String>,
}

impl Wanted {
    /// The secret, whichever version.
    pub fn secret(&self) -> SecretId {
        SecretId {
            group: self.group.clone(),
            name: self.name.clone(),
        }
    }
}

/// How much is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// The secret alone.
    Alone,
    /// What it refers to as well: all of it, or nothing.
    Resolved,
}

/// Why a secret is wanted that nobody asked for by its name: this version refers to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Via {
    /// The version that refers.
    pub version: VersionId,
    /// The field in which it does.
    pub field: &'static str,
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.version, self.field)
    }
}

impl Serialize for Via {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What a decision depends on besides the state.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    /// The time.
    pub now: Millis,
    /// How much each grant was used.
    pub usage: &'a Usage,
}

pub(crate) mod sealed {
    pub trait Sealed {}
}

/// Something a caller asks to do with a secret. Each is a type, so that a grant for
/// one cannot be spent on another.
pub trait Operation: sealed::Sealed {
    /// The name in the journal.
    const NAME: &'static str;

    /// Whether it wants the token to unwrap, and uses up a grant that is counted.
    const REVEALS: bool;
}

/// Release of content to the caller.
#[derive(Debug)]
pub enum Deliver {}

impl sealed::Sealed for Deliver {}

impl Operation for Deliver {
    const NAME: &'static str = "deliver";
    const REVEALS: bool = true;
}

/// Telling the caller which version is current.
#[derive(Debug)]
pub enum Notify {}

impl sealed::Sealed for Notify {}

impl Operation for Notify {
    const NAME: &'static str = "notify";
    const REVEALS: bool = false;
}

/// The outcome of a policy check, not yet written down.
pub type Decision<Op> = Result<Grant<Op>, Box<Denial>>;

/// No. Why is for the journal, not for the caller.
#[derive(Debug)]
pub struct Denial {
    /// Who asked.
    pub evidence: Evidence,
    /// Name of the operation.
    pub operation: &'static str,
    /// What they asked for, or what that refers to.
    pub wanted: Wanted,
    /// What refers to it, unless it was asked for by its name.
    pub via: Option<Via>,
    /// Why not.
    pub reason: Reason,
}

/// Why a request was denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// No grant matches this caller and this name.
    NoGrant,
    /// A grant matches, and its time has not come.
    NotYet,
    /// A grant matches, and its time is over.
    Expired,
    /// A grant matches, and was used as often as it may be.
    UsedUp,
    /// A grant matches, and was used too often of late.
    TooOften,
    /// A grant matches, and is for secrets of another type.
    OtherType,
    /// A grant matches, and not for these fields.
    OtherFields,
    /// A grant matches, and there is no such secret.
    NoSuchSecret,
    /// The secret has no such version.
    NoSuchVersion,
    /// The version is a key that has no certificate yet.
    Requested,
    /// The version was disabled.
    Disabled,
    /// The version was destroyed, or is about to be.
    Destroyed,
    /// The time for which the version was to be delivered is over.
    Outlived,
    /// No master key that wraps the version is in a state to reveal it.
    KeyState(KeyState),
}

impl Reason {
    /// The name in the journal; one for all states of keys.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoGrant => "no-grant",
            Self::NotYet => "not-yet",
            Self::Expired => "expired",
            Self::UsedUp => "used-up",
            Self::TooOften => "too-often",
            Self::OtherType => "other-type",
            Self::OtherFields => "other-fields",
            Self::NoSuchSecret => "no-such-secret",
            Self::NoSuchVersion => "no-such-version",
            Self::Requested => "requested",
            Self::Disabled => "disabled",
            Self::Destroyed => "destroyed",
            Self::Outlived => "outlived",
            Self::KeyState(_) => "key-state",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoGrant => "no grant matches",
            Self::NotYet => "the grant has not begun",
            Self::Expired => "the grant has ended",
            Self::UsedUp => "the grant is used up",
            Self::TooOften => "the grant was used too often of late",
            Self::OtherType => "the grant is for another type",
            Self::OtherFields => "the grant is for other fields",
            Self::NoSuchSecret => "there is no such secret",
            Self::NoSuchVersion => "there is no such version",
            Self::Requested => "the version has no certificate yet",
            Self::Disabled => "the version is disabled",
            Self::Destroyed => "the version is destroyed, or about to be",
            Self::Outlived => "the version is no longer valid",
            Self::KeyState(state) => return write!(f, "the master key is {state}"),
        })
    }
}

/// What a decision found in the state.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) rule: Rule,
    /// All of them if empty.
    pub(crate) fields: BTreeSet<String>,
    pub(crate) locked: Locked,
    /// The terms on which the data key may be kept.
    pub(crate) cache: Option<Terms>,
}

/// Proof that policy allowed a caller to do `Op` to one version.
///
/// Only [`State::decide`](crate::state::State::decide) makes one:
///
/// ```compile_fail,E0451
/// use custody::{caller::Caller, policy::{Deliver, Grant}};
/// fn forge(caller: Caller) -> Grant<Deliver> {
///     Grant { caller, found: todo!(), via: None, source: todo!(), op: core::marker::PhantomData } // private
/// }
/// ```
///
/// and a grant is not yet a permit: nothing can be claimed with it.
///
/// ```compile_fail,E0599
/// use custody::{envelope::SealedContent, policy::{Deliver, Grant}};
/// fn skip_the_record(grant: Grant<Deliver>, sealed: SealedContent) {
///     grant.claim(sealed); // only a Permit can
/// }
/// ```
#[derive(Debug)]
#[must_use = "a grant is good for nothing until it is recorded"]
pub struct Grant<Op> {
    pub(crate) caller: Caller,
    pub(crate) found: Found,
    pub(crate) via: Option<Via>,
    pub(crate) source: Source,
    pub(crate) op: PhantomData<Op>,
}

impl<Op> Grant<Op> {
    /// The version it is about; its ciphertext may be read while the grant is being
    /// recorded.
    pub fn version(&self) -> &VersionId {
        &self.found.locked.version
    }

    /// The grant as it was written, one use of which this takes.
    pub fn rule(&self) -> &Rule {
        &self.found.rule
    }

    /// Who it is for.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }
}

/// A grant that is on record.
///
/// Only [`record`](crate::journal::record) makes one:
///
/// ```compile_fail,E0451
/// use custody::{journal::Receipt, policy::{Deliver, Grant, Permit}};
/// fn forge(grant: Grant<Deliver>, receipt: Receipt) -> Permit<Deliver> {
///     Permit { grant, receipt } // fields are private
/// }
/// ```
///
/// it is spent once:
///
/// ```compile_fail,E0382
/// use custody::{envelope::SealedContent, policy::{Deliver, Permit}};
/// fn twice(permit: Permit<Deliver>, a: SealedContent, b: SealedContent) {
///     let _ = permit.claim(Some(a));
///     let _ = permit.claim(Some(b)); // moved
/// }
/// ```
///
/// and a permit for one operation is good for no other:
///
/// ```compile_fail,E0599
/// use custody::{envelope::SealedContent, policy::{Notify, Permit}};
/// fn more_than_allowed(permit: Permit<Notify>, sealed: SealedContent) {
///     let _ = permit.claim(Some(sealed)); // only Permit<Deliver> can
/// }
/// ```
#[derive(Debug)]
#[must_use = "an unspent permit was recorded for nothing"]
pub struct Permit<Op> {
    pub(crate) grant: Grant<Op>,
    pub(crate) receipt: Receipt,
}

/// Sealed content that is not the one its version was written with.
#[derive(Debug, thiserror::Error)]
#[error("the stored content of {version} is {what}")]
pub struct Tampered {
    /// The version.
    pub version: VersionId,
    /// What is wrong with it.
    pub what: Wrong,
    /// What the version's row said of it.
    pub expected: SealedDigest,
}

/// What is wrong with stored content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// There is none.
    Missing,
    /// It is not what the version's row says.
    Other,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "missing",
            Self::Other => "not the one that was written",
        })
    }
}

impl Grant<Deliver> {
    /// Whether what it gives can be written in `format`, as far as that can be told before
    /// it is on record.
    ///
    /// # Errors
    ///
    /// If nothing that it gives could be.
    pub fn fits(&self, format: Format) -> Result<(), Refused> {
        format.fits(self.found.locked.kind, &self.found.fields)
    }
}

impl Permit<Deliver> {
    /// Joins the permit with the content stored for its version, to be opened with the data key
    /// that is on record.
    ///
    /// # Errors
    ///
    /// If `stored` is missing, or not the content that the version was written with.
    pub fn claim(self, stored: Option<SealedContent>) -> Result<Claimed, Tampered> {
        let Self { grant, receipt } = self;
        let Found { fields, locked, .. } = grant.found;
        let content = locked.check(stored)?;
        let claim = Claim {
            caller: grant.caller,
            via: grant.via,
            fields,
            locked,
            content,
            receipt,
        };
        Ok(Claimed::of(claim, grant.source))
    }
}

impl<Op> Permit<Op> {
    /// Where the grant is recorded.
    pub fn receipt(&self) -> Receipt {
        self.receipt
    }
}

impl Permit<Notify> {
    /// Which version is current.
    pub fn version(self) -> VersionId {
        self.grant.found.locked.version
    }
}
