//! What the journal says was found of secrets, to tell what it does not say yet.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Outlook, Shift};
use crate::{
    compliance::Code,
    name::{GroupName, SecretId},
};

/// What is found of secrets by what the journal says. Of those that an entry only counts, it says
/// nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Pairs", into = "Pairs")]
pub struct OnRecord(BTreeMap<SecretId, BTreeSet<Code>>);

/// A secret's name is no text, which keys are in JSON.
type Pairs = Vec<(SecretId, BTreeSet<Code>)>;

impl From<Pairs> for OnRecord {
    fn from(pairs: Pairs) -> Self {
        Self(pairs.into_iter().collect())
    }
}

impl From<OnRecord> for Pairs {
    fn from(record: OnRecord) -> Self {
        record.0.into_iter().collect()
    }
}

impl OnRecord {
    /// Whether nothing is found of anything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Follows an entry about secrets of `group`.
    pub fn follow(&mut self, group: &GroupName, shifts: Vec<Shift>) {
        for Shift {
            secret,
            found,
            gone,
        } in shifts
        {
            let id = SecretId {
                group: group.clone(),
                name: secret,
            };
            let mut codes = self.0.remove(&id).unwrap_or_default();
            codes.extend(found);
            codes.retain(|code| !gone.contains(code));
            if !codes.is_empty() {
                self.0.insert(id, codes);
            }
        }
    }
}

impl Outlook {
    /// In what this differs from what is on `record`.
    pub fn unrecorded(&self, record: &OnRecord) -> Vec<(GroupName, Shift)> {
        let foul = self.groups.iter().flat_map(|(group, of_group)| {
            let secrets = of_group.secrets.iter();
            let foul = secrets.filter(|(_, known)| !known.found.is_empty());
            foul.map(|(name, known)| {
                let (group, name) = (group.clone(), name.clone());
                (SecretId { group, name }, &known.found)
            })
        });
        let (foul, none) = (BTreeMap::from_iter(foul), BTreeSet::new());
        let all = BTreeSet::from_iter(foul.keys().chain(record.0.keys()));
        let shifts = all.into_iter().filter_map(|id| {
            let before = record.0.get(id).unwrap_or(&none);
            let now = foul.get(id).copied().unwrap_or(&none);
            Some((id.group.clone(), Shift::between(&id.name, before, now)?))
        });
        shifts.collect()
    }
}
