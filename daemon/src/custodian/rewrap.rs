//! What is done for master keys in the background, a little at a time: what someone may know the
//! data keys of is renewed; tokens that lack a master key get one, and keys that lack data keys
//! get them; those whose time is over are emptied, and destroyed when that was said.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use custody::{
    change,
    envelope::WrappedDek,
    invocation::Invocation,
    name::{GroupName, KeyId},
    rewrap::{Move, Moved, Way},
};
use tokio::sync::Notify;

use super::{
    Custodian, Error,
    changes::{now, to_its_end},
};

/// How many versions are moved by one change.
const BATCH: usize = 64;

/// How many wraps are taken away by one change. It costs the token nothing.
const DROPPED: usize = 1024;

/// How often it is looked at whether a key is to be destroyed, or emptied after all.
const LOOK: Duration = Duration::from_secs(30);

/// How long to wait after a failure, at first and at most.
const PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Rests that are shorter than that are taken together.
const SHORTEST_REST: Duration = Duration::from_millis(5);

/// Tells the background that there is something to do.
#[derive(Debug, Default)]
pub(super) struct Moving(Notify);

impl Moving {
    pub(super) fn wake(&self) {
        self.0.notify_one();
    }
}

/// Sees to it that the token is busy with moves for no more than a share of the time.
pub(super) struct Pace<F> {
    /// Percent, 1 to 100.
    share: F,
    owed: Duration,
}

impl<F: Fn() -> u32> Pace<F> {
    /// The rest that is due after the token was busy for `took`.
    fn due(&mut self, took: Duration) -> Option<Duration> {
        let share = (self.share)();
        self.owed += took * (100 - share) / share;
        let is_due = self.owed >= SHORTEST_REST;
        is_due.then(|| std::mem::take(&mut self.owed))
    }

    /// Takes that rest.
    pub(super) async fn rest(&mut self, took: Duration) {
        if let Some(rest) = self.due(took) {
            tokio::time::sleep(rest).await;
        }
    }
}

impl Custodian {
    /// Moves what old master keys protect to those that took their place, and destroys keys when
    /// their time has come, until it is dropped. `share` is the percentage of the time in which
    /// the token may be busy with that.
    pub(crate) async fn keep_moving(self: &Arc<Self>, share: impl Fn() -> u32) {
        let mut pace = Pace {
            share,
            owed: Duration::ZERO,
        };
        let mut gone = HashSet::new();
        let mut pause = PAUSE;
        loop {
            let wait = match self.move_on(&mut pace, &mut gone).await {
                Ok(()) => {
                    pause = PAUSE;
                    LOOK
                }
                Err(error) => {
                    if pause == PAUSE {
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "the work on old master keys is interrupted; it goes on by itself"
                        );
                    }
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    pause
                }
            };
            drop(tokio::time::timeout(wait, self.moving.0.notified()).await);
        }
    }

    async fn move_on(
        self: &Arc<Self>,
        pace: &mut Pace<impl Fn() -> u32>,
        gone: &mut HashSet<KeyId>,
    ) -> Result<(), Error> {
        let mut refused = self.of_token(self.replace_worn_keys().await)?;
        let unrenewed = self.state().unrenewed();
        for group in unrenewed {
            refused = refused.or(self.of_token(self.renew_group(&group, pace).await)?);
        }
        let unsettled = self.state().unsettled();
        for group in unsettled {
            refused = refused.or(self.of_token(self.settle_group(&group, pace).await)?);
        }
        let due = change::key::due(&self.state(), now());
        for group in due {
            while self.change_of_key(&group, change::key::destroy).await? {}
        }
        let destroyed = self.state().destroyed();
        for key in destroyed {
            let id = *key.id();
            let Ok(token) = self.tokens.client(key.token()) else {
                continue;
            };
            if gone.insert(id) {
                match token.destroy_gmk(key).await {
                    Ok(true) => {
                        tracing::info!(key = %id, "a master key was destroyed in the token");
                    }
                    Ok(false) => {}
                    Err(error) => {
                        gone.remove(&id);
                        refused = refused.or(self.of_token(Err(Error::Hsm(error)))?);
                    }
                }
            }
        }
        refused.map_or(Ok(()), Err)
    }

    /// What is wrong with one token, or one key, if others are not affected.
    fn of_token(&self, done: Result<(), Error>) -> Result<Option<Error>, Error> {
        match done {
            Ok(()) => Ok(None),
            Err(error @ Error::Hsm(_)) if self.tokens.is_serving() => Ok(Some(error)),
            Err(error) => Err(error),
        }
    }

    /// Does what can be done in a group while some of its tokens may be away.
    async fn settle_group(
        self: &Arc<Self>,
        group: &GroupName,
        pace: &mut Pace<impl Fn() -> u32>,
    ) -> Result<(), Error> {
        let mut failed = self.join(group).await.err();
        let lacking = self.state().lacking(group);
        for key in lacking {
            let Ok(token) = self.tokens.client(&key.token) else {
                continue;
            };
            if let Err(error) = self.fill(group, &key.id, &token, pace).await {
                failed.get_or_insert(error);
            }
        }
        while self.drop_superfluous(group).await? {}
        while self.change_of_key(group, change::key::empty).await? {}
        failed.map_or(Ok(()), Err)
    }

    /// Gives a master key every data key that it lacks.
    async fn fill(
        self: &Arc<Self>,
        group: &GroupName,
        to: &KeyId,
        token: &hsm::Client,
        pace: &mut Pace<impl Fn() -> u32>,
    ) -> Result<(), Error> {
        let mut after = None;
        loop {
            let batch = self.state().moves(group, to, after.as_ref(), BATCH);
            let mut moved = Vec::with_capacity(batch.moves.len());
            let mut failed = None;
            for wanted in batch.moves {
                let counted = self.count_for_upkeep(group, *to).await?;
                let began = Instant::now();
                match self.wrap_anew(token, counted, &wanted).await {
                    Ok(wrapped) => moved.push(wanted.made(wrapped)),
                    Err(error) if error.is_bad_data() => tracing::error!(
                        version = %wanted.version(),
                        key = %to,
                        error = &error as &dyn std::error::Error,
                        "a data key cannot be moved: the master key that has it cannot be destroyed"
                    ),
                    Err(error) => {
                        failed = Some(error);
                        break;
                    }
                }
                pace.rest(began.elapsed()).await;
            }
            self.write_moves(group, to, moved).await?;
            if let Some(error) = failed {
                return Err(Error::Hsm(error));
            }
            match batch.last {
                Some(last) => after = Some(last),
                None => return Ok(()),
            }
        }
    }

    async fn wrap_anew(
        &self,
        token: &hsm::Client,
        counted: Invocation,
        wanted: &Move,
    ) -> Result<WrappedDek, hsm::Error> {
        match wanted.way() {
            Way::Within(lock) => token.rewrap_dek(counted, wanted, lock).await,
            Way::Across(passage) => {
                let passing = self.tokens.unwrap(passage).await?;
                let context = wanted.context(wanted.to());
                token.protect_dek(counted, passing.dek(), context).await
            }
        }
    }

    async fn write_moves(
        self: &Arc<Self>,
        group: &GroupName,
        to: &KeyId,
        moved: Vec<Moved>,
    ) -> Result<(), Error> {
        if moved.is_empty() {
            return Ok(());
        }
        let (this, group, to) = (Arc::clone(self), group.clone(), *to);
        to_its_end(async move {
            let writer = &mut *this.writer().await?;
            let rewrapped = change::key::rewrap(&this.state(), &group, &to, moved);
            match rewrapped {
                Some((edit, change)) => this.commit(writer, None, edit, change).await,
                None => Ok(()),
            }
        })
        .await
    }

    /// Takes some wraps away that are of no more use. Says whether there were any.
    async fn drop_superfluous(self: &Arc<Self>, group: &GroupName) -> Result<bool, Error> {
        let superfluous = self.state().superfluous(group, DROPPED);
        if superfluous.is_empty() {
            return Ok(false);
        }
        let (this, group) = (Arc::clone(self), group.clone());
        to_its_end(async move {
            let writer = &mut *this.writer().await?;
            let dropped = change::key::unwrap(&this.state(), &group, &superfluous);
            match dropped {
                Some((edit, change)) => {
                    this.commit(writer, None, edit, change).await?;
                    Ok(true)
                }
                None => Ok(false),
            }
        })
        .await
    }

    /// Makes the change of one of a group's master keys that `find` finds. Says whether there
    /// was one.
    async fn change_of_key(
        self: &Arc<Self>,
        group: &GroupName,
        find: fn(
            &custody::state::State,
            &GroupName,
            u64,
        ) -> Option<(custody::state::edit::Edit, custody::journal::change::Change)>,
    ) -> Result<bool, Error> {
        let (this, group) = (Arc::clone(self), group.clone());
        to_its_end(async move {
            let writer = &mut *this.writer().await?;
            let found = find(&this.state(), &group, now());
            match found {
                Some((edit, change)) => {
                    this.commit(writer, None, edit, change).await?;
                    Ok(true)
                }
                None => Ok(false),
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_left_alone_for_the_rest_of_the_time() {
        let busy = Duration::from_millis(1);
        for (share, rests) in [(100, 0), (50, 100), (25, 300), (1, 9900)] {
            let mut pace = Pace {
                share: move || share,
                owed: Duration::ZERO,
            };
            let rested: Duration = (0..100).filter_map(|_| pace.due(busy)).sum();
            // What is too short to rest for is still owed.
            assert_eq!(rested + pace.owed, Duration::from_millis(rests), "{share}");
            assert!(pace.owed < SHORTEST_REST, "{share}");
        }
    }
}
