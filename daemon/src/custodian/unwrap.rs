//! Where the data keys of deliveries come from: from the token, or from an earlier delivery if
//! their group has them kept.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use custody::{
    cache::{Cache, Seen, Terms, Tick},
    change,
    name::{GroupName, KeyId},
    policy::{Deliver, Grant},
    release::{Claimed, Released},
    role::Operator,
    state::edit::Plan,
};
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::Notify;

use super::{Custodian, Error, changes::to_its_end};
use crate::{
    throttle::Asker,
    turns::{Full, Turn},
    vault::Memory,
};

/// The longest that it is not looked at which keys' time is over: a machine that sleeps holds up
/// timers, and not that time.
const LOOK: Duration = Duration::from_secs(60);

/// Data keys that are kept.
#[derive(Debug)]
pub(super) struct DataKeys {
    cache: Mutex<Cache>,
    /// Told when one may have been added.
    added: Notify,
    lent: AtomicU64,
}

impl DataKeys {
    pub(super) fn none() -> Self {
        Self {
            cache: Mutex::new(Cache::new(Box::new(Memory::default()))),
            added: Notify::new(),
            lent: AtomicU64::new(0),
        }
    }

    /// To be taken before a decision ([`Cache::seen`]).
    pub(super) fn seen(&self) -> Seen {
        self.lock().seen()
    }

    /// Forgets those of the groups that `plan` changed.
    pub(super) fn follow(&self, plan: &Plan) {
        self.lock().forget(&plan.groups());
    }

    fn lock(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Custodian {
    /// Says where the data key of each grant will come from, before that is recorded.
    pub(super) fn lend(&self, grants: &mut [Grant<Deliver>], seen: Seen) {
        let mut cache = self.data_keys.lock();
        cache.lend(grants, seen, tick(), |gmk| self.serves(gmk));
    }

    /// Whether its token could be asked to use a master key, as far as is known.
    fn serves(&self, gmk: &KeyId) -> bool {
        self.tokens.serves(gmk)
    }

    /// Opens content with the data key from where the record says that it comes from.
    pub(super) async fn unwrap(&self, claimed: Claimed) -> Result<Released, Error> {
        let _turn = match &claimed {
            Claimed::Cache(_) => None,
            Claimed::Token(_) | Claimed::Fresh(_) => {
                Some(self.turn(&claimed).await.map_err(Error::Hsm)?)
            }
        };
        let released = match claimed {
            Claimed::Token(claim) => self.tokens.unwrap(claim).await,
            Claimed::Fresh(fresh) => {
                let keeping = fresh.keeping(&self.data_keys.cache);
                let released = self.tokens.unwrap(keeping).await;
                self.data_keys.added.notify_one();
                released
            }
            Claimed::Cache(lent) => {
                self.data_keys.lent.fetch_add(1, Ordering::Relaxed);
                lent.open().map_err(|_| hsm::Error::ContentDoesNotOpen)
            }
        };
        released.map_err(Error::Hsm)
    }

    /// Waits for a turn at the token, no longer than the token itself may take.
    async fn turn(&self, claimed: &Claimed) -> Result<Turn, hsm::Error> {
        let claim = claimed.claim();
        let asker = Asker::from(claim.evidence());
        let turn = self.turns.take(&claim.version().secret.group, &asker);
        let turn = turn.map_err(|Full| hsm::Error::Busy)?;
        let turn = tokio::time::timeout(self.tokens.deadline(), turn).await;
        let turn = turn.map_err(|_| hsm::Error::Deadline)?;
        turn.map_err(|_| hsm::Error::Stopped)
    }

    /// How many deliveries wait for their turn at the token.
    pub(crate) fn waiting_for_token(&self) -> usize {
        self.turns.waiting()
    }

    /// Has the data keys of a group kept on these terms, or not at all.
    pub(crate) async fn set_cache(
        self: &Arc<Self>,
        operator: Operator,
        group: GroupName,
        terms: Option<Terms>,
    ) -> Result<(), Error> {
        let this = Arc::clone(self);
        to_its_end(async move {
            let writer = &mut *this.writer().await?;
            let (edit, change) = change::set_cache(&this.state(), &group, terms)?;
            this.commit(writer, Some(&operator), edit, change).await
        })
        .await
    }

    /// Forgets all data keys. Those that the token is being asked for are not kept.
    pub(crate) fn forget_data_keys(&self) {
        self.data_keys.lock().forget_all();
    }

    /// Forgets data keys when their time is over, until it is dropped.
    pub(crate) async fn keep_forgetting(&self) {
        loop {
            let now = tick();
            let next = self.data_keys.lock().expire(now);
            let added = self.data_keys.added.notified();
            match next {
                None => added.await,
                Some(Tick(end)) => {
                    let wait = Duration::from_millis(end.saturating_sub(now.0));
                    drop(tokio::time::timeout(wait.min(LOOK), added).await);
                }
            }
        }
    }

    /// How many data keys are kept, and how many deliveries had theirs from there.
    pub(crate) fn count_data_keys(&self) -> (usize, u64) {
        let lent = self.data_keys.lent.load(Ordering::Relaxed);
        (self.data_keys.lock().count(), lent)
    }
}

/// The time by the clock that goes on while the machine sleeps.
fn tick() -> Tick {
    let time = clock_gettime(ClockId::Boottime);
    let part = |part: i64| u64::try_from(part).unwrap_or(0);
    Tick(part(time.tv_sec) * 1000 + part(time.tv_nsec) / 1_000_000)
}
