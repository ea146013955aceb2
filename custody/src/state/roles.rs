//! Roles in the state: who holds which, and what that admits to.

use super::State;
use crate::{
    caller::{Evidence, fact::Needs},
    name::RuleId,
    role::{Act, Admission, Assignment, NotAdmitted, Role},
};

impl State {
    /// The roles that are held, by the names of their assignments.
    pub fn assignments(&self) -> impl Iterator<Item = &Assignment> {
        self.assignments.values().map(|held| &held.row)
    }

    /// The assignment called `id`.
    pub fn assignment(&self, id: &RuleId) -> Option<&Assignment> {
        self.assignments.get(id).map(|held| &held.row)
    }

    /// Whether somebody may assign roles.
    pub fn has_crypto_officer(&self) -> bool {
        self.assignments()
            .any(|held| held.role == Role::CryptoOfficer)
    }

    /// What must be looked up about the process in `evidence` before it can be told which
    /// roles it holds.
    pub fn role_needs(&self, evidence: &Evidence) -> Needs {
        self.assignments()
            .map(|held| held.selectors.needs(evidence))
            .fold(Needs::default(), Needs::or)
    }

    /// Lets the process in `evidence` do `act`, if it holds a role that may.
    ///
    /// An act on everything, such as a list of all groups, takes the role for any group:
    /// [`Operator::sees`](crate::role::Operator::sees) says for which.
    ///
    /// # Errors
    ///
    /// If it does not; nothing about what the act is on shows.
    pub fn admit(&self, evidence: Evidence, act: Act) -> Result<Admission, Box<NotAdmitted>> {
        let takes = act.takes();
        let roles = takes.unwrap_or(&Role::ALL);
        let matching = || {
            self.assignments()
                .filter(|held| held.selectors.match_all(&evidence))
        };
        let held: Vec<_> = matching()
            .filter(|held| roles.contains(&held.role))
            .filter(|held| act.group.is_none() || held.group.is_none() || held.group == act.group)
            .cloned()
            .collect();
        if held.is_empty() && takes.is_some() {
            return Err(Box::new(NotAdmitted {
                is_operator: matching().next().is_some(),
                evidence,
                act,
            }));
        }
        Ok(Admission {
            evidence,
            act,
            held,
        })
    }
}
