//! The token and its workers, as the configuration says.

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use aws_lc_rs::digest::{SHA256, digest};
use custody::{envelope::Wrapping, holder::TokenId};
use hsm::{PinSource, TokenSelector};

use super::Config;
use crate::log;

/// The token, and how to use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) selector: TokenSelector,
    pub(crate) workers: NonZeroUsize,
    /// Of each worker.
    pub(crate) sessions: NonZeroUsize,
    pub(crate) queue: NonZeroUsize,
    pub(crate) deadline: Duration,
    pub(crate) longest_wait: Duration,
    pub(crate) canary_interval: Duration,
}

/// How a process that holds the token is run. What changes here changes with its successor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Worker {
    pub(crate) module: PathBuf,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) pin: PinSource,
    pub(crate) next_pin: Option<PinSource>,
    pub(crate) age: Duration,
    /// In bytes.
    pub(crate) growth: u64,
    pub(crate) unwrapped_keys: NonZeroUsize,
    pub(crate) start_deadline: Duration,
    pub(crate) wrappings: Vec<Wrapping>,
    pub(crate) codes: hsm::Codes,
}

/// A name that is that of no token of the configuration, or of several.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unnamed {
    #[error(
        "no token of the configuration has the label or serial number {name:?}: there is {all}"
    )]
    None { name: String, all: String },
    #[error("several tokens have the label {0:?}: say the serial number")]
    Several(String),
}

/// The one of `ids` that is called so, and its place among them.
pub(crate) fn one_called(
    ids: impl Iterator<Item = TokenId>,
    name: &str,
) -> Result<(usize, TokenId), Unnamed> {
    let ids: Vec<_> = ids.collect();
    let mut called = ids.iter().enumerate().filter(|(_, id)| id.is_called(name));
    match (called.next(), called.next()) {
        (Some((nth, id)), None) => Ok((nth, id.clone())),
        (Some(_), Some(_)) => Err(Unnamed::Several(name.to_owned())),
        (None, _) => Err(Unnamed::None {
            name: name.to_owned(),
            all: ids
                .iter()
                .map(TokenId::to_string)
                .collect::<Vec<_>>()
                .join(", "),
        }),
    }
}

impl Worker {
    /// A PIN that can be had once is had at the start.
    fn pin_may_become(&self, other: &Self) -> bool {
        let can_be_read = |worker: &Self| worker.pin.can_be_read_again();
        self.pin == other.pin || can_be_read(self) && can_be_read(other)
    }
}

impl Config {
    /// Whether all tokens agree with those of `other` in `what`.
    pub(super) fn same_of_tokens<T: PartialEq>(
        &self,
        other: &Self,
        what: impl Fn(&Token) -> T,
    ) -> bool {
        let what = |config: &Self| Vec::from_iter(config.tokens.iter().map(&what));
        what(self) == what(other)
    }

    pub(super) fn pins_may_become(&self, other: &Self) -> bool {
        let mut workers = self.live.workers.iter().zip(&other.live.workers);
        workers.all(|(worker, other)| worker.pin_may_become(other))
    }

    /// For a command that is soon over: another worker would be in the middle of its login.
    pub(crate) fn with_one_worker(&self) -> Self {
        let mut config = self.clone();
        for token in &mut config.tokens {
            token.workers = NonZeroUsize::MIN;
        }
        config
    }

    /// How each token's workers are started, logging as we do: the first token's first.
    pub(crate) fn workers(&self) -> impl Iterator<Item = hsm::Settings> {
        let meters = hsm::Meters::default();
        let tokens = self.tokens.iter().zip(&self.live.workers);
        tokens.map(move |(token, worker)| hsm::Settings {
            meters: meters.of(token.selector.serial()),
            ..self.settings(token.clone(), worker.clone())
        })
    }

    /// How the workers of one token are started.
    pub(crate) fn worker(&self, nth: usize) -> hsm::Settings {
        self.settings(self.tokens[nth].clone(), self.live.workers[nth].clone())
    }

    /// The place of the one token of that label or serial number.
    pub(crate) fn place_of(&self, name: &str) -> Result<usize, Unnamed> {
        let selectors = self.tokens.iter().map(|token| &token.selector);
        let ids = selectors.map(|selector| TokenId::new(selector.label(), selector.serial()));
        one_called(ids, name).map(|(nth, _)| nth)
    }

    /// The note that a token refused its PIN, which says nothing of another's.
    pub(crate) fn latch(&self, token: &TokenSelector) -> PathBuf {
        if self.tokens[0].selector == *token {
            return self.state_directory.join("pin-refused");
        }
        let name = digest(&SHA256, token.to_string().as_bytes());
        let name = hex::encode(&name.as_ref()[..8]);
        self.state_directory.join(format!("pin-refused-{name}"))
    }

    fn settings(&self, token: Token, worker: Worker) -> hsm::Settings {
        let pin_latch = self.latch(&token.selector);
        let mut environment = worker.environment;
        environment.extend(log::environment(self.log_format, self.live.log_level));
        hsm::Settings {
            worker: vec!["/proc/self/exe".into(), "hsm-worker".into()],
            module: worker.module,
            environment,
            token: token.selector,
            pin: worker.pin,
            next_pin: worker.next_pin,
            keeps_pins: true,
            workers: token.workers,
            worker_age: Some(worker.age),
            worker_growth: Some(worker.growth),
            unwrapped_keys: worker.unwrapped_keys,
            sessions: token.sessions,
            queue: token.queue,
            deadline: token.deadline,
            start_deadline: worker.start_deadline,
            longest_wait: token.longest_wait,
            canary_interval: token.canary_interval,
            wrappings: worker.wrappings,
            codes: worker.codes,
            pin_latch,
            meters: hsm::Meters::default(),
        }
    }
}
