//! The face of a token that the daemon sees: async, with deadlines, over workers that come and go.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use custody::{
    envelope::{Context, PlaintextDek, WrappedDek},
    name::{InstanceId, KeyId},
    release::Unlock,
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};
use zeroize::Zeroizing;

use crate::{
    Error, Settings, TokenDescription,
    latch::Latch,
    wire::{Done, Generate, Op, Protect, Reveal, Secret, Sign},
};

mod again;
pub(crate) mod canary;
mod driver;
pub(crate) mod health;
pub(crate) mod key;
mod link;
pub(crate) mod process;
mod rotation;
mod start;

use canary::Canary;
use driver::{Command, Driver, Place, Request};
use health::Health;
use key::{Keys, KnownKey, NewGmk, NewJournalKey};

/// No blob or public key of ours is longer; what the database gives may be.
const MAX_BLOB: usize = 1024;
/// Labels are for people; the rest of a longer one is left out.
const MAX_LABEL: usize = 255;

/// A token, by way of its worker. Cloning shares it; with the last clone the worker ends.
#[derive(Clone)]
pub struct Client {
    queue: mpsc::UnboundedSender<Command>,
    shared: Arc<Shared>,
}

struct Shared {
    settings: Arc<Settings>,
    token: TokenDescription,
    health: watch::Receiver<Health>,
    keys: Arc<Keys>,
    waiting: Arc<AtomicUsize>,
    places: usize,
}

impl Client {
    /// Starts the first worker and waits until it serves.
    ///
    /// # Errors
    ///
    /// Whatever kept the first worker from serving; no second one is tried.
    pub async fn start(settings: Settings) -> Result<Self, Error> {
        Latch::new(&settings.pin_latch).check()?;
        let settings = Arc::new(settings);
        let keys = Arc::new(Keys::default());
        let (queue, requests) = mpsc::unbounded_channel();
        let (driver, first) =
            Driver::start(Arc::clone(&settings), Arc::clone(&keys), requests).await?;
        let shared = Arc::new(Shared {
            token: first.token().clone(),
            health: driver.health(),
            keys,
            waiting: Arc::default(),
            places: settings.queue.get().saturating_add(settings.sessions.get()),
            settings,
        });
        tokio::spawn(driver.run(first));
        let again = again::load_again(Arc::clone(&shared), queue.downgrade());
        tokio::spawn(again);
        let canaries = canary::open_canaries(Arc::clone(&shared), queue.downgrade());
        tokio::spawn(canaries);
        Ok(Self { queue, shared })
    }

    /// The token that the first worker found.
    pub fn token(&self) -> TokenDescription {
        self.shared.token.clone()
    }

    /// The worker's state, and every change of it.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.shared.health.clone()
    }

    /// Finds a key, checks it and proves it, here and in every later worker.
    ///
    /// # Errors
    ///
    /// What is wrong with the key. It is remembered as refused and tried again and again,
    /// and other keys are not affected. If no worker answered nothing is refused: the next
    /// worker loads the key.
    pub async fn load(&self, key: KnownKey) -> Result<(), Error> {
        key.check()?;
        let load = key.to_wire();
        let id = key.id;
        self.shared.keys.remember(key);
        let outcome = match self.ask(Op::Load(load)).await {
            Ok(Done::Good(_)) => Ok(()),
            Ok(other) => Err(unexpected(&other)),
            Err(error) => Err(error),
        };
        // Whoever asked is told by the outcome.
        let _told = self.shared.keys.settle(&id, &outcome);
        outcome
    }

    /// Why the key was refused, if it was.
    pub fn refused(&self, id: &KeyId) -> Option<String> {
        self.shared.keys.refused(id)
    }

    /// How the canary of a group master key did when it was tried last.
    pub fn canary(&self, id: &KeyId) -> Option<Canary> {
        self.shared.keys.canary(id)
    }

    /// How the canary that was tried last did, of whichever key.
    pub fn newest_canary(&self) -> Option<Canary> {
        self.shared.keys.newest_canary()
    }

    /// Makes a group master key in the token, protects its canary and loads it.
    ///
    /// # Errors
    ///
    /// If the token wraps in none of the allowed ways or makes no conforming key.
    pub async fn generate_gmk(&self, label: &str) -> Result<NewGmk, Error> {
        match self.ask(generate(label, false)).await? {
            Done::Gmk(made) => NewGmk::from_wire(made).ok_or_else(incomplete),
            other => Err(unexpected(&other)),
        }
    }

    /// Makes a pair of keys in the token that signs the journal, and loads it.
    ///
    /// # Errors
    ///
    /// If the token makes no conforming key.
    pub async fn generate_journal_key(&self, label: &str) -> Result<NewJournalKey, Error> {
        match self.ask(generate(label, true)).await? {
            Done::Journal(made) => NewJournalKey::from_wire(made).ok_or_else(incomplete),
            other => Err(unexpected(&other)),
        }
    }

    /// Wraps `dek` under `gmk`. What is returned has been opened again and compared.
    ///
    /// # Errors
    ///
    /// If the key is not usable or the token does not answer.
    pub async fn protect_dek(
        &self,
        gmk: &KeyId,
        dek: &PlaintextDek,
        context: Context<'_>,
    ) -> Result<WrappedDek, Error> {
        self.shared.keys.usable(gmk)?;
        let request = Protect {
            gmk: gmk.as_bytes().to_vec(),
            dek: Secret {
                bytes: dek.expose().to_vec(),
            },
            context: context.encode(),
        };
        match self.ask(Op::Protect(request)).await? {
            Done::Wrapped(blob) => Ok(WrappedDek::from_blob(blob)),
            other => Err(unexpected(&other)),
        }
    }

    /// Unwraps the data key of a version and opens the version's content with it. There
    /// is no other way to content, and none without a release or use on record:
    ///
    /// ```compile_fail,E0277
    /// use custody::policy::{Deliver, Grant};
    /// async fn skip_the_record(token: hsm::Client, grant: Grant<Deliver>) {
    ///     let _ = token.unwrap_dek(grant).await; // wants a Claim
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::is_bad_data`] if the wrap or the content is not what was stored; else if
    /// the key is not usable or the token does not answer.
    pub async fn unwrap_dek<T: Unlock>(&self, claim: T) -> Result<T::Opened, Error> {
        let locked = claim.locked();
        let dek = self
            .reveal(locked.gmk(), locked.wrapped(), locked.context())
            .await?;
        claim.open(&dek).map_err(|_| Error::ContentDoesNotOpen)
    }

    /// Unwraps the row key of an installation.
    ///
    /// # Errors
    ///
    /// As for [`Self::unwrap_dek`].
    pub async fn unwrap_row_key(
        &self,
        instance: &InstanceId,
        gmk: &KeyId,
        wrapped: &WrappedDek,
    ) -> Result<PlaintextDek, Error> {
        let context = Context::RowKey { instance, gmk };
        self.reveal(gmk, wrapped, context).await
    }

    /// Random bytes from the token's generator, 256 at most.
    ///
    /// They are as good as the token says: whoever makes keys of them mixes them with the
    /// system's ([`custody::random::Random`]).
    ///
    /// # Errors
    ///
    /// If the token has no generator, does not answer, or `length` is out of bounds.
    pub async fn random(&self, length: u32) -> Result<Zeroizing<Vec<u8>>, Error> {
        let wanted = usize::try_from(length).ok();
        match self.ask(Op::Random(length)).await? {
            Done::Random(mut secret) if Some(secret.bytes.len()) == wanted => {
                Ok(Zeroizing::new(std::mem::take(&mut secret.bytes)))
            }
            Done::Random(_) => Err(incomplete()),
            other => Err(unexpected(&other)),
        }
    }

    /// Signs a SHA-256 digest with a journal key: ECDSA, r ‖ s.
    ///
    /// # Errors
    ///
    /// If the key is not usable or the token does not answer.
    pub async fn sign(&self, key: &KeyId, digest: [u8; 32]) -> Result<[u8; 64], Error> {
        self.shared.keys.usable(key)?;
        let request = Sign {
            key: key.as_bytes().to_vec(),
            digest: digest.to_vec(),
        };
        match self.ask(Op::Sign(request)).await? {
            Done::Signed(signature) => signature.try_into().map_err(|_| incomplete()),
            other => Err(unexpected(&other)),
        }
    }

    /// Has the token open the canary of a group master key.
    ///
    /// # Errors
    ///
    /// If it does not, whatever the reason.
    pub async fn check_canary(&self, gmk: &KeyId) -> Result<(), Error> {
        self.shared.keys.usable(gmk)?;
        match self.ask(Op::CheckCanary(gmk.as_bytes().to_vec())).await? {
            Done::Good(_) => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// Ends the worker, once it has answered what it works on or the deadline is over.
    /// Later requests get [`Error::Stopped`]. Returns when the process is gone.
    pub async fn stop(&self) {
        let (stopped, wait) = oneshot::channel();
        if self.queue.send(Command::Stop(stopped)).is_ok() {
            // The driver dropped the sender when it ended, which is as good as an answer.
            let _ended = wait.await;
        }
    }

    async fn reveal(
        &self,
        gmk: &KeyId,
        wrapped: &WrappedDek,
        context: Context<'_>,
    ) -> Result<PlaintextDek, Error> {
        let request = self.sealed(gmk, wrapped, context)?;
        match self.ask(Op::Reveal(request)).await? {
            Done::Revealed(mut secret) => {
                PlaintextDek::take(&mut secret.bytes).ok_or_else(incomplete)
            }
            other => Err(unexpected(&other)),
        }
    }

    fn sealed(
        &self,
        gmk: &KeyId,
        wrapped: &WrappedDek,
        context: Context<'_>,
    ) -> Result<Reveal, Error> {
        self.shared.keys.usable(gmk)?;
        if wrapped.blob().len() > MAX_BLOB {
            return Err(Error::DoesNotOpen { gmk: *gmk });
        }
        Ok(Reveal {
            gmk: gmk.as_bytes().to_vec(),
            blob: wrapped.blob().to_vec(),
            context: context.encode(),
        })
    }

    async fn ask(&self, op: Op) -> Result<Done, Error> {
        self.shared.ask(&self.queue, op).await
    }
}

impl Shared {
    /// Waits until there will be no further worker.
    async fn driver_ended(&self) {
        let mut health = self.health.clone();
        while health.changed().await.is_ok() {}
    }

    /// Queues a request and waits for its answer.
    async fn ask(&self, queue: &mpsc::UnboundedSender<Command>, op: Op) -> Result<Done, Error> {
        let place = Place::take(&self.waiting, self.places).ok_or(Error::Busy)?;
        let (reply, answer) = oneshot::channel();
        let request = Request {
            op,
            reply,
            by: Instant::now() + self.settings.deadline,
            place,
        };
        queue
            .send(Command::Request(request))
            .map_err(|_| Error::Stopped)?;
        answer.await.unwrap_or(Err(Error::Stopped))
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("token", &self.shared.token)
            .field("waiting", &self.shared.waiting.load(Ordering::Relaxed))
            .finish_non_exhaustive()
    }
}

fn generate(label: &str, journal: bool) -> Op {
    let mut end = label.len().min(MAX_LABEL);
    while !label.is_char_boundary(end) {
        end -= 1;
    }
    let label = label[..end].to_owned();
    Op::Generate(Generate { journal, label })
}

fn unexpected(answer: &Done) -> Error {
    Error::WorkerUnusable(format!("it answered another question: {answer:?}"))
}

fn incomplete() -> Error {
    Error::WorkerUnusable("its answer was incomplete".to_owned())
}
