//! What the entries of the journal say.

use serde::Serialize;

use super::{
    Receipt,
    chain::Hash,
    change::{Change, Settled},
    trust::Voucher,
    undelivered::Undelivered,
};
use crate::{
    caller::{Evidence, observation::Drift},
    name::{BackupId, GroupName, InstanceId, KeyId, RuleId, SecretName},
    outlook::Shift,
    policy::{Denial, Grant, Operation, Reason, Via},
    role::Act,
    secret::version::Which,
};

/// What an entry says.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Event {
    /// A segment begins. The first entry of every segment, so that each can be read
    /// alone; the first of all is the journal's beginning.
    Segment {
        /// The installation.
        instance: InstanceId,
        /// The journal key's public half: SubjectPublicKeyInfo, PEM.
        public_key: String,
        /// The newest change that is settled, if there is one.
        #[serde(skip_serializing_if = "Option::is_none")]
        settled: Option<Settled>,
    },
    /// The daemon serves.
    Start {
        /// Its version.
        version: &'static str,
        /// Label of the token.
        token_label: String,
        /// Serial number of the token.
        token_serial: String,
        /// Whether it is a throw-away daemon.
        development: bool,
        /// The kernel's id of this boot of the machine, by which processes of one boot
        /// are told from those of another.
        #[serde(skip_serializing_if = "Option::is_none")]
        boot: Option<String>,
    },
    /// The daemon stops in an orderly way.
    Stop,
    /// A caller may do something: it is about to.
    Allow {
        /// Name of the operation.
        operation: &'static str,
        /// The caller.
        caller: Evidence,
        /// The group.
        group: GroupName,
        /// The secret's name in it.
        secret: SecretName,
        /// The version.
        version: u32,
        /// What refers to it, unless it was asked for by its name.
        #[serde(skip_serializing_if = "Option::is_none")]
        via: Option<Via>,
        /// The grant that allows it.
        grant: RuleId,
        /// The master keys under each of which its data key is wrapped.
        master_keys: Vec<KeyId>,
        /// Whether the data key was kept from an earlier delivery, and the token is not asked.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        cached: bool,
    },
    /// The daemon is about to use content itself, for an operator. None of it leaves.
    Use {
        /// Name of the operation.
        operation: &'static str,
        /// The operator.
        operator: Evidence,
        /// The group.
        group: GroupName,
        /// The secret's name in it.
        secret: SecretName,
        /// The version.
        version: u32,
        /// The master keys under each of which its data key is wrapped.
        master_keys: Vec<KeyId>,
    },
    /// A caller may not.
    Deny {
        /// Name of the operation.
        operation: &'static str,
        /// The caller.
        caller: Evidence,
        /// The group asked for.
        group: GroupName,
        /// The name asked for.
        secret: SecretName,
        /// The version asked for: a number, or its part.
        version: Which,
        /// What refers to it, unless it was asked for by its name.
        #[serde(skip_serializing_if = "Option::is_none")]
        via: Option<Via>,
        /// Why not.
        reason: Reason,
    },
    /// What an earlier entry allowed was not delivered. Without such an entry, assume
    /// that it was.
    Undelivered {
        /// Number of the entry that allowed it.
        allowed: Receipt,
        /// Why not.
        reason: Undelivered,
    },
    /// A peer could not be attested.
    Unattested {
        /// Which door it came to.
        surface: Surface,
        /// Its process id, when it connected.
        pid: i32,
        /// Its user id, when it connected.
        uid: u32,
        /// What is wrong with it, or changed since it connected.
        doubt: Drift,
        /// What it asked for, if it got as far as asking.
        #[serde(skip_serializing_if = "Option::is_none")]
        operation: Option<&'static str>,
    },
    /// A caller asked, or came without being attested, too often. There is one when that
    /// begins, and then now and then while it lasts: never one for each request.
    Throttled {
        /// Its user id.
        uid: u32,
        /// Its unit, if it has one.
        #[serde(skip_serializing_if = "Option::is_none")]
        unit: Option<String>,
        /// How often it was refused since the last such entry.
        refused: u64,
    },
    /// An operator is about to do something.
    Manage {
        /// The operator.
        operator: Evidence,
        /// What.
        #[serde(flatten)]
        act: Act,
        /// The assignments of roles by which it may.
        roles: Vec<RuleId>,
    },
    /// A process came to the Manager surface for what it may not do.
    Refuse {
        /// The process.
        operator: Evidence,
        /// What.
        #[serde(flatten)]
        act: Act,
        /// Whether it holds any role.
        is_operator: bool,
    },
    /// A change to the database begins. It has happened once there is a [`Event::Commit`].
    Prepare {
        /// Its number: higher than any before it.
        number: u64,
        /// The operator; none for what the daemon does by itself.
        #[serde(skip_serializing_if = "Option::is_none")]
        operator: Option<Evidence>,
        /// What changes.
        change: Change,
        /// The digest of the state after it, in hexadecimal.
        state: String,
    },
    /// The change is in the database.
    Commit {
        /// Its number.
        number: u64,
    },
    /// The change never reached the database, and never will.
    Abort {
        /// Its number.
        number: u64,
    },
    /// A backup was made, and is being given to an operator.
    Backup {
        /// Its name.
        backup: BackupId,
        /// SHA-256 of its manifest, which its archive begins with.
        manifest: Hash,
        /// The newest entry that is in it.
        through: u64,
        /// Its length in bytes.
        size: u64,
    },
    /// What stands before this entry, and the database, were put back from a backup. What
    /// came after it was made is gone from here.
    Restore {
        /// The backup's name.
        backup: BackupId,
        /// SHA-256 of its manifest.
        manifest: Hash,
        /// When it was made, RFC 3339.
        made: String,
        /// User id of the process that put it back.
        uid: u32,
    },
    /// Stored data is not what was written.
    Tampering {
        /// The thing, and what is wrong with it.
        what: String,
    },
    /// Secrets fell foul of the rules of their group, or comply with them again.
    Findings {
        /// The group.
        group: GroupName,
        /// What is found of which, and what is no more.
        secrets: Vec<Shift>,
        /// How many others there are.
        #[serde(skip_serializing_if = "is_zero")]
        more: u64,
    },
    /// A token's worker began or ceased to serve.
    Token {
        /// Serial number of the token.
        token_serial: String,
        /// Which life of the worker.
        generation: u64,
        /// "serving" or "failed".
        state: &'static str,
        /// What is wrong.
        #[serde(skip_serializing_if = "Option::is_none")]
        problem: Option<String>,
    },
    /// A journal key vouches for another one, which may sign from here on.
    JournalKey(Voucher),
    /// A journal key vouches for everything up to an entry.
    Checkpoint {
        /// The entry's number.
        covers: u64,
        /// Its hash, in hexadecimal.
        hash: String,
        /// The key's signature over [`checkpoint_message`](super::chain::checkpoint_message), in
        /// hexadecimal.
        signature: String,
    },
}

/// A door of the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "named in the design")]
pub enum Surface {
    Manager,
    Provider,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Event {
    /// The name of its kind, as it is written.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Segment { .. } => "segment",
            Self::Start { .. } => "start",
            Self::Stop => "stop",
            Self::Allow { .. } => "allow",
            Self::Use { .. } => "use",
            Self::Deny { .. } => "deny",
            Self::Undelivered { .. } => "undelivered",
            Self::Unattested { .. } => "unattested",
            Self::Throttled { .. } => "throttled",
            Self::Manage { .. } => "manage",
            Self::Refuse { .. } => "refuse",
            Self::Prepare { .. } => "prepare",
            Self::Commit { .. } => "commit",
            Self::Abort { .. } => "abort",
            Self::Backup { .. } => "backup",
            Self::Restore { .. } => "restore",
            Self::Tampering { .. } => "tampering",
            Self::Findings { .. } => "findings",
            Self::Token { .. } => "token",
            Self::JournalKey(_) => "journal-key",
            Self::Checkpoint { .. } => "checkpoint",
        }
    }

    pub(super) fn allowing<Op: Operation>(grant: &Grant<Op>) -> Self {
        Self::Allow {
            operation: Op::NAME,
            caller: grant.caller.evidence().clone(),
            group: grant.found.locked.version.secret.group.clone(),
            secret: grant.found.locked.version.secret.name.clone(),
            version: grant.found.locked.version.number,
            via: grant.via.clone(),
            grant: grant.found.rule.id,
            master_keys: grant.found.locked.gmks(),
            cached: grant.source.is_cache(),
        }
    }

    pub(super) fn denying(denial: &Denial) -> Self {
        Self::Deny {
            operation: denial.operation,
            caller: denial.evidence.clone(),
            group: denial.wanted.group.clone(),
            secret: denial.wanted.name.clone(),
            version: denial.wanted.version,
            via: denial.via.clone(),
            reason: denial.reason,
        }
    }
}
