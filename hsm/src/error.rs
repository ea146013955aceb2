//! What can go wrong with a token, each with its cause and the way out.

use std::path::PathBuf;

use custody::{envelope::Wrapping, name::KeyId};

use crate::token::{TokenDescription, TokenSelector};

/// An operation that the token, or the way to it, did not perform.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No token has the label and the serial number.
    #[error("no token is {wanted}; the module offers: {}; correct the token's name or connect it", listed(.candidates))]
    NoSuchToken {
        /// What was looked for.
        wanted: Box<TokenSelector>,
        /// What is there.
        candidates: Vec<TokenDescription>,
    },
    /// Several tokens have the label and the serial number.
    #[error("{wanted} is more than one token; the module offers: {}; add manufacturer and model, or disconnect all but one", listed(.candidates))]
    AmbiguousToken {
        /// What was looked for.
        wanted: Box<TokenSelector>,
        /// What is there.
        candidates: Vec<TokenDescription>,
    },
    /// The token refused the PIN. It was tried once and is not tried again.
    #[error("the token refused the PIN; it is not tried again until the PIN is corrected and {} removed", .path.display())]
    PinRefused {
        /// The latch.
        path: PathBuf,
    },
    /// The token refused the PIN earlier.
    #[error("the token refused the PIN earlier, so no login is attempted; correct the PIN, then remove {}", .path.display())]
    PinLatched {
        /// The latch.
        path: PathBuf,
    },
    /// Logins were begun and their answers lost.
    #[error("two logins in a row were interrupted before the token answered, so there is one an hour; once the PIN is known to be right, remove {}", .path.display())]
    PinUnanswered {
        /// The record of the attempts.
        path: PathBuf,
    },
    /// The latch cannot be read or written, so no login is attempted.
    #[error("{} cannot be kept: {why}; no login is attempted without it", .path.display())]
    LatchUnusable {
        /// The latch.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
    /// The token has locked the PIN.
    #[error("the token has locked the user PIN; have its security officer unlock it")]
    PinLocked,
    /// One more wrong PIN would lock the token.
    #[error(
        "the token allows one more try of the user PIN, which is not ours to spend; log in once with the vendor's tool"
    )]
    PinFinalTry,
    /// The PIN cannot be had.
    #[error("the PIN cannot be had")]
    PinUnavailable(#[from] PinProblem),
    /// No object has the key's identifier.
    #[error("key {id} is not in the token; restore it or connect the token that has it")]
    NoSuchKey {
        /// The key.
        id: KeyId,
    },
    /// Several objects have the key's identifier.
    #[error("{count} objects have the identifier of key {id}; remove those that are not the key")]
    AmbiguousKey {
        /// The key.
        id: KeyId,
        /// How many there are.
        count: u32,
    },
    /// The key is not as a key of ours must be.
    #[error("key {id} does not conform: {why}; it is not used")]
    NonConforming {
        /// The key.
        id: KeyId,
        /// The attribute, what it is and what it must be.
        why: String,
    },
    /// The canary of a group master key does not open: it is not the key that made it.
    #[error(
        "the canary of key {id} does not open: the token has another key of that identifier; connect the right token"
    )]
    CanaryDoesNotOpen {
        /// The key.
        id: KeyId,
    },
    /// The key was refused when it was loaded last. It is tried again and again: what is
    /// wrong may be the token and not the key, and may be mended.
    #[error("key {id} is refused: {reason}; it is tried again from time to time")]
    KeyRefused {
        /// The key.
        id: KeyId,
        /// Why.
        reason: String,
    },
    /// The key was never loaded, or is of another kind.
    #[error("key {id} is not loaded for this use")]
    KeyNotLoaded {
        /// The key.
        id: KeyId,
    },
    /// None of the allowed ways to wrap works with this token.
    #[error("the token wraps in none of the allowed ways ({})", refusals(.tried))]
    NoWrapping {
        /// Each way tried, and why it was refused.
        tried: Vec<Refusal>,
    },
    /// The token makes no journal key in any way to sign.
    #[error("the token makes no key that signs the journal ({tried})")]
    NoSigning {
        /// Each way tried, and why it was refused.
        tried: String,
    },
    /// The operation took too long.
    #[error("the token did not answer in time; try again")]
    Deadline,
    /// The worker ended and its successor does not serve yet.
    #[error("the token's worker is being replaced; try again")]
    Restarting,
    /// There is no worker, and the last attempt to start one failed.
    #[error("the token cannot be used now: {problem}; it is tried again and again, try later")]
    Outage {
        /// Why it failed.
        problem: String,
    },
    /// As many requests wait as may.
    #[error("too many requests wait for the token; try again")]
    Busy,
    /// The client was stopped.
    #[error("the token's client has stopped")]
    Stopped,
    /// A wrapped key does not open under its key and context, though the canary does.
    #[error("a key wrapped by {gmk} does not open in its context: it was altered or moved")]
    DoesNotOpen {
        /// The key that should have wrapped it.
        gmk: KeyId,
    },
    /// A version's content does not open under the data key that the token unwrapped.
    #[error("the content does not open under its data key: it was altered or moved")]
    ContentDoesNotOpen,
    /// The token refused a call.
    #[error("the token answered {code} to {function}")]
    Token {
        /// The `C_` function.
        function: String,
        /// The `CKR_` code.
        code: String,
    },
    /// The vendor's library cannot be used.
    #[error("the module {} cannot be used: {why}", .module.display())]
    ModuleUnusable {
        /// The library.
        module: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The worker cannot be run or understood.
    #[error("the token's worker cannot be used: {0}")]
    WorkerUnusable(String),
    /// The worker is of another version than its parent.
    #[error(
        "the worker speaks version {theirs} of the protocol and the daemon version {ours}; restart the daemon after an upgrade"
    )]
    OtherVersion {
        /// The parent's version.
        ours: u32,
        /// The worker's version.
        theirs: u32,
    },
}

/// A way to wrap, and why it was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The way.
    pub wrapping: Wrapping,
    /// Why it was refused.
    pub why: String,
}

/// Why a PIN cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PinProblem {
    /// There are no credentials, or the name is none.
    #[error("there is no credential {0:?}; set LoadCredentialEncrypted= in the unit")]
    NoCredential(String),
    /// Others may read the file.
    #[error("{} may be read or written by others (mode {mode:03o}); chmod it to 600", .path.display())]
    Lax {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file is somebody else's.
    #[error("{} belongs to user {owner}; it must be ours or root's", .path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// The source cannot be read.
    #[error("{what} cannot be read: {why}")]
    Unreadable {
        /// The source.
        what: String,
        /// What the system said.
        why: String,
    },
    /// There is no terminal to ask on.
    #[error(
        "there is no terminal to ask for it: {0}; run in the foreground or name another source"
    )]
    NoTerminal(String),
    /// There is nothing in the source.
    #[error("{0} is empty")]
    Empty(String),
    /// There is more in the source than a PIN has.
    #[error("{0} is too long for a PIN")]
    TooLong(String),
}

impl Error {
    /// Whether the same request may succeed in a moment.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Deadline
                | Self::Restarting
                | Self::Outage { .. }
                | Self::Busy
                | Self::Token { .. }
                | Self::KeyRefused { .. }
                | Self::KeyNotLoaded { .. }
        )
    }

    /// Whether a token that could not be had may be there later: it is not connected, its library
    /// or the way to it does not answer, or it cannot do what it could when its keys were made. A
    /// PIN that was refused, or a key that is not the one, gets no better by waiting.
    pub fn may_pass(&self) -> bool {
        self.is_transient()
            || matches!(
                self,
                Self::NoSuchToken { .. }
                    | Self::ModuleUnusable { .. }
                    | Self::WorkerUnusable(_)
                    | Self::PinUnanswered { .. }
                    | Self::NoWrapping { .. }
            )
    }

    /// No token can be asked: none of those that have the key is there.
    pub fn nobody() -> Self {
        Self::Outage {
            problem: "no token that has the key is there".to_owned(),
        }
    }

    /// The one of two problems that says more of what becomes of a request that several tokens were
    /// asked for: one that passes, of two of these that which was `before`.
    #[must_use]
    pub fn or_rather(self, before: Option<Self>) -> Self {
        match before {
            Some(before) if before.is_transient() || !self.is_transient() => before,
            _ => self,
        }
    }

    /// Whether one key cannot be used just now, and others can.
    pub fn is_of_one_key(&self) -> bool {
        matches!(self, Self::KeyRefused { .. } | Self::KeyNotLoaded { .. })
    }

    /// Whether what was to be opened is at fault, and not the token.
    pub fn is_bad_data(&self) -> bool {
        matches!(self, Self::DoesNotOpen { .. } | Self::ContentDoesNotOpen)
    }

    /// Whether one key is at fault, so that others are good.
    pub(crate) fn refuses_key(&self) -> bool {
        matches!(
            self,
            Self::NoSuchKey { .. }
                | Self::AmbiguousKey { .. }
                | Self::NonConforming { .. }
                | Self::CanaryDoesNotOpen { .. }
                | Self::NoWrapping { .. }
                | Self::Token { .. }
        )
    }

    /// Whether no later worker can do better.
    pub(crate) fn is_permanent(&self) -> bool {
        matches!(
            self,
            Self::PinRefused { .. }
                | Self::PinLatched { .. }
                | Self::PinLocked
                | Self::PinFinalTry
                | Self::OtherVersion { .. }
        )
    }
}

fn listed(candidates: &[TokenDescription]) -> String {
    if candidates.is_empty() {
        return "none".to_owned();
    }
    let all: Vec<_> = candidates.iter().map(ToString::to_string).collect();
    all.join("; ")
}

fn refusals(tried: &[Refusal]) -> String {
    let all: Vec<_> = tried
        .iter()
        .map(|refusal| format!("{}: {}", refusal.wrapping, refusal.why))
        .collect();
    all.join("; ")
}
