//! Data keys that are kept for a while, so that the token is not asked for every delivery: for
//! how long, how often, and what has them forgotten.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    num::NonZeroU32,
    sync::Arc,
};

use serde::Serialize;

use crate::{
    envelope::PlaintextDek,
    name::{GroupName, KeyId, VersionId},
    policy::{Deliver, Grant},
    release::{Lock, Locked},
};

/// How long, and how often, the data keys of a group are used without asking the token. A group
/// without terms has none kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Terms {
    seconds: NonZeroU32,
    uses: NonZeroU32,
    #[serde(skip_serializing_if = "Option::is_none")]
    outage_seconds: Option<NonZeroU32>,
}

/// Terms that cannot be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It would be kept for no time, or too long.
    #[error("a data key is kept for a second at least, and for {} hours at most", Terms::MOST_SECONDS / 3600)]
    Seconds,
    /// It would never be used.
    #[error("a data key that is kept is used once at least; to keep none, turn the cache off")]
    Uses,
    /// It would be kept too long in an outage.
    #[error("a data key is kept for {} days more at most while the token does not serve", Terms::MOST_OUTAGE_SECONDS / 86_400)]
    Outage,
}

impl Terms {
    /// The longest that a data key is used while the token serves.
    pub const MOST_SECONDS: u32 = 24 * 60 * 60;

    /// The longest that it is used beyond that while the token does not.
    pub const MOST_OUTAGE_SECONDS: u32 = 7 * 24 * 60 * 60;

    /// Each data key is used for so many seconds after the token was asked for it, in so many
    /// deliveries; and for so many seconds more while the token does not serve, where 0 means
    /// that it is then not used at all.
    ///
    /// # Errors
    ///
    /// If a number is out of bounds.
    pub fn new(seconds: u32, uses: u32, outage_seconds: u32) -> Result<Self, Unfit> {
        let seconds = NonZeroU32::new(seconds).filter(|it| it.get() <= Self::MOST_SECONDS);
        if outage_seconds > Self::MOST_OUTAGE_SECONDS {
            return Err(Unfit::Outage);
        }
        Ok(Self {
            seconds: seconds.ok_or(Unfit::Seconds)?,
            uses: NonZeroU32::new(uses).ok_or(Unfit::Uses)?,
            outage_seconds: NonZeroU32::new(outage_seconds),
        })
    }

    /// For how long it is used while the token serves.
    pub fn seconds(&self) -> u32 {
        self.seconds.get()
    }

    /// In how many deliveries it is used.
    pub fn uses(&self) -> u32 {
        self.uses.get()
    }

    /// For how much longer it is used while the token does not serve; 0 if it is not used then.
    pub fn outage_seconds(&self) -> u32 {
        self.outage_seconds.map_or(0, NonZeroU32::get)
    }

    /// How long it is used, with a token that does or does not serve.
    fn span(&self, serves: bool) -> u64 {
        let seconds = match (serves, self.outage_seconds) {
            (true, _) => u64::from(self.seconds()),
            (false, Some(more)) => u64::from(self.seconds()) + u64::from(more.get()),
            (false, None) => 0,
        };
        seconds * 1000
    }

    /// After which time nothing uses it.
    fn longest(&self) -> u64 {
        self.span(true).max(self.span(false))
    }
}

/// A time in milliseconds, of a clock that nobody sets and that goes on while the machine sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tick(pub u64);

/// Memory that nobody else reads, where data keys may rest.
pub trait Vault: Send + fmt::Debug {
    /// Puts a copy of `dek` there; `None` if there is no room.
    fn put(&self, dek: &PlaintextDek) -> Option<Arc<dyn Resting>>;
}

/// A data key at rest, wiped when dropped.
pub trait Resting: Send + Sync + fmt::Debug {
    /// A copy of it, to be used at once.
    fn dek(&self) -> PlaintextDek;
}

/// The data keys that are kept.
#[derive(Debug)]
pub struct Cache {
    vault: Box<dyn Vault>,
    kept: HashMap<VersionId, Kept>,
    /// No key's time is over before.
    soonest: Option<Tick>,
    changes: u64,
}

#[derive(Debug)]
struct Kept {
    lock: Lock,
    terms: Terms,
    since: Tick,
    uses: u32,
    key: Arc<dyn Resting>,
}

/// Where the data key of a delivery comes from. Decided before the delivery is recorded.
#[derive(Debug)]
pub(crate) enum Source {
    /// The token.
    Token,
    /// The token, and it may be kept.
    Fresh(Leave),
    /// The cache.
    Cache(Lease),
}

impl Source {
    pub(crate) fn is_cache(&self) -> bool {
        matches!(self, Self::Cache(_))
    }
}

/// Leave to keep the data key that the token unwraps for a delivery.
#[derive(Debug)]
pub(crate) struct Leave {
    terms: Terms,
    since: Tick,
    changes: u64,
}

/// A kept data key for one delivery, which it is recorded for. It lasts as long as that takes,
/// even if the cache forgets it meanwhile.
#[derive(Debug)]
pub(crate) struct Lease(Arc<dyn Resting>);

impl Lease {
    pub(crate) fn dek(&self) -> PlaintextDek {
        self.0.dek()
    }
}

/// How often the cache had forgotten when a decision was made.
#[derive(Clone, Copy, Debug)]
pub struct Seen(u64);

impl Cache {
    /// An empty one, whose keys will rest in `vault`.
    pub fn new(vault: Box<dyn Vault>) -> Self {
        Self {
            vault,
            kept: HashMap::new(),
            soonest: None,
            changes: 0,
        }
    }

    /// To be taken before a decision: what is unwrapped for it is kept only if nothing has
    /// changed since.
    pub fn seen(&self) -> Seen {
        Seen(self.changes)
    }

    /// Says of each grant where its data key will come from, and takes a use of those that come
    /// from here. `serves` tells whether the token could be asked to use a master key.
    pub fn lend(
        &mut self,
        grants: &mut [Grant<Deliver>],
        seen: Seen,
        now: Tick,
        serves: impl Fn(&KeyId) -> bool,
    ) {
        for grant in grants {
            let Some(terms) = grant.found.cache else {
                continue;
            };
            let locked = &grant.found.locked;
            grant.source = match self.take(locked, terms, now, locked.gmks().iter().any(&serves)) {
                Some(lease) => Source::Cache(lease),
                None => Source::Fresh(Leave {
                    terms,
                    since: now,
                    changes: seen.0,
                }),
            };
        }
    }

    fn take(&mut self, locked: &Locked, terms: Terms, now: Tick, serves: bool) -> Option<Lease> {
        let kept = self.kept.get_mut(&locked.version)?;
        if !kept.is_of(locked) || kept.terms != terms || !kept.is_good(now, serves) {
            return None;
        }
        kept.uses += 1;
        let lease = Lease(Arc::clone(&kept.key));
        if kept.is_used_up() {
            self.kept.remove(&locked.version);
        }
        Some(lease)
    }

    /// Keeps `dek`, which opened what is `locked`, unless anything has changed since that was
    /// decided.
    pub(crate) fn keep(&mut self, leave: &Leave, locked: &Locked, dek: &PlaintextDek) {
        if leave.changes != self.changes {
            return;
        }
        // Of those who asked together, the first had it kept.
        let there = self.kept.get(&locked.version);
        if there.is_some_and(|kept| kept.is_of(locked) && kept.is_good(leave.since, true)) {
            return;
        }
        self.kept.remove(&locked.version);
        let Some(lock) = locked.locks().first().cloned() else {
            return;
        };
        let Some(key) = self.vault.put(dek) else {
            return;
        };
        let kept = Kept {
            lock,
            terms: leave.terms,
            since: leave.since,
            uses: 0,
            key,
        };
        let end = kept.end();
        self.soonest = Some(self.soonest.map_or(end, |soonest| soonest.min(end)));
        self.kept.insert(locked.version.clone(), kept);
    }

    /// Forgets the keys of groups that changed. What is being unwrapped now is not kept.
    pub fn forget(&mut self, groups: &BTreeSet<&GroupName>) {
        self.changes += 1;
        self.kept
            .retain(|version, _| !groups.contains(&version.secret.group));
    }

    /// Forgets all keys. What is being unwrapped now is not kept.
    pub fn forget_all(&mut self) {
        self.changes += 1;
        self.kept.clear();
    }

    /// Forgets the keys whose time is over; says when the next is to be looked for. Nothing is
    /// looked at before.
    pub fn expire(&mut self, now: Tick) -> Option<Tick> {
        if self.soonest.is_some_and(|soonest| soonest <= now) {
            self.kept.retain(|_, kept| now < kept.end());
            self.soonest = self.kept.values().map(Kept::end).min();
        }
        self.soonest
    }

    /// How many keys are kept.
    pub fn count(&self) -> usize {
        self.kept.len()
    }
}

impl Kept {
    /// Whether it is the data key of one of those very wraps.
    fn is_of(&self, locked: &Locked) -> bool {
        locked.locks().contains(&self.lock)
    }

    fn is_good(&self, now: Tick, serves: bool) -> bool {
        let age = now.0.saturating_sub(self.since.0);
        age < self.terms.span(serves) && !self.is_used_up()
    }

    fn is_used_up(&self) -> bool {
        self.uses >= self.terms.uses()
    }

    fn end(&self) -> Tick {
        Tick(self.since.0.saturating_add(self.terms.longest()))
    }
}
