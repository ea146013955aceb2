//! What operators may change, and the rows that make the change.

use crate::{
    compliance::Finding,
    group::{Group, KeyState, MasterKey, Millis},
    holder::{TokenId, Writes},
    journal::change::Change,
    label,
    name::{GroupName, RuleId, SecretId, VersionId},
    policy::Reason,
    role::Role,
    row::Row,
    secret::version::Which,
    state::{State, edit::Edit, links::Dangling},
};

mod about;
mod access;
mod cache;
mod compliance;
pub mod hold;
pub mod key;
pub mod life;
pub mod put;
pub mod renew;
pub mod rotate;
pub mod trustee;

pub use about::{update_group, update_secret};
pub use access::{add_grant, assign_role, revoke_grant, revoke_role};
pub use cache::set_cache;
pub use compliance::set_rules;

/// Milliseconds of a day.
const DAY: Millis = 24 * 60 * 60 * 1000;

/// A change that does not fit the state.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// The group is there already.
    #[error("there is a group {0} already")]
    GroupExists(GroupName),
    /// The group is not there.
    #[error("there is no group {0}")]
    NoSuchGroup(GroupName),
    /// The secret is not there.
    #[error("there is no secret {0}")]
    NoSuchSecret(SecretId),
    /// The grant is not there.
    #[error("there is no grant {0}")]
    NoSuchGrant(RuleId),
    /// The assignment of a role is not there.
    #[error("there is no role assignment {0}")]
    NoSuchAssignment(RuleId),
    /// The role is held for one group, or for none.
    #[error("{0} is held for the whole installation, not for a group")]
    NoGroupRole(Role),
    /// Nobody could assign roles any more.
    #[error(
        "{0} is the last crypto officer's: assign the role to another first, \
         or nobody could assign roles any more"
    )]
    LastCryptoOfficer(RuleId),
    /// What would be said about a thing cannot be.
    #[error(transparent)]
    Said(#[from] label::Error),
    /// A version was to say of its secret what is not said of it.
    #[error(
        "{0} is there already, and other things are said about it: a put changes no labels and no \
         description, an update does"
    )]
    SaidOtherwise(SecretId),
    /// The secret has another type.
    #[error("{secret} is a {is}, and its new version cannot be a {given}")]
    OtherKind {
        /// The secret.
        secret: SecretId,
        /// Its type.
        is: &'static str,
        /// The type of the new version.
        given: &'static str,
    },
    /// No master key of the group may protect.
    #[error("no master key of group {group} may protect: the newest is {state}")]
    NoProtectingKey {
        /// The group.
        group: GroupName,
        /// State of its newest master key.
        state: KeyState,
    },
    /// The newest master key of the group is another than the operator thought.
    #[error("the newest master key of group {group} is of generation {is}, not {expected}")]
    NotNewest {
        /// The group.
        group: GroupName,
        /// The generation that was expected.
        expected: u32,
        /// The one that is.
        is: u32,
    },
    /// There can be no further master key.
    #[error("group {0} has had all the master keys there can be")]
    NoMoreGenerations(GroupName),
    /// Fewer of its tokens have what is to be written than the group's policy wants.
    #[error(
        "{have} of the {of} tokens that hold group {group} can have it, and {writes} wants {}: try \
         again when more of them answer (custodyctl status), or have others hold it \
         (custodyctl group hold)",
        writes.needs(*of)
    )]
    TooFewTokens {
        /// The group.
        group: GroupName,
        /// How many can.
        have: usize,
        /// How many there are.
        of: usize,
        /// What is wanted.
        writes: Writes,
    },
    /// The token has keys of the installation already, or had.
    #[error("the token {0} has keys of the installation already, or was given up")]
    TrusteeExists(TokenId),
    /// The token has no keys of the installation.
    #[error("the token {0} has no keys of the installation, or was given up already")]
    NoSuchTrustee(TokenId),
    /// Nothing would be left.
    #[error(
        "the token {token} is the last one of {what}: have another hold it first \
         (custodyctl group hold)"
    )]
    LastToken {
        /// The token.
        token: TokenId,
        /// What it is the last one of.
        what: String,
    },
    /// Versions would be lost with a token.
    #[error(
        "with the token {token} {lost} versions are lost for good, which no other has: {}; if that \
         is so, say how many (--accept-loss {lost})",
        first(versions)
    )]
    WouldLose {
        /// The token.
        token: TokenId,
        /// How many.
        lost: u64,
        /// Which.
        versions: Vec<VersionId>,
    },
    /// Another master key protects by now.
    #[error("another master key of group {0} protects by now; try again")]
    NotProtecting(GroupName),
    /// The master key is not there.
    #[error("group {group} has no master key of generation {generation}")]
    NoSuchMasterKey {
        /// The group.
        group: GroupName,
        /// The generation that was named.
        generation: u32,
    },
    /// The master key cannot go from its state to the one that is wanted.
    #[error(
        "the master key of generation {generation} of group {group} is {is} and wraps {wraps} \
         versions: it cannot be {wanted}{}",
        way_out(*is, *wraps, *renewals)
    )]
    KeyLife {
        /// The group.
        group: GroupName,
        /// The generation.
        generation: u32,
        /// The state it is in.
        is: KeyState,
        /// How many versions are wrapped under it.
        wraps: u64,
        /// How many versions are to be renewed because of it.
        renewals: u64,
        /// What was wanted.
        wanted: &'static str,
    },
    /// It was said already that someone may have the master key.
    #[error(
        "the master key of generation {generation} of group {group} is called compromised already \
         (custodyctl group show {group} tells what is left to renew)"
    )]
    Compromised {
        /// The group.
        group: GroupName,
        /// The generation.
        generation: u32,
    },
    /// The time to spare a master key is too long.
    #[error("a master key is destroyed within {max} days at the latest", max = key::MAX_GRACE / DAY)]
    LongKeyGrace,
    /// The version is not there.
    #[error("there is no version {which} of {secret}")]
    NoSuchVersion {
        /// The secret.
        secret: SecretId,
        /// The version that was named.
        which: Which,
    },
    /// The current version is another than the writer thought.
    #[error(
        "the current version of {secret} is {is}, not {expected}: look at it before you write over it"
    )]
    NotCurrent {
        /// The secret.
        secret: SecretId,
        /// The version that was expected to be current; 0 for none.
        expected: u32,
        /// The one that is; 0 for none.
        is: u32,
    },
    /// The version cannot go from its state to the one that is wanted.
    #[error("version {version} is {is}: it cannot be {wanted}")]
    Life {
        /// The version.
        version: VersionId,
        /// The state it is in.
        is: &'static str,
        /// What was wanted.
        wanted: &'static str,
    },
    /// The time to change one's mind is too long.
    #[error("a version is destroyed within {max} days at the latest", max = life::MAX_GRACE / DAY)]
    LongGrace,
    /// There is a request for a certificate already.
    #[error(
        "version {number} of {secret} waits for its certificate: certify it, or destroy it first \
         (custodyctl secret destroy {secret}@{number})",
        secret = .0.secret, number = .0.number
    )]
    Requested(VersionId),
    /// The daemon cannot use the content of a version.
    #[error("version {version} cannot be opened: {reason}")]
    Unopened {
        /// The version.
        version: VersionId,
        /// Why not.
        reason: Reason,
    },
    /// There is no request for a certificate.
    #[error(
        "no version of {0} waits for a certificate: request one first \
         (custodyctl secret rotate {0} --csr FILE)"
    )]
    NotRequested(SecretId),
    /// A version would refer to what is not there.
    #[error("{0}")]
    Refers(Box<Dangling>),
    /// A version would refer to a secret that its writer may not see.
    #[error(
        "{field:?} refers to {secret}: referring to a secret of group {} takes the role reader, \
         writer or group-administrator for it",
        secret.group
    )]
    RefersUnseen {
        /// The field.
        field: &'static str,
        /// The secret.
        secret: SecretId,
    },
    /// Others refer to what would be taken away.
    #[error("{secret} is referred to: {}", listed(by, *hidden))]
    ReferredTo {
        /// The secret.
        secret: SecretId,
        /// What would be left without it.
        by: Vec<Dangling>,
        /// How many more would be, which the operator may not see.
        hidden: usize,
    },
    /// The rules of its group keep the version from being used.
    #[error("the rules of group {group} refuse version {version}:{lines}",
        group = .version.secret.group,
        lines = .findings.iter().map(|finding| format!("\n{finding}")).collect::<String>())]
    Noncompliant {
        /// The version.
        version: VersionId,
        /// What they say against it.
        findings: Vec<Finding>,
    },
    /// The rules of its group want a label that the secret would lose.
    #[error("the rules of group {group} refuse this change of {secret}:\n{finding}", group = .secret.group)]
    Unlabelled {
        /// The secret.
        secret: SecretId,
        /// What they would say.
        finding: Finding,
    },
    /// There can be no further version.
    #[error("{0} has had all the versions there can be")]
    NoMoreVersions(SecretId),
}

/// What brings a master key nearer to its end.
fn way_out(is: KeyState, wraps: u64, renewals: u64) -> String {
    match is {
        KeyState::Active => {
            " before another has taken its place (custodyctl group rotate)".to_owned()
        }
        _ if is.is_left() && renewals > 0 => format!(
            " before the {renewals} versions that it may have given away are renewed, which happens \
             in the background"
        ),
        _ if is.is_left() && wraps > 0 => {
            " before they are moved, which happens in the background".to_owned()
        }
        _ => String::new(),
    }
}

/// How many things an error names.
const NAMED: usize = 5;

/// The first of `versions`, and whether there are more.
fn first(versions: &[VersionId]) -> String {
    let named: Vec<_> = versions
        .iter()
        .take(NAMED)
        .map(ToString::to_string)
        .collect();
    let more = if versions.len() > NAMED { ", ..." } else { "" };
    format!("{}{more}", named.join(", "))
}

/// The first of `by`, and how many there are besides.
pub fn listed(by: &[Dangling], hidden: usize) -> String {
    let named: Vec<_> = by.iter().take(NAMED).map(ToString::to_string).collect();
    let more = by.len() - named.len();
    let more = (more > 0).then(|| format!("{more} more"));
    let hidden = (hidden > 0).then(|| format!("{hidden} in groups that you have no role for"));
    let all: Vec<_> = named.into_iter().chain(more).chain(hidden).collect();
    all.join("; ")
}

/// Checks that a group can be made, before a key is made for it.
///
/// # Errors
///
/// If there is one of that name.
pub fn check_new_group(state: &State, name: &GroupName) -> Result<(), Error> {
    match state.group(name) {
        Some(_) => Err(Error::GroupExists(name.clone())),
        None => Ok(()),
    }
}

/// Adds a group with the first generation of its master keys.
///
/// # Errors
///
/// As [`check_new_group`]; if they are too few for its tokens.
pub fn create_group(
    state: &State,
    group: Group,
    first: Vec<MasterKey>,
) -> Result<(Edit, Change), Error> {
    check_new_group(state, &group.name)?;
    hold::enough(&group.name, &group.holders, &first)?;
    let change = Change::CreateGroup {
        group: group.name.clone(),
        master_keys: first.iter().map(|key| key.id).collect(),
        holders: group.holders.clone(),
        keeping: group.keeping,
        purpose: group.purpose.clone(),
    };
    let edit = Edit {
        puts: [Row::Group(group)]
            .into_iter()
            .chain(first.into_iter().map(Row::MasterKey))
            .collect(),
        ..Edit::default()
    };
    Ok((edit, change))
}
