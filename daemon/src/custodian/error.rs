//! Why a request was not answered as it was asked, and what of that goes on record.

use custody::{
    caller::observation::Drift,
    change,
    envelope::Failed,
    journal::{Event, Journal as _, Receipt, Refusal, Turned, undelivered::Undelivered},
    lint::Finding,
    name::{GroupName, VersionId},
    policy::{Reason, Tampered, Via, rule::Senseless},
    release::Unwritable,
    secret::Refused,
};

use super::{Custodian, InUse};
use crate::{
    backup, journal::Error as JournalError, names, store::Failed as DatabaseFailed,
    threads::Unavailable,
};

/// Why a request was not answered as it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the peer cannot be attested")]
    Unattested(#[source] Drift),
    #[error("denied: {0:?}")]
    Denied(Reason),
    #[error("denied: {1:?} for what {0} refers to")]
    PartDenied(Via, Reason),
    #[error("the operator may not")]
    NotAdmitted(#[source] Box<custody::role::NotAdmitted>),
    #[error("the decision could not be recorded")]
    Unrecorded(#[source] JournalError),
    #[error("the database did not answer")]
    Database(#[source] DatabaseFailed),
    #[error("the token did not do it")]
    Hsm(#[source] hsm::Error),
    #[error(transparent)]
    Tampered(#[from] Tampered),
    #[error("{0} was destroyed, or its secret deleted, while it was being delivered")]
    Overtaken(VersionId),
    #[error("the content of {0} was renewed while it was being delivered")]
    Renewed(VersionId),
    #[error("the caller changed while it was being served")]
    Drift(#[source] Drift),
    #[error(transparent)]
    Change(#[from] change::Error),
    #[error(transparent)]
    Content(#[from] Refused),
    #[error(transparent)]
    Senseless(#[from] Senseless),
    #[error("what was asked for is weak: {0:?}")]
    Weak(Vec<Finding>),
    #[error("what was asked for is hopeless: {0:?}")]
    Hopeless(Vec<Finding>),
    #[error(transparent)]
    Names(#[from] names::Error),
    #[error("{0}")]
    InUse(Box<InUse>),
    #[error("there are too many watches")]
    TooManyWatches,
    #[error("there is no process {0} that can be looked at")]
    NoProcess(i32),
    #[error("there is no running process of {0}")]
    NobodyInUnit(String),
    #[error("the journal cannot be read")]
    Unreadable(#[source] JournalError),
    #[error("{field} {text:?}: {problem}")]
    Malformed {
        field: &'static str,
        text: String,
        problem: String,
    },
    #[error("the content is no encoding of fields")]
    NoFields,
    #[error("what is delivered cannot be written so")]
    Format(#[source] Refused),
    #[error("too many wait to have content taken or written")]
    Busy(#[from] Unavailable),
    #[error("the content could not be sealed")]
    Seal(#[source] Failed),
    #[error("the system's random number generator failed")]
    Random,
    #[error(
        "the master key of group {0} has encrypted as often as it may; another takes its place"
    )]
    WornOut(GroupName),
    #[error("the change was made, but that could not be recorded")]
    Unsettled(#[source] JournalError),
    #[error("there is no backup")]
    Backup(#[from] backup::Error),
    #[error("the daemon is stopping")]
    Stopping,
}

impl Error {
    /// Whether what is stored is at fault, and nothing that comes back.
    pub(super) fn is_bad_data(&self) -> bool {
        match self {
            Self::Tampered(_) => true,
            Self::Database(error) => error.is_bad_data(),
            Self::Hsm(error) => error.is_bad_data(),
            _ => false,
        }
    }
}

impl Custodian {
    /// Puts on record that nothing of what those entries allowed was delivered.
    pub(super) async fn undelivered(&self, allowed: &[Receipt], error: &Error) {
        let problem = || error.to_string();
        let reason = match error {
            Error::Drift(drift) => Undelivered::Drift { drift: *drift },
            Error::Tampered(_) => Undelivered::Tampered { problem: problem() },
            Error::Database(error) if error.is_bad_data() => Undelivered::Tampered {
                problem: error.to_string(),
            },
            Error::Hsm(error) if error.is_bad_data() => Undelivered::Tampered {
                problem: error.to_string(),
            },
            Error::Hsm(error) => Undelivered::Token {
                problem: error.to_string(),
            },
            Error::Format(refused) => Undelivered::Format {
                problem: refused.to_string(),
            },
            Error::Overtaken(_) | Error::Renewed(_) => Undelivered::Overtaken,
            Error::Busy(_) => Undelivered::Busy,
            _ => Undelivered::Database { problem: problem() },
        };
        let events = allowed.iter().map(|&allowed| Event::Undelivered {
            allowed,
            reason: reason.clone(),
        });
        if let Err(error) = self.journal.append_all(events.collect()).await {
            // Whoever reads the journal then assumes a delivery, which errs on the safe side.
            let first = allowed.first().map(|receipt| receipt.seq());
            tracing::warn!(allowed = first, %error, "a failed delivery is not on record");
        }
    }
}

impl From<Unwritable> for Error {
    fn from(unwritable: Unwritable) -> Self {
        match unwritable {
            Unwritable::NoFields => Self::NoFields,
            Unwritable::Format(refused) => Self::Format(refused),
        }
    }
}

impl From<Refusal<JournalError>> for Error {
    fn from(refusal: Refusal<JournalError>) -> Self {
        match refusal {
            Refusal::Denied(denial) => match denial.via {
                None => Self::Denied(denial.reason),
                Some(via) => Self::PartDenied(via, denial.reason),
            },
            Refusal::Unrecorded(error) => Self::Unrecorded(error),
        }
    }
}

impl From<Turned<JournalError>> for Error {
    fn from(turned: Turned<JournalError>) -> Self {
        match turned {
            Turned::Away(refused) => Self::NotAdmitted(refused),
            Turned::Unrecorded(error) => Self::Unrecorded(error),
        }
    }
}
