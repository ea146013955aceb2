//! Tokens that come to have keys of the installation, and tokens that are given up.

use std::{sync::Arc, time::Duration};

use custody::{
    change::trustee::{self, Loss},
    envelope::PlaintextDek,
    holder::TokenId,
    journal::{
        Event,
        public_key::PublicKey,
        signing::Signature,
        trust::{Statement, Voucher},
    },
    role::Operator,
    trustee::Trustee,
};
use hsm::{NewGmk, NewJournalKey};
use tokio::task::JoinSet;

use super::{
    Custodian, Error,
    changes::{now, to_its_end, was_made},
    keys::unnamed,
};
use crate::{
    config::{Unnamed, one_called},
    row_key::{self, Problem},
    run::prove::{keys_in, load_keys},
    tokens::{Presence, Token},
};

/// How long to wait after a failure, at first and at most.
const PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Keys of the installation that were made in a token which is to have some.
#[derive(Default)]
struct NewKeys {
    gmk: Option<NewGmk>,
    journal: Option<NewJournalKey>,
}

impl NewKeys {
    /// Makes those that there are not yet.
    async fn complete(
        &mut self,
        client: &hsm::Client,
    ) -> Result<(NewGmk, NewJournalKey), hsm::Error> {
        let gmk = match self.gmk.take() {
            Some(gmk) => gmk,
            None => client.generate_gmk("custodyd system").await?,
        };
        self.gmk = Some(gmk.clone());
        let journal = match self.journal.take() {
            Some(journal) => journal,
            None => client.generate_journal_key("custodyd journal").await?,
        };
        self.journal = Some(journal.clone());
        Ok((gmk, journal))
    }
}

impl Custodian {
    /// The tokens with keys of the installation.
    pub(crate) fn trustees(&self) -> Vec<Trustee> {
        let state = self.state();
        Trustee::all(&self.system, state.trustees().cloned())
    }

    /// Has a journal key sign.
    pub(super) async fn sign(&self, digest: [u8; 32]) -> Result<Signature, Error> {
        let signed = self.tokens.sign(&self.trustees(), digest).await;
        signed.map_err(Error::Hsm)
    }

    /// Has each token that arrives get what it lacks, until it is dropped.
    pub(crate) async fn keep_admitting(self: &Arc<Self>) {
        let mut admitting = JoinSet::new();
        for nth in 0..self.tokens.all().len() {
            let this = Arc::clone(self);
            admitting.spawn(async move {
                if let Some(token) = this.tokens.all().nth(nth) {
                    this.admit_token(token).await;
                }
            });
        }
        admitting.join_all().await;
    }

    async fn admit_token(self: &Arc<Self>, token: &Token) {
        let mut watched = token.watch();
        let there = watched.wait_for(|it| !matches!(it, Presence::Away(_)));
        let Ok(Presence::Arrived(client)) = there.await.map(|it| it.clone()) else {
            return;
        };
        let (mut made, mut pause) = (NewKeys::default(), PAUSE);
        loop {
            if self.was_lost(token.id()) {
                token.dismiss(&self.tokens).await;
                return;
            }
            let Err(error) = self.entrust(token.id(), &client, &mut made).await else {
                break;
            };
            if pause == PAUSE {
                tracing::warn!(
                    token = %token.id(),
                    error = &error as &dyn std::error::Error,
                    "a token is not of use yet; it is tried again"
                );
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        let keys = keys_in(&self.state(), token.id());
        load_keys(&client, keys).await;
        if token.welcome(&self.tokens) {
            tracing::info!(token = %token.id(), "a token is there");
            self.mind_keys();
        }
    }

    pub(super) fn was_lost(&self, token: &TokenId) -> bool {
        let state = self.state();
        let mut trustees = state.trustees();
        trustees.any(|trustee| trustee.token == *token && trustee.lost.is_some())
    }

    /// Makes keys of the installation in a token that has none. What is `made` for it, and not yet of
    /// use, is taken up when this is done again.
    async fn entrust(
        self: &Arc<Self>,
        token: &TokenId,
        client: &hsm::Client,
        made: &mut NewKeys,
    ) -> Result<(), Error> {
        let trustees = self.trustees();
        let is = |trustee: &&Trustee| trustee.token == *token;
        if let Some(trustee) = trustees.iter().find(is) {
            // What was made here may not have been vouched for on record before something failed.
            if let (Some(_), Some(voucher)) = (&made.journal, &trustee.voucher) {
                self.record(Event::JournalKey(voucher.clone())).await?;
            }
            return Ok(());
        }
        // Without it no key is made: it would be made for nothing.
        let row_key = self.row_key(&trustees).await?;
        let trustee = self
            .make_trustee(token.clone(), client, &row_key, made)
            .await?;
        let voucher = trustee.voucher.clone();
        let this = Arc::clone(self);
        to_its_end(async move {
            let writer = &mut *this.writer().await?;
            let (edit, change) = trustee::add_trustee(&this.state(), &this.system, trustee)?;
            let written = this.commit(writer, None, edit, change).await;
            if let (true, Some(voucher)) = (was_made(&written), voucher) {
                this.record(Event::JournalKey(voucher)).await?;
            }
            written
        })
        .await
    }

    async fn row_key(&self, trustees: &[Trustee]) -> Result<PlaintextDek, Error> {
        let mut problem = None;
        for trustee in trustees {
            let unwrapped = match self.tokens.client(&trustee.token) {
                Ok(client) => row_key::unwrap(&client, &self.system.instance, trustee).await,
                Err(error) => Err(Problem::Hsm(error)),
            };
            match unwrapped {
                Ok(row_key) => return Ok(row_key),
                Err(Problem::Hsm(error)) => problem = Some(error),
                // Its row was verified.
                Err(Problem::Unsigned(_)) => {
                    problem = Some(hsm::Error::DoesNotOpen { gmk: trustee.gmk });
                }
            }
        }
        Err(Error::Hsm(problem.unwrap_or(hsm::Error::Restarting)))
    }

    async fn make_trustee(
        &self,
        token: TokenId,
        client: &hsm::Client,
        row_key: &PlaintextDek,
        made: &mut NewKeys,
    ) -> Result<Trustee, Error> {
        let (gmk, journal_key) = made.complete(client).await.map_err(Error::Hsm)?;
        let instance = &self.system.instance;
        let wrapped = row_key::wrap(client, instance, (&gmk, &journal_key), row_key)
            .await
            .map_err(Error::Hsm)?;
        Ok(Trustee {
            token,
            gmk: gmk.id,
            wrapping: gmk.wrapping,
            canary: gmk.canary,
            row_key: wrapped,
            journal_key: journal_key.id,
            voucher: Some(self.vouch(&journal_key.public_key).await?),
            journal_public_key: journal_key.public_key,
            joined: now(),
            lost: None,
        })
    }

    /// Has a journal key vouch for another.
    async fn vouch(&self, public_key: &[u8]) -> Result<Voucher, Error> {
        let odd = |_| {
            let why = "the token's public key is none of a journal key".to_owned();
            Error::Hsm(hsm::Error::WorkerUnusable(why))
        };
        let key = PublicKey::from_bytes(public_key).map_err(odd)?;
        let statement = Statement::new(&self.system.instance, key);
        let signature = self.sign(statement.digest()).await?;
        Ok(statement.signed(&signature))
    }

    /// Gives a token up for good; says which, and what goes with it. `accept` is how many versions may be
    /// lost.
    pub(crate) async fn lose_token(
        self: &Arc<Self>,
        operator: Operator,
        name: &str,
        accept: u64,
    ) -> Result<(TokenId, Loss), Error> {
        let id = self.trustee_named(name)?;
        let this = Arc::clone(self);
        to_its_end(async move {
            let writer = &mut *this.writer().await?;
            let given_up = trustee::lose_token(&this.state(), &this.system, &id, accept, now());
            let (edit, change, loss) = given_up?;
            let written = this.commit(writer, Some(&operator), edit, change).await;
            if was_made(&written)
                && let Some(token) = this.tokens.get(&id)
            {
                token.dismiss(&this.tokens).await;
            }
            written?;
            Ok((id, loss))
        })
        .await
    }

    /// The token of that label or serial number, which need not be in the configuration any more.
    fn trustee_named(&self, name: &str) -> Result<TokenId, Error> {
        let trustees = self.trustees().into_iter().map(|trustee| trustee.token);
        match one_called(trustees, name) {
            Ok((_, token)) => Ok(token),
            Err(Unnamed::None { .. }) => self.token_named(name),
            Err(several) => Err(unnamed(name, &several)),
        }
    }
}
