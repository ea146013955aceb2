//! Writing versions of secrets.

use std::num::NonZeroU32;

use super::{Error, compliance::comply, hold::enough_wraps, life::requested};
use crate::{
    compliance::Subject,
    envelope::{SealedContent, WrappedDek},
    group::{KeyState, MasterKey, Millis},
    journal::change::Change,
    label::About,
    name::{KeyId, SecretId, VersionId},
    role::Operator,
    row::{Row, RowId},
    secret::{
        Accepted, Kind,
        version::{Fingerprint, Secret, Version, VersionState, Wrap},
    },
    state::{State, edit::Edit, links, view::SecretView},
};

/// How a version is to be written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terms {
    /// The version that must be current, 0 for none; any if `None`.
    pub expected: Option<u32>,
    /// Whether it becomes current only later.
    pub is_pending: bool,
    /// Whether it is a key that waits for its certificate.
    pub is_request: bool,
    /// How long the version that was current stays valid, in milliseconds; without limit
    /// if `None`.
    pub overlap: Option<Millis>,
    /// How many versions are to be kept from now on: `Some(0)` for all, as before if `None`.
    pub keep: Option<u32>,
    /// Whether a version is written even if its content is the current one's.
    pub even_if_same: bool,
}

/// Where a new version of a secret goes, and under which keys.
#[derive(Debug)]
pub struct Place {
    /// The version to be written.
    pub version: VersionId,
    /// The master keys that protect in its group, at least one, of one generation.
    pub keys: Vec<MasterKey>,
    generation: u32,
    kind: Kind,
    before: Option<Secret>,
}

/// Finds the place of the next version of `id`, which is to be a `kind`.
///
/// # Errors
///
/// If there is no such group, it may not protect, the secret has another type, or its
/// current version is not the expected one.
pub fn next_version(
    state: &State,
    id: &SecretId,
    kind: Kind,
    terms: Terms,
) -> Result<Place, Error> {
    let group = state
        .group(&id.group)
        .ok_or_else(|| Error::NoSuchGroup(id.group.clone()))?;
    let keys: Vec<_> = group.protecting().cloned().collect();
    if keys.is_empty() {
        let newest = group.keys().last();
        return Err(Error::NoProtectingKey {
            group: id.group.clone(),
            state: newest.map_or(KeyState::Destroyed, |key| key.state),
        });
    }
    let secret = group.secret(&id.name);
    let is = secret.and_then(|secret| secret.row().current).unwrap_or(0);
    if let Some(expected) = terms.expected.filter(|expected| *expected != is) {
        return Err(Error::NotCurrent {
            secret: id.clone(),
            expected,
            is,
        });
    }
    if let Some(secret) = secret.filter(|secret| secret.row().kind != kind) {
        return Err(Error::OtherKind {
            secret: id.clone(),
            is: secret.row().kind.name(),
            given: kind.name(),
        });
    }
    let newest = secret.and_then(|secret| secret.versions().last());
    let newest = newest.map_or(0, |version| version.row().id.number);
    let number = newest
        .checked_add(1)
        .ok_or_else(|| Error::NoMoreVersions(id.clone()))?;
    Ok(Place {
        version: VersionId {
            secret: id.clone(),
            number,
        },
        generation: group.generation(),
        keys,
        kind,
        before: secret.map(|secret| secret.row().clone()),
    })
}

/// The current version of `id`, if it is of that type, has the content that this is the
/// fingerprint of and is delivered.
pub fn unchanged(
    state: &State,
    id: &SecretId,
    kind: Kind,
    fingerprint: Fingerprint,
) -> Option<VersionId> {
    let secret = state.group(&id.group)?.secret(&id.name)?;
    let current = secret.current()?;
    let row = current.row();
    let same = secret.row().kind == kind
        && row.fingerprint == fingerprint
        && row.state == VersionState::Enabled;
    (same && row.valid_until.is_none()).then(|| row.id.clone())
}

/// What is written: content that its type accepted, sealed, its data key wrapped.
#[derive(Debug)]
pub struct Written<'a> {
    /// What is said about the secret, if this makes it.
    pub about: &'a About,
    /// What the type said.
    pub accepted: &'a Accepted,
    /// Its fingerprint.
    pub fingerprint: Fingerprint,
    /// Whether the daemon made it.
    pub is_made: bool,
    /// The version that was the same key without its certificate: it is destroyed.
    pub certifies: Option<u32>,
    /// The content, sealed.
    pub sealed: SealedContent,
    /// Its data key, wrapped under master keys of its place.
    pub wraps: Vec<(KeyId, WrappedDek)>,
}

/// Writes a version. `place` must come from this state.
///
/// # Errors
///
/// If it is wrapped in too few tokens, the group's rules refuse it, it refers to what is not there, or to what `operator` may
/// not see, or a reference to the secret would be left without a version.
pub fn put_secret(
    state: &State,
    place: Place,
    written: Written<'_>,
    terms: Terms,
    operator: &Operator,
    now: Millis,
) -> Result<(Edit, Change), Error> {
    let uid = operator.evidence().uid;
    let id = place.version;
    check_about(state, &id.secret, written.about)?;
    enough_wraps(state, &id.secret.group, &place.keys, &written.wraps)?;
    let subject = Subject {
        kind: place.kind,
        properties: &written.accepted.properties,
        written: now,
        labels: match &place.before {
            Some(before) => &before.about.labels,
            None => &written.about.labels,
        },
    };
    comply(state, &id, subject, now)?;
    let about = match place.before {
        Some(_) => About::default(),
        None => written.about.clone(),
    };
    let secret = Secret {
        keep: match terms.keep {
            Some(keep) => NonZeroU32::new(keep),
            None => place.before.as_ref().and_then(|before| before.keep),
        },
        ..after(
            place.before.unwrap_or_else(|| Secret {
                id: id.secret.clone(),
                kind: place.kind,
                current: None,
                previous: None,
                pending: None,
                keep: None,
                about: about.clone(),
                created: now,
                created_by: uid,
            }),
            id.number,
            terms,
        )
    };
    let version = Version {
        id: id.clone(),
        size: written.accepted.size,
        sealed: written.sealed.digest(),
        dek_generation: place.generation,
        exposed: None,
        fingerprint: written.fingerprint,
        properties: written.accepted.properties.clone(),
        state: match terms.is_request {
            true => VersionState::Requested,
            false => VersionState::Enabled,
        },
        valid_until: None,
        created: now,
        created_by: uid,
    };
    let master_keys: Vec<_> = written.wraps.iter().map(|(gmk, _)| *gmk).collect();
    let wraps = written.wraps.into_iter().map(|(gmk, wrapped)| {
        Row::Wrap(Wrap {
            version: id.clone(),
            gmk,
            wrapped,
        })
    });
    let mut edit = Edit {
        puts: [Row::Secret(secret.clone()), Row::Version(version)]
            .into_iter()
            .chain(wraps)
            .collect(),
        content: vec![(id.clone(), written.sealed)],
        ..Edit::default()
    };
    let mut retired = Vec::new();
    let view = state.secret(&id.secret).ok();
    if let Some(view) = view {
        if let Some(other) = requested(view).filter(|_| terms.is_request) {
            return Err(Error::Requested(other.row().id.clone()));
        }
        if !terms.is_pending && !terms.is_request {
            edit.puts.extend(outlive(view, &secret, terms.overlap, now));
        }
        if let Some(request) = written.certifies.and_then(|number| view.version(number)) {
            super::life::destroy(request, &mut edit);
        }
        retired = retire(state, view, &secret, &mut edit);
    }
    check_seen(state, operator, place.kind, &edit)?;
    state.check_references(&edit)?;
    let change = Change::PutSecret {
        group: id.secret.group.clone(),
        secret: id.secret.name.clone(),
        version: id.number,
        r#type: place.kind.name(),
        master_keys,
        pending: terms.is_pending,
        requested: terms.is_request,
        certifies: written.certifies,
        made: written.is_made,
        retired,
        about,
    };
    Ok((edit, change))
}

/// Whether a put may say this about the secret `id`: it makes it, or says what is said already.
///
/// # Errors
///
/// If something else is said about it.
pub fn check_about(state: &State, id: &SecretId, about: &About) -> Result<(), Error> {
    let Ok(secret) = state.secret(id) else {
        return Ok(());
    };
    let is = &secret.row().about;
    let labels = about.labels.as_slice().iter();
    let mut labels = labels.map(|(key, value)| is.labels.get(key) == Some(value));
    let described = about.description.is_empty() || about.description == is.description;
    if described && labels.all(|is_said| is_said) {
        Ok(())
    } else {
        Err(Error::SaidOtherwise(id.clone()))
    }
}

/// Whether `operator` may see the secrets of other groups that a new version refers to. Who
/// may not learns nothing of them, and keeps nobody there from deleting them.
fn check_seen(state: &State, operator: &Operator, kind: Kind, edit: &Edit) -> Result<(), Error> {
    for row in &edit.puts {
        let Row::Version(version) = row else {
            continue;
        };
        for link in links::written(kind, version) {
            let secret = link.to.secret;
            let own = version.id.secret.group == secret.group;
            if !own && !state.is_seen(operator.evidence(), &secret) {
                let field = link.field;
                return Err(Error::RefersUnseen { field, secret });
            }
        }
    }
    Ok(())
}

/// The secret's row after its version `number` was written.
fn after(before: Secret, number: u32, terms: Terms) -> Secret {
    if terms.is_request {
        before
    } else if terms.is_pending {
        Secret {
            pending: Some(number),
            ..before
        }
    } else {
        Secret {
            current: Some(number),
            previous: before.current,
            ..before
        }
    }
}

/// The version that was current, valid for as long as it overlaps with the one that is;
/// the one that is, without an end.
pub(super) fn outlive(
    view: SecretView<'_>,
    after: &Secret,
    overlap: Option<Millis>,
    now: Millis,
) -> Vec<Row> {
    let mut rows = Vec::new();
    let version = |number: Option<u32>| view.version(number?).map(|version| version.row().clone());
    if let (Some(previous), Some(overlap)) = (version(after.previous), overlap) {
        rows.push(Row::Version(Version {
            valid_until: Some(now.saturating_add(overlap)),
            ..previous
        }));
    }
    if let Some(current) = version(after.current).filter(|current| current.valid_until.is_some()) {
        rows.push(Row::Version(Version {
            valid_until: None,
            ..current
        }));
    }
    rows
}

/// Destroys the versions beyond those that are kept, but for those that have a part to play
/// or are referred to by number.
fn retire(state: &State, view: SecretView<'_>, after: &Secret, edit: &mut Edit) -> Vec<u32> {
    let Some(keep) = after.keep else {
        return Vec::new();
    };
    let pinned = state.pinned(&after.id);
    // The new one is not among those in the state.
    let others = keep.get() as usize - 1;
    let excess = view.versions().len().saturating_sub(others);
    let mut retired = Vec::new();
    for version in view.versions().take(excess) {
        let row = version.row();
        let number = row.id.number;
        let is_kept = after.names(number) || pinned.contains(&number);
        let stays = matches!(row.state, VersionState::Destroyed | VersionState::Requested);
        if !is_kept && !stays {
            super::life::destroy(version, edit);
            retired.push(number);
        }
    }
    retired
}

/// Deletes a secret with all its versions, and every trace of it.
///
/// # Errors
///
/// If there is none, or another refers to it.
pub fn delete_secret(state: &State, id: &SecretId) -> Result<(Edit, Change), Error> {
    let secret = state.secret(id)?;
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
    state.check_references(&edit)?;
    let change = Change::DeleteSecret {
        group: id.group.clone(),
        secret: id.name.clone(),
        versions,
    };
    Ok((edit, change))
}
