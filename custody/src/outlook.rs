//! What lies ahead: which versions end when, kept so that a look at the next month costs no
//! more than what ends in it.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    group::Millis,
    name::{GroupName, SecretId, SecretName},
    secret::version::VersionState,
    state::{State, view::SecretView},
};

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

/// The ends of what is in use of a secret, as its types tell them of the current and the
/// pending version; and of every version whose delivery has a limit.
pub fn ends(secret: SecretView<'_>) -> Vec<End> {
    let row = secret.row();
    let mut ends = Vec::new();
    for version in secret.versions().map(|version| version.row()) {
        let number = version.id.number;
        if version.state != VersionState::Enabled {
            continue;
        }
        ends.extend(version.valid_until.map(|at| End {
            at,
            version: number,
            property: None,
        }));
        if [row.current, row.pending].contains(&Some(number)) {
            ends.extend(row.kind.ends(&version.properties).map(|at| End {
                at,
                version: number,
                property: row.kind.end_property(),
            }));
        }
    }
    ends
}

/// The ends of everything there is.
#[derive(Debug, Default)]
pub struct Outlook(BTreeMap<GroupName, OfGroup>);

#[derive(Debug, Default)]
struct OfGroup {
    ends: BTreeSet<(End, SecretName)>,
    /// The same by name, to be taken out again.
    secrets: BTreeMap<SecretName, Vec<End>>,
}

impl Outlook {
    /// The outlook on `state`.
    pub fn of(state: &State) -> Self {
        let mut outlook = Self::default();
        for secret in state.groups().flat_map(|group| group.secrets()) {
            outlook.put(&secret.row().id, ends(secret));
        }
        outlook
    }

    /// Looks at the secret `id` again, which was changed or deleted.
    pub fn look(&mut self, state: &State, id: &SecretId) {
        let group = state.group(&id.group);
        let secret = group.and_then(|group| group.secret(&id.name));
        self.put(id, secret.map(ends).unwrap_or_default());
    }

    fn put(&mut self, id: &SecretId, ends: Vec<End>) {
        if let Some(group) = self.0.get_mut(&id.group) {
            for end in group.secrets.remove(&id.name).unwrap_or_default() {
                group.ends.remove(&(end, id.name.clone()));
            }
        }
        if ends.is_empty() {
            return;
        }
        let group = self.0.entry(id.group.clone()).or_default();
        for end in &ends {
            group.ends.insert((*end, id.name.clone()));
        }
        group.secrets.insert(id.name.clone(), ends);
    }

    /// What of `group` ends until `last`, soonest first: what has ended already, and is
    /// still in use, too. A version that is not delivered any more, as was meant, is not.
    pub fn expiring(
        &self,
        group: &GroupName,
        now: Millis,
        last: Millis,
    ) -> impl Iterator<Item = (End, &SecretName)> {
        let ends = self.0.get(group).map(|group| group.ends.iter());
        let ends = ends.into_iter().flatten();
        ends.take_while(move |(end, _)| end.at <= last)
            .filter(move |(end, _)| end.property.is_some() || end.at > now)
            .map(|(end, name)| (*end, name))
    }
}

#[cfg(test)]
mod tests;
