//! The daemon itself, and who the operator is to it.

use std::sync::Arc;

use custody::caller::observation::Pinned;
use hsm::{WorkerHealth, WorkerState};
use proto::v1;

use super::Call;
use crate::{
    api::view,
    custodian::{Custodian, Error},
    tokens::{Presence, Token},
};

impl Call<'_> {
    pub(super) async fn status(self, _: v1::StatusRequest) -> Result<v1::StatusResponse, Error> {
        let custodian = &self.manager.custodian;
        let about = &self.manager.about;
        let counts = custodian.state().counts();
        let mut tokens = token_statuses(custodian).await?.into_iter();
        Ok(v1::StatusResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            instance: custodian.system().instance.to_string(),
            started: Some(view::timestamp(about.started)),
            development: about.is_development(),
            token: tokens.next(),
            other_tokens: tokens.collect(),
            journal: Some(journal_status(custodian)),
            groups: counts.groups,
            secrets: counts.secrets,
            grants: counts.rules,
            memory_locked: about.memory == crate::harden::Memory::Locked,
            attestation: match custodian.attestor().method() {
                Pinned::AtConnect => "kernel".to_owned(),
                Pinned::ByNumber => "start-time".to_owned(),
            },
            attestation_lacks: custodian.attestor().lacks(),
            findings: custodian
                .outlook()
                .counts()
                .map(|(_, _, count)| count)
                .sum(),
        })
    }

    pub(super) async fn who_am_i(
        self,
        _: v1::OperatorWhoAmIRequest,
    ) -> Result<v1::OperatorWhoAmIResponse, Error> {
        let evidence = self.operator.evidence();
        let held = self.operator.held().iter();
        Ok(v1::OperatorWhoAmIResponse {
            selectors: view::selectors(evidence),
            evidence: Some(view::evidence(evidence)),
            roles: held.map(view::role).collect(),
        })
    }
}

async fn token_statuses(custodian: &Arc<Custodian>) -> Result<Vec<v1::TokenStatus>, Error> {
    let custodian = Arc::clone(custodian);
    let all = move || custodian.tokens().all().map(token_status).collect();
    let all = tokio::task::spawn_blocking(all).await;
    all.map_err(|_| Error::Stopping)
}

fn token_status(token: &Token) -> v1::TokenStatus {
    let pin_change = token.pin_change().map(str::to_owned);
    let client = match token.presence() {
        Presence::Arrived(client) | Presence::Here(client) => client,
        Presence::Away(problem) => {
            return v1::TokenStatus {
                label: token.id().label.clone(),
                serial: token.id().serial.clone(),
                state: "away".to_owned(),
                problem: problem.map(|problem| problem.to_string()),
                breaker: hsm::Breaker::Open.name().to_owned(),
                pin_change,
                ..v1::TokenStatus::default()
            };
        }
    };
    let token = client.token();
    let health = client.health().borrow().clone();
    let breaker = health.breaker().name().to_owned();
    let (state, problem) = in_words(health.state);
    let canary = client.newest_canary();
    v1::TokenStatus {
        label: token.label,
        serial: token.serial,
        manufacturer: token.manufacturer,
        model: token.model,
        module: token.module.display().to_string(),
        state: state.to_owned(),
        problem,
        worker_generation: health.generation,
        canary: canary.as_ref().map(|canary| view::moment(canary.at)),
        canary_problem: canary.and_then(|canary| canary.problem),
        workers: health.workers.into_iter().map(worker_status).collect(),
        breaker,
        pin_change,
    }
}

fn worker_status(worker: WorkerHealth) -> v1::WorkerStatus {
    let (state, problem) = in_words(worker.state);
    v1::WorkerStatus {
        number: worker.number,
        state: state.to_owned(),
        problem: problem.or(worker.renewal_problem),
    }
}

/// What a worker does, and what is wrong.
pub(crate) fn in_words(state: WorkerState) -> (&'static str, Option<String>) {
    match state {
        WorkerState::Starting => ("starting", None),
        WorkerState::Serving => ("serving", None),
        WorkerState::Failed { problem, .. } => ("failed", Some(problem)),
    }
}

fn journal_status(custodian: &Custodian) -> v1::JournalStatus {
    let journal = custodian.journal();
    let position = journal.position();
    v1::JournalStatus {
        sequence: position.head.seq,
        hash: position.head.hash.to_string(),
        checkpoint: (position.covered > 0).then_some(position.covered),
        public_key: journal.origin().public_key.clone(),
        directory: journal.directory().display().to_string(),
    }
}
