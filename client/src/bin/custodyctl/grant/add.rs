//! `custodyctl grant add`.

use clap::Args;
use client::v1;
use custody::name::GroupName;
use serde::Serialize;

use super::{terms, view::Grant};
use crate::{
    args::Global,
    callers::Callers,
    failure::Failure,
    finding::{self, Finding},
    output::{self, View},
};

pub(super) const EXAMPLES: &str = "\
Examples:
  custodyctl grant add web tls --unit nginx.service --user www-data
  custodyctl grant add web 'tls-*' --container ID --type keystore --field certificate-chain
  custodyctl grant add db password --user batch --exe /usr/bin/report --host-only \\
      --from 2026-07-01 --for 30d --uses 5 --rate 1/1h --dry-run

A date is the beginning of that day, in this machine's time zone unless it has an offset.
A grant that is weak is refused with exit code 5, one that cannot do what it says with 7.";

const UNDONE: &str = "the grant was not added";

#[derive(Debug, Args)]
pub(crate) struct Add {
    /// The group.
    group: GroupName,
    /// A secret's name, or a beginning of one followed by '*' (in quotes, for the shell).
    #[arg(value_name = "PATTERN", required = true)]
    patterns: Vec<String>,
    /// Add it although it is weak; the journal keeps that, and in which way.
    #[arg(long)]
    allow_weak: bool,
    /// Only say what would happen, with the exit code that it would have.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    callers: Callers,
    #[command(flatten)]
    terms: terms::Terms,
}

/// The grant, and what is weak about it.
#[derive(Debug, Serialize)]
struct Added {
    grant: Option<Grant>,
    findings: Vec<Finding>,
    #[serde(skip)]
    dry_run: bool,
}

impl View for Added {
    fn text(&self) -> Option<String> {
        let grant = self.grant.as_ref()?.text()?;
        if self.dry_run {
            Some(format!(
                "{grant}\n\nThis is what would be added; nothing was."
            ))
        } else {
            Some(grant)
        }
    }

    fn nothing(&self) -> &'static str {
        "added"
    }
}

pub(super) async fn run(global: &Global, add: Add) -> Result<(), Failure> {
    let Add {
        group,
        patterns,
        callers,
        terms,
        allow_weak,
        dry_run,
    } = add;
    let request = v1::AddGrantRequest {
        group: group.into(),
        patterns,
        selectors: callers.selectors(),
        terms: terms.into_message()?,
        allow_weak,
        dry_run,
    };
    let answer = global.manager().await?.add_grant(request).await;
    let answer = answer.map_err(|call| finding::explain(UNDONE, call))?;
    let findings: Vec<Finding> = answer.findings.into_iter().map(Into::into).collect();
    if dry_run {
        finding::refuse("the grant would not be added", &findings, allow_weak)?;
    }
    finding::warn(&findings);
    let added = Added {
        grant: answer.grant.map(Into::into),
        findings,
        dry_run,
    };
    output::show(global.output, &added)
}
