//! What is looked up in a state by something else than its place. It follows from the rows,
//! and is not stored.

use std::collections::{BTreeMap, BTreeSet};

use super::{InGroup, InSecret, InVersion, State, view::GroupView};
use crate::{
    group::Millis,
    name::{GroupName, KeyId, RuleId, SecretId, VersionId},
    policy::rule::Rule,
    secret::{
        Kind,
        version::{Version, VersionState, Wrap},
    },
};

/// Versions that are to be destroyed, by time.
#[derive(Debug, Default)]
pub(super) struct Doomed(BTreeSet<(Millis, VersionId)>);

impl Doomed {
    /// Follows `version` into its state, from that of `before`.
    pub(super) fn follow(&mut self, before: Option<&Version>, version: &Version) {
        if let Some(before) = before {
            self.forget(before);
        }
        if let Some(at) = version.state.doom() {
            self.0.insert((at, version.id.clone()));
        }
    }

    pub(super) fn forget(&mut self, version: &Version) {
        if let Some(at) = version.state.doom() {
            self.0.remove(&(at, version.id.clone()));
        }
    }
}

/// By grant, the group that it is of.
#[derive(Debug, Default)]
pub(super) struct Owners(BTreeMap<RuleId, GroupName>);

impl Owners {
    pub(super) fn follow(&mut self, rule: &Rule) {
        self.0.insert(rule.id, rule.group.clone());
    }

    pub(super) fn forget(&mut self, rule: &RuleId) {
        self.0.remove(rule);
    }
}

/// How many versions of a group are wrapped, and by master key, how many under it; by generation,
/// how many with content have a data key that was made under it.
#[derive(Debug, Default)]
pub(super) struct Wrapped {
    versions: u64,
    under: BTreeMap<KeyId, u64>,
    made: BTreeMap<u32, u64>,
}

impl Wrapped {
    /// Follows a wrap that its version gets, beside `others`.
    pub(super) fn follow(&mut self, wrap: &Wrap, others: usize) {
        *self.under.entry(wrap.gmk).or_default() += 1;
        self.versions += u64::from(others == 0);
    }

    /// Follows a wrap that its version loses, which leaves it `others`.
    pub(super) fn forget(&mut self, wrap: &Wrap, others: usize) {
        less(&mut self.under, &wrap.gmk);
        self.versions = self.versions.saturating_sub(u64::from(others == 0));
    }

    /// Follows the data key of `version`, from that of `before`.
    pub(super) fn follow_dek(&mut self, before: Option<&Version>, version: &Version) {
        if let Some(before) = before {
            self.forget_dek(before);
        }
        if version.state != VersionState::Destroyed {
            *self.made.entry(version.dek_generation).or_default() += 1;
        }
    }

    fn forget_dek(&mut self, version: &Version) {
        if version.state != VersionState::Destroyed {
            less(&mut self.made, &version.dek_generation);
        }
    }

    /// Follows a version that goes, with its wraps.
    pub(super) fn forget_version(&mut self, version: &InVersion) {
        for (others, wrap) in version.wraps.iter().enumerate() {
            self.forget(&wrap.row, others);
        }
        self.forget_dek(&version.version.row);
    }
}

/// Takes one from a count, and forgets it with the last.
fn less<K: Ord>(counts: &mut BTreeMap<K, u64>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(key);
        }
    }
}

impl GroupView<'_> {
    /// How many versions are wrapped under the master key called `id`.
    pub fn wraps(self, id: &KeyId) -> u64 {
        self.0.wrapped.under.get(id).copied().unwrap_or(0)
    }

    /// How many versions have content, and a data key that was made under that generation of the
    /// master key or one before.
    pub(crate) fn made_until(self, generation: u32) -> u64 {
        let made = self.0.wrapped.made.range(..=generation);
        made.map(|(_, count)| count).sum()
    }

    /// How many versions are not wrapped under the master key called `id`, of those that are
    /// wrapped.
    pub fn lacks(self, id: &KeyId) -> u64 {
        self.0.wrapped.versions.saturating_sub(self.wraps(id))
    }
}

impl State {
    /// The grant called `id`.
    pub fn rule(&self, id: &RuleId) -> Option<&Rule> {
        let group = self.groups.get(self.owners.0.get(id)?)?;
        group.rules.get(id).map(|held| &held.row)
    }

    /// The secrets with versions that were to be destroyed by `now`, by name.
    pub fn doomed(&self, now: Millis) -> BTreeSet<&SecretId> {
        let due = self.doomed.0.iter().take_while(|(at, _)| *at <= now);
        due.map(|(_, version)| &version.secret).collect()
    }

    /// Follows a group that goes, with whatever is in it.
    pub(super) fn forget_group(&mut self, group: &InGroup) {
        for secret in group.secrets.values() {
            self.forget_secret(secret);
        }
        for rule in group.rules.keys() {
            self.owners.forget(rule);
        }
    }

    /// Follows a secret that goes, with whatever versions it has.
    pub(super) fn forget_secret(&mut self, secret: &InSecret) {
        for version in &secret.versions {
            self.forget_version(secret.secret.row.kind, &version.version.row);
        }
    }

    pub(super) fn forget_version(&mut self, kind: Kind, version: &Version) {
        self.referrers.forget(kind, version);
        self.doomed.forget(version);
    }
}

#[cfg(test)]
mod tests;
