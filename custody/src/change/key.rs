//! The life of group master keys: which protects, which are emptied, which are destroyed.

use std::collections::BTreeMap;

use super::{DAY, Error};
use crate::{
    group::{KeyState, MasterKey, Millis},
    journal::change::{Change, KeyFate},
    name::{GroupName, KeyId},
    rewrap::{Move, Moved},
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
    let group = state.group(name);
    let group = group.ok_or_else(|| Error::NoSuchGroup(name.clone()))?;
    let is = group.keys().last().map_or(0, |key| key.generation);
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

/// Has `next` take the place of the master key that protects. What the former ones protected
/// is moved in the background.
///
/// # Errors
///
/// If there is no such group, or `next` is not its next generation.
pub fn rotate_group(
    state: &State,
    next: MasterKey,
    is_compromised: bool,
) -> Result<(Edit, Change), Error> {
    next_generation(state, &next.group, next.generation.checked_sub(1))?;
    let group = state.group(&next.group);
    let group = group.ok_or_else(|| Error::NoSuchGroup(next.group.clone()))?;
    let over = group.living_keys().filter_map(|key| {
        let state = match is_compromised {
            true => key.state.compromised(),
            false => key.state.deactivated(),
        };
        with(key, state)
    });
    let over: Vec<_> = over.collect();
    let change = Change::RotateGroup {
        group: next.group.clone(),
        master_key: next.id,
        generation: next.generation,
        instead: over.iter().map(|key| key.id).collect(),
        compromised: is_compromised,
    };
    let puts = over.into_iter().chain([next]).map(Row::MasterKey);
    Ok((write(puts.collect()), change))
}

/// Writes down moves that were made, as far as they are still of use. `None` if none is.
pub fn rewrap(state: &State, group: &GroupName, moved: Vec<Moved>) -> Option<(Edit, Change)> {
    let view = state.group(group)?;
    let to = view.keys().last().filter(|key| key.state.protects())?;
    let mut edit = Edit::default();
    let mut versions: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for Moved { of, wrapped } in moved {
        let id = of.version();
        if id.secret.group != *group || *of.to() != to.id || !is_there(view, &of) {
            continue;
        }
        versions
            .entry(id.secret.name.clone())
            .or_default()
            .push(id.number);
        edit.deletes.push(RowId::Wrap(id.clone(), *of.from()));
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

/// Whether what was to be moved is as it was.
fn is_there(group: GroupView<'_>, of: &Move) -> bool {
    let id = of.version();
    let version = group.secret(&id.secret.name);
    let version = version.and_then(|secret| secret.version(id.number));
    version.is_some_and(|version| {
        let mut wraps = version.wraps();
        wraps.any(|wrap| wrap.gmk == *of.from() && wrap.wrapped == *of.wrapped())
    })
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
    let group = state.group(name);
    let group = group.ok_or_else(|| Error::NoSuchGroup(name.clone()))?;
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

/// The groups whose protecting master key is `worn`.
pub fn worn(state: &State, worn: impl Fn(&MasterKey) -> bool) -> Vec<GroupName> {
    let groups = state.groups();
    let due = groups.filter(|group| group.keys().last().is_some_and(&worn));
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
    let change = fate(&key, KeyFate::Emptied);
    Some((write(vec![Row::MasterKey(key)]), change))
}

/// Does `deed` to a generation of a group's master key.
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
    let group = state.group(name);
    let group = group.ok_or_else(|| Error::NoSuchGroup(name.clone()))?;
    let key = group.keys().find(|key| key.generation == generation);
    let key = key.ok_or_else(|| Error::NoSuchMasterKey {
        group: name.clone(),
        generation,
    })?;
    let (after, fate_of_it, wanted) = match deed {
        Deed::Compromise if key.state.is_compromised() => {
            return Err(Error::Compromised {
                group: name.clone(),
                generation,
            });
        }
        Deed::Compromise => {
            let over = (!key.state.protects()).then_some(key.state);
            let after = over.and_then(KeyState::compromised);
            (after, KeyFate::Compromised, "called compromised")
        }
        Deed::Destroy(grace) if grace > MAX_GRACE => return Err(Error::LongKeyGrace),
        Deed::Destroy(grace) => {
            let at = now.saturating_add(grace);
            (key.state.doomed(at), KeyFate::Doomed { at }, "destroyed")
        }
        Deed::Spare => (key.state.spared(), KeyFate::Spared, "spared"),
    };
    let after = with(key, after).ok_or_else(|| Error::KeyLife {
        group: name.clone(),
        generation,
        is: key.state,
        wraps: group.wraps(&key.id),
        renewals: group.renewals(key),
        wanted,
    })?;
    let change = fate(&after, fate_of_it);
    Ok((write(vec![Row::MasterKey(after)]), change))
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
    let change = fate(&key, KeyFate::Destroyed);
    Some((write(vec![Row::MasterKey(key)]), change))
}

fn with(key: &MasterKey, state: Option<KeyState>) -> Option<MasterKey> {
    Some(MasterKey {
        state: state?,
        ..key.clone()
    })
}

fn fate(key: &MasterKey, fate: KeyFate) -> Change {
    Change::MasterKeyFate {
        group: key.group.clone(),
        master_key: key.id,
        generation: key.generation,
        fate,
    }
}

fn write(puts: Vec<Row>) -> Edit {
    Edit {
        puts,
        ..Edit::default()
    }
}

#[cfg(test)]
mod tests;
