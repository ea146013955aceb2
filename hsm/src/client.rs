//! The face of a token that the daemon sees: async, with deadlines, over workers that come and go.

use std::sync::Arc;

use custody::{
    envelope::{Context, PlaintextDek, WrappedDek},
    invocation::Invocation,
    journal::signing::Signature,
    name::KeyId,
    release::Urgency,
};
use tokio::{
    sync::{Mutex, watch},
    time::Instant,
};
use zeroize::Zeroizing;

use crate::{
    Breaker, Error, Settings, TokenDescription,
    latch::Latch,
    wire::{Done, Op, Protect, Secret, Sign},
};

mod again;
pub(crate) mod canary;
mod driver;
mod flight;
mod generate;
pub(crate) mod health;
pub(crate) mod holders;
mod key;
pub(crate) mod known;
mod lanes;
pub(crate) mod link;
mod load;
pub(crate) mod meters;
pub(crate) mod process;
mod renewal;
pub(crate) mod reveal;
mod rotation;
mod start;
mod together;
mod waiting;

use canary::Canary;
use driver::{Crew, Driver};
use health::Health;
use key::Keys;
use known::KnownKey;
use lanes::Lanes;
use process::PinHandover;
use start::Worker;
use together::Together;

/// No blob or public key of ours is longer; what the database gives may be.
const MAX_BLOB: usize = 1024;

/// A token, by way of its workers. Cloning shares it; with the last clone the workers end.
#[derive(Clone)]
pub struct Client {
    lanes: Arc<Lanes>,
    shared: Arc<Shared>,
}

struct Shared {
    settings: Arc<Settings>,
    token: TokenDescription,
    health: watch::Receiver<Health>,
    keys: Arc<Keys>,
    together: Together,
}

impl Client {
    /// Starts the first worker and waits until it serves; the others are started then.
    ///
    /// # Errors
    ///
    /// Whatever kept the first worker from serving; no second one is tried.
    pub async fn start(settings: Settings) -> Result<Self, Error> {
        Latch::new(&settings.pin_latch).check()?;
        let settings = Arc::new(settings);
        let keys = Arc::new(Keys::default());
        let pin = Arc::new(PinHandover::new(&settings.pin)?);
        let (health, watched) = watch::channel(Health::of(settings.workers.get()));
        let crew = Arc::new(Crew {
            keys: Arc::clone(&keys),
            meters: settings.meters.clone(),
            health,
            logins: Mutex::default(),
        });
        let first = Worker::start(&settings, &pin, &crew).await?;
        let shared = Arc::new(Shared {
            settings: Arc::clone(&settings),
            token: first.token().clone(),
            health: watched,
            keys,
            together: Together::default(),
        });
        let (lanes, arrivals) = Lanes::new(&settings);
        let mut first = Some(first);
        for arrival in arrivals.into_iter().enumerate() {
            let driver = Driver::new(&crew, &settings, &pin, &lanes, arrival);
            let worker = first.take();
            if worker.is_some() {
                driver.serves();
            }
            tokio::spawn(driver.run(worker));
        }
        let again = again::load_again(Arc::clone(&shared), Arc::downgrade(&lanes));
        tokio::spawn(again);
        let canaries = canary::open_canaries(Arc::clone(&shared), Arc::downgrade(&lanes));
        tokio::spawn(canaries);
        Ok(Self { lanes, shared })
    }

    /// The token that the first worker found.
    pub fn token(&self) -> TokenDescription {
        self.shared.token.clone()
    }

    /// How the workers do, and every change of that.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.shared.health.clone()
    }

    /// Whether it serves, as far as is known.
    pub fn serves(&self) -> bool {
        self.shared.health.borrow().breaker() == Breaker::Closed
    }

    /// How many sessions a worker has that serves.
    pub fn sessions(&self) -> u64 {
        u64::try_from(self.shared.settings.sessions.get()).unwrap_or(u64::MAX)
    }

    /// How many keys are known, and how many of them are refused.
    pub fn count_keys(&self) -> (usize, usize) {
        self.shared.keys.count()
    }

    /// Finds a key, checks it and proves it, here and in every later worker.
    ///
    /// # Errors
    ///
    /// What is wrong with the key, if no worker can use it. It is remembered as refused and
    /// tried again and again, and other keys are not affected. If no worker answered nothing is
    /// refused: the next worker loads the key.
    pub async fn load(&self, key: KnownKey) -> Result<(), Error> {
        key.check()?;
        let id = key.id;
        self.shared.keys.remember(key);
        let outcome = self.shared.load(&self.lanes, &id).await;
        // Whoever asked is told by the outcome.
        let _told = self.shared.keys.settle(&id, &outcome);
        outcome
    }

    /// Whether it is one of this token's keys that were loaded, or refused.
    pub fn knows(&self, id: &KeyId) -> bool {
        self.shared.keys.knows(id)
    }

    /// Why the key was refused, if it was.
    pub fn refused(&self, id: &KeyId) -> Option<String> {
        self.shared.keys.why_refused(id)
    }

    /// How the canary of a group master key did when it was tried last.
    pub fn canary(&self, id: &KeyId) -> Option<Canary> {
        self.shared.keys.canary(id)
    }

    /// How the canary that was tried last did, of whichever key.
    pub fn newest_canary(&self) -> Option<Canary> {
        self.shared.keys.newest_canary()
    }

    /// Wraps `dek` under the key whose encryption was counted. What is returned has been opened
    /// again and compared.
    ///
    /// ```compile_fail,E0308
    /// use custody::{envelope::{Context, PlaintextDek}, name::KeyId};
    /// async fn uncounted(token: hsm::Client, gmk: KeyId, dek: PlaintextDek, context: Context<'_>) {
    ///     let _ = token.protect_dek(gmk, &dek, context).await; // wants an Invocation
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// If the key is not usable or the token does not answer.
    pub async fn protect_dek(
        &self,
        counted: Invocation,
        dek: &PlaintextDek,
        context: Context<'_>,
    ) -> Result<WrappedDek, Error> {
        let gmk = counted.gmk();
        self.shared.keys.usable(gmk)?;
        let request = Protect {
            gmk: gmk.as_bytes().to_vec(),
            dek: Secret {
                bytes: dek.expose().to_vec(),
            },
            context: context.encode(),
        };
        match self
            .ask_within(Op::Protect(request), counted.urgency())
            .await?
        {
            Done::Wrapped(blob) => Ok(WrappedDek::from_blob(blob)),
            other => Err(unexpected(&other)),
        }
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

    /// Signs a SHA-256 digest with a journal key, in the way of that.
    ///
    /// # Errors
    ///
    /// If the key is not usable or the token does not answer.
    pub async fn sign(&self, key: &KeyId, digest: [u8; 32]) -> Result<Signature, Error> {
        self.shared.keys.usable(key)?;
        let request = Sign {
            key: key.as_bytes().to_vec(),
            digest: digest.to_vec(),
        };
        match self.ask(Op::Sign(request)).await? {
            Done::Signed(signature) => Signature::from_bytes(signature).ok_or_else(incomplete),
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

    /// Has each worker replaced by one that is started as `settings` say, once that one
    /// serves: no request is lost. If none comes to serve, [`WorkerHealth::renewal_problem`]
    /// says why, the present worker serves on, and it is tried again later; a PIN that was
    /// refused only once the latch is gone.
    ///
    /// How many workers and sessions there are, and how requests wait for them, stays as it was.
    ///
    /// [`WorkerHealth::renewal_problem`]: crate::WorkerHealth::renewal_problem
    pub fn renew(&self, settings: Settings) {
        self.lanes.renew(&Arc::new(settings));
    }

    /// Ends the workers, once they have answered what they work on or the deadline is over.
    /// Later requests get [`Error::Stopped`]. Returns when the processes are gone.
    pub async fn stop(&self) {
        self.lanes.stop().await;
    }

    async fn ask(&self, op: Op) -> Result<Done, Error> {
        self.ask_within(op, Urgency::Delivery).await
    }

    /// Asks what is no more urgent than `most`.
    async fn ask_within(&self, op: Op, most: Urgency) -> Result<Done, Error> {
        let asked = self.lanes.ask(op, self.shared.by(), most);
        asked?.wait().await
    }
}

impl Shared {
    /// Waits until there will be no further worker.
    async fn driver_ended(&self) {
        let mut health = self.health.clone();
        while health.changed().await.is_ok() {}
    }

    /// When a request that is made now is over.
    fn by(&self) -> Instant {
        Instant::now() + self.settings.deadline
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("token", &self.shared.token)
            .field("waiting", &self.lanes.waiting())
            .finish_non_exhaustive()
    }
}

fn unexpected(answer: &Done) -> Error {
    Error::WorkerUnusable(format!("it answered another question: {answer:?}"))
}

fn incomplete() -> Error {
    Error::WorkerUnusable("its answer was incomplete".to_owned())
}
