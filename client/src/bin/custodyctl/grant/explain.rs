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
    /// What was asked about, as it was written.
    #[serde(skip)]
    wanted: String,
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
        let outcome = match (&self.granted_by, &self.reason) {
            (Some(grant), _) => format!("granted by {grant}"),
            (None, Some(reason)) => format!("denied: {reason}"),
            (None, None) => "denied".to_owned(),
        };
        let selectors: Vec<_> = self.selectors.iter().map(|s| s.text.as_str()).collect();
        let facts = properties([
            ("secret", Some(self.wanted.clone())),
            ("process", self.evidence.as_ref().map(Evidence::brief)),
            ("outcome", Some(outcome)),
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
        wanted: written,
    };
    output::show(global.output, &explained)
}
