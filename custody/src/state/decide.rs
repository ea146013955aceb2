//! The decision: which grant gives a caller what it wants, on which key's word.

use std::marker::PhantomData;

use super::{InGroup, InVersion, State};
use crate::{
    cache::Source,
    caller::{Caller, Evidence, fact::Needs},
    group::{KeyState, Millis},
    inward::{Intent, Purpose},
    name::VersionId,
    policy::{
        Decision, Denial, Depth, Found, Grant, Moment, Operation, Reason, Via, Wanted,
        explain::Obstacle, rule::Rule,
    },
    release::{Lock, Locked},
    role::Operator,
    secret::{Kind, version::VersionState},
};

/// What [`State::explain`] found.
#[derive(Debug)]
pub struct Explanation<'a> {
    /// The grant that the request would be recorded under; or why it would be denied.
    pub outcome: Result<&'a Rule, Reason>,
    /// Every grant of the group, nearest first, with what keeps it from matching.
    pub considered: Vec<(&'a Rule, Vec<Obstacle>)>,
}

impl State {
    /// Decides whether `caller` may do `Op` to what it wants.
    ///
    /// Whether a grant matches is looked at before whether the secret exists, so a
    /// caller without one learns nothing. A wish that finds nothing is a denial like
    /// any other: it is recorded, and looks the same from outside.
    ///
    /// Nothing is decided for a peer that was not attested:
    ///
    /// ```compile_fail,E0308
    /// use custody::{caller::observation::Credentials, policy::{Deliver, Moment, Wanted}, state::State};
    /// fn skip_attestation(state: &State, peer: Credentials, wanted: Wanted, moment: Moment<'_>) {
    ///     let _ = state.decide::<Deliver>(peer, wanted, moment); // wants a Caller
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// The [`Denial`].
    pub fn decide<Op: Operation>(
        &self,
        caller: Caller,
        wanted: Wanted,
        moment: Moment<'_>,
    ) -> Decision<Op> {
        self.decide_via(caller, wanted, None, moment)
    }

    pub(super) fn decide_via<Op: Operation>(
        &self,
        caller: Caller,
        wanted: Wanted,
        via: Option<Via>,
        moment: Moment<'_>,
    ) -> Decision<Op> {
        match self.find::<Op>(caller.evidence(), &wanted, moment) {
            Ok(found) => Ok(Grant {
                caller,
                found,
                via,
                source: Source::Token,
                op: PhantomData,
            }),
            Err(reason) => Err(Box::new(Denial {
                evidence: caller.evidence().clone(),
                operation: Op::NAME,
                wanted,
                via,
                reason,
            })),
        }
    }

    /// What must be looked up about the process in `evidence` before it can be decided
    /// whether it may have what it wants.
    pub fn needs(&self, evidence: &Evidence, wanted: &Wanted, depth: Depth) -> Needs {
        let parts = match depth {
            Depth::Alone => Vec::new(),
            Depth::Resolved => self.parts(wanted),
        };
        let parts = parts.into_iter().map(|(_, wanted)| wanted);
        parts
            .map(|part| self.needs_of(evidence, &part))
            .fold(self.needs_of(evidence, wanted), Needs::or)
    }

    fn needs_of(&self, evidence: &Evidence, wanted: &Wanted) -> Needs {
        let rules = self
            .groups
            .get(&wanted.group)
            .map(|group| group.rules.values());
        rules
            .into_iter()
            .flatten()
            .filter(|held| held.row.patterns.cover(&wanted.name))
            .map(|held| held.row.selectors.needs(evidence))
            .fold(Needs::default(), Needs::or)
    }

    /// What [`Self::decide`] would say, and why. Nothing is granted by it.
    pub fn explain<Op: Operation>(
        &self,
        evidence: &Evidence,
        wanted: &Wanted,
        moment: Moment<'_>,
    ) -> Explanation<'_> {
        let Some(group) = self.groups.get(&wanted.group) else {
            return Explanation {
                outcome: Err(Reason::NoGrant),
                considered: Vec::new(),
            };
        };
        let secret = group.secrets.get(&wanted.name);
        let kind = secret.map(|secret| secret.secret.row.kind);
        let rules = group.rules.values().map(|held| &held.row);
        let mut considered: Vec<_> = rules
            .map(|rule| (rule, rule.obstacles::<Op>(evidence, wanted, kind, moment)))
            .collect();
        considered.sort_by_cached_key(|(rule, obstacles)| {
            let elsewhere = obstacles.contains(&Obstacle::Name);
            (elsewhere, obstacles.len(), rule.preference(wanted, kind))
        });
        let found = self.find::<Op>(evidence, wanted, moment);
        let outcome = found.and_then(|found| {
            let held = group.rules.get(&found.rule.id).ok_or(Reason::NoGrant)?;
            Ok(&held.row)
        });
        Explanation {
            outcome,
            considered,
        }
    }

    pub(super) fn find<Op: Operation>(
        &self,
        evidence: &Evidence,
        wanted: &Wanted,
        moment: Moment<'_>,
    ) -> Result<Found, Reason> {
        let group = self.groups.get(&wanted.group).ok_or(Reason::NoGrant)?;
        let rules = group.rules.values().map(|held| &held.row);
        let mut named = rules.filter(|rule| rule.names(evidence, wanted)).peekable();
        if named.peek().is_none() {
            return Err(Reason::NoGrant);
        }
        let held = group
            .secrets
            .get(&wanted.name)
            .ok_or(Reason::NoSuchSecret)?;
        let secret = &held.secret.row;
        let rule = choose::<Op>(named, wanted, secret.kind, moment)?;
        let version = secret
            .number(wanted.version)
            .and_then(|number| held.version(number))
            .ok_or(Reason::NoSuchVersion)?;
        version.check(moment.now)?;
        let locks = group.locks::<Op>(version)?;
        let fields = if wanted.fields.is_empty() {
            &rule.terms.fields
        } else {
            &wanted.fields
        };
        Ok(Found {
            rule: rule.clone(),
            fields: fields.clone(),
            locked: version.locked(secret.kind, locks),
            cache: group.group.row.cache,
        })
    }

    /// What `operator` has the daemon use itself: the content of one version.
    ///
    /// # Errors
    ///
    /// If there is no such version, or no master key that wraps it may reveal it.
    pub fn intend<P: Purpose>(
        &self,
        operator: &Operator,
        id: &VersionId,
    ) -> Result<Intent<P>, Reason> {
        let group = self.groups.get(&id.secret.group);
        let group = group.ok_or(Reason::NoSuchSecret)?;
        let held = group.secrets.get(&id.secret.name);
        let held = held.ok_or(Reason::NoSuchSecret)?;
        let version = held.version(id.number).ok_or(Reason::NoSuchVersion)?;
        let locks = group.locks::<P>(version)?;
        Ok(Intent {
            operator: operator.evidence().clone(),
            locked: version.locked(held.secret.row.kind, locks),
            purpose: PhantomData,
        })
    }
}

/// The best of the grants whose terms are met; or what is wrong with the best of the others.
fn choose<'a, Op: Operation>(
    named: impl Iterator<Item = &'a Rule>,
    wanted: &Wanted,
    kind: Kind,
    moment: Moment<'_>,
) -> Result<&'a Rule, Reason> {
    let mut by_preference: Vec<_> = named.collect();
    by_preference.sort_by_cached_key(|rule| rule.preference(wanted, Some(kind)));
    let mut reason = None;
    for rule in by_preference {
        match rule.unmet::<Op>(wanted, kind, moment) {
            None => return Ok(rule),
            Some(unmet) => reason.get_or_insert(unmet),
        };
    }
    Err(reason.unwrap_or(Reason::NoGrant))
}

impl InVersion {
    pub(super) fn locked(&self, kind: Kind, locks: Vec<Lock>) -> Locked {
        let row = &self.version.row;
        Locked {
            version: row.id.clone(),
            kind,
            sealed: row.sealed,
            locks,
        }
    }

    /// Whether it is in a state to be delivered.
    fn check(&self, now: Millis) -> Result<(), Reason> {
        let row = &self.version.row;
        match row.state {
            VersionState::Enabled if row.valid_until.is_some_and(|end| now >= end) => {
                Err(Reason::Outlived)
            }
            VersionState::Enabled => Ok(()),
            VersionState::Requested => Err(Reason::Requested),
            VersionState::Disabled => Err(Reason::Disabled),
            VersionState::Doomed(_) | VersionState::Destroyed => Err(Reason::Destroyed),
        }
    }
}

impl InGroup {
    /// The wraps of `version` whose master keys may do what `Op` needs; at least one.
    fn locks<Op: Operation>(&self, version: &InVersion) -> Result<Vec<Lock>, Reason> {
        let mut last = KeyState::Destroyed;
        let mut locks = Vec::with_capacity(version.wraps.len());
        for held in &version.wraps {
            if let Some(key) = self.key(&held.row.gmk) {
                if key.state.reveals() || !Op::REVEALS {
                    locks.push(Lock::of(&held.row, key));
                }
                last = key.state;
            }
        }
        match locks.is_empty() {
            true => Err(Reason::KeyState(last)),
            false => Ok(locks),
        }
    }
}
