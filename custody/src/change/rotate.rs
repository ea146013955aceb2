//! New versions whose content is made, not given.

use super::Error;
use crate::{
    name::SecretId,
    secret::{Kind, Properties},
    state::State,
};

/// The secret that gets a new version.
#[derive(Debug)]
pub struct Subject {
    /// Its type.
    pub kind: Kind,
    /// What is public of its current version, if it has one.
    pub former: Option<Properties>,
}

/// The secret `id`; or one that is to be made, if it is said of which type.
///
/// # Errors
///
/// If there is no such group, or no such secret and it is not said what to make.
pub fn subject(state: &State, id: &SecretId, kind: Option<Kind>) -> Result<Subject, Error> {
    let secret = state
        .group(&id.group)
        .ok_or_else(|| Error::NoSuchGroup(id.group.clone()))?
        .secret(&id.name);
    let is = secret.map(|secret| secret.row().kind);
    let current = secret.and_then(|secret| secret.current());
    Ok(Subject {
        // That another type is given is found out where the version gets its place.
        kind: kind.or(is).ok_or_else(|| Error::NoSuchSecret(id.clone()))?,
        former: current.map(|version| version.row().properties.clone()),
    })
}
