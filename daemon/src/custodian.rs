//! The part of the daemon that answers requests: the order in which each meets
//! attestation, policy, journal, database and token.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use custody::{
    caller::{Caller, Evidence, observation::Drift},
    change,
    envelope::{Failed, SealedContent},
    journal::{self, Event, Journal as _, Receipt, Refusal, Surface, Undelivered},
    name::SecretId,
    policy::{Deliver, Notify, Permit, Tampered, Wanted, Weak},
    release::Delivery,
    role::{Operator, Operators},
    row::System,
    secret::Refused,
    state::State,
};
use tokio::sync::{Mutex, broadcast};

use crate::{
    attest::{Attestor, Peer},
    journal::{Error as JournalError, Journal},
    store::{Database, Failed as DatabaseFailed},
};

mod changes;
mod checkpoint;

pub(crate) use changes::{Writer, now};

/// How many changes a slow watcher may fall behind before it is told to look again.
const BEHIND: usize = 256;

/// Answers requests.
#[derive(Debug)]
pub(crate) struct Custodian {
    attestor: Attestor,
    system: System,
    state: RwLock<State>,
    operators: RwLock<Operators>,
    journal: Journal,
    database: Database,
    hsm: hsm::Client,
    writer: Mutex<Writer>,
    changed: broadcast::Sender<SecretId>,
}

/// What a custodian works with.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) attestor: Attestor,
    pub(crate) system: System,
    pub(crate) state: State,
    pub(crate) operators: Operators,
    pub(crate) journal: Journal,
    pub(crate) database: Database,
    pub(crate) hsm: hsm::Client,
    pub(crate) writer: Writer,
}

/// Why a request was not answered as it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the peer cannot be attested")]
    Unattested(#[source] Drift),
    #[error("denied: {0:?}")]
    Denied(custody::policy::Reason),
    #[error("the peer is no operator")]
    NoOperator(#[source] custody::role::NoOperator),
    #[error("the decision could not be recorded")]
    Unrecorded(#[source] JournalError),
    #[error("the database did not answer")]
    Database(#[source] DatabaseFailed),
    #[error("the token did not do it")]
    Hsm(#[source] hsm::Error),
    #[error(transparent)]
    Tampered(#[from] Tampered),
    #[error("the caller changed while it was being served")]
    Drift(#[source] Drift),
    #[error(transparent)]
    Change(#[from] change::Error),
    #[error(transparent)]
    Content(#[from] Refused),
    #[error(transparent)]
    Weak(#[from] Weak),
    #[error("{field} {text:?}: {problem}")]
    Malformed {
        field: &'static str,
        text: String,
        problem: String,
    },
    #[error("the content is no encoding of fields")]
    NoFields,
    #[error("the content could not be sealed")]
    Seal(#[source] Failed),
    #[error("the system's random number generator failed")]
    Random,
    #[error("the change was made, but that could not be recorded")]
    Unsettled(#[source] JournalError),
    #[error("the daemon is stopping")]
    Stopping,
}

impl Custodian {
    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        Arc::new(Self {
            attestor: parts.attestor,
            system: parts.system,
            state: RwLock::new(parts.state),
            operators: RwLock::new(parts.operators),
            journal: parts.journal,
            database: parts.database,
            hsm: parts.hsm,
            writer: Mutex::new(parts.writer),
            changed: broadcast::Sender::new(BEHIND),
        })
    }

    /// Releases what `peer` wants, if a grant says so, after that is on record.
    ///
    /// Dropping this future is harmless: what can be left behind is a permit on record
    /// that was never spent.
    pub(crate) async fn deliver(&self, peer: &Peer, wanted: Wanted) -> Result<Delivery, Error> {
        let caller = Caller::attested(self.evidence(peer, Surface::Provider).await?);
        let decision = self.state().decide::<Deliver>(caller, wanted);
        let version = decision.as_ref().ok().map(|grant| grant.version().clone());
        // The ciphertext is read while the decision becomes durable, which takes longer:
        // nobody is woken for it.
        let reading = version.map(|version| self.database.content(version));
        let permit = journal::record(decision, &self.journal).await?;
        let stored = match reading {
            Some(reading) => reading.await,
            None => Ok(None),
        };
        let receipt = permit.receipt();
        let released = self.release(peer, permit, stored).await;
        if let Err(error) = &released {
            self.undelivered(receipt, error).await;
        }
        released
    }

    async fn release(
        &self,
        peer: &Peer,
        permit: Permit<Deliver>,
        stored: Result<Option<SealedContent>, DatabaseFailed>,
    ) -> Result<Delivery, Error> {
        let claim = permit.claim(stored.map_err(Error::Database)?)?;
        let released = self.hsm.unwrap_dek(claim).await.map_err(Error::Hsm)?;
        let now = peer.evidence(&self.attestor).await.map_err(Error::Drift)?;
        released.hand_over(&now).map_err(Error::Drift)
    }

    /// Tells which version `peer` would get, if a grant says so, after that is on record.
    pub(crate) async fn current(&self, peer: &Peer, wanted: Wanted) -> Result<u32, Error> {
        let caller = Caller::attested(self.evidence(peer, Surface::Provider).await?);
        let decision = self.state().decide::<Notify>(caller, wanted);
        let permit = journal::record(decision, &self.journal).await?;
        Ok(permit.version().number)
    }

    /// Hears of every secret that gets a new version, or is destroyed.
    pub(crate) fn watch(&self) -> broadcast::Receiver<SecretId> {
        self.changed.subscribe()
    }

    /// What `peer` is now. If that is in doubt, the doubt goes on record.
    pub(crate) async fn evidence(&self, peer: &Peer, surface: Surface) -> Result<Evidence, Error> {
        match peer.evidence(&self.attestor).await {
            Ok(evidence) => Ok(evidence),
            Err(doubt) => {
                let connected = peer.connected();
                self.unattested(surface, connected.pid, connected.uid, doubt)
                    .await?;
                Err(Error::Unattested(doubt))
            }
        }
    }

    /// Records that a peer could not be attested.
    pub(crate) async fn unattested(
        &self,
        surface: Surface,
        pid: i32,
        uid: u32,
        doubt: Drift,
    ) -> Result<(), Error> {
        let event = Event::Unattested {
            surface,
            pid,
            uid,
            doubt,
        };
        self.record(event).await?;
        Ok(())
    }

    /// Lets `peer` manage, if it is an operator; if not, that goes on record.
    pub(crate) async fn admit(&self, peer: &Peer, operation: &str) -> Result<Operator, Error> {
        let evidence = self.evidence(peer, Surface::Manager).await?;
        let admitted = self
            .operators
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .admit(evidence);
        match admitted {
            Ok(operator) => Ok(operator),
            Err(refused) => {
                let event = Event::NoOperator {
                    caller: refused.0.clone(),
                    operation: operation.to_owned(),
                };
                self.record(event).await?;
                Err(Error::NoOperator(refused))
            }
        }
    }

    pub(crate) fn set_operators(&self, operators: Operators) {
        *self
            .operators
            .write()
            .unwrap_or_else(PoisonError::into_inner) = operators;
    }

    /// Everything that is decided by. Hold it for a moment, and never across an await.
    pub(crate) fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn attestor(&self) -> &Attestor {
        &self.attestor
    }

    pub(crate) fn system(&self) -> &System {
        &self.system
    }

    pub(crate) fn journal(&self) -> &Journal {
        &self.journal
    }

    pub(crate) fn hsm(&self) -> &hsm::Client {
        &self.hsm
    }

    pub(crate) async fn record(&self, event: Event) -> Result<Receipt, Error> {
        self.journal.append(event).await.map_err(Error::Unrecorded)
    }

    async fn undelivered(&self, allowed: Receipt, error: &Error) {
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
            _ => Undelivered::Database { problem: problem() },
        };
        if let Err(error) = self.record(Event::Undelivered { allowed, reason }).await {
            // Whoever reads the journal then assumes a delivery, which errs on the safe side.
            tracing::warn!(allowed = allowed.seq(), %error, "a failed delivery is not on record");
        }
    }
}

impl From<Refusal<JournalError>> for Error {
    fn from(refusal: Refusal<JournalError>) -> Self {
        match refusal {
            Refusal::Denied(denial) => Self::Denied(denial.reason),
            Refusal::Unrecorded(error) => Self::Unrecorded(error),
        }
    }
}
