//! The life of versions: which is current, which are delivered, which are destroyed.

use super::{DAY, Error, compliance::comply, put::outlive};
use crate::{
    compliance::Subject,
    group::Millis,
    journal::change::{Change, Fate},
    name::SecretId,
    row::{Row, RowId},
    secret::version::{Secret, Version, VersionState, Which},
    state::{
        State,
        edit::Edit,
        view::{SecretView, VersionView},
    },
};

/// The longest time in which a doomed version can be restored.
pub const MAX_GRACE: Millis = 366 * DAY;

/// What may be done to a version besides making it current.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Deliver it again.
    Enable,
    /// Deliver it no more.
    Disable,
    /// Destroy it after so many milliseconds, in which it can be restored.
    Destroy(Millis),
    /// Take back that it is to be destroyed. It is disabled then.
    Restore,
}

fn version<'a>(view: SecretView<'a>, which: Which) -> Result<VersionView<'a>, Error> {
    let found = view
        .row()
        .number(which)
        .and_then(|number| view.version(number));
    found.ok_or_else(|| Error::NoSuchVersion {
        secret: view.row().id.clone(),
        which,
    })
}

/// Makes a version the current one: a pending one, or one that was current before. The one
/// that was stays valid for `overlap` milliseconds, or without limit.
///
/// # Errors
///
/// If there is no such version, it is not delivered, the group's rules refuse it, or a
/// reference to the secret would be left without a version.
pub fn activate(
    state: &State,
    id: &SecretId,
    which: Which,
    overlap: Option<Millis>,
    now: Millis,
) -> Result<(Edit, Change), Error> {
    let view = state.secret(id)?;
    let chosen = version(view, which)?.row();
    if chosen.state != VersionState::Enabled {
        return Err(Error::Life {
            version: chosen.id.clone(),
            is: chosen.state.name(),
            wanted: "current",
        });
    }
    let before = view.row();
    comply(state, &chosen.id, Subject::of(before, chosen), now)?;
    let number = Some(chosen.id.number);
    let after = Secret {
        current: number,
        previous: before
            .current
            .filter(|current| Some(*current) != number)
            .or(before.previous),
        pending: before.pending.filter(|pending| Some(*pending) != number),
        ..before.clone()
    };
    let mut puts = outlive(
        view,
        &after,
        overlap.filter(|_| before.current != number),
        now,
    );
    puts.insert(0, Row::Secret(after));
    let change = Change::ActivateVersion {
        group: id.group.clone(),
        secret: id.name.clone(),
        version: chosen.id.number,
        instead: before.current,
    };
    let edit = Edit {
        puts,
        ..Edit::default()
    };
    state.check_references(&edit)?;
    Ok((edit, change))
}

/// Does `deed` to a version.
///
/// # Errors
///
/// If there is no such version, its state does not allow that, it is to be delivered and the
/// group's rules refuse it, or a reference would be left without what it means.
pub fn live(
    state: &State,
    id: &SecretId,
    which: Which,
    deed: Deed,
    now: Millis,
) -> Result<(Edit, Change), Error> {
    let view = state.secret(id)?;
    let row = version(view, which)?.row();
    let (after, fate) = next(row, deed, now)?;
    if let Some(other) = requested(view).filter(|_| after == VersionState::Requested) {
        return Err(Error::Requested(other.row().id.clone()));
    }
    if after == VersionState::Enabled {
        comply(state, &row.id, Subject::of(view.row(), row), now)?;
    }
    let change = Change::VersionFate {
        group: id.group.clone(),
        secret: id.name.clone(),
        versions: vec![row.id.number],
        fate,
    };
    let edit = Edit {
        puts: vec![Row::Version(Version {
            state: after,
            ..row.clone()
        })],
        ..Edit::default()
    };
    state.check_references(&edit)?;
    Ok((edit, change))
}

/// The version of a secret that is a key without a certificate, if there is one.
pub fn requested(view: SecretView<'_>) -> Option<VersionView<'_>> {
    let mut versions = view.versions();
    versions.find(|version| version.row().state == VersionState::Requested)
}

fn next(row: &Version, deed: Deed, now: Millis) -> Result<(VersionState, Fate), Error> {
    use VersionState::{Destroyed, Disabled, Doomed, Enabled, Requested};
    let refused = |wanted| Error::Life {
        version: row.id.clone(),
        is: row.state.name(),
        wanted,
    };
    match (deed, row.state) {
        (Deed::Enable, Disabled) => Ok((Enabled, Fate::Enabled)),
        (Deed::Enable, _) => Err(refused("enabled")),
        (Deed::Disable, Enabled) => Ok((Disabled, Fate::Disabled)),
        (Deed::Disable, _) => Err(refused("disabled")),
        (Deed::Destroy(grace), _) if grace > MAX_GRACE => Err(Error::LongGrace),
        (Deed::Destroy(grace), Requested | Enabled | Disabled | Doomed(_)) => {
            let at = now.saturating_add(grace);
            Ok((Doomed(at), Fate::Doomed { at }))
        }
        (Deed::Destroy(_), Destroyed) => Err(refused("destroyed again")),
        // It must not be enabled by way of its doom.
        (Deed::Restore, Doomed(_)) if row.request().is_some() => Ok((Requested, Fate::Restored)),
        (Deed::Restore, Doomed(_)) => Ok((Disabled, Fate::Restored)),
        (Deed::Restore, _) => Err(refused("restored")),
    }
}

/// The secrets with versions whose time to be destroyed has come.
pub fn due(state: &State, now: Millis) -> Vec<SecretId> {
    state.doomed(now).into_iter().cloned().collect()
}

/// Destroys the versions of a secret whose time has come: their data keys and contents go,
/// what is stored about them stays. `None` if there is none.
pub fn shred(state: &State, id: &SecretId, now: Millis) -> Option<(Edit, Change)> {
    let view = state.secret(id).ok()?;
    let mut edit = Edit::default();
    let mut versions = Vec::new();
    for version in view.versions() {
        if version.row().state.doom().is_some_and(|at| at <= now) {
            destroy(version, &mut edit);
            versions.push(version.row().id.number);
        }
    }
    let change = Change::VersionFate {
        group: id.group.clone(),
        secret: id.name.clone(),
        versions: versions.clone(),
        fate: Fate::Destroyed,
    };
    (!versions.is_empty()).then_some((edit, change))
}

/// Takes a version's data key and content away.
pub(super) fn destroy(version: VersionView<'_>, edit: &mut Edit) {
    let row = version.row();
    let wraps = version.wraps().map(|wrap| wrap.gmk);
    let wraps = wraps.map(|gmk| RowId::Wrap(row.id.clone(), gmk));
    edit.deletes.extend(wraps);
    edit.shreds.push(row.id.clone());
    edit.puts.push(Row::Version(Version {
        state: VersionState::Destroyed,
        ..row.clone()
    }));
}
