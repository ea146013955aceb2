//! Keys that are made in the token.

use custody::name::KeyId;

use super::{
    Client, incomplete,
    known::{NewGmk, NewJournalKey},
    unexpected,
};
use crate::{
    Error,
    wire::{Done, Generate, Op},
};

/// Labels are for people; the rest of a longer one is left out.
const MAX_LABEL: usize = 255;

impl Client {
    /// Makes a group master key in the token, protects its canary and loads it.
    ///
    /// # Errors
    ///
    /// If the token wraps in none of the allowed ways or makes no conforming key.
    pub async fn generate_gmk(&self, label: &str) -> Result<NewGmk, Error> {
        self.make_gmk(generate(label, false)).await
    }

    /// Makes a group master key in the token, has it wrapped under `root`, protects its canary and
    /// loads it. It takes no room in the token, but for the root key: without one that is said, it is
    /// the one that a former key was made with, or a new one.
    ///
    /// # Errors
    ///
    /// If the token wraps in none of the allowed ways, has no such root key, or none that keeps
    /// in what it unwraps.
    pub async fn generate_wrapped_gmk(&self, root: Option<KeyId>) -> Result<NewGmk, Error> {
        let root = root.or_else(|| self.shared.keys.root());
        self.make_gmk(Generate {
            wrapped: true,
            root: root.map_or_else(Vec::new, |root| root.as_bytes().to_vec()),
            ..Generate::default()
        })
        .await
    }

    async fn make_gmk(&self, order: Generate) -> Result<NewGmk, Error> {
        let made = match self.ask(Op::Generate(order)).await? {
            Done::Gmk(made) => NewGmk::from_wire(made).ok_or_else(incomplete)?,
            other => return Err(unexpected(&other)),
        };
        self.shared.share(&self.lanes, &made.id).await;
        Ok(made)
    }

    /// Makes a pair of keys in the token that signs the journal, and loads it.
    ///
    /// # Errors
    ///
    /// If the token makes no conforming key.
    pub async fn generate_journal_key(&self, label: &str) -> Result<NewJournalKey, Error> {
        let made = match self.ask(Op::Generate(generate(label, true))).await? {
            Done::Journal(made) => NewJournalKey::from_wire(made).ok_or_else(incomplete)?,
            other => return Err(unexpected(&other)),
        };
        self.shared.share(&self.lanes, &made.id).await;
        Ok(made)
    }
}

fn generate(label: &str, journal: bool) -> Generate {
    let mut end = label.len().min(MAX_LABEL);
    while !label.is_char_boundary(end) {
        end -= 1;
    }
    let label = label[..end].to_owned();
    Generate {
        journal,
        label,
        ..Generate::default()
    }
}
