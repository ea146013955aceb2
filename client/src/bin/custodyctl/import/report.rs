//! What an import is going to do, and what it did.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{
    plan::{Item, Left, Plan},
    send::Outcome,
    walk::Source,
};
use crate::output::{View, columns};

/// A plan or a report: never with content.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    group: String,
    dry_run: bool,
    secrets: Vec<Secret>,
    left: Vec<LeftOut>,
    /// Files of which everything is in custody.
    removable: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Secret {
    name: String,
    r#type: &'static str,
    from: String,
    properties: Vec<Property>,
    outcome: &'static str,
    version: Option<u32>,
    why: Option<String>,
    #[serde(skip)]
    summary: String,
}

#[derive(Debug, Serialize)]
struct Property {
    name: String,
    value: String,
}

#[derive(Debug, Serialize)]
struct LeftOut {
    source: String,
    why: String,
    /// Whether it may be a secret all the same.
    secret: bool,
}

impl Report {
    /// Of a plan, before anything is stored.
    pub(super) fn of_plan(group: &str, plan: &Plan) -> Self {
        let secrets = plan.items.iter().map(|item| Secret::new(item, None));
        Self {
            group: group.to_owned(),
            dry_run: true,
            secrets: secrets.collect(),
            left: plan.left.iter().map(LeftOut::from).collect(),
            removable: Vec::new(),
        }
    }

    /// Of what was stored.
    pub(super) fn of_outcomes(
        group: &str,
        plan: &Plan,
        outcomes: &[Outcome],
        sources: &[Source],
    ) -> Self {
        let done = plan.items.iter().zip(outcomes);
        let kept = |kept: bool| {
            let items = done.clone().filter(move |(_, one)| one.is_kept() == kept);
            let numbers = items.flat_map(|(item, _)| &item.sources);
            numbers.copied().collect::<BTreeSet<usize>>()
        };
        let needed = &kept(false) | &plan.needed;
        let removable = &kept(true) - &needed;
        Self {
            dry_run: false,
            secrets: done
                .clone()
                .map(|(item, outcome)| Secret::new(item, Some(outcome)))
                .collect(),
            removable: removable
                .iter()
                .map(|&at| &sources[at])
                .filter(|source| source.is_file())
                .map(|source| source.shown.clone())
                .collect(),
            ..Self::of_plan(group, plan)
        }
    }
}

impl Secret {
    fn new(item: &Item, outcome: Option<&Outcome>) -> Self {
        let (told, version, why) = match outcome {
            None => ("planned", None, None),
            Some(Outcome::Written(version)) => ("written", Some(*version), None),
            Some(Outcome::Unchanged(version)) => ("unchanged", Some(*version), None),
            Some(Outcome::Exists(version)) => (
                "exists",
                Some(*version),
                Some("there is one of that name with other content".to_owned()),
            ),
            Some(Outcome::Refused(why)) => ("refused", None, Some(why.clone())),
            Some(Outcome::Unknown) => (
                "unknown",
                None,
                Some("no answer came; the same import again finds out".to_owned()),
            ),
            Some(Outcome::NotReached) => ("not-reached", None, None),
        };
        let properties = item.properties.iter().map(|(name, value)| Property {
            name: name.clone(),
            value: value.clone(),
        });
        Self {
            name: item.secret.name.to_string(),
            r#type: item.kind.name(),
            from: item.from.clone(),
            properties: properties.collect(),
            outcome: told,
            version,
            why,
            summary: item.summary(),
        }
    }

    /// What became of it, for people.
    fn fate(&self) -> String {
        let what = match (self.outcome, self.version) {
            ("not-reached", _) => "not reached".to_owned(),
            ("exists", Some(version)) => format!("exists as version {version}"),
            (outcome, Some(version)) => format!("{outcome}, version {version}"),
            (outcome, None) => outcome.to_owned(),
        };
        match &self.why {
            Some(why) => format!("{what}: {why}"),
            None => what,
        }
    }
}

impl From<&Left> for LeftOut {
    fn from(left: &Left) -> Self {
        Self {
            source: left.source.clone(),
            why: left.why.clone(),
            secret: left.is_fault,
        }
    }
}

impl View for Report {
    fn text(&self) -> Option<String> {
        let last = if self.dry_run { "WHAT" } else { "OUTCOME" };
        let secrets = columns(
            ["SECRET", "TYPE", "FROM", last],
            self.secrets.iter().map(|secret| {
                [
                    format!("{}/{}", self.group, secret.name),
                    secret.r#type.to_owned(),
                    secret.from.replace(", ", "\n"),
                    match self.dry_run {
                        true => secret.summary.clone(),
                        false => secret.fate(),
                    },
                ]
            }),
        );
        let left = columns(
            ["LEFT OUT", "WHY"],
            self.left
                .iter()
                .map(|left| [left.source.clone(), left.why.clone()]),
        );
        let removable = (!self.removable.is_empty()).then(|| {
            let files = self.removable.join("\n  ");
            format!("In custody as a whole, and yet to be removed by you:\n  {files}")
        });
        let parts = [secrets, left, self.counts(), removable];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join("\n\n"))
    }

    fn nothing(&self) -> &'static str {
        "there is nothing to import"
    }
}

impl Report {
    /// How many there are of each outcome.
    fn counts(&self) -> Option<String> {
        let mut counts = BTreeMap::new();
        for secret in &self.secrets {
            *counts.entry(secret.outcome).or_insert(0) += 1;
        }
        if !self.left.is_empty() {
            counts.insert("left out", self.left.len());
        }
        let told = counts.iter().map(|(what, count)| format!("{count} {what}"));
        let told = told.collect::<Vec<_>>().join(", ");
        (!told.is_empty()).then_some(told)
    }
}
