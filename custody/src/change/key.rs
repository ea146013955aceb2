//! The life of group master keys: which protects, which are emptied, which are destroyed.

use std::collections::BTreeMap;

use super::{DAY, Error, hold};
use crate::{
    group::{Group, Keeping, KeyState, MasterKey, Millis},
    journal::change::{Change, KeyFate},
    name::{GroupName, KeyId},
    rewrap::{Moved, Superfluous},
    row::{Row, RowId},
    secret::version::Wrap,
    state::{State, edit::Edit, view::GroupView},
};

/// The longest time in which a doomed master key can be spared.
pub const MAX_GRACE: Millis = 366 * DAY;

/// What may be done to a master key whose time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Say that someone may have it, or have had it before it was destroyed.
    Compromise,
    /// Destroy it after so many milliseconds, in which it can be spared.
    Destroy(Millis),
    /// Take back that it is to be destroyed.
    Spare,
}

/// The generation of the next master key of a group, before one is made.
///
/// # Errors
///
/// If there is no such group, or its newest generation is not the `expected` one.
pub fn next_generation(
    state: &State,
    name: &GroupName,
    expected: Option<u32>,
) -> Result<u32, Error> {
    let is = group_of(state, name)?.generation();
    if let Some(expected) = expected.filter(|expected| *expected != is) {
        return Err(Error::NotNewest {
            group: name.clone(),
            expected,
            is,
        });
    }
    let next = is.checked_add(1);
    next.ok_or_else(|| Error::NoMoreGenerations(name.clone()))
}

/// Has the keys `next`, one for each of the group's tokens that has made one, take the place of
/// those that protect. What the former ones protected is moved in the background, as are keys
/// made for the tokens that are missing; those of now on are kept as `keeping`
/// says, or as before.
///
/// # Errors
///
/// If there is no such group, `next` are not its next generation, or are too few.
pub fn rotate_group(
    state: &State,
    name: &GroupName,
    next: Vec<MasterKey>,
    keeping: Option<Keeping>,
    is_compromised: bool,
) -> Result<(Edit, Change), Error> {
    let group = group_of(state, name)?;
    let generation = next_generation(state, name, None)?;
    hold::enough(name, &group.row().holders, &next)?;
    if let Some(other) = next.iter().find(|key| key.generation != generation) {
        return Err(Error::NotNewest {
            group: name.clone(),
            expected: other.generation - 1,
            is: generation - 1,
        });
    }
    let over = group.living_keys().filter_map(|key| {
        let state = match is_compromised {
            true => key.state.compromised(),
            false => key.state.deactivated(),
        };
        with(key, state)
    });
    let over: Vec<_> = over.collect();
    let changed = keeping.filter(|keeping| *keeping != group.row().keeping);
    let change = Change::RotateGroup {
        group: name.clone(),
        master_keys: next.iter().map(|key| key.id).collect(),
        generation,
        instead: over.iter().map(|key| key.id).collect(),
        keeping: changed,
        compromised: is_compromised,
    };
    let row = changed.map(|keeping| {
        Row::Group(Group {
            keeping,
            ..group.row().clone()
        })
    });
    let keys = over.into_iter().chain(next).map(Row::MasterKey);
    Ok((write(row.into_iter().chain(keys).collect()), change))
}

/// Writes down moves that were made to a master key of a group, as far as they are still of
/// use. `None` if none is.
pub fn rewrap(
    state: &State,
    group: &GroupName,
    to: &KeyId,
    moved: Vec<Moved>,
) -> Option<(Edit, Change)> {
    let view = state.group(group)?;
    let to = view.key(to).filter(|key| key.state.protects())?;
    let mut edit = Edit::default();
    let mut versions: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for Moved { of, wrapped } in moved {
        let id = of.version();
        let version = view.secret(&id.secret.name);
        let version = version.and_then(|secret| secret.version(id.number));
        let is_of_use = version.is_some_and(|version| {
            let mut wraps = version.wraps();
            of.is_of(version) && wraps.all(|wrap| wrap.gmk != to.id)
        });
        if id.secret.group != *group || *of.to() != to.id || !is_of_use {
            continue;
        }
        versions
            .entry(id.secret.name.clone())
            .or_default()
            .push(id.number);
        if let Some(lock) = of.replaces() {
            edit.deletes.push(RowId::Wrap(id.clone(), *lock.gmk()));
        }
        edit.puts.push(Row::Wrap(Wrap {
            version: id.clone(),
            gmk: to.id,
            wrapped,
        }));
    }
    let change = Change::Rewrap {
        group: group.clone(),
        master_key: to.id,
        versions,
    };
    (!edit.puts.is_empty()).then_some((edit, change))
}

/// Takes away wraps that are of no more use, under the first one's master key. `None` if none
/// is there any more.
pub fn unwrap(
    state: &State,
    group: &GroupName,
    superfluous: &[Superfluous],
) -> Option<(Edit, Change)> {
    let gmk = superfluous.first()?.gmk;
    let still = state.superfluous(group, usize::MAX);
    let mut edit = Edit::default();
    let mut versions: BTreeMap<_, Vec<_>> = BTreeMap::new();
    let wraps = superfluous.iter().filter(|wrap| wrap.gmk == gmk);
    for Superfluous { version, .. } in wraps.filter(|wrap| still.contains(wrap)) {
        let of_secret = versions.entry(version.secret.name.clone());
        of_secret.or_default().push(version.number);
        edit.deletes.push(RowId::Wrap(version.clone(), gmk));
    }
    let change = Change::DropWraps {
        group: group.clone(),
        master_key: gmk,
        versions,
    };
    (!edit.deletes.is_empty()).then_some((edit, change))
}

/// Puts on record that the master key of a group that protects may have encrypted `up_to` times.
///
/// # Errors
///
/// If there is no such group, or `gmk` protects no more.
pub fn reserve(
    state: &State,
    name: &GroupName,
    gmk: &KeyId,
    up_to: u64,
) -> Result<(Edit, Change), Error> {
    let group = group_of(state, name)?;
    let key = group.key(gmk).filter(|key| key.state.protects());
    let key = key.ok_or_else(|| Error::NotProtecting(name.clone()))?;
    let reserved = MasterKey {
        reserved: up_to,
        ..key.clone()
    };
    let change = Change::ReserveInvocations {
        group: name.clone(),
        master_key: key.id,
        generation: key.generation,
        up_to,
    };
    Ok((write(vec![Row::MasterKey(reserved)]), change))
}

/// The groups with a master key that protects and is `worn`.
pub fn worn(state: &State, worn: impl Fn(&MasterKey) -> bool) -> Vec<GroupName> {
    let groups = state.groups();
    let due = groups.filter(|group| group.protecting().any(&worn));
    due.map(|group| group.row().name.clone()).collect()
}

/// Says of the master keys whose time is over and that nothing is wrapped under any more, nor to
/// be renewed because of them, that this is so. `None` if there is none.
pub fn empty(state: &State, name: &GroupName, now: Millis) -> Option<(Edit, Change)> {
    let group = state.group(name)?;
    let mut emptied = group
        .keys()
        .filter(|key| !group.has_left(key))
        .filter_map(|key| with(key, key.state.without_rest(now)));
    let key = emptied.next()?;
    let change = fate(name, std::slice::from_ref(&key), KeyFate::Emptied);
    Some((write(vec![Row::MasterKey(key)]), change))
}

/// Does `deed` to a generation of a group's master keys, in whichever tokens they are.
///
/// # Errors
///
/// If there is none such, or its state does not allow that.
pub fn live(
    state: &State,
    name: &GroupName,
    generation: u32,
    deed: Deed,
    now: Millis,
) -> Result<(Edit, Change), Error> {
    let group = group_of(state, name)?;
    let (fate_of_it, wanted) = match deed {
        Deed::Compromise => (KeyFate::Compromised, "called compromised"),
        Deed::Destroy(grace) if grace > MAX_GRACE => return Err(Error::LongKeyGrace),
        Deed::Destroy(grace) => {
            let at = now.saturating_add(grace);
            (KeyFate::Doomed { at }, "destroyed")
        }
        Deed::Spare => (KeyFate::Spared, "spared"),
    };
    let after = |key: &MasterKey| {
        let state = match fate_of_it {
            KeyFate::Doomed { at } => key.state.doomed(at),
            KeyFate::Compromised if key.state.protects() => None,
            KeyFate::Compromised => key.state.compromised(),
            _ => key.state.spared(),
        };
        with(key, state).ok_or_else(|| Error::KeyLife {
            group: name.clone(),
            generation,
            is: key.state,
            wraps: group.wraps(&key.id),
            renewals: group.renewals(key),
            wanted,
        })
    };
    let keys = group.keys().filter(|key| key.generation == generation);
    let mut keys: Vec<_> = keys.collect();
    if keys.is_empty() {
        return Err(Error::NoSuchMasterKey {
            group: name.clone(),
            generation,
        });
    }
    if deed == Deed::Compromise {
        keys.retain(|key| !key.state.is_compromised());
        if keys.is_empty() {
            return Err(Error::Compromised {
                group: name.clone(),
                generation,
            });
        }
    } else if keys.iter().any(|key| !key.state.is_destroyed()) {
        // What was given up with its token is not in the way of what the others have.
        keys.retain(|key| !key.state.is_destroyed());
    }
    let after: Vec<_> = keys.into_iter().map(after).collect::<Result<_, _>>()?;
    let change = fate(name, &after, fate_of_it);
    Ok((
        write(after.into_iter().map(Row::MasterKey).collect()),
        change,
    ))
}

/// The groups with master keys that were to be destroyed by `now`.
pub fn due(state: &State, now: Millis) -> Vec<GroupName> {
    let groups = state.groups();
    let due = groups.filter(|group| group.keys().any(|key| key.state.destroyed(now).is_some()));
    due.map(|group| group.row().name.clone()).collect()
}

/// Says of a master key of a group whose time to be destroyed has come that it is: it is used
/// no more, and can go from the token. `None` if there is none.
pub fn destroy(state: &State, name: &GroupName, now: Millis) -> Option<(Edit, Change)> {
    let group = state.group(name)?;
    let mut destroyed = group
        .keys()
        .filter(|key| !group.has_left(key))
        .filter_map(|key| with(key, key.state.destroyed(now)));
    let key = destroyed.next()?;
    let change = fate(name, std::slice::from_ref(&key), KeyFate::Destroyed);
    Some((write(vec![Row::MasterKey(key)]), change))
}

pub(super) fn with(key: &MasterKey, state: Option<KeyState>) -> Option<MasterKey> {
    state.map(|state| key.turned(state))
}

fn fate(group: &GroupName, keys: &[MasterKey], fate: KeyFate) -> Change {
    Change::MasterKeyFate {
        group: group.clone(),
        master_keys: keys.iter().map(|key| key.id).collect(),
        generation: keys.first().map_or(0, |key| key.generation),
        fate,
    }
}

pub(super) fn group_of<'a>(state: &'a State, name: &GroupName) -> Result<GroupView<'a>, Error> {
    let group = state.group(name);
    group.ok_or_else(|| Error::NoSuchGroup(name.clone()))
}

pub(super) fn write(puts: Vec<Row>) -> Edit {
    Edit {
        puts,
        ..Edit::default()
    }
}

#[cfg(test)]
mod tests;
