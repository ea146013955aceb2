//! The rules of groups: setting them, and keeping out what falls foul of those that are
//! enforced.

use super::Error;
use crate::{
    compliance::{
        Subject, check, lacking,
        rules::{Adopted, Mode, Rules},
    },
    group::Millis,
    journal::change::Change,
    label::Key,
    name::{GroupName, VersionId},
    row::{Row, RowId},
    secret::version::Secret,
    state::{State, edit::Edit},
};

/// Sets the rules of a group, in place of those there are; takes them away if `None`. What
/// falls foul of them stays as it is.
///
/// # Errors
///
/// If there is no such group.
pub fn set_rules(
    state: &State,
    group: &GroupName,
    rules: Option<Rules>,
    uid: u32,
    now: Millis,
) -> Result<(Edit, Change), Error> {
    if state.group(group).is_none() {
        return Err(Error::NoSuchGroup(group.clone()));
    }
    let change = Change::SetRules {
        group: group.clone(),
        rules: rules.clone(),
    };
    let mut edit = Edit::default();
    match rules {
        Some(rules) => edit.puts.push(Row::Compliance(Adopted {
            group: group.clone(),
            rules,
            set: now,
            set_by: uid,
        })),
        None => edit.deletes.push(RowId::Compliance(group.clone())),
    }
    Ok((edit, change))
}

/// Refuses the version `id`, which is to be used from now on, if the rules of its group are
/// enforced and say so.
pub(super) fn comply(
    state: &State,
    id: &VersionId,
    subject: Subject<'_>,
    now: Millis,
) -> Result<(), Error> {
    let group = state.group(&id.secret.group);
    let adopted = group.and_then(|group| group.compliance());
    let Some(adopted) = adopted.filter(|adopted| adopted.rules.mode == Mode::Enforce) else {
        return Ok(());
    };
    let mut findings = check(&adopted.rules, subject, now).findings;
    findings.retain(|finding| finding.code.refuses());
    if findings.is_empty() {
        return Ok(());
    }
    Err(Error::Noncompliant {
        version: id.clone(),
        findings,
    })
}

/// Refuses that a secret loses a label, if the rules of its group are enforced and say so. What
/// was missing before is no reason.
pub(super) fn stays_labelled(state: &State, before: &Secret, after: &Secret) -> Result<(), Error> {
    let group = state.group(&after.id.group);
    let adopted = group.and_then(|group| group.compliance());
    let Some(adopted) = adopted.filter(|adopted| adopted.rules.mode == Mode::Enforce) else {
        return Ok(());
    };
    let had = |key: &Key| before.about.labels.get(key).is_some();
    match lacking(&adopted.rules, &after.about.labels, had) {
        None => Ok(()),
        Some(finding) => Err(Error::Unlabelled {
            secret: after.id.clone(),
            finding,
        }),
    }
}

#[cfg(test)]
mod tests;
