//! What a process does first of all, to be a daemon.

use custody::group::Millis;

use super::{Failure, Mode};
use crate::{
    attest::{self, helper::Helper},
    harden::{self, Memory},
    log,
};

/// A process that has given up the rights that it needs no more.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(super) memory: Memory,
    pub(super) helper: Option<Helper>,
}

/// Makes this process ready to be a daemon: before it starts a thread or learns a secret.
pub(crate) fn prepare(format: log::Format, level: log::Level) -> Result<Ready, Failure> {
    log::install(format, level);
    let memory = harden::process();
    let helper = attest::helper::start(log::environment(format, level))?;
    Ok(Ready { memory, helper })
}

/// What the daemon can say of itself.
#[derive(Debug)]
pub(crate) struct About {
    pub(crate) started: Millis,
    pub(crate) mode: Mode,
    pub(crate) memory: Memory,
}

impl About {
    pub(crate) fn is_development(&self) -> bool {
        self.mode == Mode::Development
    }
}
