//! What the journal says of changes to the database.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::{
    cache::Terms,
    compliance::rules::Rules,
    group::{Keeping, Millis, Purpose, Repurposed},
    holder::{Holders, TokenId},
    label::{About, Said},
    name::{GroupName, KeyId, RuleId, SecretName},
    policy::rule,
    role::{Assignment, Role},
};

/// A change that is known to be in the database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Settled {
    /// Its number.
    pub number: u64,
    /// The digest of the state after it, in hexadecimal.
    pub state: String,
}

/// What a change changes.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
#[allow(missing_docs, reason = "each field is named for what it holds")]
pub enum Change {
    /// `custodyd init`.
    Init {
        system_key: KeyId,
        journal_key: KeyId,
        roles: Vec<Appointed>,
    },
    /// A token that has keys of the installation from now on.
    AddTrustee {
        token: TokenId,
        system_key: KeyId,
        journal_key: KeyId,
    },
    /// A token that is given up for good.
    LoseToken {
        token: TokenId,
        /// How many it had.
        master_keys: u64,
        /// How many versions have a wrap less.
        wraps: u64,
        /// Versions that nobody can open any more.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        lost: Vec<String>,
    },
    /// A group and its first master keys.
    CreateGroup {
        group: GroupName,
        master_keys: Vec<KeyId>,
        holders: Holders,
        keeping: Keeping,
        #[serde(flatten)]
        purpose: Purpose,
    },
    /// What else a group is for from now on.
    UpdateGroup {
        group: GroupName,
        #[serde(flatten)]
        repurposed: Repurposed,
    },
    /// How long the data keys of a group are kept from now on; not at all if it is missing.
    SetCache {
        group: GroupName,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache: Option<Terms>,
    },
    /// The tokens that hold a group from now on.
    HoldGroup {
        group: GroupName,
        holders: Holders,
        /// New ones, in tokens that had none.
        master_keys: Vec<KeyId>,
        /// Those that protect no more.
        instead: Vec<KeyId>,
    },
    /// A group's master keys in tokens that had none of that generation.
    AddMasterKeys {
        group: GroupName,
        generation: u32,
        master_keys: Vec<KeyId>,
        /// Of each, in the same order.
        tokens: Vec<TokenId>,
    },
    /// A group's master keys, in place of those there were.
    RotateGroup {
        group: GroupName,
        master_keys: Vec<KeyId>,
        generation: u32,
        /// Those that protect no more.
        instead: Vec<KeyId>,
        /// Where the group's master keys are kept from this one on, if that changes.
        #[serde(skip_serializing_if = "Option::is_none")]
        keeping: Option<Keeping>,
        /// Whether someone may have them.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        compromised: bool,
    },
    /// Versions that are wrapped under that from now on, and under no other in its token.
    Rewrap {
        group: GroupName,
        master_key: KeyId,
        versions: BTreeMap<SecretName, Vec<u32>>,
    },
    /// Versions whose content is sealed under a fresh data key from now on, which those master
    /// keys wrap and no others.
    Renew {
        group: GroupName,
        master_keys: Vec<KeyId>,
        versions: BTreeMap<SecretName, BTreeSet<u32>>,
    },
    /// Versions that are wrapped under that no more: they have other wraps.
    DropWraps {
        group: GroupName,
        master_key: KeyId,
        versions: BTreeMap<SecretName, Vec<u32>>,
    },
    /// What becomes of master keys whose time is over.
    MasterKeyFate {
        group: GroupName,
        master_keys: Vec<KeyId>,
        generation: u32,
        #[serde(flatten)]
        fate: KeyFate,
    },
    /// How often a master key may have encrypted, from now on.
    ReserveInvocations {
        group: GroupName,
        master_key: KeyId,
        generation: u32,
        up_to: u64,
    },
    /// A version of a secret.
    PutSecret {
        group: GroupName,
        secret: SecretName,
        version: u32,
        r#type: &'static str,
        /// Those that wrap its data key.
        master_keys: Vec<KeyId>,
        /// Whether it is not current yet.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        pending: bool,
        /// Whether it is a key that waits for its certificate.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        requested: bool,
        /// The version that was that key, which is destroyed.
        #[serde(skip_serializing_if = "Option::is_none")]
        certifies: Option<u32>,
        /// Whether the daemon made its content.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        made: bool,
        /// Versions that were destroyed because no more are kept.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        retired: Vec<u32>,
        /// What is said about the secret that it makes.
        #[serde(flatten)]
        about: About,
    },
    /// What else is said about a secret from now on.
    UpdateSecret {
        group: GroupName,
        secret: SecretName,
        #[serde(flatten)]
        said: Said,
    },
    /// A version that becomes the current one.
    ActivateVersion {
        group: GroupName,
        secret: SecretName,
        version: u32,
        /// The one that was.
        #[serde(skip_serializing_if = "Option::is_none")]
        instead: Option<u32>,
    },
    /// Versions that are delivered from now on, or no more.
    VersionFate {
        group: GroupName,
        secret: SecretName,
        versions: Vec<u32>,
        #[serde(flatten)]
        fate: Fate,
    },
    /// A secret with all its versions.
    DeleteSecret {
        group: GroupName,
        secret: SecretName,
        versions: u32,
    },
    /// A grant.
    AddGrant {
        grant: RuleId,
        group: GroupName,
        patterns: Vec<String>,
        selectors: Vec<String>,
        #[serde(flatten)]
        terms: rule::Terms,
        /// What was found weak about it and insisted on.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        weak: Vec<&'static str>,
    },
    /// A grant, taken back.
    RevokeGrant { grant: RuleId, group: GroupName },
    /// What the secrets of a group have to comply with; nothing if it is missing.
    SetRules {
        group: GroupName,
        #[serde(skip_serializing_if = "Option::is_none")]
        rules: Option<Rules>,
    },
    /// A role, given.
    AssignRole {
        assignment: RuleId,
        role: Role,
        #[serde(skip_serializing_if = "Option::is_none")]
        group: Option<GroupName>,
        selectors: Vec<String>,
        /// What was found weak about it and insisted on.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        weak: Vec<&'static str>,
    },
    /// A role, taken back.
    RevokeRole {
        assignment: RuleId,
        role: Role,
        #[serde(skip_serializing_if = "Option::is_none")]
        group: Option<GroupName>,
    },
}

/// What becomes of a version.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(tag = "fate", rename_all = "kebab-case")]
#[allow(missing_docs, reason = "as the states of a version")]
pub enum Fate {
    Enabled,
    Disabled,
    /// It will be destroyed.
    Doomed {
        /// When, in milliseconds since the beginning of 1970.
        at: Millis,
    },
    Restored,
    Destroyed,
}

/// What becomes of a master key.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(tag = "fate", rename_all = "kebab-case")]
#[allow(missing_docs, reason = "as the states of a master key")]
pub enum KeyFate {
    /// Someone may have it, or have had it: what it may have wrapped is to be renewed.
    Compromised,
    /// No version is wrapped under it any more, nor to be renewed because of it.
    Emptied,
    /// It will be destroyed.
    Doomed {
        /// When, in milliseconds since the beginning of 1970.
        at: Millis,
    },
    Spared,
    /// It is used no more, and goes from the token next.
    Destroyed,
}

/// A role that was given with the installation.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "each field is named for what it holds")]
pub struct Appointed {
    pub assignment: RuleId,
    pub role: Role,
    pub selectors: Vec<String>,
}

impl Appointed {
    /// What `held` gives, to whom.
    pub fn of(held: &Assignment) -> Self {
        let selectors = held.selectors.as_slice().iter();
        Self {
            assignment: held.id,
            role: held.role,
            selectors: selectors.map(ToString::to_string).collect(),
        }
    }
}
