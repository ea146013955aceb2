//! Content that was sealed anew, in the place of what there was.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    group::MasterKey,
    journal::change::Change,
    name::{GroupName, KeyId},
    renew::Renewed,
    row::{Row, RowId},
    secret::version::{Version, Wrap},
    state::{
        State,
        edit::Edit,
        view::{GroupView, VersionView},
    },
};

/// Writes down renewals that were made, as far as they are still of use. `None` if none is.
///
/// Content, data key and what the version's row says of them change together. Whatever happened
/// to a version meanwhile stays as it is.
pub fn renew(state: &State, name: &GroupName, renewed: Vec<Renewed>) -> Option<(Edit, Change)> {
    let group = state.group(name)?;
    let exposed = group.compromised()?;
    let protecting: Vec<_> = group.protecting().collect();
    let dek_generation = protecting.iter().map(|key| key.generation).max()?;
    let mut edit = Edit::default();
    let mut versions: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for renewed in renewed {
        let Some(version) = still_there(group, &renewed, &protecting) else {
            continue;
        };
        let id = &version.row().id;
        let numbers = versions.entry(id.secret.name.clone()).or_default();
        // Two renewals of a version are each whole: the first is as good as the other.
        if !numbers.insert(id.number) {
            continue;
        }
        let former = version.wraps().map(|wrap| wrap.gmk);
        let is_new = |gmk: &KeyId| renewed.wraps.iter().any(|(new, _)| new == gmk);
        let former = former.filter(|gmk| !is_new(gmk));
        edit.deletes
            .extend(former.map(|gmk| RowId::Wrap(id.clone(), gmk)));
        edit.puts.push(Row::Version(Version {
            sealed: renewed.sealed.digest(),
            dek_generation,
            exposed: Some(exposed),
            ..version.row().clone()
        }));
        let wraps = renewed.wraps.into_iter().map(|(gmk, wrapped)| {
            Row::Wrap(Wrap {
                version: id.clone(),
                gmk,
                wrapped,
            })
        });
        edit.puts.extend(wraps);
        edit.shreds.push(id.clone());
        edit.content.push((id.clone(), renewed.sealed));
    }
    let change = Change::Renew {
        group: name.clone(),
        master_keys: protecting.iter().map(|key| key.id).collect(),
        versions,
    };
    (!edit.puts.is_empty()).then_some((edit, change))
}

/// The version, if it has the content that was sealed anew and that is still to be done, and if
/// master keys that protect now wrap the new data key, as many as the group wants for a write.
fn still_there<'a>(
    group: GroupView<'a>,
    renewed: &Renewed,
    protecting: &[&MasterKey],
) -> Option<VersionView<'a>> {
    let id = &renewed.locked.version;
    if id.secret.group != group.row().name {
        return None;
    }
    let version = group.secret(&id.secret.name)?.version(id.number)?;
    let wraps_it = |key: &&&MasterKey| renewed.wraps.iter().any(|(gmk, _)| *gmk == key.id);
    let have = protecting.iter().filter(wraps_it).count();
    let is_enough = have == renewed.wraps.len() && group.row().holders.suffice(have);
    let is_same = version.row().sealed == renewed.locked.sealed;
    (is_same && group.is_to_renew(version) && is_enough).then_some(version)
}

#[cfg(test)]
mod tests;
