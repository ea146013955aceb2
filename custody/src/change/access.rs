//! Changes of who may do what: grants and roles.

use super::Error;
use crate::{
    journal::change::Change,
    name::RuleId,
    policy::rule::Rule,
    role::{Assignment, Role},
    row::{Row, RowId},
    state::{State, edit::Edit},
};

/// Adds a grant; `weak` says what was found weak about it and insisted on.
///
/// # Errors
///
/// If there is no such group.
pub fn add_grant(
    state: &State,
    rule: Rule,
    weak: Vec<&'static str>,
) -> Result<(Edit, Change), Error> {
    if state.group(&rule.group).is_none() {
        return Err(Error::NoSuchGroup(rule.group));
    }
    let change = Change::AddGrant {
        grant: rule.id,
        group: rule.group.clone(),
        patterns: texts(rule.patterns.as_slice()),
        selectors: texts(rule.selectors.as_slice()),
        terms: rule.terms.clone(),
        weak,
    };
    Ok((put(Row::Rule(rule)), change))
}

/// Takes a grant back.
///
/// # Errors
///
/// If there is none.
pub fn revoke_grant(state: &State, id: &RuleId) -> Result<(Edit, Change), Error> {
    let rule = state.rule(id).ok_or(Error::NoSuchGrant(*id))?;
    let change = Change::RevokeGrant {
        grant: *id,
        group: rule.group.clone(),
    };
    Ok((delete(RowId::Rule(rule.group.clone(), *id)), change))
}

/// Gives a role; `weak` says what was found weak about that and insisted on.
///
/// # Errors
///
/// If it is for a group that is not there, or that the role cannot be for.
pub fn assign_role(
    state: &State,
    assignment: Assignment,
    weak: Vec<&'static str>,
) -> Result<(Edit, Change), Error> {
    if let Some(group) = &assignment.group {
        if !assignment.role.is_of_groups() {
            return Err(Error::NoGroupRole(assignment.role));
        }
        if state.group(group).is_none() {
            return Err(Error::NoSuchGroup(group.clone()));
        }
    }
    let change = Change::AssignRole {
        assignment: assignment.id,
        role: assignment.role,
        group: assignment.group.clone(),
        selectors: texts(assignment.selectors.as_slice()),
        weak,
    };
    Ok((put(Row::Assignment(assignment)), change))
}

/// Takes a role back.
///
/// # Errors
///
/// If there is none of that name, or it is the last crypto officer's.
pub fn revoke_role(state: &State, id: &RuleId) -> Result<(Edit, Change), Error> {
    let held = state.assignment(id).ok_or(Error::NoSuchAssignment(*id))?;
    let officers = |held: &&Assignment| held.role == Role::CryptoOfficer;
    if officers(&held) && state.assignments().filter(officers).count() == 1 {
        return Err(Error::LastCryptoOfficer(*id));
    }
    let change = Change::RevokeRole {
        assignment: *id,
        role: held.role,
        group: held.group.clone(),
    };
    Ok((delete(RowId::Assignment(*id)), change))
}

fn put(row: Row) -> Edit {
    Edit {
        puts: vec![row],
        ..Edit::default()
    }
}

fn delete(row: RowId) -> Edit {
    Edit {
        deletes: vec![row],
        ..Edit::default()
    }
}

fn texts<T: ToString>(items: &[T]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}
