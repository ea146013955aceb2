//! `custodyctl whoami` and `custodyctl status`.

use client::v1;
use serde::Serialize;

use crate::{
    args::Global,
    evidence::{self, Evidence, Selector},
    failure::Failure,
    output::{self, View, properties, time},
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
struct Token {
    label: String,
    serial: String,
    manufacturer: String,
    model: String,
    module: String,
    state: String,
    problem: Option<String>,
    worker_generation: u64,
    canary: Option<String>,
    canary_problem: Option<String>,
    breaker: String,
    workers: Vec<Worker>,
}

#[derive(Debug, Serialize)]
struct Worker {
    number: u64,
    state: String,
    problem: Option<String>,
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

impl From<v1::TokenStatus> for Token {
    fn from(token: v1::TokenStatus) -> Self {
        Self {
            label: token.label,
            serial: token.serial,
            manufacturer: token.manufacturer,
            model: token.model,
            module: token.module,
            state: token.state,
            problem: token.problem,
            worker_generation: token.worker_generation,
            canary: time(token.canary.as_ref()),
            canary_problem: token.canary_problem,
            breaker: token.breaker,
            workers: token.workers.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<v1::WorkerStatus> for Worker {
    fn from(worker: v1::WorkerStatus) -> Self {
        Self {
            number: worker.number,
            state: worker.state,
            problem: worker.problem,
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

impl Token {
    fn canary(&self) -> Option<String> {
        let at = self.canary.as_ref()?;
        Some(match &self.canary_problem {
            Some(problem) => format!("did not open at {at}: {problem}"),
            None => format!("opened at {at}"),
        })
    }

    fn breaker(&self) -> &str {
        match self.breaker.as_str() {
            "closed" => "done",
            "half-open" => "wait for a worker that is being started",
            "open" => "refused at once, until a worker can be started",
            other => other,
        }
    }

    fn workers(&self) -> Option<String> {
        let workers = self.workers.iter().map(|worker| {
            let Worker { number, state, .. } = worker;
            match &worker.problem {
                Some(problem) => format!("{state} (number {number}): {problem}"),
                None => format!("{state} (number {number})"),
            }
        });
        let workers: Vec<_> = workers.collect();
        (!workers.is_empty()).then(|| workers.join("\n"))
    }

    fn facts(&self) -> Vec<(&'static str, Option<String>)> {
        let state = match &self.problem {
            Some(problem) => format!("{}: {problem}", self.state),
            None => self.state.clone(),
        };
        vec![
            ("token", Some(format!("{} ({})", self.label, self.serial))),
            ("token is", Some(state)),
            (
                "token kind",
                Some(format!("{} {}", self.manufacturer, self.model)),
            ),
            ("module", Some(self.module.clone())),
            ("requests", Some(self.breaker().to_owned())),
            ("workers", self.workers()),
            ("canary", self.canary()),
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
        let token = self.token.iter().flat_map(Token::facts);
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
