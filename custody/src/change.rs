//! What operators may change, and the rows that make the change.

use crate::{
    envelope::{SealedContent, WrappedDek},
    group::{Group, KeyState, MasterKey, Millis},
    journal::change::Change,
    name::{GroupName, KeyId, RuleId, SecretId, VersionId},
    role::{Operator, Role},
    row::{Row, RowId},
    secret::{Accepted, Kind, Secret, Version, Wrap},
    state::{State, edit::Edit},
};

mod access;

pub use access::{add_grant, assign_role, revoke_grant, revoke_role};

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
    /// The description is too long.
    #[error("the description has {0} characters; it may have {max}", max = Group::MAX_DESCRIPTION)]
    LongDescription(usize),
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
    /// There can be no further version.
    #[error("{0} has had all the versions there can be")]
    NoMoreVersions(SecretId),
}

/// Checks that a group can be made, before a key is made for it.
///
/// # Errors
///
/// If there is one of that name, or the description is too long.
pub fn check_new_group(state: &State, name: &GroupName, description: &str) -> Result<(), Error> {
    if state.group(name).is_some() {
        return Err(Error::GroupExists(name.clone()));
    }
    match description.chars().count() {
        count if count > Group::MAX_DESCRIPTION => Err(Error::LongDescription(count)),
        _ => Ok(()),
    }
}

/// Adds a group with the first generation of its master key.
///
/// # Errors
///
/// As [`check_new_group`].
pub fn create_group(
    state: &State,
    group: Group,
    first: MasterKey,
) -> Result<(Edit, Change), Error> {
    check_new_group(state, &group.name, &group.description)?;
    let change = Change::CreateGroup {
        group: group.name.clone(),
        master_key: first.id,
    };
    let edit = Edit {
        puts: vec![Row::Group(group), Row::MasterKey(first)],
        ..Edit::default()
    };
    Ok((edit, change))
}

/// Where a new version of a secret goes, and under which key.
#[derive(Debug)]
pub struct Place {
    /// The version to be written.
    pub version: VersionId,
    /// The master key to wrap its data key with.
    pub gmk: KeyId,
    kind: Kind,
    created: Option<(Millis, u32)>,
}

/// Finds the place of the next version of `id`, which is to be a `kind`.
///
/// # Errors
///
/// If there is no such group, it may not protect, or the secret has another type.
pub fn next_version(state: &State, id: &SecretId, kind: Kind) -> Result<Place, Error> {
    let group = state
        .group(&id.group)
        .ok_or_else(|| Error::NoSuchGroup(id.group.clone()))?;
    let newest = group.keys().last();
    let key = newest
        .filter(|key| key.state.protects())
        .ok_or_else(|| Error::NoProtectingKey {
            group: id.group.clone(),
            state: newest.map_or(KeyState::Destroyed, |key| key.state),
        })?;
    let (number, created) = match group.secret(&id.name) {
        None => (Some(1), None),
        Some(secret) if secret.row().kind != kind => {
            return Err(Error::OtherKind {
                secret: id.clone(),
                is: secret.row().kind.name(),
                given: kind.name(),
            });
        }
        Some(secret) => {
            let newest = secret.versions().last();
            let newest = newest.map_or(0, |version| version.row().id.number);
            let row = secret.row();
            (newest.checked_add(1), Some((row.created, row.created_by)))
        }
    };
    Ok(Place {
        version: VersionId {
            secret: id.clone(),
            number: number.ok_or_else(|| Error::NoMoreVersions(id.clone()))?,
        },
        gmk: key.id,
        kind,
        created,
    })
}

/// Writes a version and makes it the current one. `place` must come from this state.
pub fn put_secret(
    place: Place,
    accepted: &Accepted,
    sealed: SealedContent,
    wrapped: WrappedDek,
    operator: &Operator,
    now: Millis,
) -> (Edit, Change) {
    let uid = operator.evidence().uid;
    let (created, created_by) = place.created.unwrap_or((now, uid));
    let id = place.version;
    let change = Change::PutSecret {
        group: id.secret.group.clone(),
        secret: id.secret.name.clone(),
        version: id.number,
        r#type: place.kind.name(),
        master_key: place.gmk,
    };
    let secret = Secret {
        id: id.secret.clone(),
        kind: place.kind,
        current: id.number,
        created,
        created_by,
    };
    let version = Version {
        id: id.clone(),
        size: accepted.size,
        sealed: sealed.digest(),
        properties: accepted.properties.clone(),
        created: now,
        created_by: uid,
    };
    let wrap = Wrap {
        version: id.clone(),
        gmk: place.gmk,
        wrapped,
    };
    let edit = Edit {
        puts: vec![Row::Secret(secret), Row::Version(version), Row::Wrap(wrap)],
        deletes: Vec::new(),
        content: Some((id, sealed)),
    };
    (edit, change)
}

/// Destroys a secret with all its versions.
///
/// # Errors
///
/// If there is none.
pub fn delete_secret(state: &State, id: &SecretId) -> Result<(Edit, Change), Error> {
    let secret = state
        .group(&id.group)
        .ok_or_else(|| Error::NoSuchGroup(id.group.clone()))?
        .secret(&id.name)
        .ok_or_else(|| Error::NoSuchSecret(id.clone()))?;
    let mut deletes = Vec::new();
    let mut versions = 0;
    for version in secret.versions() {
        let version_id = &version.row().id;
        let wraps = version.wraps().map(|wrap| wrap.gmk);
        deletes.extend(wraps.map(|gmk| RowId::Wrap(version_id.clone(), gmk)));
        deletes.push(RowId::Version(version_id.clone()));
        versions += 1;
    }
    deletes.push(RowId::Secret(id.clone()));
    let edit = Edit {
        deletes,
        ..Edit::default()
    };
    let change = Change::DeleteSecret {
        group: id.group.clone(),
        secret: id.name.clone(),
        versions,
    };
    Ok((edit, change))
}
