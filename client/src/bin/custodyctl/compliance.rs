//! `custodyctl compliance`, and the rules that it goes by.

use std::path::PathBuf;

use client::{Error as Call, Manager, v1};
use custody::{compliance::rules::Rules, name::GroupName};
use serde::Serialize;

use crate::{
    args::Global,
    failure::{Exit, Failure},
    output::{self, View, columns},
};

/// What was wrong with the file that rules were to be read from.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot read {0}")]
    Read(String, #[source] std::io::Error),
    #[error("{0} holds no rules: {1}")]
    Rules(String, toml::de::Error),
}

impl Error {
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Read(..) => Exit::Unexpected,
            Self::Rules(..) => Exit::Invalid,
        }
    }
}

/// Something was refused by the rules of its group.
#[derive(Debug, thiserror::Error)]
#[error("{problem}")]
pub(crate) struct Refused {
    problem: String,
    /// The findings, one a line.
    pub(crate) findings: Vec<String>,
    group: String,
}

impl Refused {
    pub(crate) fn hint(&self) -> String {
        format!("'custodyctl group rules {}' shows the rules", self.group)
    }
}

/// What custodyd answered, taken apart if it is that the rules of `group` refuse it.
pub(crate) fn explain(call: Call, group: &GroupName) -> Failure {
    let refused = format!("the rules of group {group} refuse ");
    match call {
        Call::Precondition(message) if message.starts_with(&refused) => {
            let mut lines = message.lines().map(str::to_owned);
            let first = lines.next().unwrap_or_default();
            Failure::Noncompliant(Refused {
                problem: first.trim_end_matches(':').to_owned(),
                findings: lines.collect(),
                group: group.to_string(),
            })
        }
        call => Failure::Manager(call),
    }
}

#[derive(Debug, Serialize)]
struct Finding {
    group: String,
    name: String,
    r#type: String,
    version: u32,
    code: String,
    problem: String,
    remedy: String,
    enforced: bool,
}

#[derive(Debug, Serialize)]
struct Findings {
    findings: Vec<Finding>,
    more: u64,
}

impl From<v1::RuleFinding> for Finding {
    fn from(finding: v1::RuleFinding) -> Self {
        Self {
            group: finding.group,
            name: finding.name,
            r#type: finding.r#type,
            version: finding.version,
            code: finding.code,
            problem: finding.problem,
            remedy: finding.remedy,
            enforced: finding.enforced,
        }
    }
}

impl Findings {
    fn new(findings: Vec<v1::RuleFinding>, more: u64) -> Self {
        Self {
            findings: findings.into_iter().map(Into::into).collect(),
            more,
        }
    }

    /// Fails if there are any, for the exit code to tell.
    fn found(&self) -> Result<(), Failure> {
        let more = match self.more {
            0 => String::new(),
            more => format!(", and those of {more} more secrets"),
        };
        match self.findings.len() {
            0 => Ok(()),
            found => Err(Failure::Found(format!("findings: {found}{more}"))),
        }
    }
}

impl View for Findings {
    fn text(&self) -> Option<String> {
        let table = columns(
            ["SECRET", "VERSION", "FINDING", "BECAUSE", "BETTER"],
            self.findings.iter().map(|finding| {
                [
                    format!("{}/{}", finding.group, finding.name),
                    finding.version.to_string(),
                    finding.code.clone(),
                    finding.problem.clone(),
                    finding.remedy.clone(),
                ]
            }),
        )?;
        Some(match self.more {
            0 => table,
            more => format!("{table}\n\nand those of {more} more secrets"),
        })
    }

    fn nothing(&self) -> &'static str {
        "everything complies with the rules"
    }
}

/// The rules of a group, or none.
#[derive(Debug, Serialize)]
struct Shown {
    rules: Option<serde_json::Value>,
}

impl Shown {
    fn new(rules: Option<v1::Rules>) -> Self {
        Self {
            rules: rules.map(|rules| document(&rules)),
        }
    }
}

impl View for Shown {
    fn text(&self) -> Option<String> {
        lines(self.rules.as_ref()?)
    }

    fn nothing(&self) -> &'static str {
        "no rules; 'custodyctl group rules GROUP FILE' sets some"
    }
}

/// Rules as a file that can be given back: numbers, texts and lists of them are the same in
/// TOML.
pub(crate) fn lines(rules: &serde_json::Value) -> Option<String> {
    let is_set = |value: &serde_json::Value| {
        !value.is_null() && value.as_array().is_none_or(|all| !all.is_empty())
    };
    let set = rules.as_object()?.iter().filter(|(_, value)| is_set(value));
    let lines = set.map(|(name, value)| format!("{} = {value}", name.replace('_', "-")));
    Some(lines.collect::<Vec<_>>().join("\n"))
}

/// With the names of the message's fields.
pub(crate) fn document(rules: &v1::Rules) -> serde_json::Value {
    serde_json::json!({
        "mode": rules.mode,
        "min_rsa_bits": rules.min_rsa_bits,
        "min_ec_bits": rules.min_ec_bits,
        "min_symmetric_bits": rules.min_symmetric_bits,
        "key_algorithms": rules.key_algorithms,
        "signature_algorithms": rules.signature_algorithms,
        "symmetric_algorithms": rules.symmetric_algorithms,
        "min_tls_version": rules.min_tls_version,
        "max_validity_days": rules.max_validity_days,
        "warn_before_days": rules.warn_before_days,
        "max_age_days": rules.max_age_days,
        "required_labels": rules.required_labels,
    })
}

fn read(file: &PathBuf) -> Result<v1::Rules, Error> {
    let name = || file.display().to_string();
    let text = std::fs::read_to_string(file).map_err(|error| Error::Read(name(), error))?;
    let rules: Rules = toml::from_str(&text).map_err(|error| Error::Rules(name(), error))?;
    let number = |number: Option<std::num::NonZeroU32>| number.map(std::num::NonZeroU32::get);
    Ok(v1::Rules {
        mode: rules.mode.name().to_owned(),
        min_rsa_bits: number(rules.min_rsa_bits),
        min_ec_bits: number(rules.min_ec_bits),
        min_symmetric_bits: number(rules.min_symmetric_bits),
        key_algorithms: texts(&rules.key_algorithms),
        signature_algorithms: texts(&rules.signature_algorithms),
        symmetric_algorithms: texts(&rules.symmetric_algorithms),
        min_tls_version: rules.min_tls_version.map(|version| version.to_string()),
        max_validity_days: number(rules.max_validity_days),
        warn_before_days: number(rules.warn_before_days),
        max_age_days: number(rules.max_age_days),
        required_labels: texts(&rules.required_labels),
    })
}

fn texts<'a, T: ToString + 'a>(names: impl IntoIterator<Item = &'a T>) -> Vec<String> {
    names.into_iter().map(ToString::to_string).collect()
}

/// Lists what falls foul of the rules.
pub(crate) async fn list(global: &Global, group: Option<GroupName>) -> Result<(), Failure> {
    let request = v1::ListFindingsRequest {
        group: group.map(Into::into),
    };
    let answer = global.manager().await?.list_findings(request).await;
    let answer = answer.map_err(Failure::Manager)?;
    let findings = Findings::new(answer.findings, answer.more);
    output::show(global.output, &findings)?;
    findings.found()
}

/// What `custodyctl group rules` does.
#[derive(Debug)]
pub(crate) enum Deed {
    Show,
    Set { file: PathBuf, dry_run: bool },
    Clear,
}

impl Deed {
    pub(crate) fn new(file: Option<PathBuf>, dry_run: bool, clear: bool) -> Self {
        match file {
            Some(file) => Self::Set { file, dry_run },
            None if clear => Self::Clear,
            None => Self::Show,
        }
    }
}

/// Shows or sets the rules of a group.
pub(crate) async fn rules(
    global: &Global,
    manager: &Manager,
    group: GroupName,
    deed: Deed,
) -> Result<(), Failure> {
    let request = |rules, dry_run| v1::SetRulesRequest {
        group: group.to_string(),
        rules,
        dry_run,
    };
    let request = match deed {
        Deed::Show => {
            let request = v1::GetGroupRequest { name: group.into() };
            let group = manager.get_group(request).await;
            let rules = group.map_err(Failure::Manager)?.rules;
            return output::show(global.output, &Shown::new(rules));
        }
        Deed::Clear => request(None, false),
        Deed::Set { file, dry_run } => request(Some(read(&file)?), dry_run),
    };
    let answer = manager.set_rules(request).await;
    let answer = answer.map_err(Failure::Manager)?;
    let findings = Findings::new(answer.findings, answer.more);
    output::show(global.output, &findings)?;
    findings.found()
}
