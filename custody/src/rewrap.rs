//! Data keys on their way to master keys that lack them: from one generation to the next, and
//! from one token to another.
//!
//! Nothing of what they protect is opened. Within a token no other process sees the data key;
//! from one token to another it passes through this one, in its type.

use crate::{
    envelope::{Context, Failed, PlaintextDek, WrappedDek},
    group::MasterKey,
    holder::TokenId,
    name::{GroupName, KeyId, VersionId},
    release::{Lock, Locked, Unlock, Urgency, sealed},
    secret::Kind,
    state::{
        State,
        view::{GroupView, SecretView, VersionView},
    },
};

/// How many versions are looked at at most for one batch.
const LOOKED_AT: usize = 10_000;

/// A data key that is to be wrapped under another master key.
///
/// Only [`State::moves`] makes one, under a key that protects and lacks it; and the journal has
/// said by then that this key protects:
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
    from: From,
    to: KeyId,
}

#[derive(Clone, Debug)]
enum From {
    /// A key of the same token, whose time is over: its wrap goes.
    Within(Lock),
    /// Keys of other tokens.
    Across(Locked),
}

/// What is to be done for a [`Move`].
#[derive(Debug)]
pub enum Way<'a> {
    /// The token has both master keys.
    Within(&'a Lock),
    /// Another token unwraps the data key first.
    Across(Passage),
}

impl Move {
    /// The version.
    pub fn version(&self) -> &VersionId {
        &self.version
    }

    /// How the data key comes to its new master key.
    pub fn way(&self) -> Way<'_> {
        match &self.from {
            From::Within(lock) => Way::Within(lock),
            From::Across(locked) => Way::Across(Passage(locked.clone())),
        }
    }

    /// The master key that is to wrap it.
    pub fn to(&self) -> &KeyId {
        &self.to
    }

    /// What the wrap under `gmk`, which is one of those concerned, is bound to.
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

    /// The wrap that the new one takes the place of.
    pub(crate) fn replaces(&self) -> Option<&Lock> {
        match &self.from {
            From::Within(lock) => Some(lock),
            From::Across(_) => None,
        }
    }

    /// Whether `version` still has a wrap that the move was made of.
    pub(crate) fn is_of(&self, version: VersionView<'_>) -> bool {
        let locks = match &self.from {
            From::Within(lock) => std::slice::from_ref(lock),
            From::Across(locked) => locked.locks(),
        };
        let mut wraps = version.wraps();
        wraps.any(|wrap| {
            let is_it = |lock: &Lock| *lock.gmk() == wrap.gmk && *lock.wrapped() == wrap.wrapped;
            locks.iter().any(is_it)
        })
    }
}

/// A data key that one token unwraps for another to wrap. It opens no content.
#[derive(Debug)]
pub struct Passage(Locked);

impl sealed::Sealed for Passage {}

impl Unlock for Passage {
    type Opened = InPassing;
    const URGENCY: Urgency = Urgency::Upkeep;

    fn locked(&self) -> &Locked {
        &self.0
    }

    fn open(self, dek: &PlaintextDek) -> Result<InPassing, Failed> {
        Ok(InPassing(dek.copy()))
    }
}

/// A data key between two tokens.
#[derive(Debug)]
pub struct InPassing(PlaintextDek);

impl InPassing {
    /// What the other token is to wrap.
    pub fn dek(&self) -> &PlaintextDek {
        &self.0
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
/// ```compile_fail,E0451
/// fn destroy(id: custody::name::KeyId) -> custody::rewrap::Destroyed {
///     custody::rewrap::Destroyed { id, ..todo!() } // fields are private
/// }
/// ```
#[derive(Debug, PartialEq, Eq)]
pub struct Destroyed {
    id: KeyId,
    token: TokenId,
}

impl Destroyed {
    /// Its name in the token.
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// The token.
    pub fn token(&self) -> &TokenId {
        &self.token
    }
}

/// Some of what a master key lacks.
#[derive(Debug)]
pub struct Batch {
    /// Moves, in the order of their versions.
    pub moves: Vec<Move>,
    /// The version that was looked at last; `None` if that was the last there is.
    pub last: Option<VersionId>,
}

/// A wrap that is of no more use: its version has others in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Superfluous {
    pub(crate) version: VersionId,
    pub(crate) gmk: KeyId,
}

impl GroupView<'_> {
    /// Whether something is left under a master key whose time is over, or it is not said yet
    /// that nothing is; a master key lacks something; or a token has no master key.
    fn is_unsettled(self) -> bool {
        let is_left = |key: &MasterKey| key.state.is_left() && key.state.emptied().is_none();
        let lacks = |key: &MasterKey| key.state.protects() && self.lacks(&key.id) > 0;
        self.vacant().next().is_some() || self.keys().any(|key| is_left(key) || lacks(key))
    }

    /// The master key whose time is over that has something left, and is in `token`.
    fn left_in(self, version: VersionView<'_>, token: &TokenId) -> Option<Lock> {
        let mut wraps = version.wraps();
        wraps.find_map(|wrap| {
            let key = self.key(&wrap.gmk)?;
            let is_it = key.token == *token && key.state.is_left();
            is_it.then(|| Lock::of(wrap, key))
        })
    }

    fn move_of(
        self,
        to: &MasterKey,
        secret: SecretView<'_>,
        version: VersionView<'_>,
    ) -> Option<Move> {
        let mut wraps = version.wraps();
        if wraps.len() == 0 || wraps.any(|wrap| wrap.gmk == to.id) {
            return None;
        }
        let from = match self.left_in(version, &to.token) {
            Some(lock) => From::Within(lock),
            None => From::Across(version.locked(self, secret)),
        };
        Some(Move {
            version: version.row().id.clone(),
            kind: secret.row().kind,
            from,
            to: to.id,
        })
    }

    /// Whether `version` can do without its wrap under `gmk`: a key whose time is over, in a
    /// token that has another for it, or that holds the group no more, all others having one.
    fn is_superfluous(self, version: VersionView<'_>, gmk: &KeyId) -> bool {
        let has = |key: &MasterKey| version.wraps().any(|wrap| wrap.gmk == key.id);
        let Some(left) = self.key(gmk).filter(|key| key.state.is_left()) else {
            return false;
        };
        match self.row().holders.tokens().contains(&left.token) {
            true => self
                .protecting()
                .any(|key| key.token == left.token && has(key)),
            false => self.vacant().next().is_none() && self.protecting().all(has),
        }
    }
}

impl State {
    /// Groups with something to do for their master keys.
    pub fn unsettled(&self) -> Vec<GroupName> {
        let unsettled = self.groups().filter(|group| group.is_unsettled());
        unsettled.map(|group| group.row().name.clone()).collect()
    }

    /// The master keys of `group` that lack data keys.
    pub fn lacking(&self, group: &GroupName) -> Vec<MasterKey> {
        let Some(group) = self.group(group) else {
            return Vec::new();
        };
        let lacking = group.protecting().filter(|key| group.lacks(&key.id) > 0);
        lacking.cloned().collect()
    }

    /// The master keys that are destroyed, and may still be in their token.
    pub fn destroyed(&self) -> Vec<Destroyed> {
        let keys = self.groups().flat_map(GroupView::keys);
        let destroyed = keys.filter(|key| key.state.is_destroyed());
        let destroyed = destroyed.map(|key| Destroyed {
            id: key.id,
            token: key.token.clone(),
        });
        destroyed.collect()
    }

    /// The next moves in `group` to its master key called `to`, `most` at most, of versions
    /// after `after`.
    pub fn moves(
        &self,
        group: &GroupName,
        to: &KeyId,
        after: Option<&VersionId>,
        most: usize,
    ) -> Batch {
        let mut batch = Batch {
            moves: Vec::new(),
            last: None,
        };
        let Some(group) = self.group(group) else {
            return batch;
        };
        let Some(to) = group.key(to).filter(|key| key.state.protects()) else {
            return batch;
        };
        for (nth, (secret, version)) in group.versions_after(after).enumerate() {
            if batch.moves.len() >= most || nth >= LOOKED_AT {
                return batch;
            }
            batch.moves.extend(group.move_of(to, secret, version));
            batch.last = Some(version.row().id.clone());
        }
        batch.last = None;
        batch
    }

    /// Wraps in `group` that can go, `most` at most.
    pub fn superfluous(&self, group: &GroupName, most: usize) -> Vec<Superfluous> {
        let Some(group) = self.group(group) else {
            return Vec::new();
        };
        let is_left = |key: &MasterKey| key.state.is_left() && group.wraps(&key.id) > 0;
        if !group.keys().any(is_left) {
            return Vec::new();
        }
        let wraps = group.versions_after(None).flat_map(|(_, version)| {
            let wraps = version.wraps();
            let superfluous = wraps.filter(move |wrap| group.is_superfluous(version, &wrap.gmk));
            superfluous.map(|wrap| Superfluous {
                version: wrap.version.clone(),
                gmk: wrap.gmk,
            })
        });
        wraps.take(most).collect()
    }
}
