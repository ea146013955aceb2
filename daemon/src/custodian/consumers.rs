//! The inventory: who uses which secret, and who would miss it.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use custody::{
    caller::Evidence,
    change,
    group::Millis,
    name::SecretId,
    role::Operator,
    state::{edit::Edit, links::Dangling},
    usage::Consumer,
};

use super::{Custodian, Error, now};

/// Who used a secret within this time is thought to need it: 30 days.
const RECENT: Millis = 30 * 24 * 60 * 60 * 1000;

/// How many consumers an error names.
const NAMED: usize = 5;

/// Who watches what now, and how often.
#[derive(Debug, Default)]
pub(crate) struct Watchers(Mutex<BTreeMap<(SecretId, Consumer), u32>>);

/// One watcher, for as long as it watches.
#[derive(Debug)]
pub(crate) struct Watching {
    custodian: Arc<Custodian>,
    what: (SecretId, Consumer),
}

impl Drop for Watching {
    fn drop(&mut self) {
        let mut watchers = self.custodian.watchers.lock();
        if let Some(count) = watchers.get_mut(&self.what) {
            *count -= 1;
            if *count == 0 {
                watchers.remove(&self.what);
            }
        }
    }
}

impl Watchers {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<(SecretId, Consumer), u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A service that uses a secret.
#[derive(Clone, Debug)]
pub(crate) struct Use {
    pub(crate) consumer: Consumer,
    /// Newest version that it fetched, how often it fetched, when first and last; none for
    /// one that only watches.
    pub(crate) visits: Option<custody::usage::Visits>,
    pub(crate) is_watching: bool,
    /// Whether it would be missed.
    pub(crate) is_recent: bool,
}

impl Use {
    /// Whether it is a version of this number that it fetched last, or could next.
    fn uses(&self, version: Option<u32>) -> bool {
        let fetched = self.visits.as_ref().map(|visits| visits.version);
        version.is_none() || fetched.is_none() || fetched == version
    }
}

impl Custodian {
    /// Remembers that the process in `evidence` watches `secret`, until that is dropped.
    pub(crate) fn watching(self: &Arc<Self>, secret: SecretId, evidence: &Evidence) -> Watching {
        let what = (secret, Consumer::of(evidence));
        *self.watchers.lock().entry(what.clone()).or_default() += 1;
        Watching {
            custodian: Arc::clone(self),
            what,
        }
    }

    /// Who uses `secret`, most recent first.
    pub(crate) fn uses(&self, secret: &SecretId) -> Vec<Use> {
        let since = now().saturating_sub(RECENT);
        let mut watching: Vec<_> = {
            let watchers = self.watchers.lock();
            let of_secret = watchers.keys().filter(|(watched, _)| watched == secret);
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
    /// it would be delivered no more after `edit`.
    pub(super) fn check_unused(
        &self,
        operator: &Operator,
        secret: &SecretId,
        version: Option<u32>,
        edit: &Edit,
    ) -> Result<(), Error> {
        let recent: Vec<_> = self
            .uses(secret)
            .into_iter()
            .filter(|one| one.is_recent && one.uses(version))
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
