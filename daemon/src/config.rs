//! The configuration file: TOML, then `Raw`, then [`Config`].

use std::{
    fs::File,
    io::{self, Read as _},
    num::NonZeroU32,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use custody::{envelope::Wrapping, journal::chain::CheckpointPolicy};
use hsm::{CodeOverrideError, Profile, TokenSelector};
use nix::unistd::geteuid;

use crate::{attest, log};

mod raw;
mod token;

use raw::Raw;
pub(crate) use token::{Token, Unnamed, Worker, one_called};

/// A configuration that makes sense. [`read`] is its only maker.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) state_directory: PathBuf,
    pub(crate) manager: PathBuf,
    pub(crate) provider: PathBuf,
    /// Where monitoring asks, if it may.
    pub(crate) metrics: Option<PathBuf>,
    /// At least one; the first has the keys of the installation.
    pub(crate) tokens: Vec<Token>,
    /// Which of them deliveries ask first.
    pub(crate) reads: hsm::Reads,
    /// How often a group master key may encrypt.
    pub(crate) key_invocations: u64,
    pub(crate) segment_size: u64,
    pub(crate) attestation: Attestation,
    pub(crate) log_format: log::Format,
    pub(crate) live: Live,
    /// Where it came from, to be read again.
    pub(crate) path: PathBuf,
}

/// What a running daemon can change to.
#[derive(Clone, Debug)]
pub(crate) struct Live {
    pub(crate) checkpoint: CheckpointPolicy,
    pub(crate) log_level: log::Level,
    pub(crate) drain: Duration,
    /// Percent of the time in which the token may be busy with moving data keys to new master
    /// keys; 1 to 100.
    pub(crate) rewrap_share: u32,
    pub(crate) limits: Limits,
    /// Of each token, in the same order.
    pub(crate) workers: Vec<Worker>,
}

/// How callers are held to what was found out about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attestation {
    pub(crate) senders: Senders,
    /// How often a caller that watches is looked at, even if there is nothing to tell it.
    pub(crate) recheck: Duration,
    /// How it is found out.
    pub(crate) attestor: attest::Settings,
}

/// Whether everything that comes over a connection must come from who made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Senders {
    Checked,
    Unchecked,
}

/// How much a caller may want of the daemon.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// On both sockets together.
    pub(crate) connections: usize,
    /// Likewise.
    pub(crate) connections_per_uid: usize,
    /// How long a new connection may take to say that it speaks HTTP/2.
    pub(crate) handshake: Duration,
    pub(crate) rate: Rate,
}

/// How often the callers of one uid and unit may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    pub(crate) per_second: NonZeroU32,
    /// At once, after a rest.
    pub(crate) burst: NonZeroU32,
}

/// A configuration that makes no sense.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", .path.display())]
pub(crate) struct Error {
    path: PathBuf,
    problem: Problem,
}

#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("it cannot be read: {0}")]
    Unreadable(io::Error),
    #[error("others than its owner may write it: chmod go-w it")]
    Lax,
    #[error("it belongs to uid {0}; it must be root's or the daemon's own")]
    Owner(u32),
    #[error("{0}")]
    Toml(Box<toml::de::Error>),
    #[error("{0} must be an absolute path, not {1:?}")]
    Relative(&'static str, PathBuf),
    #[error("listen.manager, listen.provider and metrics.socket must be different sockets")]
    OneSocket,
    #[error("two tokens have the name {0}")]
    TokenTwice(TokenSelector),
    #[error("there must be a table [token], or several [[token]]")]
    NoToken,
    #[error("token needs label and serial, or uri; not both and not neither")]
    TokenName,
    #[error("token.uri: {0}")]
    TokenUri(hsm::token::ParseError),
    #[error(
        "token.pin wants {{ credential = NAME }}, {{ file = PATH }}, {{ descriptor = N }} or \"prompt\""
    )]
    Pin,
    #[error(
        "token.next-pin and token.pin must be two sources, each {{ credential = NAME }} or {{ file = PATH }}: which of them the token has is on record by their names"
    )]
    NextPin,
    #[error("token.wrapping knows {known}; {0:?} is not among them", known = Wrapping::ALL.map(Wrapping::name).join(", "))]
    Wrapping(String),
    #[error("token.wrapping must name at least one algorithm")]
    NoWrapping,
    #[error("token.profile knows auto, {known}; {0:?} is not among them", known = Profile::ALL.map(Profile::name).join(", "))]
    Profile(String),
    #[error("token.ckr-overrides: {0}")]
    Code(#[from] CodeOverrideError),
    #[error("{0} must be more than nothing")]
    Zero(&'static str),
    #[error(
        "limits.key-invocations wants a number from 2048 to 4294967296, which is 2^32, not {0}"
    )]
    KeyInvocations(u64),
    #[error("limits.rewrap-share wants a percentage from 1 to 100, not {0}")]
    Share(u32),
    #[error("{0} wants a size such as \"64MiB\", not {1:?}")]
    Size(&'static str, String),
}

/// Reads the configuration at `path`.
///
/// # Errors
///
/// One problem, and what would do.
pub(crate) fn read(path: &Path) -> Result<Config, Error> {
    parse(&read_text(path).map_err(|problem| problem.of(path))?, path)
}

/// Makes sense of the configuration that is, or is to be, at `path`.
pub(crate) fn parse(text: &str, path: &Path) -> Result<Config, Error> {
    let raw = toml::from_str::<Raw>(text).map_err(|error| Problem::Toml(error.into()));
    raw.and_then(|raw| raw.check(path))
        .map_err(|problem| problem.of(path))
}

impl Problem {
    fn of(self, path: &Path) -> Error {
        Error {
            path: path.to_owned(),
            problem: self,
        }
    }
}

fn read_text(path: &Path) -> Result<String, Problem> {
    let mut file = File::open(path).map_err(Problem::Unreadable)?;
    let found = file.metadata().map_err(Problem::Unreadable)?;
    // Whoever writes it chooses the module that runs with the PIN.
    if found.mode() & 0o022 != 0 {
        return Err(Problem::Lax);
    }
    if found.uid() != 0 && found.uid() != geteuid().as_raw() {
        return Err(Problem::Owner(found.uid()));
    }
    let mut text = String::new();
    file.read_to_string(&mut text)
        .map_err(Problem::Unreadable)?;
    Ok(text)
}

impl Config {
    /// The first setting in which `other` differs that a running daemon cannot change.
    pub(crate) fn needs_restart(&self, other: &Self) -> Option<&'static str> {
        let settings = [
            (
                "state-directory",
                self.state_directory == other.state_directory,
            ),
            (
                "listen",
                (&self.manager, &self.provider) == (&other.manager, &other.provider),
            ),
            ("metrics.socket", self.metrics == other.metrics),
            (
                "token.label, token.serial or token.uri",
                self.same_of_tokens(other, |token| token.selector.clone()),
            ),
            (
                "token.workers",
                self.same_of_tokens(other, |token| token.workers),
            ),
            (
                "token.sessions",
                self.same_of_tokens(other, |token| token.sessions),
            ),
            (
                "token.queue, token.deadline, token.longest-wait or token.canary-interval",
                self.tokens == other.tokens,
            ),
            ("token.pin", self.pins_may_become(other)),
            ("reads", self.reads == other.reads),
            (
                "limits.key-invocations",
                self.key_invocations == other.key_invocations,
            ),
            (
                "journal.segment-size",
                self.segment_size == other.segment_size,
            ),
            ("attestation", self.attestation == other.attestation),
            ("log.format", self.log_format == other.log_format),
        ];
        settings
            .into_iter()
            .find_map(|(name, same)| (!same).then_some(name))
    }

    /// The database.
    pub(crate) fn database(&self) -> PathBuf {
        self.state_directory.join("custody.db")
    }

    /// The folder of the journal's segments.
    pub(crate) fn journal(&self) -> PathBuf {
        self.state_directory.join("journal")
    }

    /// The journal key's public half.
    pub(crate) fn public_key(&self) -> PathBuf {
        self.state_directory.join("journal.pub")
    }
}

#[cfg(test)]
mod tests;
