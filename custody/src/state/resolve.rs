//! A secret with what it refers to: decided at one moment, over one state.

use std::collections::{BTreeSet, VecDeque};

use super::State;
use crate::{
    caller::{Caller, Evidence},
    group::Millis,
    name::{RuleId, VersionId},
    policy::{Denial, Depth, Grant, Moment, Operation, Reason, Via, Wanted},
    state::links::Link,
    usage::Usage,
};

/// What [`State::explain_parts`] found about one part.
#[derive(Debug)]
pub struct Part {
    /// The reference that leads to it.
    pub link: Link,
    /// The grant that it would be recorded under; or why it would be denied.
    pub outcome: Result<RuleId, Reason>,
}

impl State {
    /// Decides whether `caller` may do `Op` to what it wants and, if that is to be resolved,
    /// to everything that this refers to. Each has a grant of its own: who may have one
    /// secret may not for that have another. What is wanted comes first, and the versions of
    /// all are those of one state.
    ///
    /// If `Op` uses grants up, the uses are taken from `usage`; from none if it is denied.
    ///
    /// # Errors
    ///
    /// The first [`Denial`]: then nothing is granted.
    pub fn decide_all<Op: Operation>(
        &self,
        caller: &Caller,
        wanted: Wanted,
        depth: Depth,
        now: Millis,
        usage: &mut Usage,
    ) -> Result<Vec<Grant<Op>>, Box<Denial>> {
        let mut grants: Vec<Grant<Op>> = Vec::with_capacity(1);
        let mut left = VecDeque::from([(wanted, None)]);
        while let Some((wanted, by)) = left.pop_front() {
            let moment = Moment { now, usage };
            let grant = match self.decide_via::<Op>(caller.clone(), wanted, by, moment) {
                Ok(grant) => grant,
                Err(denial) => {
                    for taken in grants.iter().filter(|_| Op::REVEALS) {
                        usage.give_back(&taken.rule().id, now);
                    }
                    return Err(denial);
                }
            };
            if Op::REVEALS {
                usage.take(grant.rule(), now);
            }
            if grants.is_empty() && depth == Depth::Resolved {
                let found = &grant.found;
                let links = self
                    .followed(&found.locked.version, &found.fields)
                    .into_iter();
                left.extend(links.map(|link| (target(&link), Some(via(link)))));
            }
            grants.push(grant);
        }
        Ok(grants)
    }

    /// What would be decided about everything that `wanted` refers to. Nothing is granted by
    /// it.
    pub fn explain_parts<Op: Operation>(
        &self,
        evidence: &Evidence,
        wanted: &Wanted,
        moment: Moment<'_>,
    ) -> Vec<Part> {
        let parts = self.parts(wanted).into_iter();
        parts
            .map(|(link, wanted)| {
                let found = self.find::<Op>(evidence, &wanted, moment);
                Part {
                    link,
                    outcome: found.map(|found| found.rule.id),
                }
            })
            .collect()
    }

    /// The references that `wanted` has, and what each of them wants.
    pub(super) fn parts(&self, wanted: &Wanted) -> Vec<(Link, Wanted)> {
        let id = wanted.secret();
        let secret = self.in_secret(&id).map(|held| &held.secret.row);
        let Some(number) = secret.and_then(|secret| secret.number(wanted.version)) else {
            return Vec::new();
        };
        let version = VersionId { secret: id, number };
        let links = self.followed(&version, &wanted.fields).into_iter();
        links.map(|link| (link.clone(), target(&link))).collect()
    }

    /// The references of `version` in those of its fields that are given; all if there are
    /// none.
    fn followed(&self, version: &VersionId, fields: &BTreeSet<String>) -> Vec<Link> {
        let mut links = self.refers_to(version);
        links.retain(|link| fields.is_empty() || fields.contains(link.field));
        links
    }
}

fn via(link: Link) -> Via {
    Via {
        version: link.from,
        field: link.field,
    }
}

/// What a reference wants: all that a grant gives of its target.
fn target(link: &Link) -> Wanted {
    let secret = link.to.secret.clone();
    Wanted {
        group: secret.group,
        name: secret.name,
        version: link.to.version,
        fields: link.to.field.clone().into_iter().collect(),
    }
}
