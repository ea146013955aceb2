//! The two gRPC servers, and telling the world how the tokens' workers are.

use std::sync::Arc;

use custody::journal::{Event, Surface};
use hsm::{Health, WorkerState};
use proto::v1::{manager_server::ManagerServer, provider_server::ProviderServer};
use tokio::{net::UnixListener, sync::watch, task::JoinSet};
use tonic::transport::Server;
use tonic_health::{ServingStatus, server::HealthReporter};

use super::{About, Failure};
use crate::{
    api::{gate::Gate, manager::Manager, provider::Provider},
    custodian::Custodian,
    listen::{Doors, connections},
    tokens::{Presence, Token},
};

/// Requests at a time on one connection.
const STREAMS: u32 = 128;

/// Serves both surfaces until `stopping` says so, and then what is open.
pub(super) async fn both(
    custodian: Arc<Custodian>,
    about: Arc<About>,
    manager: UnixListener,
    provider: UnixListener,
    doors: Arc<Doors>,
    stopping: watch::Receiver<bool>,
) -> Result<(), Failure> {
    let (reporter, health) = tonic_health::server::health_reporter();
    let reporting = tokio::spawn(report(Arc::clone(&custodian), reporter));
    let stopped = |mut stopping: watch::Receiver<bool>| async move {
        // An error means that whoever would tell us is gone.
        drop(stopping.wait_for(|stop| *stop).await);
    };
    let managers = ManagerServer::new(Manager {
        custodian: Arc::clone(&custodian),
        about,
    });
    let gate = Gate(Arc::clone(doors.throttle()));
    let providers = Provider {
        custodian,
        recheck: doors.attestation().recheck,
    };
    let manager = Server::builder()
        .max_concurrent_streams(STREAMS)
        .add_service(health.clone())
        .add_service(managers)
        .serve_with_incoming_shutdown(
            connections(manager, Surface::Manager, Arc::clone(&doors)),
            stopped(stopping.clone()),
        );
    let provider = Server::builder()
        .max_concurrent_streams(STREAMS)
        .add_service(health)
        .add_service(ProviderServer::with_interceptor(providers, gate))
        .serve_with_incoming_shutdown(
            connections(provider, Surface::Provider, doors),
            stopped(stopping),
        );
    let ended = tokio::try_join!(manager, provider);
    reporting.abort();
    ended?;
    Ok(())
}

/// Tells gRPC health, the log and the journal how the tokens' workers are.
async fn report(custodian: Arc<Custodian>, reporter: HealthReporter) {
    let mut reports = JoinSet::new();
    for nth in 0..custodian.tokens().all().len() {
        let (custodian, reporter) = (Arc::clone(&custodian), reporter.clone());
        reports.spawn(async move {
            if let Some(token) = custodian.tokens().all().nth(nth) {
                report_on(&custodian, token, &reporter).await;
            }
        });
    }
    reports.join_all().await;
}

async fn report_on(custodian: &Custodian, token: &Token, reporter: &HealthReporter) {
    let mut presence = token.watch();
    let client = loop {
        tell(custodian, reporter).await;
        if let Presence::Here(client) = presence.borrow_and_update().clone() {
            break client;
        }
        if presence.changed().await.is_err() {
            return;
        }
    };
    let mut health = client.health();
    // What is on record; that they serve is what a start says.
    let mut told: Vec<_> = health
        .borrow()
        .workers
        .iter()
        .map(|worker| (worker.number, "serving", None))
        .collect();
    loop {
        let now: Health = health.borrow_and_update().clone();
        tell(custodian, reporter).await;
        for (worker, told) in now.workers.into_iter().zip(&mut told) {
            let news = match worker.state {
                WorkerState::Serving => (worker.number, "serving", None),
                WorkerState::Failed { problem, .. } => (worker.number, "failed", Some(problem)),
                WorkerState::Starting => continue,
            };
            // The same failure at each attempt is no news.
            if news != *told {
                // It may have missed something.
                custodian.mind_keys();
                *told = news.clone();
                put_on_record(custodian, token, news).await;
            }
        }
        if health.changed().await.is_err() {
            return;
        }
    }
}

/// Tells gRPC health whether a token serves.
async fn tell(custodian: &Custodian, reporter: &HealthReporter) {
    let serving = match custodian.tokens().is_serving() {
        true => ServingStatus::Serving,
        false => ServingStatus::NotServing,
    };
    for service in ["", "custody.v1.Manager", "custody.v1.Provider"] {
        reporter.set_service_status(service, serving).await;
    }
}

async fn put_on_record(
    custodian: &Custodian,
    token: &Token,
    (generation, state, problem): (u64, &'static str, Option<String>),
) {
    let event = Event::Token {
        token_serial: token.id().serial.clone(),
        generation,
        state,
        problem,
    };
    tracing::info!(?event, "a token's worker changed");
    if let Err(error) = custodian.record(event).await {
        tracing::warn!(%error, "a change of a token's worker is not on record");
    }
}
