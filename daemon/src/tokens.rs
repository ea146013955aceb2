//! The tokens that the daemon has, of which some may be away.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use custody::{
    holder::TokenId, journal::signing::Signature, name::KeyId, release::Unlock, trustee::Trustee,
};
use hsm::{Holder, Meters, Reads};
use tokio::{sync::watch, task::JoinSet};
use zeroize::Zeroizing;

use crate::config::{Unnamed, one_called};

mod seek;

/// The tokens of the configuration, in its order.
#[derive(Debug)]
pub(crate) struct Tokens {
    all: Vec<Token>,
    reads: Reads,
    /// Told whenever one of them comes, or does not.
    news: watch::Sender<u64>,
    seeking: Mutex<JoinSet<()>>,
}

/// A token, which may be away.
#[derive(Debug)]
pub(crate) struct Token {
    id: TokenId,
    meters: Meters,
    settings: Mutex<hsm::Settings>,
    presence: watch::Sender<Presence>,
}

/// Whether a token can be asked.
#[derive(Clone, Debug)]
pub(crate) enum Presence {
    /// It was not there yet; why not, once it was looked for.
    Away(Option<hsm::Error>),
    /// It is there, with the keys of the installation that it has; those of groups are to be
    /// loaded.
    Arrived(hsm::Client),
    /// It was there at least once, with all its keys: its client knows how it does now.
    Here(hsm::Client),
}

impl Tokens {
    /// What is counted of all of them.
    pub(crate) fn meters(&self) -> &Meters {
        let first = self.all.first().map(|token| &token.meters);
        first.expect("a configuration has a token")
    }

    /// All of them.
    pub(crate) fn all(&self) -> impl ExactSizeIterator<Item = &Token> {
        self.all.iter()
    }

    /// One of them.
    pub(crate) fn get(&self, id: &TokenId) -> Option<&Token> {
        self.all.iter().find(|token| token.id == *id)
    }

    /// The one of that label or serial number.
    pub(crate) fn named(&self, name: &str) -> Result<TokenId, Unnamed> {
        let ids = self.all().map(|token| token.id.clone());
        one_called(ids, name).map(|(_, id)| id)
    }

    /// The client of the token called `id`.
    ///
    /// # Errors
    ///
    /// If it is away, which passes.
    pub(crate) fn client(&self, id: &TokenId) -> Result<hsm::Client, hsm::Error> {
        let Some(token) = self.get(id) else {
            return Err(hsm::Error::Outage {
                problem: format!("the configuration has no token {id}"),
            });
        };
        match token.presence() {
            Presence::Here(client) => Ok(client),
            Presence::Away(Some(why)) => Err(hsm::Error::Outage {
                problem: format!("the token {id} is away: {why}"),
            }),
            Presence::Away(None) | Presence::Arrived(_) => Err(hsm::Error::Outage {
                problem: format!("the token {id} is being looked for"),
            }),
        }
    }

    /// Whether that one is there and serves, as far as is known.
    pub(crate) fn is_of_use(&self, id: &TokenId) -> bool {
        self.client(id).is_ok_and(|client| client.serves())
    }

    /// Those that are there.
    pub(crate) fn clients(&self) -> impl Iterator<Item = hsm::Client> {
        self.all.iter().filter_map(|token| match token.presence() {
            Presence::Here(client) => Some(client),
            Presence::Away(_) | Presence::Arrived(_) => None,
        })
    }

    /// The one that has the master key called `gmk`.
    pub(crate) fn with_key(&self, gmk: &KeyId) -> Option<hsm::Client> {
        self.clients().find(|client| client.knows(gmk))
    }

    /// Whether one of them serves.
    pub(crate) fn is_serving(&self) -> bool {
        self.clients().any(|client| client.serves())
    }

    /// Whether the one that has the master key called `gmk` could be asked to use it, as far as is
    /// known.
    pub(crate) fn serves(&self, gmk: &KeyId) -> bool {
        let has_it = |client: &hsm::Client| client.knows(gmk) && client.refused(gmk).is_none();
        self.clients()
            .any(|client| has_it(&client) && client.serves())
    }

    /// How long a request to one of them may take at most.
    pub(crate) fn deadline(&self) -> Duration {
        self.of_settings(|settings| settings.deadline)
    }

    /// How many requests are worked on at a time: by the one that takes most, or by all of them if
    /// they share the work.
    pub(crate) fn at_once(&self) -> usize {
        let at_once = hsm::Settings::at_once;
        match self.reads {
            Reads::First => self.of_settings(at_once),
            Reads::Balanced => self.all().map(|token| at_once(&token.settings())).sum(),
        }
    }

    /// How many requests may wait for that one.
    pub(crate) fn places(&self) -> usize {
        self.of_settings(|settings| settings.queue.get())
    }

    fn of_settings<T: Ord + Default>(&self, what: impl Fn(&hsm::Settings) -> T) -> T {
        let each = self.all().map(|token| what(&token.settings()));
        each.max().unwrap_or_default()
    }

    /// Random bytes of the first that gives any.
    pub(crate) async fn random(&self, length: u32) -> Result<Zeroizing<Vec<u8>>, hsm::Error> {
        let mut problem = None;
        for client in self.clients() {
            match client.random(length).await {
                Ok(random) => return Ok(random),
                Err(error) => problem = Some(error),
            }
        }
        Err(problem.unwrap_or_else(hsm::Error::nobody))
    }

    /// Has one of the tokens that can unwrap the data key of `claim`, those that serve first, and
    /// opens it.
    ///
    /// # Errors
    ///
    /// If none does: why it may work later, if it may; else what is wrong with what is stored.
    pub(crate) async fn unwrap<T: Unlock>(&self, claim: T) -> Result<T::Opened, hsm::Error> {
        let gmks = claim.locked().gmks();
        let holders = self.clients().filter_map(|token| {
            let gmk = *gmks.iter().find(|gmk| token.knows(gmk))?;
            Some(Holder { token, gmk })
        });
        let holders: Vec<_> = holders.collect();
        let opened = hsm::unwrap_dek(claim, &holders, self.reads).await;
        opened.map_err(|unopened| unopened.error)
    }

    /// A signature over `digest` by the journal key of the first of `trustees` whose token gives one.
    ///
    /// # Errors
    ///
    /// If none does.
    pub(crate) async fn sign(
        &self,
        trustees: &[Trustee],
        digest: [u8; 32],
    ) -> Result<Signature, hsm::Error> {
        let mut problem = None;
        for token in self.all() {
            let trustee = trustees.iter().find(|it| it.token == token.id);
            let (Some(trustee), Presence::Here(client)) = (trustee, token.presence()) else {
                continue;
            };
            match client.sign(&trustee.journal_key, digest).await {
                Ok(signature) => return Ok(signature),
                Err(error) => problem = Some(error.or_rather(problem)),
            }
        }
        Err(problem.unwrap_or_else(hsm::Error::nobody))
    }

    /// Looks for no token any more, and has the workers of all of them end.
    pub(crate) async fn stop(&self) {
        self.seeking().abort_all();
        for token in self.all() {
            if let Presence::Arrived(client) | Presence::Here(client) = token.presence() {
                client.stop().await;
            }
        }
    }

    fn seeking(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.seeking.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Token {
    fn away(settings: hsm::Settings) -> Self {
        Self {
            id: TokenId::new(settings.token.label(), settings.token.serial()),
            meters: settings.meters.clone(),
            settings: Mutex::new(settings),
            presence: watch::Sender::new(Presence::Away(None)),
        }
    }

    pub(crate) fn id(&self) -> &TokenId {
        &self.id
    }

    pub(crate) fn presence(&self) -> Presence {
        self.presence.borrow().clone()
    }

    /// How far the change of its PIN has come, if there is to be one. Reads a file.
    pub(crate) fn pin_change(&self) -> Option<&'static str> {
        let settings = self.settings().clone();
        settings.pin_change()
    }

    /// Hears when it comes, and of why it does not.
    pub(crate) fn watch(&self) -> watch::Receiver<Presence> {
        self.presence.subscribe()
    }

    /// Has it held as `settings` say from now on.
    pub(crate) fn renew(&self, settings: hsm::Settings) {
        let settings = hsm::Settings {
            meters: self.meters.clone(),
            ..settings
        };
        *self.settings() = settings.clone();
        if let Presence::Arrived(client) | Presence::Here(client) = self.presence() {
            client.renew(settings);
        }
    }

    fn settings(&self) -> MutexGuard<'_, hsm::Settings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
