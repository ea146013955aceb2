//! What a client is told: the module, the token, the PIN's whereabouts and the limits.

use std::{ffi::OsString, num::NonZeroUsize, os::fd::RawFd, path::PathBuf, time::Duration};

use custody::envelope::Wrapping;

use crate::{
    Error,
    client::{link::WINDOW, meters::Meters},
    code::CodeOverride,
    profile::Profile,
    succession::{Pair, Stand, Succession},
    token::TokenSelector,
};

/// How a token is reached and used.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The worker's program and arguments, normally `/proc/self/exe hsm-worker`.
    pub worker: Vec<OsString>,
    /// The vendor's PKCS#11 library.
    pub module: PathBuf,
    /// Environment of the worker beyond our own; vendors' libraries are configured so.
    pub environment: Vec<(String, String)>,
    /// The token.
    pub token: TokenSelector,
    /// Where the worker finds the PIN.
    pub pin: PinSource,
    /// Where the worker finds the PIN that the token is to have next: a credential or a file.
    ///
    /// A login is with `pin` until [`pin::change`](crate::pin::change) has begun to change it at the
    /// token, and with this one after. How far that has come is on record beside
    /// [`pin_latch`](Self::pin_latch). Where it was cut off, this one is tried first; if the token
    /// refuses it, there is no other try until an operator has removed the latch.
    pub next_pin: Option<PinSource>,
    /// Whether this client's word counts for which PINs there are: it holds the token, and does not
    /// only try it beside one that does. Only then is a next PIN prepared for a change, or one that
    /// became the PIN concluded.
    pub keeps_pins: bool,
    /// Workers that hold the token at a time, each a process that is logged in. With more than
    /// one a call that hangs, or a library that crashes, holds up no request of the others.
    pub workers: NonZeroUsize,
    /// How long a worker serves before another takes its place, give or take a quarter. `None`:
    /// as long as it can.
    pub worker_age: Option<Duration>,
    /// By how many bytes a worker's memory may grow before another takes its place: some
    /// libraries leak. `None`: by any.
    pub worker_growth: Option<u64>,
    /// Sessions of a worker, each with a thread. Two to four; more only add latency.
    pub sessions: NonZeroUsize,
    /// Of the master keys that are kept wrapped, how many a worker has unwrapped in the token at a
    /// time, each an object of a session. One that is wanted takes the place of the one that was used
    /// longest ago. No fewer than there are sessions.
    pub unwrapped_keys: NonZeroUsize,
    /// Requests that may wait beyond those that the sessions work on. One more is
    /// answered at once with [`Error::Busy`].
    pub queue: NonZeroUsize,
    /// How long an operation may take, waiting included. A worker that keeps one for
    /// longer is killed and replaced.
    pub deadline: Duration,
    /// How long a worker may take to become ready, a prompt for the PIN not counted.
    pub start_deadline: Duration,
    /// The longest wait before a worker that was lost is replaced, and before a key that was
    /// refused is tried again. Waits begin short and double.
    pub longest_wait: Duration,
    /// How often the token is asked to open a canary, so that a connection that nobody uses
    /// is kept alive or found to be dead.
    pub canary_interval: Duration,
    /// How new keys may wrap, the preferred first.
    pub wrappings: Vec<Wrapping>,
    /// What the module's codes mean.
    pub codes: Codes,
    /// The file that is made when the token refused the PIN. While it exists no login is
    /// attempted by anyone.
    ///
    /// Before each login its neighbour with `.attempt` appended is made durable, and it
    /// is removed once the token has answered. An attempt whose answer was lost (the
    /// process killed in between) thus leaves a trace: the next login is refused and
    /// latched if the token says that a wrong PIN was entered, and otherwise allowed;
    /// after two such attempts in a row there is one an hour.
    pub pin_latch: PathBuf,
    /// Where what the token does is counted.
    pub meters: Meters,
}

impl Settings {
    /// How many requests the workers take at a time. More wait before they are given to one.
    pub fn at_once(&self) -> usize {
        WINDOW * self.sessions.get() * self.workers.get()
    }

    /// Whether logins are with [`next_pin`](Self::next_pin), as far as is known.
    pub fn has_next_pin(&self) -> bool {
        matches!(self.stand(), Some(Stand::Begun | Stand::Done))
    }

    /// How far the change to [`next_pin`](Self::next_pin) has come, in a word, if there is to be
    /// one: "named", no worker has taken that PIN in yet; "staged", the token can be told to change
    /// to it; "begun", the token was told to, and what came of it is not known; "done", the token
    /// has it; "unknown", the record of it cannot be read.
    pub fn pin_change(&self) -> Option<&'static str> {
        Some(match self.recorded()? {
            Ok(stand) => stand.map_or("named", Stand::name),
            Err(_) => "unknown",
        })
    }

    /// How far the change to the next PIN has come, if that is known.
    pub(crate) fn stand(&self) -> Option<Stand> {
        self.recorded()?.ok()?
    }

    fn recorded(&self) -> Option<Result<Option<Stand>, Error>> {
        let pair = Pair::new(&(&self.pin).into(), &self.next_pin.as_ref()?.into());
        Some(Succession::new(&self.pin_latch).stand(&pair))
    }
}

/// What a module's codes mean, beyond the standard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Codes {
    /// What kind of module it is; if none, that which its library says.
    pub profile: Option<Profile>,
    /// Codes that mean something else than the profile has.
    pub overrides: Vec<CodeOverride>,
}

/// Where the worker finds the PIN. It is never an argument, in the environment or in
/// the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PinSource {
    /// A systemd credential: the file of that name in `$CREDENTIALS_DIRECTORY`.
    Credential(String),
    /// A file of ours or root's that nobody else may read.
    File(PathBuf),
    /// A descriptor that this process inherited: a pipe, a file or a memfd, read to its
    /// end, once. Not a socket, which cannot be passed on without `unsafe`.
    Descriptor(RawFd),
    /// A question on the terminal, once in the life of this process.
    Prompt,
}

impl PinSource {
    /// Whether it gives the PIN more than once.
    pub fn can_be_read_again(&self) -> bool {
        matches!(self, Self::Credential(_) | Self::File(_))
    }
}
