//! Looking for the tokens until they come.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use custody::{holder::TokenId, trustee::Trustee};
use tokio::{sync::watch, task::JoinSet, time::timeout};

use super::{Presence, Token, Tokens};
use crate::run::prove;

/// How long after an attempt that failed the next one is made, at first.
const FIRST_WAIT: Duration = Duration::from_millis(200);

impl Tokens {
    /// Looks for the tokens that `settings` say, each until it comes with the keys of the
    /// installation that it has by `trustees`. If they are none of these, the first is taken for
    /// a clone of the first of these, which its keys have to prove. Those that are `lost` are not
    /// looked for: someone may have them, and nobody is to get the PIN. Deliveries ask them in
    /// the order of `reads`.
    pub(crate) fn seek(
        settings: impl IntoIterator<Item = hsm::Settings>,
        trustees: &[Trustee],
        lost: &[TokenId],
        reads: hsm::Reads,
    ) -> Arc<Self> {
        let mut all: Vec<_> = settings.into_iter().map(Token::away).collect();
        let is_known = |token: &Token| trustees.iter().any(|it| it.token == token.id);
        if !all.iter().any(is_known)
            && let Some(token) = all.iter_mut().find(|token| !lost.contains(&token.id))
            && let Some(trustee) = trustees.first()
        {
            token.id = trustee.token.clone();
        }
        let tokens = Arc::new(Self {
            all,
            reads,
            news: watch::Sender::new(0),
            seeking: Mutex::new(JoinSet::new()),
        });
        for (nth, token) in tokens.all().enumerate() {
            if lost.contains(&token.id) {
                token.turn(&tokens, Presence::Away(Some(given_up())));
                continue;
            }
            let trustee = trustees.iter().find(|it| it.token == token.id);
            let (weak, trustee) = (Arc::downgrade(&tokens), trustee.cloned());
            tokens.seeking().spawn(async move {
                let mut wait = FIRST_WAIT;
                while let Some(tokens) = weak.upgrade() {
                    let attempt = tokens.all[nth].attempt(&tokens, trustee.as_ref());
                    let Some(longest) = attempt.await else {
                        return;
                    };
                    drop(tokens);
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(longest);
                }
            });
        }
        tokens
    }

    /// Waits until one of `trustees` has arrived.
    ///
    /// # Errors
    ///
    /// Why not, once all of them were looked for: that which may pass, if there is one. `seen`
    /// is what was told before.
    pub(crate) async fn arrived<'a>(
        &self,
        trustees: &'a [Trustee],
        seen: &mut u64,
    ) -> Result<(hsm::Client, &'a Trustee), hsm::Error> {
        let mut news = self.news.subscribe();
        loop {
            let told = *news.borrow_and_update();
            let mut problems = Vec::new();
            let (mut is_waited_for, mut has_gone) = (false, false);
            for token in self.all() {
                let Some(trustee) = trustees.iter().find(|it| it.token == token.id) else {
                    continue;
                };
                match token.presence() {
                    Presence::Arrived(client) | Presence::Here(client) if client.serves() => {
                        return Ok((client, trustee));
                    }
                    // It came, and went; and comes again without a word.
                    Presence::Arrived(_) | Presence::Here(_) => {
                        tokio::time::sleep(FIRST_WAIT).await;
                        problems.push(hsm::Error::Restarting);
                        has_gone = true;
                    }
                    Presence::Away(Some(problem)) => problems.push(problem),
                    Presence::Away(None) => is_waited_for = true,
                }
            }
            if !is_waited_for && (told > *seen || has_gone) {
                *seen = told;
                let passing = problems.iter().position(hsm::Error::may_pass);
                let problem =
                    (!problems.is_empty()).then(|| problems.swap_remove(passing.unwrap_or(0)));
                return Err(problem.unwrap_or_else(hsm::Error::nobody));
            }
            drop(news.changed().await);
        }
    }

    /// Waits until each was looked for once and is of use, if it is there; but not for long: one
    /// that hangs holds up nobody.
    pub(crate) async fn settled(&self, patience: Duration) {
        let end = Instant::now() + patience;
        for token in self.all() {
            let mut watched = token.watch();
            let settled = |it: &Presence| matches!(it, Presence::Away(Some(_)) | Presence::Here(_));
            let settled = watched.wait_for(settled);
            drop(timeout(end.saturating_duration_since(Instant::now()), settled).await);
        }
    }
}

impl Token {
    /// Looks for it once. Gives the longest time to wait before that is done again; `None` if it
    /// is not to be.
    async fn attempt(&self, tokens: &Tokens, trustee: Option<&Trustee>) -> Option<Duration> {
        let settings = self.settings().clone();
        let again = settings.longest_wait;
        let can_be_tried_again = settings.pin.can_be_read_again();
        let problem = match start(settings, trustee).await {
            Ok(client) => {
                self.turn(tokens, Presence::Arrived(client));
                return None;
            }
            Err(problem) => problem,
        };
        let before = self.presence();
        if !matches!(&before, Presence::Away(Some(told)) if *told == problem) {
            tracing::warn!(token = %self.id, %problem, "a token is away; it is looked for");
        }
        self.turn(tokens, Presence::Away(Some(problem)));
        can_be_tried_again.then_some(again)
    }

    /// It is used no more: it was given up.
    pub(crate) async fn dismiss(&self, tokens: &Tokens) {
        let before = self.presence();
        self.turn(tokens, Presence::Away(Some(given_up())));
        if let Presence::Arrived(client) | Presence::Here(client) = before {
            client.stop().await;
        }
    }

    /// What has come is of use, if it was not given up meanwhile. Says whether it is.
    pub(crate) fn welcome(&self, tokens: &Tokens) -> bool {
        let is_welcome = self.presence.send_if_modified(|presence| {
            let Presence::Arrived(client) = presence else {
                return false;
            };
            *presence = Presence::Here(client.clone());
            true
        });
        if is_welcome {
            tokens.news.send_modify(|told| *told += 1);
        }
        is_welcome
    }

    /// It comes, or does not.
    fn turn(&self, tokens: &Tokens, presence: Presence) {
        self.presence.send_replace(presence);
        tokens.news.send_modify(|told| *told += 1);
    }
}

fn given_up() -> hsm::Error {
    hsm::Error::Outage {
        problem: "it was given up for good".to_owned(),
    }
}

async fn start(
    settings: hsm::Settings,
    trustee: Option<&Trustee>,
) -> Result<hsm::Client, hsm::Error> {
    let client = hsm::Client::start(settings).await?;
    let keys = trustee.into_iter().flat_map(prove::keys_of);
    for key in keys {
        if let Err(error) = client.load(key).await {
            client.stop().await;
            return Err(error);
        }
    }
    Ok(client)
}
