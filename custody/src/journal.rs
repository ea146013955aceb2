//! The journal: what is written down before it happens.

use std::future::Future;

use serde::Serialize;

use crate::{
    caller::{Evidence, observation::Drift},
    name::{GroupName, InstanceId, KeyId, RuleId, SecretName},
    outlook::Shift,
    policy::{Decision, Denial, Grant, Operation, Permit, Reason, Via},
    role::{Act, Admission, NotAdmitted, Operator},
    secret::version::Which,
};

pub mod chain;
pub mod change;
pub mod public_key;
pub mod undelivered;

use change::{Change, Settled};
use undelivered::Undelivered;

/// Where an entry of the journal is: its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Receipt(u64);

impl Receipt {
    /// The receipt for entry `seq`, which is durable: it would survive a power loss
    /// that happened now. Whoever makes one vouches for that.
    pub fn of_durable(seq: u64) -> Self {
        Self(seq)
    }

    /// The entry's number.
    pub fn seq(self) -> u64 {
        self.0
    }

    /// This one and those of the entries that were appended with it.
    fn and_on(self) -> impl Iterator<Item = Self> {
        (self.0..).map(Self)
    }
}

/// An append-only log.
pub trait Journal {
    /// Why an entry could not be written.
    type Error;

    /// Appends `events`, one after the other, and says where the first is. Returns only once
    /// all of them would survive a crash; if it fails, the journal holds none, and never will.
    fn append_all(
        &self,
        events: Vec<Event>,
    ) -> impl Future<Output = Result<Receipt, Self::Error>> + Send;

    /// Appends one event, as [`append_all`](Self::append_all) does.
    fn append(&self, event: Event) -> impl Future<Output = Result<Receipt, Self::Error>> + Send {
        self.append_all(vec![event])
    }
}

/// Why there is no permit.
#[derive(Debug)]
pub enum Refusal<E> {
    /// Policy said no; that is on record.
    Denied(Box<Denial>),
    /// The decision, whichever it was, could not be recorded.
    Unrecorded(E),
}

/// Records `decision`, then turns a grant into a permit.
///
/// A decision that cannot be recorded is refused, whichever way it went.
///
/// # Errors
///
/// The [`Refusal`].
pub async fn record<Op: Operation, J: Journal>(
    decision: Decision<Op>,
    journal: &J,
) -> Result<Permit<Op>, Refusal<J::Error>> {
    let event = match &decision {
        Ok(grant) => Event::allowing(grant),
        Err(denial) => Event::denying(denial),
    };
    let receipt = journal.append(event).await.map_err(Refusal::Unrecorded)?;
    let grant = decision.map_err(Refusal::Denied)?;
    Ok(Permit { grant, receipt })
}

/// As [`record`], of grants that are spent together: either all are on record, each in an
/// entry of its own, or none is.
///
/// # Errors
///
/// The [`Refusal`].
pub async fn record_all<Op: Operation, J: Journal>(
    decision: Result<Vec<Grant<Op>>, Box<Denial>>,
    journal: &J,
) -> Result<Vec<Permit<Op>>, Refusal<J::Error>> {
    let events = match &decision {
        Ok(grants) => grants.iter().map(Event::allowing).collect(),
        Err(denial) => vec![Event::denying(denial)],
    };
    let first = journal.append_all(events).await;
    let receipts = first.map_err(Refusal::Unrecorded)?.and_on();
    let grants = decision.map_err(Refusal::Denied)?.into_iter();
    let permits = grants.zip(receipts);
    Ok(permits
        .map(|(grant, receipt)| Permit { grant, receipt })
        .collect())
}

/// Why nobody is admitted.
#[derive(Debug)]
pub enum Turned<E> {
    /// No role allows it; that is on record.
    Away(Box<NotAdmitted>),
    /// Whether it is allowed could not be recorded.
    Unrecorded(E),
}

/// Records whether a process may do what it asked to, then lets it.
///
/// # Errors
///
/// Why not.
pub async fn admit<J: Journal>(
    decision: Result<Admission, Box<NotAdmitted>>,
    journal: &J,
) -> Result<Operator, Turned<J::Error>> {
    let event = match &decision {
        Ok(admission) => Event::Manage {
            operator: admission.evidence.clone(),
            act: admission.act.clone(),
            roles: admission.held.iter().map(|held| held.id).collect(),
        },
        Err(refused) => Event::Refuse {
            operator: refused.evidence.clone(),
            act: refused.act.clone(),
            is_operator: refused.is_operator,
        },
    };
    journal.append(event).await.map_err(Turned::Unrecorded)?;
    decision.map(Operator).map_err(Turned::Away)
}

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
        /// The master key that protects the version.
        master_key: KeyId,
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
        /// The master key that protects the version.
        master_key: KeyId,
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
    /// The token's worker began or ceased to serve.
    Token {
        /// Which life of the worker.
        generation: u64,
        /// "serving" or "failed".
        state: &'static str,
        /// What is wrong.
        #[serde(skip_serializing_if = "Option::is_none")]
        problem: Option<String>,
    },
    /// The journal key vouches for everything up to an entry.
    Checkpoint {
        /// The entry's number.
        covers: u64,
        /// Its hash, in hexadecimal.
        hash: String,
        /// ECDSA P-256 with SHA-256 over [`chain::checkpoint_message`], r ‖ s, in
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
            Self::Tampering { .. } => "tampering",
            Self::Findings { .. } => "findings",
            Self::Token { .. } => "token",
            Self::Checkpoint { .. } => "checkpoint",
        }
    }

    fn allowing<Op: Operation>(grant: &Grant<Op>) -> Self {
        Self::Allow {
            operation: Op::NAME,
            caller: grant.caller.evidence().clone(),
            group: grant.found.locked.version.secret.group.clone(),
            secret: grant.found.locked.version.secret.name.clone(),
            version: grant.found.locked.version.number,
            via: grant.via.clone(),
            grant: grant.found.rule.id,
            master_key: grant.found.locked.gmk,
        }
    }

    fn denying(denial: &Denial) -> Self {
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
