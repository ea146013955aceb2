//! How often the callers of one user and unit may ask.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError, RwLock},
    time::{Duration, Instant},
};

use custody::{
    caller::{Evidence, cgroup::is_session},
    journal::Event,
};
use governor::{
    Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
    state::keyed::HashMapStateStore,
};
use tokio::sync::Notify;

use crate::{config::Rate, custodian::Custodian};

/// A bucket of requests for each uid and unit, which fills as time passes; and an account
/// of what was refused, for the journal.
#[derive(Debug)]
pub(crate) struct Throttle {
    buckets: RwLock<Buckets>,
    refused: Mutex<HashMap<Asker, Refused>>,
    begun: Notify,
}

type Buckets = RateLimiter<Asker, HashMapStateStore<Asker>, DefaultClock>;

/// Whose requests are counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Asker {
    uid: u32,
    unit: Option<String>,
}

impl Asker {
    /// A user of whose process nothing more is certain.
    pub(crate) fn unattested(uid: u32) -> Self {
        Self { uid, unit: None }
    }
}

impl From<&Evidence> for Asker {
    fn from(evidence: &Evidence) -> Self {
        // A user may have as many sessions as it likes.
        let unit = evidence.unit.as_ref().filter(|unit| !is_session(unit));
        Self {
            uid: evidence.uid,
            unit: unit.cloned(),
        }
    }
}

/// There is no request left for now; there will be one after this time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TooMany(pub(crate) Duration);

#[derive(Debug, Default)]
struct Refused {
    /// Since it was last told.
    count: u64,
    told: Option<Instant>,
}

/// How long nothing is told of an asker after something was.
const PAUSE: Duration = Duration::from_secs(10);

/// How often askers that have not asked for a while are forgotten.
const FORGET: Duration = Duration::from_secs(60);

impl Throttle {
    pub(crate) fn new(rate: Rate) -> Self {
        Self {
            buckets: RwLock::new(buckets(rate)),
            refused: Mutex::default(),
            begun: Notify::new(),
        }
    }

    /// Sets another rate. Everyone's bucket is full then.
    pub(crate) fn set_rate(&self, rate: Rate) {
        *self.buckets.write().unwrap_or_else(PoisonError::into_inner) = buckets(rate);
    }

    /// Takes one request from the bucket of `asker`.
    pub(crate) fn take(&self, asker: Asker) -> Result<(), TooMany> {
        let buckets = self.buckets.read().unwrap_or_else(PoisonError::into_inner);
        let Err(not_yet) = buckets.check_key(&asker) else {
            return Ok(());
        };
        let after = not_yet.wait_time_from(buckets.clock().now());
        let mut accounts = self.accounts();
        let account = accounts.entry(asker).or_default();
        account.count += 1;
        if account.told.is_none() {
            self.begun.notify_one();
        }
        Err(TooMany(after))
    }

    /// Puts on record who is refused, until it is dropped.
    pub(crate) async fn keep_records(&self, custodian: &Custodian) {
        loop {
            let (due, next) = self.due(Instant::now());
            record(custodian, due).await;
            let pause = next.map_or(FORGET, |next| {
                next.saturating_duration_since(Instant::now())
            });
            // Whichever comes first.
            drop(tokio::time::timeout(pause.min(FORGET), self.begun.notified()).await);
            let buckets = self.buckets.read().unwrap_or_else(PoisonError::into_inner);
            buckets.retain_recent();
            buckets.shrink_to_fit();
        }
    }

    /// Puts on record what is not yet.
    pub(crate) async fn finish_records(&self, custodian: &Custodian) {
        let rest = std::mem::take(&mut *self.accounts());
        record(custodian, rest.into_iter().map(counted).collect()).await;
    }

    /// Who was refused how often and has not been told of for a while; and when there may
    /// be more to tell.
    fn due(&self, now: Instant) -> (Vec<(Asker, u64)>, Option<Instant>) {
        let mut accounts = self.accounts();
        let mut due = Vec::new();
        accounts.retain(|asker, account| {
            if account.told.is_some_and(|told| now < told + PAUSE) {
                return true;
            }
            if account.count == 0 {
                return false;
            }
            due.push((asker.clone(), std::mem::take(&mut account.count)));
            account.told = Some(now);
            true
        });
        let told = accounts.values().filter_map(|account| account.told);
        (due, told.min().map(|told| told + PAUSE))
    }

    fn accounts(&self) -> MutexGuard<'_, HashMap<Asker, Refused>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn buckets(rate: Rate) -> Buckets {
    RateLimiter::hashmap(Quota::per_second(rate.per_second).allow_burst(rate.burst))
}

fn counted((asker, account): (Asker, Refused)) -> (Asker, u64) {
    (asker, account.count)
}

async fn record(custodian: &Custodian, due: Vec<(Asker, u64)>) {
    for (Asker { uid, unit }, refused) in due.into_iter().filter(|(_, count)| *count > 0) {
        tracing::warn!(uid, unit, refused, "a caller asks too often");
        let event = Event::Throttled { uid, unit, refused };
        if let Err(error) = custodian.record(event).await {
            tracing::warn!(%error, "that a caller asks too often is not on record");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::attest::{Attestor, Peer};

    fn throttle(burst: u32) -> Throttle {
        Throttle::new(rate(burst))
    }

    fn rate(burst: u32) -> Rate {
        Rate {
            per_second: NonZeroU32::MIN,
            burst: NonZeroU32::new(burst).unwrap(),
        }
    }

    fn asker(uid: u32, unit: Option<&str>) -> Asker {
        Asker {
            uid,
            unit: unit.map(str::to_owned),
        }
    }

    /// Asks until it is refused, however slow this machine is.
    fn exhaust(throttle: &Throttle, asker: &Asker) -> TooMany {
        let mut asked = (0..).map(|_| throttle.take(asker.clone()));
        asked.find_map(Result::err).unwrap()
    }

    #[test]
    fn who_asks_too_often_is_told_when_to_come_back() {
        let throttle = throttle(2);
        let TooMany(after) = exhaust(&throttle, &asker(7, None));
        assert!(!after.is_zero() && after <= Duration::from_secs(1));
    }

    #[tokio::test]
    async fn all_sessions_of_a_user_have_one_bucket() {
        let (ours, _theirs) = tokio::net::UnixStream::pair().unwrap();
        let peer = Peer::of(&ours, &Attestor::alone()).await.unwrap();
        let within = |unit: &str| {
            let unit = Some(unit.to_owned());
            Asker::from(&Evidence {
                unit,
                ..peer.accepted().clone()
            })
        };
        let uid = peer.accepted().uid;
        for session in ["session-1.scope", "session-2.scope", "user@7.service"] {
            assert_eq!(within(session), asker(uid, None));
        }
        assert_eq!(within("a.service"), asker(uid, Some("a.service")));
    }

    #[test]
    fn each_uid_and_each_unit_has_its_own_bucket() {
        let throttle = throttle(1);
        for uid in [7, 8] {
            for unit in [None, Some("a.service"), Some("b.service")] {
                throttle.take(asker(uid, unit)).unwrap();
                exhaust(&throttle, &asker(uid, unit));
            }
        }
    }

    #[test]
    fn another_rate_holds_at_once() {
        let throttle = throttle(1);
        exhaust(&throttle, &asker(7, None));
        throttle.set_rate(rate(100));
        for _ in 0..100 {
            throttle.take(asker(7, None)).unwrap();
        }
    }

    #[test]
    fn refusals_are_told_of_when_they_begin_and_then_together() {
        let (throttle, start) = (throttle(1), Instant::now());
        let refused = |times| {
            for _ in 0..times {
                exhaust(&throttle, &asker(7, None));
            }
        };
        assert_eq!(throttle.due(start), (vec![], None));
        refused(1);
        let next = Some(start + PAUSE);
        let told = |count| vec![(asker(7, None), count)];
        assert_eq!(throttle.due(start), (told(1), next));
        refused(5);
        assert_eq!(throttle.due(start + PAUSE / 2), (vec![], next));
        let later = start + PAUSE;
        assert_eq!(throttle.due(later), (told(5), Some(later + PAUSE)));
        // It is over, and forgotten.
        assert_eq!(throttle.due(later + PAUSE), (vec![], None));
        assert!(throttle.accounts().is_empty());
    }
}
