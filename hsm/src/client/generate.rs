//! Keys that are made in the token.

use super::{
    Client, incomplete,
    key::{NewGmk, NewJournalKey},
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
        let made = match self.ask(generate(label, false)).await? {
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
        let made = match self.ask(generate(label, true)).await? {
            Done::Journal(made) => NewJournalKey::from_wire(made).ok_or_else(incomplete)?,
            other => return Err(unexpected(&other)),
        };
        self.shared.share(&self.lanes, &made.id).await;
        Ok(made)
    }
}

fn generate(label: &str, journal: bool) -> Op {
    let mut end = label.len().min(MAX_LABEL);
    while !label.is_char_boundary(end) {
        end -= 1;
    }
    let label = label[..end].to_owned();
    Op::Generate(Generate { journal, label })
}
