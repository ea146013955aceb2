//! Emptying master keys whose time is over, and destroying them when that was said: in the
//! background, a little at a time. What someone may know the data keys of is renewed first.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use custody::{change, name::GroupName, rewrap::Moved};
use tokio::sync::Notify;

use super::{
    Custodian, Error,
    changes::{now, to_its_end},
};

/// How many versions are moved by one change.
const BATCH: usize = 64;

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
        gone: &mut HashSet<custody::name::KeyId>,
    ) -> Result<(), Error> {
        self.replace_worn_keys().await?;
        let mut refused = None;
        let unrenewed = self.state().unrenewed();
        for group in unrenewed {
            refused = refused.or(of_one_key(self.renew_group(&group, pace).await)?);
        }
        let unmoved = self.state().unmoved();
        for group in unmoved {
            refused = refused.or(of_one_key(self.move_group(&group, pace).await)?);
            while self.change_of_key(&group, change::key::empty).await? {}
        }
        let due = change::key::due(&self.state(), now());
        for group in due {
            while self.change_of_key(&group, change::key::destroy).await? {}
        }
        let destroyed = self.state().destroyed();
        for key in destroyed {
            let id = *key.id();
            if gone.insert(id) {
                let destroyed = self.hsm.destroy_gmk(key).await;
                let was_there = destroyed.inspect_err(|_| {
                    gone.remove(&id);
                });
                if was_there.map_err(Error::Hsm)? {
                    tracing::info!(key = %id, "a master key was destroyed in the token");
                }
            }
        }
        refused.map_or(Ok(()), Err)
    }

    /// Moves everything in a group that can be moved.
    async fn move_group(
        self: &Arc<Self>,
        group: &GroupName,
        pace: &mut Pace<impl Fn() -> u32>,
    ) -> Result<(), Error> {
        let mut after = None;
        loop {
            let batch = self.state().moves(group, after.as_ref(), BATCH);
            let mut moved = Vec::with_capacity(batch.moves.len());
            let mut failed = None;
            for wanted in batch.moves {
                let counted = self.count_in_turn(group, *wanted.to()).await?;
                let began = Instant::now();
                match self.hsm.rewrap_dek(counted, &wanted).await {
                    Ok(wrapped) => moved.push(wanted.made(wrapped)),
                    Err(error) if error.is_bad_data() => tracing::error!(
                        version = %wanted.version(),
                        key = %wanted.from(),
                        error = &error as &dyn std::error::Error,
                        "a data key cannot be moved: its master key cannot be destroyed"
                    ),
                    Err(error) => {
                        failed = Some(error);
                        break;
                    }
                }
                pace.rest(began.elapsed()).await;
            }
            self.write_moves(group, moved).await?;
            if let Some(error) = failed {
                return Err(Error::Hsm(error));
            }
            match batch.last {
                Some(last) => after = Some(last),
                None => return Ok(()),
            }
        }
    }

    async fn write_moves(
        self: &Arc<Self>,
        group: &GroupName,
        moved: Vec<Moved>,
    ) -> Result<(), Error> {
        if moved.is_empty() {
            return Ok(());
        }
        let (this, group) = (Arc::clone(self), group.clone());
        to_its_end(async move {
            let writer = &mut *this.writer().await?;
            let rewrapped = change::key::rewrap(&this.state(), &group, moved);
            match rewrapped {
                Some((edit, change)) => this.commit(writer, None, edit, change).await,
                None => Ok(()),
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

/// What went wrong for a key of one group, which does not affect those of others.
fn of_one_key(done: Result<(), Error>) -> Result<Option<Error>, Error> {
    match done {
        Err(Error::Hsm(error)) if error.is_of_one_key() => Ok(Some(Error::Hsm(error))),
        done => done.map(|()| None),
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
