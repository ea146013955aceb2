//! `custodyctl grant explain`.

use client::v1;
use serde::Serialize;

use super::view::Grant;
use crate::{
    args::Global,
    element::{self, Wanted},
    evidence::{Evidence, Selector},
    failure::Failure,
    output::{self, View, columns, properties},
};

/// Whether a process would get a secret, and why.
#[derive(Debug, Serialize)]
struct Explained {
    evidence: Option<Evidence>,
    selectors: Vec<Selector>,
    granted_by: Option<String>,
    reason: Option<String>,
    considered: Vec<Considered>,
    /// What the secret refers to.
    parts: Vec<Part>,
    /// What was asked about, as it was written.
    #[serde(skip)]
    wanted: String,
}

#[derive(Debug, Serialize)]
struct Part {
    field: String,
    reference: String,
    granted_by: Option<String>,
    reason: Option<String>,
}

impl From<v1::ExplainedPart> for Part {
    fn from(part: v1::ExplainedPart) -> Self {
        Self {
            field: part.field,
            reference: part.reference,
            granted_by: part.granted_by,
            reason: part.reason,
        }
    }
}

impl Part {
    fn line(&self) -> String {
        let outcome = outcome(self.granted_by.as_deref(), self.reason.as_deref());
        let outcome = outcome.unwrap_or_else(|| "you have no role that may know".to_owned());
        format!("{} {}: {outcome}", self.field, self.reference)
    }
}

/// What it comes to, if that is told.
fn outcome(granted_by: Option<&str>, reason: Option<&str>) -> Option<String> {
    match (granted_by, reason) {
        (Some(grant), _) => Some(format!("granted by {grant}")),
        (None, Some(reason)) => Some(format!("denied: {reason}")),
        (None, None) => None,
    }
}

#[derive(Debug, Serialize)]
struct Considered {
    grant: Option<Grant>,
    missing: Vec<Missing>,
}

#[derive(Debug, Serialize)]
struct Missing {
    demands: String,
    found: String,
}

impl From<v1::Considered> for Considered {
    fn from(considered: v1::Considered) -> Self {
        let missing = |v1::Missing { demands, found }| Missing { demands, found };
        Self {
            grant: considered.grant.map(Into::into),
            missing: considered.missing.into_iter().map(missing).collect(),
        }
    }
}

impl Considered {
    /// A line for each thing that is missing, the grant in the first of them.
    fn rows(&self) -> Vec<[String; 4]> {
        let grant = self.grant.as_ref();
        let row = |demands: &str, found: &str| {
            [
                grant.map(Grant::id).unwrap_or_default(),
                grant.map(Grant::secrets).unwrap_or_default(),
                demands.to_owned(),
                found.to_owned(),
            ]
        };
        let mut rows: Vec<_> = match &self.missing[..] {
            [] => vec![row("nothing else", "")],
            missing => missing.iter().map(|m| row(&m.demands, &m.found)).collect(),
        };
        for row in rows.iter_mut().skip(1) {
            row[0].clear();
            row[1].clear();
        }
        rows
    }
}

impl View for Explained {
    fn text(&self) -> Option<String> {
        let outcome = outcome(self.granted_by.as_deref(), self.reason.as_deref());
        let mut outcome = outcome.unwrap_or_else(|| "denied".to_owned());
        if self.granted_by.is_some() && self.parts.iter().any(|part| part.reason.is_some()) {
            outcome += ", alone: what it refers to is not granted";
        }
        let parts: Vec<_> = self.parts.iter().map(Part::line).collect();
        let selectors: Vec<_> = self.selectors.iter().map(|s| s.text.as_str()).collect();
        let facts = properties([
            ("secret", Some(self.wanted.clone())),
            ("process", self.evidence.as_ref().map(Evidence::brief)),
            ("outcome", Some(outcome)),
            ("refers to", (!parts.is_empty()).then(|| parts.join("\n"))),
            ("selectors", Some(selectors.join("\n"))),
        ])?;
        let grants = columns(
            ["GRANT", "SECRETS", "DEMANDS", "FOUND"],
            self.considered.iter().flat_map(Considered::rows),
        );
        let grants = grants.unwrap_or_else(|| {
            "No grant is on this secret; 'custodyctl grant add' adds one.".to_owned()
        });
        Some(format!("{facts}\n\n{grants}"))
    }
}

pub(super) async fn run(global: &Global, wanted: Wanted, pid: i32) -> Result<(), Failure> {
    let (written, number) = (wanted.to_string(), element::number(wanted.version));
    let request = v1::ExplainGrantRequest {
        group: wanted.secret.group.into(),
        name: wanted.secret.name.into(),
        pid,
        version: number,
    };
    let answer = global.manager().await?.explain_grant(request).await;
    let answer = answer.map_err(Failure::Manager)?;
    let explained = Explained {
        evidence: answer.evidence.map(Into::into),
        selectors: answer.selectors.into_iter().map(Into::into).collect(),
        granted_by: answer.granted_by,
        reason: answer.reason,
        considered: answer.considered.into_iter().map(Into::into).collect(),
        parts: answer.parts.into_iter().map(Into::into).collect(),
        wanted: written,
    };
    output::show(global.output, &explained)
}
