//! What can come back instead of an answer.

use std::{error::Error as _, io, path::PathBuf};

use tonic::{Code, Status};

use crate::{
    detail::{Dependents, dependents},
    retry::names_delay,
};

/// Why a call has no answer. The texts are custodyd's own, written for its callers.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing listens there, or the socket is closed to this user: check that
    /// custodyd runs, and the path.
    #[error("cannot reach custodyd at {path}")]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// No grant. It says nothing about whether the thing exists.
    #[error("denied")]
    Denied,
    /// The operator lacks the role that the text names.
    #[error("{0}")]
    NoRole(String),
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// There already is such a thing.
    #[error("{0}")]
    Exists(String),
    /// Something else must be done first.
    #[error("{0}")]
    Precondition(String),
    /// Others depend on what would go.
    #[error("{message}")]
    InUse {
        /// What custodyd says.
        message: String,
        /// The services and secrets that do, a line each.
        by: Vec<String>,
        /// Whether the call can be made with `force`.
        can_be_forced: bool,
    },
    /// The request is malformed; repeating it is pointless.
    #[error("{0}")]
    Invalid(String),
    /// Not now, or not so often: try again. After a write, look first whether it took effect.
    #[error("{0}")]
    Unavailable(String),
    /// What is stored fails its integrity check; someone must look.
    #[error("{0}")]
    DataLoss(String),
    /// Anything else.
    #[error("{1} ({0:?})")]
    Other(Code, String),
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        if is_local(&status) {
            return Self::Unavailable("custodyd went away before it answered".to_owned());
        }
        let message = status.message().to_owned();
        match status.code() {
            // Services are told this one word, whatever the reason.
            Code::PermissionDenied if message == "denied" => Self::Denied,
            Code::PermissionDenied => Self::NoRole(message),
            Code::NotFound => Self::NotFound(message),
            Code::AlreadyExists => Self::Exists(message),
            Code::FailedPrecondition => match dependents(status.details()) {
                Some(Dependents {
                    can_be_forced,
                    lines,
                }) => Self::InUse {
                    message,
                    by: lines,
                    can_be_forced,
                },
                None => Self::Precondition(message),
            },
            Code::InvalidArgument => Self::Invalid(message),
            Code::Unavailable => Self::Unavailable(message),
            Code::ResourceExhausted if names_delay(&status) => Self::Unavailable(message),
            Code::DataLoss => Self::DataLoss(message),
            code => Self::Other(code, message),
        }
    }
}

/// Whether the status was made at this end, for want of an answer from the other.
pub(crate) fn is_local(status: &Status) -> bool {
    status.source().is_some()
}
