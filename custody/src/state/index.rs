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
        version::{Version, Wrap},
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

/// By master key, how many versions of a group are wrapped under it; by generation, how many that are
/// wrapped at all have a data key that was made under it.
#[derive(Debug, Default)]
pub(super) struct Wrapped {
    under: BTreeMap<KeyId, u64>,
    made: BTreeMap<u32, u64>,
}

impl Wrapped {
    /// Follows a wrap that `version` gets, beside those that it has.
    pub(super) fn follow(&mut self, wrap: &Wrap, version: &InVersion) {
        *self.under.entry(wrap.gmk).or_default() += 1;
        if version.wraps.is_empty() {
            self.follow_dek(&version.version.row);
        }
    }

    /// Follows a wrap that `version` has lost.
    pub(super) fn forget(&mut self, wrap: &Wrap, version: &InVersion) {
        less(&mut self.under, &wrap.gmk);
        if version.wraps.is_empty() {
            self.forget_dek(&version.version.row);
        }
    }

    /// Follows the data key of a version, from `before`, to that which it has `now`.
    pub(super) fn exchange(&mut self, before: &InVersion, now: &Version) {
        if !before.wraps.is_empty() {
            self.forget_dek(&before.version.row);
            self.follow_dek(now);
        }
    }

    /// Follows a version that goes, with its wraps.
    pub(super) fn forget_version(&mut self, version: &InVersion) {
        for wrap in &version.wraps {
            less(&mut self.under, &wrap.row.gmk);
        }
        if !version.wraps.is_empty() {
            self.forget_dek(&version.version.row);
        }
    }

    fn follow_dek(&mut self, version: &Version) {
        *self.made.entry(version.dek_generation).or_default() += 1;
    }

    fn forget_dek(&mut self, version: &Version) {
        less(&mut self.made, &version.dek_generation);
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

    /// How many versions have a data key that was made under that generation of the master key or one
    /// before.
    pub(crate) fn made_until(self, generation: u32) -> u64 {
        let made = self.0.wrapped.made.range(..=generation);
        made.map(|(_, count)| count).sum()
    }

    /// How many versions are not wrapped under the master key called `id`, of those that are
    /// wrapped.
    pub fn lacks(self, id: &KeyId) -> u64 {
        self.made_until(u32::MAX).saturating_sub(self.wraps(id))
    }

    /// How many data keys all its tokens lack: one for each token and version. One without a master
    /// key that protects lacks them all.
    pub fn missing_wraps(self) -> u64 {
        let some = self.protecting().map(|key| self.lacks(&key.id));
        let all = self.vacant().map(|_| self.made_until(u32::MAX));
        some.chain(all).sum()
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
