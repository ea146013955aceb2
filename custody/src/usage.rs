//! Who used which grant, who fetched which secret, and what was found of which: drawn from the
//! journal alone, so it is trusted as the journal is, and nothing else needs to keep it.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    num::NonZeroU64,
};

use serde::{Deserialize, Serialize};

use crate::{
    caller::{Evidence, cgroup::is_session},
    group::Millis,
    journal::Receipt,
    name::{RuleId, SecretId},
    outlook::record::OnRecord,
    policy::rule::{Rate, Rule},
    selector::Selector,
    state::State,
};

pub mod noted;
mod triples;
pub mod visits;

use noted::{Noted, NotedChange};
use visits::Visits;

/// The grants and secrets there are: nothing is remembered of others.
#[derive(Clone, Debug)]
pub struct Known {
    rules: BTreeMap<RuleId, Option<Rate>>,
    secrets: BTreeSet<SecretId>,
}

impl Known {
    /// Those in `state`.
    pub fn of(state: &State) -> Self {
        let rules = state.groups().flat_map(|group| group.rules());
        let secrets = state.groups().flat_map(|group| group.secrets());
        Self {
            rules: rules.map(|rule| (rule.id, rule.terms.rate)).collect(),
            secrets: secrets.map(|secret| secret.row().id.clone()).collect(),
        }
    }
}

/// What is known of use, up to one entry of the journal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    rules: BTreeMap<RuleId, Uses>,
    #[serde(with = "triples")]
    secrets: BTreeMap<SecretId, BTreeMap<Consumer, Visits>>,
    /// How often each secret was delivered by each grant.
    #[serde(with = "triples")]
    grants: BTreeMap<SecretId, BTreeMap<RuleId, u64>>,
    /// Deliveries that may yet turn out not to have happened, by their entries.
    open: BTreeMap<u64, Open>,
    since: Since,
    /// Secrets that are gone are in it until that is on record, too.
    #[serde(default, skip_serializing_if = "OnRecord::is_empty")]
    findings: OnRecord,
}

/// From where on all of the journal was there to be drawn from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Since {
    /// The entry's number.
    pub seq: u64,
    /// When it was written.
    pub at: Millis,
}

impl Default for Since {
    /// From its beginning.
    fn default() -> Self {
        Self { seq: 1, at: 0 }
    }
}

/// How much a grant was used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uses {
    /// Deliveries.
    pub count: u64,
    /// When the newest was.
    pub last: Millis,
    /// When each of the newest was, oldest first: as many as the grant's rate counts.
    recent: VecDeque<Millis>,
}

/// A service, as it can be recognised the next time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Consumer {
    /// Its user id.
    pub uid: u32,
    /// The selector that says most of it besides.
    pub what: Option<Selector>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Open {
    rule: RuleId,
    secret: SecretId,
    consumer: Consumer,
    version: u32,
    at: Millis,
    /// When this consumer had fetched this version before.
    before: Option<Millis>,
}

/// A delivery that is on record.
#[derive(Clone, Debug)]
pub struct Delivered {
    /// The entry.
    pub receipt: Receipt,
    /// The grant.
    pub rule: RuleId,
    /// The secret.
    pub secret: SecretId,
    /// Its version.
    pub version: u32,
    /// To whom.
    pub consumer: Consumer,
    /// When.
    pub at: Millis,
}

/// How many deliveries may be in progress at a time, with room to spare.
const MAX_OPEN: usize = 4096;

/// How many services are remembered for one secret; beyond that, who has not come for
/// the longest time is forgotten.
const MAX_CONSUMERS: usize = 1000;

impl Consumer {
    /// Who the process in `evidence` is, as far as its next one will be the same.
    pub fn of(evidence: &Evidence) -> Self {
        Self::from_parts(
            evidence.uid,
            evidence.pod.as_deref(),
            evidence.container.as_deref(),
            evidence.unit.as_deref(),
            evidence.exe.as_deref(),
        )
    }

    fn from_parts(
        uid: u32,
        pod: Option<&str>,
        container: Option<&str>,
        unit: Option<&str>,
        exe: Option<&str>,
    ) -> Self {
        // A login session is another one each time.
        let lasting = |unit: &&str| !is_session(unit);
        let what = pod
            .map(|pod| Selector::Pod(pod.to_owned()))
            .or_else(|| container.map(|id| Selector::Container(id.to_owned())))
            .or_else(|| {
                unit.filter(lasting)
                    .map(|unit| Selector::Unit(unit.to_owned()))
            })
            .or_else(|| exe.map(|path| Selector::Path(path.to_owned())));
        Self { uid, what }
    }
}

impl Usage {
    /// How much `rule` was used.
    pub fn of_rule(&self, rule: &RuleId) -> Option<&Uses> {
        self.rules.get(rule)
    }

    /// Who fetched `secret`.
    pub fn of_secret(&self, secret: &SecretId) -> impl Iterator<Item = (&Consumer, &Visits)> {
        self.secrets.get(secret).into_iter().flatten()
    }

    /// Whether any of `secret` was ever delivered by `rule`.
    pub fn gave(&self, rule: &RuleId, secret: &SecretId) -> bool {
        let given = self.grants.get(secret).and_then(|by| by.get(rule));
        given.is_some_and(|count| *count > 0)
    }

    /// From where on all use is known.
    pub fn since(&self) -> Since {
        self.since
    }

    /// Takes note that nothing is known of what the journal said before `since`, but for what
    /// was drawn from it already.
    pub fn lose_before(&mut self, since: Since) {
        self.since = since;
    }

    /// Whether `rule` has a use left. One that is older than what is known has none: how
    /// many it had is lost.
    pub fn has_left(&self, rule: &Rule) -> bool {
        let used = self.rules.get(&rule.id).map_or(0, |uses| uses.count);
        let is_known = self.since.seq == 1 || rule.created > self.since.at;
        let left = |uses: NonZeroU64| is_known && used < uses.get();
        rule.terms.uses.is_none_or(left)
    }

    /// Whether `rule` may be used at `now` as far as its rate goes.
    pub fn in_rate(&self, rule: &Rule, now: Millis) -> bool {
        let Some(rate) = rule.terms.rate else {
            return true;
        };
        let recent = self.rules.get(&rule.id).map(|uses| &uses.recent);
        let within = |at: &&Millis| at.saturating_add(rate.span()) > now;
        let count = recent.map_or(0, |recent| recent.iter().filter(within).count());
        count < rate.uses as usize
    }

    /// Uses `rule` once. To be done before the delivery is recorded, together with the
    /// decision, so that no two deliveries have the same use.
    pub fn take(&mut self, rule: &Rule, now: Millis) {
        self.count(rule.id, rule.terms.rate, now);
    }

    fn count(&mut self, rule: RuleId, rate: Option<Rate>, now: Millis) {
        let uses = self.rules.entry(rule).or_default();
        uses.count += 1;
        uses.last = now;
        if let Some(rate) = rate {
            uses.recent.push_back(now);
            while uses.recent.len() > rate.uses as usize {
                uses.recent.pop_front();
            }
        }
    }

    /// Undoes [`Self::take`] for a delivery that did not happen.
    pub fn give_back(&mut self, rule: &RuleId, at: Millis) {
        if let Some(uses) = self.rules.get_mut(rule) {
            uses.count = uses.count.saturating_sub(1);
            if let Some(index) = uses.recent.iter().rposition(|&taken| taken == at) {
                uses.recent.remove(index);
            }
        }
    }

    /// Remembers a delivery whose use was taken.
    pub fn delivered(&mut self, delivered: Delivered) {
        let Delivered {
            receipt,
            rule,
            secret,
            version,
            consumer,
            at,
        } = delivered;
        let consumers = self.secrets.entry(secret.clone()).or_default();
        if consumers.len() >= MAX_CONSUMERS && !consumers.contains_key(&consumer) {
            let oldest = consumers.iter().min_by_key(|(_, visits)| visits.last);
            if let Some(oldest) = oldest.map(|(consumer, _)| consumer.clone()) {
                consumers.remove(&oldest);
            }
        }
        let visits = consumers.entry(consumer.clone()).or_insert(Visits {
            versions: Vec::new(),
            fetches: 0,
            first: at,
            last: at,
        });
        let before = visits.fetch(version, at);
        let given = self.grants.entry(secret.clone()).or_default();
        *given.entry(rule).or_default() += 1;
        let open = Open {
            rule,
            secret,
            consumer,
            version,
            at,
            before,
        };
        self.open.insert(receipt.seq(), open);
        while self.open.len() > MAX_OPEN {
            self.open.pop_first();
        }
    }

    /// Takes back what [`Self::delivered`] remembered for the entry `allowed`, and its use.
    pub fn undelivered(&mut self, allowed: Receipt) {
        let Some(open) = self.open.remove(&allowed.seq()) else {
            return;
        };
        self.give_back(&open.rule, open.at);
        let given = self.grants.get_mut(&open.secret);
        if let Some(count) = given.and_then(|by| by.get_mut(&open.rule)) {
            *count = count.saturating_sub(1);
        }
        let consumers = self.secrets.get_mut(&open.secret);
        if let Some(visits) = consumers.and_then(|all| all.get_mut(&open.consumer)) {
            visits.unfetch(open.version, open.at, open.before);
        }
    }

    /// Forgets who fetched `secret`, which is no more: another of its name is not theirs.
    pub fn forget_secret(&mut self, secret: &SecretId) {
        self.secrets.remove(secret);
        self.grants.remove(secret);
    }

    /// Forgets what there no longer is.
    pub fn forget(&mut self, known: &Known) {
        self.rules.retain(|id, _| known.rules.contains_key(id));
        self.secrets.retain(|id, _| known.secrets.contains(id));
        self.grants.retain(|id, by| {
            by.retain(|rule, _| known.rules.contains_key(rule));
            known.secrets.contains(id)
        });
    }

    /// What is on record of findings, as far as it was followed. It is not followed any further.
    pub fn take_findings(&mut self) -> OnRecord {
        std::mem::take(&mut self.findings)
    }

    /// Follows an entry of the journal that was written by an earlier life of the daemon.
    pub fn replay(&mut self, seq: u64, at: Millis, noted: Noted, known: &Known) {
        match noted {
            Noted::Allow {
                operation,
                caller,
                group,
                secret,
                version,
                grant,
            } if operation == "deliver" => {
                if let Some(rate) = known.rules.get(&grant) {
                    self.count(grant, *rate, at);
                }
                self.delivered(Delivered {
                    receipt: Receipt::of_durable(seq),
                    rule: grant,
                    secret: SecretId {
                        group,
                        name: secret,
                    },
                    version,
                    consumer: caller.consumer(),
                    at,
                });
            }
            Noted::Undelivered { allowed } => self.undelivered(Receipt::of_durable(allowed)),
            // If it was aborted, all that is lost is who used it before.
            Noted::Prepare {
                change: NotedChange::DeleteSecret { group, secret },
            } => self.forget_secret(&SecretId {
                group,
                name: secret,
            }),
            Noted::Findings { group, secrets } => self.findings.follow(&group, secrets),
            Noted::Allow { .. } | Noted::Prepare { .. } | Noted::Other => {}
        }
    }
}

#[cfg(test)]
mod tests;
