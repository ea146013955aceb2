//! What monitoring is told of the token and its workers.

use std::{fmt, time::SystemTime};

use hsm::{Breaker, Client, WorkerState};
use prometheus_client::encoding::DescriptorEncoder;

use super::{Labels, counter, gauge, gauges};

pub(super) fn encode(
    token: &Client,
    encoder: &mut DescriptorEncoder<'_>,
) -> Result<(), fmt::Error> {
    workers(token, encoder)?;
    keys(token, encoder)
}

fn workers(token: &Client, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    let health = token.health().borrow().clone();
    gauge(
        encoder,
        "token_serving",
        "Whether a worker of the token serves",
        u64::from(health.state == WorkerState::Serving),
    )?;
    let breakers = [Breaker::Closed, Breaker::HalfOpen, Breaker::Open];
    let breaker = health.breaker();
    gauges(
        encoder,
        "token_breaker",
        "What becomes of requests to the token: 1 for the state that it is in",
        breakers.map(|state| (word("state", state.name()), u64::from(state == breaker))),
    )?;
    let count = |wanted: fn(&WorkerState) -> bool| {
        let workers = health.workers.iter();
        let found = workers.filter(|worker| wanted(&worker.state)).count();
        u64::try_from(found).unwrap_or(u64::MAX)
    };
    let serving = count(|state| matches!(state, WorkerState::Serving));
    let starting = count(|state| matches!(state, WorkerState::Starting));
    let failed = count(|state| matches!(state, WorkerState::Failed { .. }));
    gauges(
        encoder,
        "token_workers_now",
        "Workers of the token by what they do",
        [
            ("serving", serving),
            ("starting", starting),
            ("failed", failed),
        ]
        .map(|(state, count)| (word("state", state), count)),
    )?;
    gauge(
        encoder,
        "token_sessions",
        "Sessions that serve requests",
        serving.saturating_mul(token.sessions()),
    )?;
    counter(
        encoder,
        "token_workers",
        "Workers that the token has had",
        health.generation,
    )
}

fn keys(token: &Client, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    let (known, refused) = token.count_keys();
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    gauges(
        encoder,
        "token_keys",
        "Keys in the token that are in use, and that are refused",
        [
            ("usable", known.saturating_sub(refused)),
            ("refused", refused),
        ]
        .map(|(state, count)| (word("state", state), number(count))),
    )?;
    let Some(canary) = token.newest_canary() else {
        return Ok(());
    };
    let at = canary.at.duration_since(SystemTime::UNIX_EPOCH);
    gauge(
        encoder,
        "token_canary_timestamp_seconds",
        "When the token was last asked to open a canary, in seconds since 1970",
        at.unwrap_or_default().as_secs(),
    )?;
    gauge(
        encoder,
        "token_canary_open",
        "Whether that opened",
        u64::from(canary.problem.is_none()),
    )
}

fn word(label: &'static str, value: &str) -> Labels {
    vec![(label, value.to_owned())]
}
