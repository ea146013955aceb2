//! The token and its workers, as the configuration says.

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use custody::envelope::Wrapping;
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
    pub(crate) age: Duration,
    /// In bytes.
    pub(crate) growth: u64,
    pub(crate) start_deadline: Duration,
    pub(crate) wrappings: Vec<Wrapping>,
    pub(crate) codes: hsm::Codes,
}

impl Worker {
    /// A PIN that can be had once is had at the start.
    pub(super) fn pin_may_become(&self, other: &Self) -> bool {
        let can_be_read = |worker: &Self| worker.pin.can_be_read_again();
        self.pin == other.pin || can_be_read(self) && can_be_read(other)
    }
}

impl Config {
    /// For a command that is soon over: another worker would be in the middle of its login.
    pub(crate) fn with_one_worker(&self) -> Self {
        let mut config = self.clone();
        config.token.workers = NonZeroUsize::MIN;
        config
    }

    /// How the worker is started, logging as we do.
    pub(crate) fn worker(&self) -> hsm::Settings {
        let (token, worker) = (self.token.clone(), self.live.worker.clone());
        let mut environment = worker.environment;
        environment.extend(log::environment(self.log_format, self.live.log_level));
        hsm::Settings {
            worker: vec!["/proc/self/exe".into(), "hsm-worker".into()],
            module: worker.module,
            environment,
            token: token.selector,
            pin: worker.pin,
            workers: token.workers,
            worker_age: Some(worker.age),
            worker_growth: Some(worker.growth),
            sessions: token.sessions,
            queue: token.queue,
            deadline: token.deadline,
            start_deadline: worker.start_deadline,
            longest_wait: token.longest_wait,
            canary_interval: token.canary_interval,
            wrappings: worker.wrappings,
            codes: worker.codes,
            pin_latch: self.state_directory.join("pin-refused"),
        }
    }
}
