//! Which tokens hold a group, and whether enough of them have what is to be written.

use std::collections::BTreeSet;

use super::{
    Error,
    key::{group_of, with, write},
};
use crate::{
    envelope::WrappedDek,
    group::{Group, MasterKey},
    holder::Holders,
    journal::change::Change,
    name::{GroupName, KeyId},
    row::Row,
    state::{State, edit::Edit},
};

/// Has other tokens hold a group from now on, `made` being new master keys for those that had
/// none. What the keys of tokens that go protected is moved in the background.
///
/// # Errors
///
/// If there is no such group, `made` are not for it, or too few of the tokens have a key then.
pub fn hold(
    state: &State,
    name: &GroupName,
    holders: Holders,
    made: Vec<MasterKey>,
) -> Result<(Edit, Change), Error> {
    let group = group_of(state, name)?;
    let stays = |key: &&MasterKey| holders.tokens().contains(&key.token);
    let staying = group.protecting().filter(stays).cloned();
    enough(name, &holders, &Vec::from_iter(staying.chain(made.clone())))?;
    if made.iter().any(|key| key.generation != group.joining()) {
        return Err(Error::NotProtecting(name.clone()));
    }
    let leaving = group.protecting().filter(|key| !stays(key));
    let leaving: Vec<_> = leaving
        .filter_map(|key| with(key, key.state.deactivated()))
        .collect();
    let change = Change::HoldGroup {
        group: name.clone(),
        holders: holders.clone(),
        master_keys: made.iter().map(|key| key.id).collect(),
        instead: leaving.iter().map(|key| key.id).collect(),
    };
    let row = Row::Group(Group {
        holders,
        ..group.row().clone()
    });
    let keys = leaving.into_iter().chain(made).map(Row::MasterKey);
    Ok((write([row].into_iter().chain(keys).collect()), change))
}

/// Gives tokens that hold a group the keys that they lack, of the generation that is [joining](crate::state::view::GroupView::joining).
///
/// # Errors
///
/// If there is no such group, or `made` are not what they lack.
pub fn join(
    state: &State,
    name: &GroupName,
    made: Vec<MasterKey>,
) -> Result<(Edit, Change), Error> {
    let group = group_of(state, name)?;
    let mut vacant: BTreeSet<_> = group.vacant().collect();
    let mut is_lacked = |key: &MasterKey| vacant.remove(&key.token);
    let fits = made
        .iter()
        .all(|key| is_lacked(key) && key.generation == group.joining());
    if made.is_empty() || !fits {
        return Err(Error::NotProtecting(name.clone()));
    }
    let change = Change::AddMasterKeys {
        group: name.clone(),
        generation: group.joining(),
        master_keys: made.iter().map(|key| key.id).collect(),
        tokens: made.iter().map(|key| key.token.clone()).collect(),
    };
    Ok((
        write(made.into_iter().map(Row::MasterKey).collect()),
        change,
    ))
}

/// Makes sure that `keys`, which are to protect, are enough for a group, each in another of its
/// tokens.
///
/// # Errors
///
/// If they are not.
pub(super) fn enough(name: &GroupName, holders: &Holders, keys: &[MasterKey]) -> Result<(), Error> {
    let have: BTreeSet<_> = keys.iter().map(|key| &key.token).collect();
    let fit = have.len() == keys.len() && have.iter().all(|it| holders.tokens().contains(it));
    match fit && holders.suffice(have.len()) {
        true => Ok(()),
        false => Err(Error::TooFewTokens {
            group: name.clone(),
            have: have.len(),
            of: holders.tokens().len(),
            writes: holders.writes(),
        }),
    }
}

/// Makes sure that enough of the tokens that hold a group have a data key, which is wrapped under
/// some of `keys`.
///
/// # Errors
///
/// If there is no such group, or they are not enough.
pub(super) fn enough_wraps(
    state: &State,
    name: &GroupName,
    keys: &[MasterKey],
    wraps: &[(KeyId, WrappedDek)],
) -> Result<(), Error> {
    let holders = &group_of(state, name)?.row().holders;
    let wraps_it = |key: &&MasterKey| wraps.iter().any(|(gmk, _)| *gmk == key.id);
    let have: Vec<_> = keys.iter().filter(wraps_it).cloned().collect();
    enough(name, holders, &have)
}
