//! Rows in their places.

use std::collections::BTreeMap;

use super::index::Wrapped;
use crate::{
    compliance::rules::Adopted,
    group::{Group, MasterKey},
    name::{KeyId, RuleId, SecretName},
    policy::rule::Rule,
    row::Tag,
    secret::version::{Secret, Version, Wrap},
};

#[derive(Debug)]
pub(super) struct Held<T> {
    pub(super) row: T,
    pub(super) tag: Tag,
}

#[derive(Debug)]
pub(super) struct InGroup {
    pub(super) group: Held<Group>,
    pub(super) keys: BTreeMap<(u32, KeyId), Held<MasterKey>>,
    pub(super) secrets: BTreeMap<SecretName, InSecret>,
    pub(super) rules: BTreeMap<RuleId, Held<Rule>>,
    pub(super) compliance: Option<Held<Adopted>>,
    pub(super) wrapped: Wrapped,
}

#[derive(Debug)]
pub(super) struct InSecret {
    pub(super) secret: Held<Secret>,
    /// By number. Most secrets have few, and a node of a map would have room for eleven.
    pub(super) versions: Vec<InVersion>,
}

#[derive(Debug)]
pub(super) struct InVersion {
    pub(super) version: Held<Version>,
    pub(super) wraps: Vec<Held<Wrap>>,
}

impl InGroup {
    pub(super) fn new(group: Held<Group>) -> Self {
        Self {
            group,
            keys: BTreeMap::new(),
            secrets: BTreeMap::new(),
            rules: BTreeMap::new(),
            compliance: None,
            wrapped: Wrapped::default(),
        }
    }

    pub(super) fn key(&self, id: &KeyId) -> Option<&MasterKey> {
        let mut keys = self.keys.values().map(|held| &held.row);
        keys.find(|key| key.id == *id)
    }
}

impl InSecret {
    pub(super) fn new(secret: Held<Secret>) -> Self {
        Self {
            secret,
            versions: Vec::with_capacity(1),
        }
    }

    pub(super) fn version(&self, number: u32) -> Option<&InVersion> {
        let at = place(&self.versions, number).ok()?;
        self.versions.get(at)
    }

    pub(super) fn version_mut(&mut self, number: u32) -> Option<&mut InVersion> {
        let at = place(&self.versions, number).ok()?;
        self.versions.get_mut(at)
    }
}

impl InVersion {
    pub(super) fn new(version: Held<Version>) -> Self {
        Self {
            version,
            wraps: Vec::with_capacity(1),
        }
    }
}

/// Takes the wrap under `gmk` out, if there is one.
pub(super) fn take_wrap(wraps: &mut Vec<Held<Wrap>>, gmk: &KeyId) -> Option<Wrap> {
    let at = wraps.iter().position(|wrap| wrap.row.gmk == *gmk)?;
    Some(wraps.remove(at).row)
}

/// Where the version is, or where it belongs.
pub(super) fn place(versions: &[InVersion], number: u32) -> Result<usize, usize> {
    versions.binary_search_by_key(&number, |version| version.version.row.id.number)
}
