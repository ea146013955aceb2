//! Group master keys: new ones take the place of old ones, which are emptied and destroyed.

use std::sync::Arc;

use custody::{
    change::{
        self, hold,
        key::{self, Deed},
    },
    group::{Keeping, KeyState, MasterKey},
    holder::{Holders, TokenId, Writes},
    journal::change::Change,
    name::GroupName,
    role::Operator,
    state::{State, edit::Edit},
};

use super::{
    Custodian, Error,
    changes::{Writer, now, to_its_end, was_made},
};
use crate::config::Unnamed;

/// Master keys that were just made, and why there is none in some of the tokens.
#[derive(Debug, Default)]
pub(super) struct Made {
    keys: Vec<MasterKey>,
    problem: Option<hsm::Error>,
}

impl Custodian {
    /// A master key for `group` in each of `tokens` that makes one. Where so many are `missing` that
    /// those that are left are not `enough`, none is made for nothing: those that do not serve are asked
    /// first.
    pub(super) async fn make_keys(
        &self,
        group: &GroupName,
        generation: u32,
        keeping: Keeping,
        tokens: impl IntoIterator<Item = &TokenId>,
        enough: impl Fn(usize) -> bool,
    ) -> Made {
        let mut tokens: Vec<_> = tokens.into_iter().collect();
        tokens.sort_by_key(|token| self.tokens.is_of_use(token));
        let (mut made, mut missing) = (Made::default(), 0);
        for token in tokens {
            match self.make_key(group, generation, keeping, token).await {
                Ok(key) => made.keys.push(key),
                Err(error) => {
                    tracing::warn!(%token, %group, %error, "a token makes no master key");
                    made.problem = Some(error);
                    missing += 1;
                    if !enough(missing) {
                        break;
                    }
                }
            }
        }
        made
    }

    async fn make_key(
        &self,
        group: &GroupName,
        generation: u32,
        keeping: Keeping,
        token: &TokenId,
    ) -> Result<MasterKey, hsm::Error> {
        let client = self.tokens.client(token)?;
        let made = match keeping {
            Keeping::InToken => {
                let label = format!("custodyd {group} {generation}");
                client.generate_gmk(&label).await?
            }
            Keeping::Wrapped => {
                let root = self.state().root_key(token);
                client.generate_wrapped_gmk(root).await?
            }
        };
        let reserved = self.invocations().born(made.id);
        Ok(MasterKey {
            id: made.id,
            group: group.clone(),
            generation,
            state: KeyState::Active,
            wrapping: made.wrapping,
            canary: made.canary,
            token: token.clone(),
            blob: made.blob,
            reserved,
            created: now(),
        })
    }

    /// Makes the next generation of a group's master keys, which protects from now on. What the
    /// former ones protected is moved to it in the background. Without an operator it is the
    /// daemon that does it.
    pub(crate) async fn rotate_group(
        self: &Arc<Self>,
        operator: Option<Operator>,
        group: GroupName,
        expected: Option<u32>,
        keeping: Option<Keeping>,
        is_compromised: bool,
    ) -> Result<(), Error> {
        let this = Arc::clone(self);
        to_its_end(async move {
            let writer = &mut *this.writer().await?;
            let generation = key::next_generation(&this.state(), &group, expected)?;
            let holders = this.holders(&group)?;
            let tokens = holders.tokens();
            let kept = keeping.unwrap_or(this.keeping(&group)?);
            let enough = |missing| holders.suffice_without(missing);
            let made = this
                .make_keys(&group, generation, kept, tokens, enough)
                .await;
            this.commit_made(writer, operator.as_ref(), made, |state, keys| {
                key::rotate_group(state, &group, keys, keeping, is_compromised)
            })
            .await
        })
        .await
    }

    /// Has other tokens hold a group, or has writes need more or fewer of them.
    pub(crate) async fn hold_group(
        self: &Arc<Self>,
        operator: Operator,
        group: GroupName,
        holders: Holders,
    ) -> Result<(), Error> {
        let this = Arc::clone(self);
        to_its_end(async move {
            let writer = &mut *this.writer().await?;
            let (generation, new) = this.newcomers(&group, &holders)?;
            let kept = this.keeping(&group)?;
            let enough = |missing| holders.suffice_without(missing);
            let made = this.make_keys(&group, generation, kept, &new, enough).await;
            this.commit_made(writer, Some(&operator), made, |state, keys| {
                hold::hold(state, &group, holders, keys)
            })
            .await
        })
        .await
    }

    /// Gives those tokens of a group that lack a master key, and are there, one.
    pub(super) async fn join(self: &Arc<Self>, group: &GroupName) -> Result<(), Error> {
        let holders = self.holders(group)?;
        if self.newcomers(group, &holders)?.1.is_empty() {
            return Ok(());
        }
        let (this, group) = (Arc::clone(self), group.clone());
        to_its_end(async move {
            let writer = &mut *this.writer().await?;
            let (generation, mut vacant) = this.newcomers(&group, &this.holders(&group)?)?;
            vacant.retain(|token| this.tokens.client(token).is_ok());
            let kept = this.keeping(&group)?;
            let made = this
                .make_keys(&group, generation, kept, &vacant, |_| true)
                .await;
            if made.keys.is_empty() {
                return made
                    .problem
                    .map_or(Ok(()), |problem| Err(Error::Hsm(problem)));
            }
            this.commit_made(writer, None, made, |state, keys| {
                hold::join(state, &group, keys)
            })
            .await
        })
        .await
    }

    /// Does `deed` to a generation of a group's master keys.
    pub(crate) async fn live_key(
        self: &Arc<Self>,
        operator: Operator,
        group: GroupName,
        generation: u32,
        deed: Deed,
    ) -> Result<(), Error> {
        let this = Arc::clone(self);
        to_its_end(async move {
            let writer = &mut *this.writer().await?;
            let lived = key::live(&this.state(), &group, generation, deed, now());
            let (edit, change) = lived?;
            let written = this.commit(writer, Some(&operator), edit, change).await;
            if was_made(&written) {
                this.mind_keys();
            }
            written
        })
        .await
    }

    /// The tokens that are said to hold a new group, all if none is said.
    pub(crate) fn holders_of(&self, names: &[String], writes: Writes) -> Result<Holders, Error> {
        let there = self.tokens.all().map(|token| token.id());
        let there = there.filter(|token| !self.was_lost(token));
        let tokens: Result<_, Error> = match names {
            [] => Ok(there.cloned().collect()),
            names => names.iter().map(|name| self.holder_named(name)).collect(),
        };
        Holders::new(tokens?, writes).map_err(|error| Error::Malformed {
            field: "tokens",
            text: String::new(),
            problem: error.to_string(),
        })
    }

    fn holder_named(&self, name: &str) -> Result<TokenId, Error> {
        let token = self.token_named(name)?;
        match self.was_lost(&token) {
            false => Ok(token),
            true => Err(Error::Malformed {
                field: "token",
                text: name.to_owned(),
                problem: "it was given up for good".to_owned(),
            }),
        }
    }

    /// The token of that label or serial number.
    pub(crate) fn token_named(&self, name: &str) -> Result<TokenId, Error> {
        let named = self.tokens.named(name);
        named.map_err(|error| unnamed(name, &error))
    }

    /// Which tokens hold a group.
    pub(crate) fn holders(&self, group: &GroupName) -> Result<Holders, Error> {
        let state = self.state();
        let group = state
            .group(group)
            .ok_or_else(|| change::Error::NoSuchGroup(group.clone()))?;
        Ok(group.row().holders.clone())
    }

    /// Where a group has its master keys kept.
    fn keeping(&self, group: &GroupName) -> Result<Keeping, Error> {
        let state = self.state();
        let group = state
            .group(group)
            .ok_or_else(|| change::Error::NoSuchGroup(group.clone()))?;
        Ok(group.row().keeping)
    }

    /// Those of `holders` that have no key that protects a group, and of which generation they get one.
    fn newcomers(
        &self,
        group: &GroupName,
        holders: &Holders,
    ) -> Result<(u32, Vec<TokenId>), Error> {
        let state = self.state();
        let group = state
            .group(group)
            .ok_or_else(|| change::Error::NoSuchGroup(group.clone()))?;
        let has_key = |token: &&TokenId| group.protecting().any(|key| key.token == **token);
        let new = holders.tokens().iter().filter(|token| !has_key(token));
        Ok((group.joining(), new.cloned().collect()))
    }

    /// Makes the change that `change` makes of keys just made. If it is not made they are left
    /// over.
    pub(super) async fn commit_made(
        &self,
        writer: &mut Writer,
        operator: Option<&Operator>,
        made: Made,
        change: impl FnOnce(&State, Vec<MasterKey>) -> Result<(Edit, Change), change::Error>,
    ) -> Result<(), Error> {
        let Made { keys, problem } = made;
        let ids: Vec<_> = keys.iter().map(|key| key.id).collect();
        let change = change(&self.state(), keys);
        let written = match (change, problem) {
            (Ok((edit, change)), _) => self.commit(writer, operator, edit, change).await,
            // What kept the tokens that are missing says more.
            (Err(change::Error::TooFewTokens { .. }), Some(problem)) => Err(Error::Hsm(problem)),
            (Err(error), _) => Err(error.into()),
        };
        if was_made(&written) {
            self.mind_keys();
        } else {
            for key in ids {
                tracing::warn!(%key, "a key was made in a token for a change that was not");
            }
        }
        written
    }

    /// Has the background look at the master keys.
    pub(crate) fn mind_keys(&self) {
        self.moving.wake();
    }
}

/// That a token's name is nobody's, or several's.
pub(super) fn unnamed(name: &str, why: &Unnamed) -> Error {
    Error::Malformed {
        field: "token",
        text: name.to_owned(),
        problem: why.to_string(),
    }
}
