//! What monitoring is told of the tokens and their workers.

use std::{fmt, time::SystemTime};

use hsm::{Breaker, Client, Health, WorkerState};
use prometheus_client::encoding::DescriptorEncoder;

use super::{Labels, counters, gauges};
use crate::tokens::{Presence, Token, Tokens};

/// A token, as it is at the moment.
struct Standing {
    serial: String,
    /// `None` while it is away.
    client: Option<(Client, Health)>,
}

pub(super) fn encode(
    tokens: &Tokens,
    encoder: &mut DescriptorEncoder<'_>,
) -> Result<(), fmt::Error> {
    let standing: Vec<_> = tokens.all().map(Standing::of).collect();
    workers(&standing, encoder)?;
    keys(&standing, encoder)
}

impl Standing {
    fn of(token: &Token) -> Self {
        let client = match token.presence() {
            Presence::Arrived(client) | Presence::Here(client) => {
                let health = client.health().borrow().clone();
                Some((client, health))
            }
            Presence::Away(_) => None,
        };
        Self {
            serial: token.id().serial.clone(),
            client,
        }
    }

    fn labels(&self) -> Labels {
        vec![("token", self.serial.clone())]
    }

    fn word(&self, label: &'static str, value: &str) -> Labels {
        let mut labels = self.labels();
        labels.push((label, value.to_owned()));
        labels
    }

    fn count(&self, wanted: fn(&WorkerState) -> bool) -> u64 {
        let workers = self.client.iter().flat_map(|(_, health)| &health.workers);
        number(workers.filter(|worker| wanted(&worker.state)).count())
    }

    fn serving(&self) -> u64 {
        self.count(|state| matches!(state, WorkerState::Serving))
    }

    fn is_serving(&self) -> bool {
        self.serving() > 0
    }

    fn breaker(&self) -> Breaker {
        let health = self.client.as_ref().map(|(_, health)| health);
        health.map_or(Breaker::Open, Health::breaker)
    }
}

fn workers(all: &[Standing], encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    gauges(
        encoder,
        "token_serving",
        "Whether a worker of the token serves",
        all.iter()
            .map(|token| (token.labels(), u64::from(token.is_serving()))),
    )?;
    let breakers = all.iter().flat_map(|token| {
        let breakers = [Breaker::Closed, Breaker::HalfOpen, Breaker::Open];
        breakers.map(|state| {
            let labels = token.word("state", state.name());
            (labels, u64::from(state == token.breaker()))
        })
    });
    gauges(
        encoder,
        "token_breaker",
        "What becomes of requests to the token: 1 for the state that it is in",
        breakers,
    )?;
    let workers = all.iter().flat_map(|token| {
        let starting = token.count(|state| matches!(state, WorkerState::Starting));
        let failed = token.count(|state| matches!(state, WorkerState::Failed { .. }));
        [
            ("serving", token.serving()),
            ("starting", starting),
            ("failed", failed),
        ]
        .map(|(state, count)| (token.word("state", state), count))
    });
    gauges(
        encoder,
        "token_workers_now",
        "Workers of the token by what they do",
        workers,
    )?;
    let sessions = all.iter().filter_map(|token| {
        let (client, _) = token.client.as_ref()?;
        let sessions = token.serving().saturating_mul(client.sessions());
        Some((token.labels(), sessions))
    });
    gauges(
        encoder,
        "token_sessions",
        "Sessions that serve requests",
        sessions,
    )?;
    let generations = all.iter().filter_map(|token| {
        let (_, health) = token.client.as_ref()?;
        Some((token.labels(), health.generation))
    });
    counters(
        encoder,
        "token_workers",
        "Workers that the token has had",
        generations,
    )
}

fn keys(all: &[Standing], encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    let there = || {
        let there = all.iter();
        there.filter_map(|token| Some((token, &token.client.as_ref()?.0)))
    };
    let keys = there().flat_map(|(token, client)| {
        let (known, refused) = client.count_keys();
        [
            ("usable", known.saturating_sub(refused)),
            ("refused", refused),
        ]
        .map(|(state, count)| (token.word("state", state), number(count)))
    });
    gauges(
        encoder,
        "token_keys",
        "Keys in the token that are in use, and that are refused",
        keys,
    )?;
    let canaries: Vec<_> = there()
        .filter_map(|(token, client)| Some((token, client.newest_canary()?)))
        .collect();
    gauges(
        encoder,
        "token_canary_timestamp_seconds",
        "When the token was last asked to open a canary, in seconds since 1970",
        canaries.iter().map(|(token, canary)| {
            let at = canary.at.duration_since(SystemTime::UNIX_EPOCH);
            (token.labels(), at.unwrap_or_default().as_secs())
        }),
    )?;
    gauges(
        encoder,
        "token_canary_open",
        "Whether that opened",
        canaries
            .iter()
            .map(|(token, canary)| (token.labels(), u64::from(canary.problem.is_none()))),
    )
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
