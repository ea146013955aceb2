//! `custodyctl whoami` and `custodyctl status`.

use client::v1;
use serde::Serialize;

use crate::{
    args::Global,
    evidence::{self, Evidence, Selector},
    failure::Failure,
    output::{self, View, properties, time},
    token::Token,
};

#[derive(Debug, Serialize)]
struct Caller {
    evidence: Option<Evidence>,
    selectors: Vec<Selector>,
}

impl View for Caller {
    fn text(&self) -> Option<String> {
        let facts = properties(self.evidence.iter().flat_map(Evidence::facts));
        let parts: Vec<_> = [facts, evidence::table(&self.selectors)]
            .into_iter()
            .flatten()
            .collect();
        (!parts.is_empty()).then(|| parts.join("\n\n"))
    }
}

pub(crate) async fn whoami(global: &Global) -> Result<(), Failure> {
    let provider = global.provider().await?;
    let answer = provider.whoami().await.map_err(Failure::Provider)?;
    let caller = Caller {
        evidence: answer.evidence.map(Into::into),
        selectors: answer.selectors.into_iter().map(Into::into).collect(),
    };
    output::show(global.output, &caller)
}

#[derive(Debug, Serialize)]
struct Status {
    version: String,
    instance: String,
    started: Option<String>,
    development: bool,
    token: Option<Token>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    other_tokens: Vec<Token>,
    journal: Option<Journal>,
    groups: u64,
    secrets: u64,
    grants: u64,
    memory_locked: bool,
    attestation: String,
    attestation_lacks: Vec<String>,
    findings: u64,
}

#[derive(Debug, Serialize)]
struct Journal {
    sequence: u64,
    hash: String,
    checkpoint: Option<u64>,
    public_key: String,
    directory: String,
}

impl From<v1::StatusResponse> for Status {
    fn from(status: v1::StatusResponse) -> Self {
        Self {
            version: status.version,
            instance: status.instance,
            started: time(status.started.as_ref()),
            development: status.development,
            token: status.token.map(Into::into),
            other_tokens: status.other_tokens.into_iter().map(Into::into).collect(),
            journal: status.journal.map(Into::into),
            groups: status.groups,
            secrets: status.secrets,
            grants: status.grants,
            memory_locked: status.memory_locked,
            attestation: status.attestation,
            attestation_lacks: status.attestation_lacks,
            findings: status.findings,
        }
    }
}

impl From<v1::JournalStatus> for Journal {
    fn from(journal: v1::JournalStatus) -> Self {
        Self {
            sequence: journal.sequence,
            hash: journal.hash,
            checkpoint: journal.checkpoint,
            public_key: journal.public_key,
            directory: journal.directory,
        }
    }
}

impl Status {
    fn facts(&self) -> Vec<(&'static str, Option<String>)> {
        let memory = match self.memory_locked {
            true => "locked",
            false => "not locked: secrets may be swapped to disk",
        };
        let callers = match self.attestation.as_str() {
            "kernel" => "pinned by the kernel when they connect",
            "start-time" => "found by process id after they connect: weaker",
            other => other,
        };
        let lacks = self.attestation_lacks.join("\n");
        let warning = "for development: throw-away, never trust it with a real secret";
        vec![
            ("custodyd", Some(self.version.clone())),
            ("mode", self.development.then(|| warning.to_owned())),
            ("instance", Some(self.instance.clone())),
            ("started", self.started.clone()),
            ("memory", Some(memory.to_owned())),
            ("callers", Some(callers.to_owned())),
            ("not known", Some(lacks).filter(|lacks| !lacks.is_empty())),
            ("groups", Some(self.groups.to_string())),
            ("secrets", Some(self.secrets.to_string())),
            ("grants", Some(self.grants.to_string())),
            ("findings", Some(self.findings.to_string())),
        ]
    }
}

impl Journal {
    fn facts(&self) -> Vec<(&'static str, Option<String>)> {
        let signed = match self.checkpoint {
            Some(sequence) => format!("up to entry {sequence}"),
            None => "nothing yet".to_owned(),
        };
        vec![
            ("journal", Some(self.directory.clone())),
            ("last entry", Some(self.sequence.to_string())),
            ("last hash", Some(self.hash.clone())),
            ("signed", Some(signed)),
        ]
    }
}

impl View for Status {
    fn text(&self) -> Option<String> {
        let tokens = self.token.iter().chain(&self.other_tokens);
        let token = tokens.flat_map(Token::facts);
        let journal = self.journal.iter().flat_map(Journal::facts);
        properties(self.facts().into_iter().chain(token).chain(journal))
    }
}

pub(crate) async fn status(global: &Global) -> Result<(), Failure> {
    let manager = global.manager().await?;
    let answer = manager.status(v1::StatusRequest {}).await;
    let status = answer.map_err(Failure::Manager)?;
    output::show(global.output, &Status::from(status))
}
