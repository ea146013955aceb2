//! What is said about groups and secrets: saying something else.

use super::{Error, compliance::stays_labelled};
use crate::{
    group::{Group, Purpose, Repurposed},
    journal::change::Change,
    label::Said,
    name::{GroupName, SecretId},
    row::Row,
    secret::version::Secret,
    state::{State, edit::Edit},
};

/// Says what else a group is for.
///
/// # Errors
///
/// If there is no such group, or it would have too many labels.
pub fn update_group(
    state: &State,
    name: &GroupName,
    repurposed: Repurposed,
) -> Result<(Edit, Change), Error> {
    let group = state.group(name);
    let before = group.ok_or_else(|| Error::NoSuchGroup(name.clone()))?.row();
    let Repurposed {
        business_group,
        environment,
        said,
    } = &repurposed;
    let is = &before.purpose;
    let purpose = Purpose {
        business_group: business_group
            .as_ref()
            .unwrap_or(&is.business_group)
            .clone(),
        environment: environment.as_ref().unwrap_or(&is.environment).clone(),
        about: said.over(&is.about)?,
    };
    let after = Group {
        purpose,
        ..before.clone()
    };
    let change = Change::UpdateGroup {
        group: name.clone(),
        repurposed,
    };
    Ok((put(Row::Group(after)), change))
}

/// Says something else about a secret.
///
/// # Errors
///
/// If there is no such secret, it would have too many labels, or lose one that the enforced rules
/// of its group require.
pub fn update_secret(state: &State, id: &SecretId, said: Said) -> Result<(Edit, Change), Error> {
    let before = state.secret(id)?.row();
    let after = Secret {
        about: said.over(&before.about)?,
        ..before.clone()
    };
    stays_labelled(state, before, &after)?;
    let change = Change::UpdateSecret {
        group: id.group.clone(),
        secret: id.name.clone(),
        said,
    };
    Ok((put(Row::Secret(after)), change))
}

fn put(row: Row) -> Edit {
    Edit {
        puts: vec![row],
        ..Edit::default()
    }
}
