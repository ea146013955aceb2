//! `custodyctl grant lint`.

use client::v1;
use custody::name::GroupName;
use serde::Serialize;

use super::view::Grant;
use crate::{
    args::Global,
    failure::Failure,
    finding::Finding,
    output::{self, View, columns},
};

#[derive(Debug, Serialize)]
struct Linted {
    grant: Option<Grant>,
    findings: Vec<Finding>,
}

#[derive(Debug, Serialize)]
struct Lint {
    grants: Vec<Linted>,
}

impl View for Lint {
    fn text(&self) -> Option<String> {
        let rows = self.grants.iter().flat_map(|Linted { grant, findings }| {
            findings.iter().map(move |finding| {
                let weight = if finding.hopeless { "hopeless" } else { "weak" };
                [
                    grant.as_ref().map(Grant::id).unwrap_or_default(),
                    grant.as_ref().map(Grant::secrets).unwrap_or_default(),
                    format!("{weight}: {}", finding.code),
                    finding.problem.clone(),
                    finding.remedy.clone(),
                ]
            })
        });
        columns(["GRANT", "SECRETS", "IS", "BECAUSE", "BETTER"], rows)
    }

    fn nothing(&self) -> &'static str {
        "nothing to say against the grants"
    }
}

pub(super) async fn run(global: &Global, group: Option<GroupName>) -> Result<(), Failure> {
    let request = v1::LintGrantsRequest {
        group: group.map(Into::into),
    };
    let answer = global.manager().await?.lint_grants(request).await;
    let linted = |linted: v1::lint_grants_response::Linted| Linted {
        grant: linted.grant.map(Into::into),
        findings: linted.findings.into_iter().map(Into::into).collect(),
    };
    let grants = answer.map_err(Failure::Manager)?.grants;
    let grants = grants.into_iter().map(linted).collect();
    output::show(global.output, &Lint { grants })
}
