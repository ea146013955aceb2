//! Tokens that come to have keys of the installation, and tokens that are given up.

use std::collections::BTreeSet;

use super::{Error, key::write};
use crate::{
    group::{Group, MasterKey, Millis},
    holder::{Holders, TokenId},
    journal::change::Change,
    name::VersionId,
    row::{Row, RowId, System},
    state::{State, edit::Edit, view::GroupView},
    trustee::Trustee,
};

/// Has a token have keys of the installation. It joins after those that have some, whatever the clock
/// says: vouchers are in that order.
///
/// # Errors
///
/// If it has some, or was given up.
pub fn add_trustee(
    state: &State,
    system: &System,
    mut trustee: Trustee,
) -> Result<(Edit, Change), Error> {
    let first = Trustee::first(system);
    for before in state.trustees().chain([&first]) {
        if before.token == trustee.token {
            return Err(Error::TrusteeExists(trustee.token));
        }
        trustee.joined = trustee.joined.max(before.joined.saturating_add(1));
    }
    let change = Change::AddTrustee {
        token: trustee.token.clone(),
        system_key: trustee.gmk,
        journal_key: trustee.journal_key,
    };
    Ok((write(vec![Row::Trustee(trustee)]), change))
}

/// What is given up with a token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// How many master keys.
    pub keys: u64,
    /// How many versions have a wrap less.
    pub wraps: u64,
    /// Those that have no other: their content can be opened by nobody.
    pub lost: Vec<VersionId>,
}

/// Gives a token up for good: its keys are held to be gone, and what is wrapped under them goes.
///
/// # Errors
///
/// If it was given up before, the installation or a group would be left without a token, or versions
/// would be lost and `accept` is not their number.
pub fn lose_token(
    state: &State,
    system: &System,
    token: &TokenId,
    accept: u64,
    now: Millis,
) -> Result<(Edit, Change, Loss), Error> {
    let row = lost_trustee(state, system, token, now)?;
    let mut edit = write(vec![Row::Trustee(row)]);
    let mut loss = Loss::default();
    for group in state.groups() {
        lose_from(group, token, &mut edit, &mut loss)?;
    }
    let lost = u64::try_from(loss.lost.len()).unwrap_or(u64::MAX);
    if lost > 0 && lost != accept {
        return Err(Error::WouldLose {
            token: token.clone(),
            lost,
            versions: loss.lost,
        });
    }
    let change = Change::LoseToken {
        token: token.clone(),
        master_keys: loss.keys,
        wraps: loss.wraps,
        lost: loss.lost.iter().map(ToString::to_string).collect(),
    };
    Ok((edit, change, loss))
}

/// The row of `token` after it was given up.
fn lost_trustee(
    state: &State,
    system: &System,
    token: &TokenId,
    now: Millis,
) -> Result<Trustee, Error> {
    let mut left = Trustee::all(system, state.trustees().cloned());
    let at = left.iter().position(|trustee| trustee.token == *token);
    let at = at.ok_or_else(|| Error::NoSuchTrustee(token.clone()))?;
    let lost = left.swap_remove(at);
    if left.is_empty() {
        return Err(Error::LastToken {
            token: token.clone(),
            what: "the installation".to_owned(),
        });
    }
    Ok(Trustee {
        lost: Some(now),
        ..lost
    })
}

fn lose_from(
    group: GroupView<'_>,
    token: &TokenId,
    edit: &mut Edit,
    loss: &mut Loss,
) -> Result<(), Error> {
    let keys = group.living_keys().filter(|key| key.token == *token);
    let keys: Vec<&MasterKey> = keys.collect();
    let holders = &group.row().holders;
    if holders.tokens().contains(token) {
        let rest = holders.tokens().iter().filter(|it| *it != token).cloned();
        let rest = Holders::new(rest.collect::<BTreeSet<_>>(), holders.writes());
        let rest = rest.map_err(|_| Error::LastToken {
            token: token.clone(),
            what: format!("group {}", group.row().name),
        })?;
        edit.puts.push(Row::Group(Group {
            holders: rest,
            ..group.row().clone()
        }));
    }
    if keys.is_empty() {
        return Ok(());
    }
    for secret in group.secrets() {
        for version in secret.versions() {
            let id = &version.row().id;
            let is_lost = |gmk| keys.iter().any(|key| key.id == gmk);
            let gone: Vec<_> = version.wraps().filter(|wrap| is_lost(wrap.gmk)).collect();
            loss.wraps += gone.len() as u64;
            if !gone.is_empty() && gone.len() == version.wraps().len() {
                loss.lost.push(id.clone());
            }
            let deletes = gone.iter().map(|wrap| RowId::Wrap(id.clone(), wrap.gmk));
            edit.deletes.extend(deletes);
        }
    }
    loss.keys += keys.len() as u64;
    let keys = keys
        .into_iter()
        .map(|key| Row::MasterKey(key.turned(key.state.lost())));
    edit.puts.extend(keys);
    Ok(())
}
