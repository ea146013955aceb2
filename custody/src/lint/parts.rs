//! Grants of secrets that refer to others: who gets the one wants the others, too.

use super::{Finding, weak};
use crate::{
    name::GroupName,
    policy::rule::Rule,
    state::{State, links::Link},
};

/// How many references a finding names.
const NAMED: usize = 5;

/// Which references of the secrets that `rule` gives lead to what no grant gives to all of the
/// same callers; of those into groups that are `seen`.
pub fn ungranted(state: &State, rule: &Rule, seen: impl Fn(&GroupName) -> bool) -> Option<Finding> {
    let secrets = state
        .group(&rule.group)
        .into_iter()
        .flat_map(|group| group.secrets());
    let given = secrets.filter(|secret| {
        let row = secret.row();
        rule.patterns.cover(&row.id.name) && rule.terms.kind.is_none_or(|kind| kind == row.kind)
    });
    let links = given
        .filter(|secret| !secret.row().kind.refers().is_empty())
        .filter_map(|secret| secret.current())
        .flat_map(|version| state.refers_to(&version.row().id));
    let fields = &rule.terms.fields;
    let ungranted: Vec<_> = links
        .filter(|link| fields.is_empty() || fields.contains(link.field))
        .filter(|link| seen(&link.to.secret.group) && !is_granted(state, rule, link))
        .map(|link| format!("{}#{}: {}", link.from.secret, link.field, link.to))
        .collect();
    if ungranted.is_empty() {
        return None;
    }
    let more = ungranted.len().saturating_sub(NAMED);
    let mut problem = format!(
        "no grant gives all of the same callers what the secret refers to, without which they are \
         denied it: {}",
        ungranted[..ungranted.len() - more].join(", ")
    );
    if more > 0 {
        problem += &format!(" and {more} more");
    }
    Some(weak(
        "part-not-granted",
        problem,
        "grant what it refers to as well; callers may also ask for the secret alone",
    ))
}

/// Whether one grant gives what `link` leads to, to whoever satisfies `rule`.
fn is_granted(state: &State, rule: &Rule, link: &Link) -> bool {
    let target = &link.to.secret;
    let Some(group) = state.group(&target.group) else {
        return false;
    };
    let kind = group.secret(&target.name).map(|secret| secret.row().kind);
    let demanded = rule.selectors.as_slice();
    group.rules().any(|other| {
        let selectors = other.selectors.as_slice();
        other.patterns.cover(&target.name)
            && other.terms.kind.is_none_or(|only| Some(only) == kind)
            && selectors.iter().all(|selector| demanded.contains(selector))
    })
}
