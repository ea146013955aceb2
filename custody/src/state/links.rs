//! What refers to what, and what a change would leave referring to nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{State, edit::Edit};
use crate::{
    caller::Evidence,
    change,
    name::{SecretId, VersionId},
    reference::Reference,
    role::{Act, Operation},
    row::{Row, RowId},
    secret::{
        Kind, Refers,
        version::{Secret, Version, VersionState, Which},
    },
};

/// A reference that a version of a secret has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The version that refers.
    pub from: VersionId,
    /// The field in which it does.
    pub field: &'static str,
    /// What it refers to.
    pub to: Reference,
    kinds: &'static [&'static str],
}

/// Why what a reference means cannot be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// There is no such secret.
    NoSecret,
    /// It has another type than these.
    OtherKind(&'static [&'static str]),
    /// It has no such version.
    NoVersion,
    /// The version is destroyed, or is about to be.
    Gone,
    /// The version is valid only for some time.
    Limited,
    /// The version is disabled, and can be enabled again.
    Disabled,
}

impl Problem {
    /// Whether enabling the version takes it away.
    fn passes(self) -> bool {
        self == Self::Disabled
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSecret => "there is no such secret",
            Self::OtherKind(kinds) => {
                return write!(f, "the secret is no {}", kinds.join(" and no "));
            }
            Self::NoVersion => "the secret has no such version",
            Self::Gone => "the version is destroyed, or about to be",
            Self::Limited => "the version is valid only for some time",
            Self::Disabled => "the version is disabled",
        })
    }
}

/// A reference to what cannot be delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dangling {
    /// The reference.
    pub link: Link,
    /// What is wrong with what it means.
    pub problem: Problem,
}

impl fmt::Display for Dangling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Link {
            from, field, to, ..
        } = &self.link;
        write!(f, "{from} ({field}: {to}): {}", self.problem)
    }
}

/// By secret, the versions that refer to it. It follows from the rows, and is not stored.
#[derive(Debug, Default)]
pub(super) struct Referrers(BTreeMap<SecretId, BTreeSet<VersionId>>);

impl Referrers {
    /// Follows `version` of a secret of type `kind` into its state.
    pub(super) fn follow(&mut self, kind: Kind, version: &Version) {
        for link in written(kind, version) {
            if is_living(version) {
                let of_target = self.0.entry(link.to.secret).or_default();
                of_target.insert(link.from);
            } else {
                self.forget_link(&link);
            }
        }
    }

    /// Forgets a version of a secret of type `kind`.
    pub(super) fn forget(&mut self, kind: Kind, version: &Version) {
        for link in written(kind, version) {
            self.forget_link(&link);
        }
    }

    fn forget_link(&mut self, link: &Link) {
        if let Some(of_target) = self.0.get_mut(&link.to.secret) {
            of_target.remove(&link.from);
            if of_target.is_empty() {
                self.0.remove(&link.to.secret);
            }
        }
    }

    fn of(&self, target: &SecretId) -> impl Iterator<Item = &VersionId> {
        self.0.get(target).into_iter().flatten()
    }
}

/// Whether a version refers to anything: it is delivered, or can be by enabling it.
fn is_living(version: &Version) -> bool {
    matches!(
        version.state,
        VersionState::Enabled | VersionState::Disabled
    )
}

/// The references of `version`, which is of a secret of type `kind`, whatever its state.
pub(crate) fn written(kind: Kind, version: &Version) -> impl Iterator<Item = Link> {
    kind.refers().iter().filter_map(|Refers { field, kinds }| {
        let mut properties = version.properties.iter();
        let (_, text) = properties.find(|(name, _)| name == field)?;
        Some(Link {
            from: version.id.clone(),
            field,
            to: text.parse().ok()?,
            kinds,
        })
    })
}

impl State {
    /// What the version called `id` refers to; nothing if it is destroyed, or about to be.
    pub fn refers_to(&self, id: &VersionId) -> Vec<Link> {
        Overlay(self, None).links(id)
    }

    /// What refers to `target`.
    pub fn referred_by(&self, target: &SecretId) -> Vec<Link> {
        let from = self.referrers.of(target);
        let links = from.flat_map(|from| self.refers_to(from));
        links.filter(|link| link.to.secret == *target).collect()
    }

    /// What keeps the target of `link` from being delivered.
    pub fn problem(&self, link: &Link) -> Option<Problem> {
        Overlay(self, None).problem(link)
    }

    /// Whether the process in `evidence` may see what is stored about `secret`.
    pub fn is_seen(&self, evidence: &Evidence, secret: &SecretId) -> bool {
        self.is_open(evidence, secret, Operation::GetSecret)
    }

    /// Whether the process in `evidence` may do that to `secret`.
    pub fn is_open(&self, evidence: &Evidence, secret: &SecretId, operation: Operation) -> bool {
        let act = Act {
            group: Some(secret.group.clone()),
            secret: Some(secret.name.clone()),
            ..Act::of(operation)
        };
        self.admit(evidence.clone(), act).is_ok()
    }

    /// Whether `edit` leaves every reference with something to mean.
    ///
    /// # Errors
    ///
    /// [`change::Error::Refers`] if a version of its own refers to what is not there, or
    /// [`change::Error::ReferredTo`] if it takes away what another refers to.
    pub(crate) fn check_references(&self, edit: &Edit) -> Result<(), change::Error> {
        let after = Overlay(self, Some(edit));
        for row in &edit.puts {
            if let Row::Version(version) = row {
                for link in after.links(&version.id) {
                    if let Some(problem) = after.problem(&link).filter(|it| !it.passes()) {
                        let dangling = Dangling { link, problem };
                        return Err(change::Error::Refers(Box::new(dangling)));
                    }
                }
            }
        }
        for secret in touched(edit) {
            let by = self.broken(&secret, &after, |problem| !problem.passes());
            if !by.is_empty() {
                return Err(change::Error::ReferredTo {
                    secret,
                    by,
                    hidden: 0,
                });
            }
        }
        Ok(())
    }

    /// The references that would not be delivered after `edit` until what it disables is
    /// enabled again.
    pub fn silenced(&self, edit: &Edit) -> Vec<Dangling> {
        let after = Overlay(self, Some(edit));
        let secrets = touched(edit).into_iter();
        secrets
            .flat_map(|secret| self.broken(&secret, &after, Problem::passes))
            .collect()
    }

    /// Numbers of the versions of `secret` that are referred to by number.
    pub(crate) fn pinned(&self, secret: &SecretId) -> BTreeSet<u32> {
        let links = self.referred_by(secret).into_iter();
        links
            .filter_map(|link| match link.to.version {
                Which::Number(number) => Some(number),
                _ => None,
            })
            .collect()
    }

    /// The references to `secret` that come to have such a problem.
    fn broken(
        &self,
        secret: &SecretId,
        after: &Overlay<'_>,
        such: impl Fn(Problem) -> bool,
    ) -> Vec<Dangling> {
        let from = self.referrers.of(secret);
        let links = from.flat_map(|from| after.links(from));
        links
            .filter(|link| link.to.secret == *secret)
            .filter_map(|link| {
                let problem = after.problem(&link).filter(|problem| such(*problem))?;
                let is_new = self.problem(&link) != Some(problem);
                is_new.then_some(Dangling { link, problem })
            })
            .collect()
    }
}

/// The secrets whose rows an edit writes or removes.
fn touched(edit: &Edit) -> BTreeSet<SecretId> {
    let written = edit.puts.iter().filter_map(|row| match row {
        Row::Secret(secret) => Some(&secret.id),
        Row::Version(version) => Some(&version.id.secret),
        _ => None,
    });
    let removed = edit.deletes.iter().filter_map(|row| match row {
        RowId::Secret(id) => Some(id),
        RowId::Version(id) => Some(&id.secret),
        _ => None,
    });
    written.chain(removed).cloned().collect()
}

/// A state, as it would be after an edit.
struct Overlay<'a>(&'a State, Option<&'a Edit>);

impl<'a> Overlay<'a> {
    fn secret(&self, id: &SecretId) -> Option<&'a Secret> {
        if let Some(edit) = self.1 {
            let mut puts = edit.puts.iter().rev();
            let written = puts.find_map(|row| match row {
                Row::Secret(secret) if secret.id == *id => Some(secret),
                _ => None,
            });
            if written.is_some() {
                return written;
            }
            let is_it = |row: &RowId| matches!(row, RowId::Secret(removed) if removed == id);
            if edit.deletes.iter().any(is_it) {
                return None;
            }
        }
        Some(&self.0.in_secret(id)?.secret.row)
    }

    fn version(&self, secret: &SecretId, number: u32) -> Option<&'a Version> {
        let is_it = |id: &VersionId| id.number == number && id.secret == *secret;
        if let Some(edit) = self.1 {
            let mut puts = edit.puts.iter().rev();
            let written = puts.find_map(|row| match row {
                Row::Version(version) if is_it(&version.id) => Some(version),
                _ => None,
            });
            if written.is_some() {
                return written;
            }
            let removed = |row: &RowId| matches!(row, RowId::Version(removed) if is_it(removed));
            if edit.deletes.iter().any(removed) {
                return None;
            }
        }
        let held = self.0.in_secret(secret)?.version(number)?;
        Some(&held.version.row)
    }

    fn links(&self, id: &VersionId) -> Vec<Link> {
        let secret = self.secret(&id.secret);
        let version = self.version(&id.secret, id.number);
        match (secret, version.filter(|version| is_living(version))) {
            (Some(secret), Some(version)) => written(secret.kind, version).collect(),
            _ => Vec::new(),
        }
    }

    fn problem(&self, link: &Link) -> Option<Problem> {
        let Some(secret) = self.secret(&link.to.secret) else {
            return Some(Problem::NoSecret);
        };
        if !link.kinds.contains(&secret.kind.name()) {
            return Some(Problem::OtherKind(link.kinds));
        }
        let number = secret.number(link.to.version);
        let version = number.and_then(|number| self.version(&secret.id, number));
        match version {
            None => Some(Problem::NoVersion),
            Some(version) => match version.state {
                VersionState::Doomed(_) | VersionState::Destroyed => Some(Problem::Gone),
                _ if version.valid_until.is_some() => Some(Problem::Limited),
                VersionState::Requested => Some(Problem::NoVersion),
                VersionState::Disabled => Some(Problem::Disabled),
                VersionState::Enabled => None,
            },
        }
    }
}

#[cfg(test)]
mod tests;
