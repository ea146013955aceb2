//! How long the data keys of groups are kept.

use super::Error;
use crate::{
    cache::Terms,
    group::Group,
    journal::change::Change,
    name::GroupName,
    row::Row,
    state::{State, edit::Edit},
};

/// Has the data keys of a group kept on these terms, or not at all if there are none.
///
/// # Errors
///
/// If there is no such group.
pub fn set_cache(
    state: &State,
    name: &GroupName,
    cache: Option<Terms>,
) -> Result<(Edit, Change), Error> {
    let group = state.group(name);
    let before = group.ok_or_else(|| Error::NoSuchGroup(name.clone()))?.row();
    let after = Group {
        cache,
        ..before.clone()
    };
    let change = Change::SetCache {
        group: name.clone(),
        cache,
    };
    let edit = Edit {
        puts: vec![Row::Group(after)],
        ..Edit::default()
    };
    Ok((edit, change))
}
