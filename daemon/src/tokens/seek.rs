//! Looking for tokens that are away.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use custody::group::MasterKey;
use tokio::{task::JoinSet, time::timeout};

use super::{Presence, Token, Tokens};
use crate::{
    custodian::Custodian,
    run::prove::{self, load_keys},
};

/// How long after an attempt that failed the next one is made, at first.
const FIRST_WAIT: Duration = Duration::from_millis(200);

impl Custodian {
    /// Looks for the tokens that are away, each until it comes, until it is dropped.
    pub(crate) async fn keep_seeking(self: &Arc<Self>) {
        let mut seeking = JoinSet::new();
        for nth in 0..self.tokens().all().len() {
            let this = Arc::clone(self);
            seeking.spawn(async move {
                if let Some(token) = this.tokens().all().nth(nth) {
                    this.seek(token).await;
                }
            });
        }
        seeking.join_all().await;
    }

    async fn seek(&self, token: &Token) {
        let (mut wait, mut told) = (FIRST_WAIT, None);
        while let Presence::Away(_) = token.presence() {
            let settings = token.settings().clone();
            let (longest, can_be_tried_again) =
                (settings.longest_wait, settings.pin.can_be_read_again());
            let problem = match hsm::Client::start(settings).await {
                Ok(client) => {
                    load_keys(&client, self.keys_in(token)).await;
                    tracing::info!(token = %token.id(), "a token is there");
                    token.presence.send_replace(Presence::Here(client));
                    self.mind_keys();
                    return;
                }
                Err(error) => error.to_string(),
            };
            if told.as_ref() != Some(&problem) {
                tracing::warn!(token = %token.id(), %problem, "a token is away; it is looked for");
                told = Some(problem.clone());
            }
            token.presence.send_replace(Presence::Away(Some(problem)));
            if !can_be_tried_again {
                return;
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(longest);
        }
    }

    fn keys_in(&self, token: &Token) -> Vec<MasterKey> {
        prove::keys_in(&self.state(), token.id())
    }
}

impl Tokens {
    /// Waits until each was looked for once, but not for long: one that hangs holds up nobody.
    pub(crate) async fn looked_for(&self, patience: Duration) {
        let end = Instant::now() + patience;
        for token in self.all() {
            let mut watched = token.watch();
            let tried = watched.wait_for(|it| !matches!(it, Presence::Away(None)));
            drop(timeout(end.saturating_duration_since(Instant::now()), tried).await);
        }
    }
}
