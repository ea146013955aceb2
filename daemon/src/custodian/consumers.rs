//! The inventory: who uses which secret, and who would miss it.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use custody::{
    caller::Evidence,
    change,
    group::Millis,
    name::SecretId,
    role::Operator,
    state::{edit::Edit, links::Dangling},
    usage::{Consumer, visits::Visits},
};

use super::{Custodian, Error, now};

/// Who used a secret within this time is thought to need it: 30 days.
const RECENT: Millis = 30 * 24 * 60 * 60 * 1000;

/// How many watches the services of one user may have.
const WATCHES: u32 = 1024;

/// How many consumers an error names.
const NAMED: usize = 5;

/// Who watches what now.
#[derive(Debug, Default)]
pub(crate) struct Watchers(Mutex<Watched>);

#[derive(Debug, Default)]
struct Watched {
    /// How often each secret is watched by each consumer.
    counts: BTreeMap<(SecretId, Consumer), u32>,
    by_uid: BTreeMap<u32, u32>,
}

impl Watched {
    fn add(&mut self, what: &(SecretId, Consumer)) -> Result<(), Error> {
        let own = self.by_uid.entry(what.1.uid).or_default();
        if *own >= WATCHES {
            return Err(Error::TooManyWatches);
        }
        *own += 1;
        *self.counts.entry(what.clone()).or_default() += 1;
        Ok(())
    }

    fn remove(&mut self, what: &(SecretId, Consumer)) {
        less(&mut self.counts, what);
        less(&mut self.by_uid, &what.1.uid);
    }
}

/// Takes one from a count, and forgets it with the last.
fn less<K: Ord>(counts: &mut BTreeMap<K, u32>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

/// One watcher, for as long as it watches.
#[derive(Debug)]
pub(crate) struct Watching {
    custodian: Arc<Custodian>,
    what: (SecretId, Consumer),
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.custodian.watchers.lock().remove(&self.what);
    }
}

impl Watchers {
    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A service that uses a secret.
#[derive(Clone, Debug)]
pub(crate) struct Use {
    pub(crate) consumer: Consumer,
    /// The versions that it fetched, how often, when first and last; none for one that
    /// only watches.
    pub(crate) visits: Option<Visits>,
    pub(crate) is_watching: bool,
    /// Whether it would be missed.
    pub(crate) is_recent: bool,
}

impl Use {
    /// Whether it is a version of this number that it fetched last.
    fn has(&self, version: u32) -> bool {
        let fetched = self.visits.as_ref().and_then(Visits::version);
        fetched == Some(version)
    }
}

impl Custodian {
    /// Remembers that the process in `evidence` watches `secret`, until that is dropped; if
    /// its user does not watch too much already.
    pub(crate) fn watching(
        self: &Arc<Self>,
        secret: SecretId,
        evidence: &Evidence,
    ) -> Result<Watching, Error> {
        let what = (secret, Consumer::of(evidence));
        self.watchers.lock().add(&what)?;
        Ok(Watching {
            custodian: Arc::clone(self),
            what,
        })
    }

    /// Who uses `secret`, most recent first.
    pub(crate) fn uses(&self, secret: &SecretId) -> Vec<Use> {
        let since = now().saturating_sub(RECENT);
        let mut watching: Vec<_> = {
            let watchers = self.watchers.lock();
            let all = watchers.counts.keys();
            let of_secret = all.filter(|(watched, _)| watched == secret);
            of_secret.map(|(_, consumer)| consumer.clone()).collect()
        };
        let mut uses: Vec<_> = {
            let usage = self.tally.usage();
            let fetched = usage
                .of_secret(secret)
                .filter(|(_, visits)| visits.fetches > 0);
            fetched
                .map(|(consumer, visits)| {
                    let at = watching.iter().position(|watches| watches == consumer);
                    let is_watching = at.map(|at| watching.swap_remove(at)).is_some();
                    Use {
                        consumer: consumer.clone(),
                        visits: Some(visits.clone()),
                        is_watching,
                        is_recent: is_watching || visits.last >= since,
                    }
                })
                .collect()
        };
        uses.extend(watching.into_iter().map(|consumer| Use {
            consumer,
            visits: None,
            is_watching: true,
            is_recent: true,
        }));
        uses.sort_by_key(|one| {
            let last = one
                .visits
                .as_ref()
                .map_or(Millis::MAX, |visits| visits.last);
            std::cmp::Reverse(last)
        });
        uses
    }

    /// Whether nobody would miss `secret`, or that version of it, and nothing that refers to
    /// it would be delivered no more after `edit`. The current one is what each gets that
    /// comes again.
    pub(super) fn check_unused(
        &self,
        operator: &Operator,
        secret: &SecretId,
        version: Option<u32>,
        edit: &Edit,
    ) -> Result<(), Error> {
        let current = {
            let state = self.state();
            state.secret(secret).ok().and_then(|it| it.row().current)
        };
        let other = version.filter(|_| version != current);
        let recent: Vec<_> = self
            .uses(secret)
            .into_iter()
            .filter(|one| one.is_recent && other.is_none_or(|other| one.has(other)))
            .map(|one| name(&one.consumer))
            .collect();
        let silenced = self.state().silenced(edit);
        let (referrers, hidden) = self.seen(operator, silenced);
        if recent.is_empty() && referrers.is_empty() && hidden == 0 {
            return Ok(());
        }
        Err(Error::InUse(Box::new(InUse {
            secret: secret.clone(),
            consumers: recent,
            referrers,
            hidden,
        })))
    }

    /// `error` without what `operator` may not see.
    pub(super) fn veiled(&self, operator: &Operator, error: change::Error) -> Error {
        match error {
            change::Error::ReferredTo { secret, by, .. } => {
                let (by, hidden) = self.seen(operator, by);
                change::Error::ReferredTo { secret, by, hidden }.into()
            }
            other => other.into(),
        }
    }

    /// Those of `all` that `operator` may see, and how many it may not.
    fn seen(&self, operator: &Operator, all: Vec<Dangling>) -> (Vec<Dangling>, usize) {
        let state = self.state();
        let count = all.len();
        let is_seen = |one: &Dangling| state.is_seen(operator.evidence(), &one.link.from.secret);
        let seen: Vec<_> = all.into_iter().filter(is_seen).collect();
        let hidden = count - seen.len();
        (seen, hidden)
    }
}

/// Who would miss a secret.
#[derive(Debug)]
pub(crate) struct InUse {
    pub(crate) secret: SecretId,
    pub(crate) consumers: Vec<String>,
    /// What refers to it.
    pub(crate) referrers: Vec<Dangling>,
    /// How many more refer to it, which the operator may not see.
    pub(crate) hidden: usize,
}

impl fmt::Display for InUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is in use: ", self.secret)?;
        let more = self.consumers.len().saturating_sub(NAMED);
        f.write_str(&self.consumers[..self.consumers.len() - more].join(", "))?;
        if more > 0 {
            write!(f, " and {more} more")?;
        }
        if !self.referrers.is_empty() || self.hidden > 0 {
            let between = if self.consumers.is_empty() { "" } else { "; " };
            let referrers = change::listed(&self.referrers, self.hidden);
            write!(f, "{between}{referrers}")?;
        }
        Ok(())
    }
}

fn name(consumer: &Consumer) -> String {
    match &consumer.what {
        Some(what) => format!("unix:uid:{} {what}", consumer.uid),
        None => format!("unix:uid:{}", consumer.uid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_who_watches_too_much_keeps_no_other_from_watching() {
        let what = |uid| {
            let secret = SecretId {
                group: "web".parse().unwrap(),
                name: "key".parse().unwrap(),
            };
            (secret, Consumer { uid, what: None })
        };
        let mut watched = Watched::default();
        for _ in 0..WATCHES {
            watched.add(&what(1)).unwrap();
        }
        assert!(matches!(watched.add(&what(1)), Err(Error::TooManyWatches)));
        watched.add(&what(2)).unwrap();
        watched.remove(&what(1));
        watched.add(&what(1)).unwrap();
        for _ in 0..WATCHES {
            watched.remove(&what(1));
        }
        watched.remove(&what(2));
        assert!(watched.counts.is_empty() && watched.by_uid.is_empty());
    }
}
