//! Trying what is stored, to know that it opens.
//!
//! Nobody asks for it here, so nothing is given: a [`Trial`] is unlocked like a claim, and leaves
//! a [`Proof`], which holds nothing of what opened.

use crate::{
    envelope::{Failed, PlaintextDek, SealedContent},
    name::{GroupName, KeyId, VersionId},
    policy::Tampered,
    release::{Lock, Locked, Unlock, Urgency, sealed},
    secret::fields::Fields,
    state::State,
};

/// A version with content, to be tried under each master key that wraps its data key.
#[derive(Debug)]
pub struct Case {
    pub(crate) version: VersionId,
    pub(crate) is_current: bool,
    pub(crate) locked: Locked,
}

impl Case {
    /// The version.
    pub fn version(&self) -> &VersionId {
        &self.version
    }

    /// Whether it is what a request without a number gets.
    pub fn is_current(&self) -> bool {
        self.is_current
    }

    /// Joins it with the content that is stored for it: a trial for each of its wraps.
    ///
    /// # Errors
    ///
    /// If `stored` is missing, or not the content that the version was written with.
    pub fn with(self, stored: Option<&SealedContent>) -> Result<Vec<Trial>, Tampered> {
        let trial = |lock: &Lock| {
            let gmk = *lock.gmk();
            let locked = Locked {
                locks: vec![lock.clone()],
                ..self.locked.clone()
            };
            let content = locked.check(stored.cloned())?;
            Ok(Trial {
                gmk,
                locked,
                content,
            })
        };
        self.locked.locks().iter().map(trial).collect()
    }
}

/// A data key to unwrap and content to open, for nobody.
///
/// Only [`Case::with`] makes one, and what it opens to has nothing to give:
///
/// ```compile_fail,E0599
/// fn peek(proof: custody::drill::Proof) -> Vec<u8> {
///     proof.expose() // there is nothing to expose
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Trial {
    gmk: KeyId,
    locked: Locked,
    content: SealedContent,
}

impl Trial {
    /// The master key that it takes.
    pub fn gmk(&self) -> &KeyId {
        &self.gmk
    }
}

/// Content opened, and was wiped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof(());

impl sealed::Sealed for Trial {}

impl Unlock for Trial {
    /// `None` if what opened is no encoding of fields.
    type Opened = Option<Proof>;
    const URGENCY: Urgency = Urgency::Upkeep;

    fn locked(&self) -> &Locked {
        &self.locked
    }

    fn open(self, dek: &PlaintextDek) -> Result<Option<Proof>, Failed> {
        let content = self.locked.open(self.content, dek)?;
        Ok(Fields::decode(&content).map(|_| Proof(())))
    }
}

impl State {
    /// The versions in `group` that have content, by name and number.
    pub fn cases(&self, group: &GroupName) -> impl Iterator<Item = Case> {
        let group = self.group(group);
        let secrets = group.into_iter().flat_map(|group| {
            let secrets = group.secrets();
            secrets.map(move |secret| (group, secret))
        });
        secrets.flat_map(|(group, secret)| {
            let versions = secret.versions().filter(|version| version.has_content());
            versions.map(move |version| Case {
                version: version.row().id.clone(),
                is_current: secret.row().current == Some(version.row().id.number),
                locked: version.locked(group, secret),
            })
        })
    }
}
