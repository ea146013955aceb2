//! What lies ahead: which versions end when, and which fall foul of the rules of their group;
//! kept so that a look at it costs no more than what there is to see.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    compliance::{Code, Finding, Subject, check, rules::Rules},
    group::Millis,
    name::{GroupName, SecretId, SecretName},
    secret::version::{Version, VersionState},
    state::{
        State,
        view::{GroupView, SecretView},
    },
};

pub mod record;

/// The end of one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct End {
    /// When it is.
    pub at: Millis,
    /// The version's number.
    pub version: u32,
    /// Name of the property that says so; `None` if the version is not delivered from then
    /// on, whatever it holds.
    pub property: Option<&'static str>,
}

/// The enabled versions of a secret that are current or pending.
fn in_use(secret: SecretView<'_>) -> impl Iterator<Item = &Version> {
    let row = secret.row();
    let numbers = [
        row.current,
        row.pending.filter(|_| row.pending != row.current),
    ];
    let versions = numbers.into_iter().flatten();
    let versions = versions.filter_map(move |number| secret.version(number));
    let rows = versions.map(|version| version.row());
    rows.filter(|version| version.state == VersionState::Enabled)
}

/// The ends of what is in use of a secret, as its type tells them of the current and the
/// pending version; and of every version whose delivery has a limit.
fn ends(secret: SecretView<'_>) -> Vec<End> {
    let kind = secret.row().kind;
    let of_content = in_use(secret).filter_map(|version| {
        Some(End {
            at: kind.ends(&version.properties)?,
            version: version.id.number,
            property: kind.end_property(),
        })
    });
    let versions = secret.versions().map(|version| version.row());
    let enabled = versions.filter(|version| version.state == VersionState::Enabled);
    let of_delivery = enabled.filter_map(|version| {
        Some(End {
            at: version.valid_until?,
            version: version.id.number,
            property: None,
        })
    });
    of_content.chain(of_delivery).collect()
}

/// What is found of the versions in use of `secret`, with their numbers, and when time alone
/// will change that.
pub fn findings(
    secret: SecretView<'_>,
    rules: &Rules,
    now: Millis,
) -> (Vec<(u32, Finding)>, Option<Millis>) {
    let (mut found, mut next) = (Vec::new(), None::<Millis>);
    for (nth, version) in in_use(secret).enumerate() {
        let mut verdict = check(rules, Subject::of(secret.row(), version), now);
        // The labels are those of the secret, and found once.
        verdict
            .findings
            .retain(|finding| nth == 0 || finding.code != Code::Label);
        next = [next, verdict.next].into_iter().flatten().min();
        let number = version.id.number;
        found.extend(
            verdict
                .findings
                .into_iter()
                .map(|finding| (number, finding)),
        );
    }
    (found, next)
}

/// What changed in what is found of one secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shift {
    /// The secret.
    pub secret: SecretName,
    /// What was not found before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub found: Vec<Code>,
    /// What was found before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<Code>,
}

impl Shift {
    fn between(secret: &SecretName, before: &BTreeSet<Code>, now: &BTreeSet<Code>) -> Option<Self> {
        let shift = Self {
            secret: secret.clone(),
            found: now.difference(before).copied().collect(),
            gone: before.difference(now).copied().collect(),
        };
        (before != now).then_some(shift)
    }
}

/// The ends of everything there is, and what is found of it.
#[derive(Debug, Default)]
pub struct Outlook {
    groups: BTreeMap<GroupName, OfGroup>,
    /// When the first secret of which group is due.
    due: BTreeSet<(Millis, GroupName)>,
}

#[derive(Debug, Default)]
struct OfGroup {
    ends: BTreeSet<(End, SecretName)>,
    /// When time alone will change what is found of which.
    due: BTreeSet<(Millis, SecretName)>,
    /// In how many secrets what is found.
    counts: BTreeMap<Code, u64>,
    /// Those of which anything is known, to be taken out again.
    secrets: BTreeMap<SecretName, Known>,
}

/// What is known of one secret.
#[derive(Debug, Default)]
struct Known {
    ends: Vec<End>,
    found: BTreeSet<Code>,
    next: Option<Millis>,
}

impl Known {
    fn of(secret: SecretView<'_>, rules: Option<&Rules>, now: Millis) -> Self {
        let judged = rules.map(|rules| findings(secret, rules, now));
        let (found, next) = judged.unwrap_or_default();
        Self {
            ends: ends(secret),
            found: found.into_iter().map(|(_, finding)| finding.code).collect(),
            next,
        }
    }

    fn is_nothing(&self) -> bool {
        self.ends.is_empty() && self.found.is_empty() && self.next.is_none()
    }
}

fn rules(group: GroupView<'_>) -> Option<&Rules> {
    group.compliance().map(|adopted| &adopted.rules)
}

impl Outlook {
    /// The outlook on `state`.
    pub fn of(state: &State, now: Millis) -> Self {
        let mut outlook = Self::default();
        for group in state.groups() {
            for secret in group.secrets() {
                let known = Known::of(secret, rules(group), now);
                outlook.put(&secret.row().id, known);
            }
        }
        outlook
    }

    /// Looks at the secret `id` again, which was changed or deleted, or whose time has come;
    /// says what else is found of it than before.
    pub fn look(&mut self, state: &State, id: &SecretId, now: Millis) -> Option<Shift> {
        let known = state.group(&id.group).and_then(|group| {
            let secret = group.secret(&id.name)?;
            Some(Known::of(secret, rules(group), now))
        });
        let known = known.unwrap_or_default();
        let found = known.found.clone();
        let before = self.put(id, known);
        Shift::between(&id.name, &before, &found)
    }

    /// Says what was found of it before.
    fn put(&mut self, id: &SecretId, known: Known) -> BTreeSet<Code> {
        if known.is_nothing() && !self.groups.contains_key(&id.group) {
            return BTreeSet::new();
        }
        let name = &id.name;
        let group = self.groups.entry(id.group.clone()).or_default();
        let first_due = group.first_due();
        let before = group.secrets.remove(name).unwrap_or_default();
        for end in before.ends {
            group.ends.remove(&(end, name.clone()));
        }
        if let Some(next) = before.next {
            group.due.remove(&(next, name.clone()));
        }
        for code in &before.found {
            if let Some(count) = group.counts.get_mut(code) {
                *count -= 1;
            }
        }
        for end in &known.ends {
            group.ends.insert((*end, name.clone()));
        }
        if let Some(next) = known.next {
            group.due.insert((next, name.clone()));
        }
        for code in &known.found {
            *group.counts.entry(*code).or_default() += 1;
        }
        if !known.is_nothing() {
            group.secrets.insert(name.clone(), known);
        }
        let due = group.first_due();
        if due != first_due {
            if let Some(at) = first_due {
                self.due.remove(&(at, id.group.clone()));
            }
            self.due.extend(due.map(|at| (at, id.group.clone())));
        }
        before.found
    }

    /// What of `group` ends until `last`, soonest first: what has ended already, and is
    /// still in use, too. A version that is not delivered any more, as was meant, is not.
    pub fn expiring(
        &self,
        group: &GroupName,
        now: Millis,
        last: Millis,
    ) -> impl Iterator<Item = (End, &SecretName)> {
        let ends = self.groups.get(group).map(|group| group.ends.iter());
        let ends = ends.into_iter().flatten();
        ends.take_while(move |(end, _)| end.at <= last)
            .filter(move |(end, _)| end.property.is_some() || end.at > now)
            .map(|(end, name)| (*end, name))
    }

    /// The secrets of `group` that something is found of, by name.
    pub fn foul(&self, group: &GroupName) -> impl Iterator<Item = &SecretName> {
        let group = self.groups.get(group);
        let found = group.filter(|group| group.counts.values().any(|count| *count > 0));
        let secrets = found.into_iter().flat_map(|group| &group.secrets);
        let foul = secrets.filter(|(_, known)| !known.found.is_empty());
        foul.map(|(name, _)| name)
    }

    /// In how many secrets of which group what is found.
    pub fn counts(&self) -> impl Iterator<Item = (&GroupName, Code, u64)> {
        let groups = self.groups.iter();
        groups.flat_map(|(name, group)| {
            let counts = group.counts.iter();
            counts.map(move |(code, count)| (name, *code, *count))
        })
    }

    /// When the first content in use of each group ends.
    pub fn soonest(&self) -> impl Iterator<Item = (&GroupName, Millis)> {
        self.groups.iter().filter_map(|(name, group)| {
            let mut ends = group.ends.iter();
            let first = ends.find(|(end, _)| end.property.is_some())?;
            Some((name, first.0.at))
        })
    }

    /// Secrets of which time alone has changed what is found, `most` at most.
    pub fn due(&self, now: Millis, most: usize) -> Vec<SecretId> {
        let groups = self.due.iter().take_while(|(at, _)| *at <= now);
        let groups = groups.filter_map(|(_, name)| self.groups.get_key_value(name));
        let due = groups.flat_map(|(group, of_group)| {
            let due = of_group.due.iter().take_while(|(at, _)| *at <= now);
            due.map(|(_, name)| SecretId {
                group: group.clone(),
                name: name.clone(),
            })
        });
        due.take(most).collect()
    }
}

impl OfGroup {
    fn first_due(&self) -> Option<Millis> {
        self.due.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests;
