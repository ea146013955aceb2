//! A token as custodyd tells of it, and `custodyctl hsm status`.

use client::v1;
use serde::Serialize;

use crate::{
    about::said,
    args::Global,
    failure::Failure,
    output::{self, View, columns, properties, time},
};

#[derive(Debug, Serialize)]
pub(crate) struct Token {
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
    pin_change: Option<String>,
}

#[derive(Debug, Serialize)]
struct Worker {
    number: u64,
    state: String,
    problem: Option<String>,
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
            pin_change: token.pin_change,
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

impl Token {
    fn canary(&self) -> Option<String> {
        let at = self.canary.as_ref()?;
        Some(match &self.canary_problem {
            Some(problem) => format!("did not open at {at}: {problem}"),
            None => format!("opened at {at}"),
        })
    }

    fn is_good(&self) -> bool {
        let mut workers = self.workers.iter();
        self.state != "away"
            && self.canary_problem.is_none()
            && workers.all(|worker| worker.state == "serving" && worker.problem.is_none())
    }

    fn breaker(&self) -> &str {
        match self.breaker.as_str() {
            "closed" => "done",
            "half-open" => "wait for a worker that is being started",
            "open" => "refused at once, until a worker can be started",
            other => other,
        }
    }

    /// How far the change of the PIN has come, and what is to be done.
    fn pin_change(&self) -> Option<String> {
        let stand = self.pin_change.as_deref()?;
        let label = &self.label;
        let said = match stand {
            "named" => "the next PIN is not taken in yet: reload custodyd, or restart it for a credential".to_owned(),
            "staged" => format!("the next PIN is there: change to it by 'custodyd hsm change-pin --token {label:?}'"),
            "begun" => "it is not known whether the token has the next PIN: the next login tries it, once".to_owned(),
            "done" => "the token has the next PIN: make it token.pin, take token.next-pin out, and reload custodyd".to_owned(),
            _ => "the record of it cannot be read: see custodyd's log".to_owned(),
        };
        Some(format!("{stand}: {said}"))
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

    pub(crate) fn facts(&self) -> Vec<(&'static str, Option<String>)> {
        let state = match &self.problem {
            Some(problem) => format!("{}: {problem}", self.state),
            None => self.state.clone(),
        };
        vec![
            ("token", Some(format!("{} ({})", self.label, self.serial))),
            ("token is", Some(state)),
            (
                "token kind",
                said(format!("{} {}", self.manufacturer, self.model).trim()),
            ),
            ("module", said(&self.module)),
            ("requests", Some(self.breaker().to_owned())),
            ("workers", self.workers()),
            ("canary", self.canary()),
            ("PIN change", self.pin_change()),
        ]
    }
}

/// A group master key of which something is amiss, or whose canary was never tried.
#[derive(Debug, Serialize)]
struct Key {
    group: String,
    generation: u32,
    id: String,
    refused: Option<String>,
    canary: Option<String>,
    canary_problem: Option<String>,
}

/// How the token, its workers and the keys do that the operator may see.
#[derive(Debug, Serialize)]
struct Health {
    token: Token,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    other_tokens: Vec<Token>,
    keys: usize,
    /// Those that are refused, or whose canary did not open.
    amiss: Vec<Key>,
}

impl Key {
    fn of(group: &str, key: v1::MasterKey) -> Self {
        Self {
            group: group.to_owned(),
            generation: key.generation,
            id: key.id,
            refused: key.refused,
            canary: time(key.canary.as_ref()),
            canary_problem: key.canary_problem,
        }
    }

    fn is_amiss(&self) -> bool {
        self.refused.is_some() || self.canary_problem.is_some()
    }

    fn why(&self) -> String {
        let why = self.refused.as_ref().or(self.canary_problem.as_ref());
        why.cloned().unwrap_or_default()
    }
}

impl Health {
    fn tokens(&self) -> impl Iterator<Item = &Token> {
        [&self.token].into_iter().chain(&self.other_tokens)
    }

    fn is_good(&self) -> bool {
        self.amiss.is_empty() && self.tokens().all(Token::is_good)
    }
}

impl View for Health {
    fn text(&self) -> Option<String> {
        let keys = match self.amiss.len() {
            0 => format!(
                "{}, none refused, and each canary opened when it was tried last",
                self.keys
            ),
            amiss => format!("{}, of which {amiss} cannot be used", self.keys),
        };
        let tokens = self.tokens().flat_map(Token::facts);
        let facts = properties(tokens.chain([("keys", Some(keys))]));
        let amiss = columns(
            [
                "GROUP",
                "GENERATION",
                "WHAT IS AMISS",
                "CANARY TRIED",
                "MASTER KEY",
            ],
            self.amiss.iter().map(|key| {
                [
                    key.group.clone(),
                    key.generation.to_string(),
                    key.why(),
                    key.canary.clone().unwrap_or_else(|| "never".to_owned()),
                    key.id.clone(),
                ]
            }),
        );
        let parts: Vec<_> = [facts, amiss].into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join("\n\n"))
    }
}

/// Shows how the token, its workers and the master keys do.
pub(crate) async fn health(global: &Global) -> Result<(), Failure> {
    let manager = global.manager().await?;
    let status = manager.status(v1::StatusRequest {}).await;
    let status = status.map_err(Failure::Manager)?;
    let groups = manager.groups(v1::ListGroupsRequest::default(), usize::MAX);
    let groups = groups.await.map_err(Failure::Manager)?.items.into_iter();
    let keys: Vec<_> = groups
        .flat_map(|group| {
            let v1::Group {
                name, master_keys, ..
            } = group;
            let living = master_keys
                .into_iter()
                .filter(|key| key.state != "destroyed");
            living.map(move |key| Key::of(&name, key))
        })
        .collect();
    let health = Health {
        token: status.token.unwrap_or_default().into(),
        other_tokens: status.other_tokens.into_iter().map(Into::into).collect(),
        keys: keys.len(),
        amiss: keys.into_iter().filter(Key::is_amiss).collect(),
    };
    output::show(global.output, &health)?;
    match health.is_good() {
        true => Ok(()),
        false => Err(Failure::Found("something is amiss with a token".to_owned())),
    }
}
