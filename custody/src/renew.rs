//! Content under data keys that someone may know: sealed anew, under fresh ones.
//!
//! Whoever has a master key and a copy of the database, however old, knows each data key that was
//! ever wrapped under it. What is opened for that never leaves [`Claim::open`].

use aws_lc_rs::constant_time;

use crate::{
    envelope::{Content, Context, Failed, PlaintextDek, SealedContent, WrappedDek},
    group::MasterKey,
    name::{GroupName, KeyId, VersionId},
    policy::Tampered,
    release::{Locked, Unlock, Urgency, sealed},
    state::{
        State,
        view::{GroupView, SecretView, VersionView},
    },
};

/// How many versions are looked at at most for one batch.
const LOOKED_AT: usize = 10_000;

/// A version whose data key someone may know.
///
/// Only [`State::renewals`] makes one, of what may have been wrapped under a master key that the
/// journal calls compromised:
///
/// ```compile_fail,E0451
/// fn renew(to: Vec<custody::name::KeyId>) -> custody::renew::Renewal {
///     custody::renew::Renewal { to, ..todo!() } // fields are private
/// }
/// ```
#[derive(Debug)]
pub struct Renewal {
    locked: Locked,
    to: Vec<KeyId>,
}

impl Renewal {
    /// The version.
    pub fn version(&self) -> &VersionId {
        &self.locked.version
    }

    /// Joins it with the content that is stored for it.
    ///
    /// # Errors
    ///
    /// If `stored` is missing, or not the content that the version was written with.
    pub fn with(self, stored: Option<SealedContent>) -> Result<Claim, Tampered> {
        let content = self.locked.check(stored)?;
        Ok(Claim { of: self, content })
    }
}

/// A data key to unwrap and content to open, for nobody: what is left of it is sealed.
///
/// ```compile_fail,E0599
/// fn peek(resealed: custody::renew::Resealed) -> Vec<u8> {
///     resealed.expose() // there is nothing to expose
/// }
/// ```
#[derive(Debug)]
pub struct Claim {
    of: Renewal,
    content: SealedContent,
}

impl sealed::Sealed for Claim {}

impl Unlock for Claim {
    /// An error if it could not be sealed again.
    type Opened = Result<Resealed, Failed>;
    const URGENCY: Urgency = Urgency::Upkeep;

    fn locked(&self) -> &Locked {
        &self.of.locked
    }

    fn open(self, dek: &PlaintextDek) -> Result<Self::Opened, Failed> {
        let content = self.of.locked.open(self.content, dek)?;
        Ok(self.of.reseal(&content))
    }
}

impl Renewal {
    fn reseal(self, content: &Content) -> Result<Resealed, Failed> {
        let dek = PlaintextDek::generate()?;
        let context = Context::Content {
            version: &self.locked.version,
            kind: self.locked.kind.name(),
        };
        let sealed = SealedContent::seal(content, &dek, context)?;
        // What there was is destroyed for it.
        let again = sealed.clone().open(&dek, context)?;
        constant_time::verify_slices_are_equal(again.expose(), content.expose())
            .map_err(|_| Failed::DoesNotOpen)?;
        Ok(Resealed {
            of: self,
            dek,
            sealed,
        })
    }
}

/// The content of a version under a fresh data key, which nothing wraps yet.
#[derive(Debug)]
pub struct Resealed {
    of: Renewal,
    dek: PlaintextDek,
    sealed: SealedContent,
}

impl Resealed {
    /// The data key.
    pub fn dek(&self) -> &PlaintextDek {
        &self.dek
    }

    /// The master keys that are to wrap it: as many of them as the group wants for a write.
    pub fn to(&self) -> &[KeyId] {
        &self.of.to
    }

    /// What the wrap under `gmk`, which is one of these, is bound to.
    pub fn context<'a>(&'a self, gmk: &'a KeyId) -> Context<'a> {
        Context::Dek {
            version: &self.of.locked.version,
            kind: self.of.locked.kind.name(),
            gmk,
        }
    }

    /// The renewal, made: `wraps` are the data key under some of the master keys.
    pub fn wrapped(self, wraps: Vec<(KeyId, WrappedDek)>) -> Renewed {
        Renewed {
            locked: self.of.locked,
            wraps,
            sealed: self.sealed,
        }
    }
}

/// Content that was sealed anew, which is not written down yet.
#[derive(Debug)]
pub struct Renewed {
    pub(crate) locked: Locked,
    pub(crate) wraps: Vec<(KeyId, WrappedDek)>,
    pub(crate) sealed: SealedContent,
}

/// Some of what is to be renewed in a group.
#[derive(Debug, Default)]
pub struct Batch {
    /// Renewals, in the order of their versions.
    pub renewals: Vec<Renewal>,
    /// The version that was looked at last; `None` if that was the last there is.
    pub last: Option<VersionId>,
}

/// How much there is to do in the background, in all groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// Data keys that a token is to have under the master key that protects there, and has not.
    pub moves: u64,
    /// Versions whose content is to be sealed anew.
    pub renewals: u64,
}

impl State {
    /// Groups with versions to be renewed.
    pub fn unrenewed(&self) -> Vec<GroupName> {
        let groups = self.groups().filter(|group| group.to_renew() > 0);
        groups.map(|group| group.row().name.clone()).collect()
    }

    /// How much there is to do.
    pub fn left(&self) -> Left {
        let mut left = Left::default();
        for group in self.groups() {
            left.moves += group.missing_wraps();
            left.renewals += group.to_renew();
        }
        left
    }

    /// The next renewals in `group` of versions after `after`: `most` at most, and no more once
    /// they hold `bytes`.
    pub fn renewals(
        &self,
        group: &GroupName,
        after: Option<&VersionId>,
        most: usize,
        bytes: u64,
    ) -> Batch {
        let mut batch = Batch::default();
        let Some(group) = self.group(group).filter(|group| group.to_renew() > 0) else {
            return batch;
        };
        let to: Vec<_> = group.protecting().map(|key| key.id).collect();
        if to.is_empty() {
            return batch;
        }
        let mut size = 0;
        for (nth, (secret, version)) in group.versions_after(after).enumerate() {
            if batch.renewals.len() >= most || size >= bytes || nth >= LOOKED_AT {
                return batch;
            }
            if group.is_to_renew(version) {
                size += version.row().size;
                let (locked, to) = (version.locked(group, secret), to.clone());
                batch.renewals.push(Renewal { locked, to });
            }
            batch.last = Some(version.row().id.clone());
        }
        batch.last = None;
        batch
    }
}

impl<'a> GroupView<'a> {
    /// The newest generation of its master key that someone may have, or have had.
    pub fn compromised(self) -> Option<u32> {
        let keys = self.keys().filter(|key| key.state.is_compromised());
        keys.map(|key| key.generation).max()
    }

    /// How many versions are to be renewed because someone may have `key`.
    pub fn renewals(self, key: &MasterKey) -> u64 {
        match key.state.is_compromised() {
            true => self.made_until(key.generation),
            false => 0,
        }
    }

    /// Whether a version is wrapped under `key`, or is to be renewed because of it.
    pub fn has_left(self, key: &MasterKey) -> bool {
        self.wraps(&key.id) > 0 || self.renewals(key) > 0
    }

    /// Whether a master key that is compromised may have wrapped the data key of `version`, which has
    /// one.
    pub fn is_to_renew(self, version: VersionView<'_>) -> bool {
        let made = version.row().dek_generation;
        version.wraps().len() > 0 && self.compromised().is_some_and(|newest| made <= newest)
    }

    /// The newest generation of a compromised master key because of which the content of `version`
    /// may be known, also after it was renewed or destroyed.
    pub fn exposed(self, version: VersionView<'_>) -> Option<u32> {
        let row = version.row();
        let newest = self.compromised().filter(|it| row.dek_generation <= *it);
        newest.or(row.exposed)
    }

    fn to_renew(self) -> u64 {
        self.compromised()
            .map_or(0, |newest| self.made_until(newest))
    }

    /// Its versions after `after`, by name and number.
    pub(crate) fn versions_after(
        self,
        after: Option<&VersionId>,
    ) -> impl Iterator<Item = (SecretView<'a>, VersionView<'a>)> {
        let secrets = self.secrets_from(after.map(|after| &after.secret.name));
        let versions = secrets.flat_map(|secret| {
            let versions = secret.versions();
            versions.map(move |version| (secret, version))
        });
        versions.filter(move |(_, version)| {
            let id = &version.row().id;
            after.is_none_or(|after| after.secret != id.secret || id.number > after.number)
        })
    }
}
