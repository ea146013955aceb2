//! What of a state may be looked at: all of it, and nothing to change.

use std::ops::Bound;

use super::{InGroup, InSecret, InVersion, State};
use crate::{
    change,
    compliance::rules::Adopted,
    group::{Group, MasterKey},
    holder::TokenId,
    journal::trust::Voucher,
    name::{GroupName, KeyId, RuleId, SecretId, SecretName},
    policy::rule::Rule,
    release::{Lock, Locked},
    secret::version::{Secret, Version, VersionState, Wrap},
    trustee::Trustee,
};

impl State {
    /// One secret.
    ///
    /// # Errors
    ///
    /// If it is not there, or its group is not.
    pub fn secret(&self, id: &SecretId) -> Result<SecretView<'_>, change::Error> {
        let group = self.group(&id.group);
        let group = group.ok_or_else(|| change::Error::NoSuchGroup(id.group.clone()))?;
        let secret = group.secret(&id.name);
        secret.ok_or_else(|| change::Error::NoSuchSecret(id.clone()))
    }

    /// The tokens with keys of the installation, beside the first; and the first if it was lost.
    pub fn trustees(&self) -> impl Iterator<Item = &Trustee> {
        self.trustees.values().map(|held| &held.row)
    }

    /// For the journal keys beside the first one's, each after the one that vouches for it.
    pub fn vouchers(&self) -> Vec<Voucher> {
        let mut trustees: Vec<_> = self.trustees().collect();
        trustees.sort_by_key(|trustee| trustee.joined);
        let vouchers = trustees.into_iter();
        vouchers
            .filter_map(|trustee| trustee.voucher.clone())
            .collect()
    }

    /// How many rows there are.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for group in self.groups.values() {
            counts.groups += 1;
            counts.secrets += group.secrets.len() as u64;
            counts.rules += group.rules.len() as u64;
        }
        counts
    }

    /// The key in `token` that wraps the master keys which are kept outside it. Once there is one
    /// it is never another, even if the token lacks it: what it wrapped is nowhere else.
    pub fn root_key(&self, token: &TokenId) -> Option<KeyId> {
        let keys = self.groups().flat_map(GroupView::keys);
        let mut of_token = keys.filter(|key| key.token == *token);
        of_token.find_map(|key| Some(key.blob.as_ref()?.root))
    }

    /// The groups from the one called `first` on, by name; of those only the one called `only`,
    /// if that is said.
    pub fn groups_from<'a>(
        &'a self,
        first: Option<&'a GroupName>,
        only: Option<&'a GroupName>,
    ) -> impl Iterator<Item = GroupView<'a>> {
        let from = only.or(first).map_or(Bound::Unbounded, Bound::Included);
        let groups = self.groups.range::<GroupName, _>((from, Bound::Unbounded));
        groups
            .take_while(move |(name, _)| only.is_none_or(|only| *name == only))
            .map(|(_, group)| GroupView(group))
            .filter(move |group| first.is_none_or(|first| group.row().name >= *first))
    }

    /// The secrets after `after`, by group and name: those of the group called `only`, or of
    /// all groups, as far as a group is `wanted`.
    pub fn secrets_after<'a>(
        &'a self,
        after: Option<&'a SecretId>,
        only: Option<&'a GroupName>,
        wanted: impl Fn(GroupView<'a>) -> bool,
    ) -> impl Iterator<Item = (GroupView<'a>, SecretView<'a>)> {
        let groups = self.groups_from(after.map(|after| &after.group), only);
        let groups = groups.filter(move |group| wanted(*group));
        groups.flat_map(move |group| {
            let after = after.filter(|after| after.group == group.row().name);
            let secrets = group.secrets_after(after.map(|after| &after.name));
            secrets.map(move |secret| (group, secret))
        })
    }
}

/// A group and what is in it.
#[derive(Clone, Copy, Debug)]
pub struct GroupView<'a>(pub(super) &'a InGroup);

impl<'a> GroupView<'a> {
    /// The group's row.
    pub fn row(self) -> &'a Group {
        &self.0.group.row
    }

    /// Its master keys, the oldest generation first.
    pub fn keys(self) -> impl ExactSizeIterator<Item = &'a MasterKey> {
        self.0.keys.values().map(|held| &held.row)
    }

    /// Those that are not destroyed.
    pub fn living_keys(self) -> impl Iterator<Item = &'a MasterKey> {
        self.keys().filter(|key| !key.state.is_destroyed())
    }

    /// The newest generation of them; 0 if there is none.
    pub fn generation(self) -> u32 {
        self.keys().last().map_or(0, |key| key.generation)
    }

    /// The generation of a key that a token gets which had none: the newest, or the next if someone may
    /// have that, which no token has any more then.
    pub fn joining(self) -> u32 {
        let safe = self.compromised().map_or(0, |newest| newest + 1);
        self.generation().max(safe)
    }

    /// Those that protect: of the newest generation, one in each token at most.
    pub fn protecting(self) -> impl Iterator<Item = &'a MasterKey> {
        self.keys().filter(|key| key.state.protects())
    }

    /// The tokens that are to hold it, and have no master key that protects.
    pub fn vacant(self) -> impl Iterator<Item = &'a TokenId> {
        let tokens = self.row().holders.tokens().iter();
        tokens.filter(move |token| !self.protecting().any(|key| key.token == **token))
    }

    /// The one of them all that is called `id`.
    pub fn key(self, id: &KeyId) -> Option<&'a MasterKey> {
        self.0.key(id)
    }

    /// Its grants.
    pub fn rules(self) -> impl ExactSizeIterator<Item = &'a Rule> {
        self.0.rules.values().map(|held| &held.row)
    }

    /// One of its grants.
    pub fn rule(self, id: &RuleId) -> Option<&'a Rule> {
        self.0.rules.get(id).map(|held| &held.row)
    }

    /// The rules that its secrets have to comply with, if there are any.
    pub fn compliance(self) -> Option<&'a Adopted> {
        self.0.compliance.as_ref().map(|held| &held.row)
    }

    /// Its secrets by name, after the one called `name`; all if `None`.
    pub fn secrets_after(self, name: Option<&SecretName>) -> impl Iterator<Item = SecretView<'a>> {
        self.secrets_beyond(name.map_or(Bound::Unbounded, Bound::Excluded))
    }

    /// Its secrets by name, from the one called `name` on; all if `None`.
    pub fn secrets_from(self, name: Option<&SecretName>) -> impl Iterator<Item = SecretView<'a>> {
        self.secrets_beyond(name.map_or(Bound::Unbounded, Bound::Included))
    }

    fn secrets_beyond(self, from: Bound<&SecretName>) -> impl Iterator<Item = SecretView<'a>> {
        let secrets = &self.0.secrets;
        let secrets = secrets.range::<SecretName, _>((from, Bound::Unbounded));
        secrets.map(|(_, secret)| SecretView(secret))
    }

    /// Its secrets, by name.
    pub fn secrets(self) -> impl ExactSizeIterator<Item = SecretView<'a>> {
        self.0.secrets.values().map(SecretView)
    }

    /// One of its secrets.
    pub fn secret(self, name: &SecretName) -> Option<SecretView<'a>> {
        self.0.secrets.get(name).map(SecretView)
    }
}

/// A secret and its versions.
#[derive(Clone, Copy, Debug)]
pub struct SecretView<'a>(&'a InSecret);

impl<'a> SecretView<'a> {
    /// The secret's row.
    pub fn row(self) -> &'a Secret {
        &self.0.secret.row
    }

    /// Its versions, oldest first.
    pub fn versions(self) -> impl ExactSizeIterator<Item = VersionView<'a>> {
        self.0.versions.iter().map(VersionView)
    }

    /// The version that a request without a number gets.
    pub fn current(self) -> Option<VersionView<'a>> {
        let current = self.0.secret.row.current?;
        self.version(current)
    }

    /// The version of that number.
    pub fn version(self, number: u32) -> Option<VersionView<'a>> {
        self.0.version(number).map(VersionView)
    }
}

/// A version and its wraps.
#[derive(Clone, Copy, Debug)]
pub struct VersionView<'a>(&'a InVersion);

impl<'a> VersionView<'a> {
    /// The version's row.
    pub fn row(self) -> &'a Version {
        &self.0.version.row
    }

    /// Whether its content is still there.
    pub(crate) fn has_content(self) -> bool {
        self.row().state != VersionState::Destroyed
    }

    /// What it takes to open it: its wraps under keys of `group` that reveal.
    pub(crate) fn locked(self, group: GroupView<'a>, secret: SecretView<'a>) -> Locked {
        let locks = self.wraps().filter_map(|wrap| {
            let key = group.key(&wrap.gmk).filter(|key| key.state.reveals())?;
            Some(Lock::of(wrap, key))
        });
        self.0.locked(secret.row().kind, locks.collect())
    }

    /// The master keys that wrap its data key.
    pub fn wraps(self) -> impl ExactSizeIterator<Item = &'a Wrap> {
        self.0.wraps.iter().map(|held| &held.row)
    }
}

/// How much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Groups.
    pub groups: u64,
    /// Secrets in all groups.
    pub secrets: u64,
    /// Grants in all groups.
    pub rules: u64,
}
