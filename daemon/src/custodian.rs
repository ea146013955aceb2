//! The part of the daemon that answers requests: the order in which each meets
//! attestation, policy, journal, database and token.

use std::{
    path::PathBuf,
    sync::{Arc, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use custody::{
    caller::{
        Evidence,
        fact::Needs,
        observation::{Credentials, Drift},
    },
    invocation::Invocations,
    journal::{self, Event, Journal as _, Receipt, Surface},
    name::SecretId,
    outlook::Outlook,
    role::{Act, Operator},
    row::System,
    state::State,
    usage::Usage,
};
use tokio::sync::{Mutex, broadcast};

use crate::{
    attest::{Attestor, Peer},
    backup::Shelf,
    journal::Journal,
    metrics::Requests,
    store::Database,
    tokens::Tokens,
    turns::Turns,
};

mod about;
mod access;
mod backup;
mod certify;
mod changes;
mod checkpoint;
mod consumers;
mod deliver;
mod error;
mod invocations;
mod judge;
mod keys;
mod look;
mod mill;
mod outlook;
mod renew;
mod rewrap;
mod rotate;
mod secrets;
mod trustees;
mod unwrap;

pub(crate) use changes::{Writer, now};
pub(crate) use consumers::{InUse, Use, Watching};
pub(crate) use deliver::{Delivered, Order};
pub(crate) use error::Error;
pub(crate) use mill::Mill;
pub(crate) use secrets::Wish;

use consumers::Watchers;
use judge::Tally;
use outlook::News;
use rewrap::Moving;
use unwrap::DataKeys;

/// How many changes a slow watcher may fall behind before it is told to look again.
const BEHIND: usize = 256;

/// Answers requests.
#[derive(Debug)]
pub(crate) struct Custodian {
    attestor: Attestor,
    system: System,
    state: RwLock<State>,
    outlook: std::sync::Mutex<Outlook>,
    news: News,
    requests: Requests,
    tally: Tally,
    journal: Journal,
    database: Database,
    tokens: Arc<Tokens>,
    writer: Mutex<Writer>,
    changed: broadcast::Sender<SecretId>,
    watchers: Watchers,
    mill: Mill,
    folder: PathBuf,
    shelf: Arc<Shelf>,
    moving: Moving,
    invocations: std::sync::Mutex<Invocations>,
    data_keys: DataKeys,
    turns: Arc<Turns>,
}

/// What a custodian works with.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) attestor: Attestor,
    pub(crate) system: System,
    pub(crate) state: State,
    pub(crate) usage: Usage,
    /// The state directory.
    pub(crate) folder: PathBuf,
    pub(crate) shelf: Shelf,
    pub(crate) journal: Journal,
    pub(crate) database: Database,
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) writer: Writer,
    pub(crate) mill: Mill,
    /// How often a master key may encrypt before another takes its place.
    pub(crate) key_invocations: u64,
}

impl Custodian {
    pub(crate) fn new(mut parts: Parts) -> Arc<Self> {
        let turns = Turns::new(parts.tokens.at_once(), parts.tokens.places());
        let outlook = Outlook::of(&parts.state, now());
        let news = News::of(outlook.unrecorded(&parts.usage.take_findings()));
        Arc::new(Self {
            attestor: parts.attestor,
            system: parts.system,
            outlook: std::sync::Mutex::new(outlook),
            news,
            requests: Requests::default(),
            state: RwLock::new(parts.state),
            tally: Tally::of(parts.usage),
            journal: parts.journal,
            database: parts.database,
            tokens: parts.tokens,
            writer: Mutex::new(parts.writer),
            changed: broadcast::Sender::new(BEHIND),
            watchers: Watchers::default(),
            mill: parts.mill,
            folder: parts.folder,
            shelf: Arc::new(parts.shelf),
            moving: Moving::default(),
            invocations: std::sync::Mutex::new(Invocations::up_to(parts.key_invocations)),
            data_keys: DataKeys::none(),
            turns,
        })
    }

    /// `evidence` with what `needs` asks for, as far as that can be found out.
    pub(crate) async fn learn(&self, peer: &Peer, evidence: Evidence, needs: Needs) -> Evidence {
        if needs.is_empty() {
            return evidence;
        }
        self.attestor.learn(peer, evidence, needs).await
    }

    /// Hears of every secret that gets a new version, or is destroyed.
    pub(crate) fn watch(&self) -> broadcast::Receiver<SecretId> {
        self.changed.subscribe()
    }

    /// What `peer` is now, which asks for `operation`. If that is in doubt, the doubt goes
    /// on record.
    pub(crate) async fn evidence(
        &self,
        peer: &Peer,
        surface: Surface,
        operation: &'static str,
    ) -> Result<Evidence, Error> {
        match peer.evidence(&self.attestor).await {
            Ok(evidence) => Ok(evidence),
            Err(doubt) => {
                self.unattested(surface, peer.connected(), doubt, Some(operation))
                    .await?;
                Err(Error::Unattested(doubt))
            }
        }
    }

    /// Records that a peer could not be attested, when it asked for `operation` or before it
    /// asked for anything.
    pub(crate) async fn unattested(
        &self,
        surface: Surface,
        connected: Credentials,
        doubt: Drift,
        operation: Option<&'static str>,
    ) -> Result<(), Error> {
        let event = Event::Unattested {
            surface,
            pid: connected.pid,
            uid: connected.uid,
            doubt,
            operation,
        };
        self.record(event).await?;
        Ok(())
    }

    /// Lets `peer` do `act`, if it holds a role that may; either goes on record.
    pub(crate) async fn admit(&self, peer: &Peer, act: Act) -> Result<Operator, Error> {
        let operation = act.operation.name();
        let evidence = self.evidence(peer, Surface::Manager, operation).await?;
        let needs = self.state().role_needs(&evidence);
        let evidence = self.learn(peer, evidence, needs).await;
        let decision = self.state().admit(evidence, act);
        Ok(journal::admit(decision, &self.journal).await?)
    }

    /// Whether `peer` still holds a role for what it was admitted to. No entry: that it was
    /// admitted is on record.
    pub(crate) async fn still_admits(&self, peer: &Peer, act: &Act) -> Result<(), Error> {
        let operation = act.operation.name();
        let evidence = self.evidence(peer, Surface::Manager, operation).await?;
        let needs = self.state().role_needs(&evidence);
        let evidence = self.learn(peer, evidence, needs).await;
        let admitted = self.state().admit(evidence, act.clone());
        admitted.map(drop).map_err(Error::NotAdmitted)
    }

    /// Everything that is decided by. Hold it for a moment, and never across an await.
    pub(crate) fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who used which grant how often.
    pub(crate) fn usage(&self) -> MutexGuard<'_, Usage> {
        self.tally.usage()
    }

    /// What is counted of the answers to requests.
    pub(crate) fn requests(&self) -> &Requests {
        &self.requests
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

    pub(crate) fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    pub(crate) async fn record(&self, event: Event) -> Result<Receipt, Error> {
        self.journal.append(event).await.map_err(Error::Unrecorded)
    }
}
