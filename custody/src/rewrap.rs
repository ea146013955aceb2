//! Data keys on their way from one master key of a group to the next.
//!
//! Nothing of what they protect is opened: the token unwraps a data key and wraps it again, and
//! no other process sees it.

use crate::{
    envelope::{Context, WrappedDek},
    group::MasterKey,
    name::{GroupName, KeyId, SecretName, VersionId},
    secret::Kind,
    state::{State, view::GroupView},
};

/// How many versions are looked at at most for one batch.
const LOOKED_AT: usize = 10_000;

/// A data key that is to be wrapped by another master key.
///
/// Only [`State::moves`] makes one, under a key that protects, of what is left under one that was
/// deactivated or compromised; and the journal has said by then that this key took its place:
///
/// ```compile_fail,E0451
/// fn move_it(version: custody::name::VersionId) -> custody::rewrap::Move {
///     custody::rewrap::Move { version, ..todo!() } // fields are private
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Move {
    version: VersionId,
    kind: Kind,
    from: KeyId,
    wrapped: WrappedDek,
    to: KeyId,
}

impl Move {
    /// The version.
    pub fn version(&self) -> &VersionId {
        &self.version
    }

    /// The master key that wraps it now.
    pub fn from(&self) -> &KeyId {
        &self.from
    }

    /// The data key under that.
    pub fn wrapped(&self) -> &WrappedDek {
        &self.wrapped
    }

    /// The master key that is to wrap it.
    pub fn to(&self) -> &KeyId {
        &self.to
    }

    /// What the wrap under `gmk`, which is one of the two, is bound to.
    pub fn context<'a>(&'a self, gmk: &'a KeyId) -> Context<'a> {
        Context::Dek {
            version: &self.version,
            kind: self.kind.name(),
            gmk,
        }
    }

    /// The move, made: `wrapped` is the data key under the new master key.
    pub fn made(self, wrapped: WrappedDek) -> Moved {
        Moved { of: self, wrapped }
    }
}

/// A data key that was wrapped anew, which is not written down yet.
#[derive(Clone, Debug)]
pub struct Moved {
    pub(crate) of: Move,
    pub(crate) wrapped: WrappedDek,
}

/// A master key that nothing is wrapped under, and that is on record as destroyed: it can go
/// from its token.
///
/// Only [`State::destroyed`] makes one:
///
/// ```compile_fail,E0423
/// fn destroy(id: custody::name::KeyId) -> custody::rewrap::Destroyed {
///     custody::rewrap::Destroyed(id) // the field is private
/// }
/// ```
#[derive(Debug, PartialEq, Eq)]
pub struct Destroyed(KeyId);

impl Destroyed {
    /// Its name in the token.
    pub fn id(&self) -> &KeyId {
        &self.0
    }
}

/// Some of what is to be moved in a group.
#[derive(Debug)]
pub struct Batch {
    /// Moves, in the order of their versions.
    pub moves: Vec<Move>,
    /// The version that was looked at last; `None` if that was the last there is.
    pub last: Option<VersionId>,
}

impl State {
    /// Groups with a master key whose time is over, with something left under it or not yet
    /// said to be empty.
    pub fn unmoved(&self) -> Vec<GroupName> {
        let groups = self.groups();
        let unmoved = groups.filter(|group| {
            let mut keys = group.keys();
            keys.any(|key| key.state.is_left() && key.state.emptied().is_none())
        });
        unmoved.map(|group| group.row().name.clone()).collect()
    }

    /// The master keys that are destroyed, and may still be in their token.
    pub fn destroyed(&self) -> Vec<Destroyed> {
        let keys = self.groups().flat_map(GroupView::keys);
        let destroyed = keys.filter(|key| key.state.is_destroyed());
        destroyed.map(|key| Destroyed(key.id)).collect()
    }

    /// The next moves in `group`, `most` at most, of versions after `after`.
    pub fn moves(&self, group: &GroupName, after: Option<&VersionId>, most: usize) -> Batch {
        let mut batch = Batch {
            moves: Vec::new(),
            last: None,
        };
        let Some(group) = self.group(group) else {
            return batch;
        };
        let is_left = |key: &&MasterKey| key.state.is_left() && key.state.emptied().is_none();
        let left: Vec<_> = group.keys().filter(is_left).collect();
        let Some(to) = group.keys().last().filter(|key| key.state.protects()) else {
            return batch;
        };
        let is_after = |number: u32, name: &SecretName| match after {
            Some(after) if after.secret.name == *name => number > after.number,
            _ => true,
        };
        let first = after.map(|after| &after.secret.name);
        let secrets = group.secrets_from(first);
        let versions = secrets.flat_map(|secret| {
            let versions = secret.versions();
            versions.map(move |version| (secret.row(), version))
        });
        let versions =
            versions.filter(|(secret, version)| is_after(version.row().id.number, &secret.id.name));
        for (nth, (secret, version)) in versions.enumerate() {
            if batch.moves.len() >= most || nth >= LOOKED_AT {
                return batch;
            }
            let id = &version.row().id;
            for wrap in version.wraps() {
                if let Some(from) = left.iter().find(|key| key.id == wrap.gmk) {
                    batch.moves.push(Move {
                        version: id.clone(),
                        kind: secret.kind,
                        from: from.id,
                        wrapped: wrap.wrapped.clone(),
                        to: to.id,
                    });
                }
            }
            batch.last = Some(id.clone());
        }
        batch.last = None;
        batch
    }
}
