//! Which grant would give a process a secret, or what keeps each from doing so.

use std::fmt;

use super::{Moment, Operation, Reason, Wanted, rule::Rule};
use crate::{caller::Evidence, secret::Kind, selector::Selector};

/// One thing that keeps a grant from matching.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// It is for other secrets.
    Name,
    /// The process lacks this.
    Selector(Selector),
    /// Something about its terms.
    Terms(Reason),
}

impl Obstacle {
    /// What the grant demands.
    pub fn demands(&self, rule: &Rule) -> String {
        let terms = &rule.terms;
        match self {
            Self::Name => list(rule.patterns.as_slice()),
            Self::Selector(selector) => selector.to_string(),
            Self::Terms(Reason::OtherType) => match terms.kind {
                Some(kind) => format!("the type {}", kind.name()),
                None => String::new(),
            },
            Self::Terms(Reason::OtherFields) if terms.fields.is_empty() => {
                "fields of the secret's type".to_owned()
            }
            Self::Terms(Reason::OtherFields) => format!("no fields but {}", list(&terms.fields)),
            Self::Terms(Reason::NotYet) => "a time after it begins".to_owned(),
            Self::Terms(Reason::Expired) => "a time before it ends".to_owned(),
            Self::Terms(Reason::UsedUp) => match terms.uses {
                Some(uses) => format!("at most {uses} deliveries in all"),
                None => String::new(),
            },
            Self::Terms(Reason::TooOften) => match terms.rate {
                Some(rate) => format!("at most {} deliveries in {} s", rate.uses, rate.seconds),
                None => String::new(),
            },
            Self::Terms(reason) => format!("{reason:?}"),
        }
    }

    /// What there is instead.
    pub fn found(&self, evidence: &Evidence, wanted: &Wanted) -> String {
        match self {
            Self::Name => wanted.name.to_string(),
            Self::Selector(selector) => {
                let kind = std::mem::discriminant(selector);
                let held = evidence.selectors();
                let alike: Vec<_> = held
                    .iter()
                    .filter(|held| std::mem::discriminant(*held) == kind)
                    .collect();
                match (alike.is_empty(), selector, evidence.exe_doubt) {
                    (false, ..) => list(alike),
                    (true, Selector::Path(_), Some(doubt)) => format!("nothing certain: {doubt}"),
                    (true, ..) => "nothing of that kind".to_owned(),
                }
            }
            Self::Terms(reason) => match reason {
                Reason::NotYet => "it has not begun".to_owned(),
                Reason::Expired => "it has ended".to_owned(),
                Reason::UsedUp | Reason::TooOften => "as many as that already".to_owned(),
                Reason::OtherType => "another type".to_owned(),
                Reason::OtherFields => list(&wanted.fields),
                other => format!("{other:?}"),
            },
        }
    }
}

fn list<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<_> = items.into_iter().map(|item| item.to_string()).collect();
    items.join(", ")
}

impl Rule {
    /// Whether it is about this secret and this process, on whatever terms.
    pub fn names(&self, evidence: &Evidence, wanted: &Wanted) -> bool {
        self.patterns.cover(&wanted.name) && self.selectors.match_all(evidence)
    }

    /// Which of its terms are not met for an `Op` on a secret of type `kind`.
    pub(crate) fn unmet<Op: Operation>(
        &self,
        wanted: &Wanted,
        kind: Kind,
        moment: Moment<'_>,
    ) -> Option<Reason> {
        let terms = &self.terms;
        let counted = Op::REVEALS;
        let known = |field: &String| kind.may_have(field);
        let fields = !wanted.fields.iter().all(known)
            || !terms.fields.is_empty()
                && (!wanted.fields.is_subset(&terms.fields) || !terms.fields.iter().any(known));
        let unmet = [
            (
                terms.kind.is_some_and(|only| only != kind),
                Reason::OtherType,
            ),
            (fields, Reason::OtherFields),
            (
                terms.not_before.is_some_and(|start| moment.now < start),
                Reason::NotYet,
            ),
            (
                terms.not_after.is_some_and(|end| moment.now >= end),
                Reason::Expired,
            ),
            (!moment.usage.has_left(self), Reason::UsedUp),
            (
                counted && !moment.usage.in_rate(self, moment.now),
                Reason::TooOften,
            ),
        ];
        unmet
            .into_iter()
            .find_map(|(unmet, reason)| unmet.then_some(reason))
    }

    /// Everything that keeps it from giving `wanted` to the process in `evidence`.
    pub(crate) fn obstacles<Op: Operation>(
        &self,
        evidence: &Evidence,
        wanted: &Wanted,
        kind: Option<Kind>,
        moment: Moment<'_>,
    ) -> Vec<Obstacle> {
        let name = (!self.patterns.cover(&wanted.name)).then_some(Obstacle::Name);
        let selectors = self.selectors.as_slice().iter();
        let missing = selectors.filter(|selector| !selector.matches(evidence));
        let terms = kind.and_then(|kind| self.unmet::<Op>(wanted, kind, moment));
        name.into_iter()
            .chain(missing.cloned().map(Obstacle::Selector))
            .chain(terms.map(Obstacle::Terms))
            .collect()
    }

    /// What a caller would rather use of a secret of type `kind`, best first: what gives more
    /// of what is wanted, then what is not counted.
    pub(crate) fn preference(&self, wanted: &Wanted, kind: Option<Kind>) -> impl Ord + use<> {
        let fields = &self.terms.fields;
        let there = |field: &&String| kind.is_none_or(|kind| kind.may_have(field));
        let less = match wanted.fields.is_empty() && !fields.is_empty() {
            true => usize::MAX - fields.iter().filter(there).count(),
            false => 0,
        };
        (less, self.terms.are_counted(), self.id)
    }
}
