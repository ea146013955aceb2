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
        let former = former.filter(|gmk| !is_among(&protecting, gmk));
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
/// the master keys that protect now wrap the new data key, and no others.
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
    let mut wraps: Vec<_> = renewed.wraps.iter().map(|(gmk, _)| *gmk).collect();
    let mut wanted: Vec<_> = protecting.iter().map(|key| key.id).collect();
    wraps.sort_unstable();
    wanted.sort_unstable();
    let is_same = version.row().sealed == renewed.locked.sealed;
    (is_same && group.is_to_renew(version) && wraps == wanted).then_some(version)
}

fn is_among(keys: &[&MasterKey], id: &KeyId) -> bool {
    keys.iter().any(|key| key.id == *id)
}

#[cfg(test)]
mod tests;
