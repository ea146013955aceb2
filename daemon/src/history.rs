//! What the journal tells of use, so that counts and the inventory outlive the daemon.
//!
//! A file beside the journal holds what was drawn from it so far, so that a start need not
//! read all of it. It is worth nothing by itself: it is bound to the journal entry that it
//! reaches to, and authenticated with the row key; without it everything is read again.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    sync::{PoisonError, RwLock, RwLockReadGuard},
};

use custody::{
    group::Millis,
    journal::chain::{Hash, Head, Verifier},
    row::Tag,
    state::State,
    usage::{Known, Since, Usage, noted::Noted},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::journal::{self, Journal};

/// What is known of use up to one entry.
#[derive(Debug)]
pub(crate) struct History {
    /// The newest entry that is in it.
    head: Head,
    pub(crate) usage: Usage,
}

/// As it is in the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    seq: u64,
    hash: Hash,
    tag: String,
    /// JSON in a text: what the tag is over, byte for byte.
    usage: String,
}

/// An entry, as far as use goes.
#[derive(Deserialize)]
struct Line {
    time: Timestamp,
    #[serde(flatten)]
    noted: Noted,
}

fn parse(line: &[u8]) -> serde_json::Result<Line> {
    serde_json::from_slice(line)
}

fn at(line: &Line) -> Millis {
    Millis::try_from(line.time.as_millisecond()).unwrap_or(0)
}

/// After so many entries it is worth while to keep what was drawn from them.
const WORTH_KEEPING: u64 = 20_000;

impl History {
    /// What the file says if it can be believed, and the journal after that.
    pub(crate) fn recall(
        folder: &Path,
        journal: &Journal,
        state: &RwLock<State>,
    ) -> Result<Self, journal::Error> {
        let kept = Self::load(&path(folder), &read(state));
        // In this order: whatever has an entry by now is in the state. The state is not
        // held while the journal is read, which may take long.
        let end = journal.position().head.seq;
        let known = &Known::of(&read(state));
        if let Some(mut history) = kept {
            if history.follow(journal, end, known)? {
                return Ok(history);
            }
            tracing::warn!(
                "the journal is not the one that the counts of use were drawn from: it was \
                 cut or replaced, or they were; all of it is read instead"
            );
        }
        let mut history = Self {
            head: Head::START,
            usage: Usage::default(),
        };
        history.follow(journal, end, known)?;
        Ok(history)
    }

    fn load(path: &Path, state: &State) -> Option<Self> {
        let text = fs::read(path).ok()?;
        let parsed: Option<Kept> = serde_json::from_slice(&text).ok();
        let history = parsed.and_then(|kept| {
            let head = Head {
                seq: kept.seq,
                hash: kept.hash,
            };
            let mut tag = [0; 32];
            hex::decode_to_slice(kept.tag, &mut tag).ok()?;
            let verifies = state.verifies_usage(head, kept.usage.as_bytes(), Tag::from_bytes(tag));
            let usage = serde_json::from_str(&kept.usage).ok()?;
            verifies.then_some(Self { head, usage })
        });
        if history.is_none() {
            tracing::warn!(
                file = %path.display(),
                "it is not what was written, and not believed; the whole journal is read instead"
            );
        }
        history
    }

    /// Takes in what the journal holds up to entry `end`. `false` if the journal is not the
    /// one that this was drawn from.
    fn follow(
        &mut self,
        journal: &Journal,
        end: u64,
        things: &Known,
    ) -> Result<bool, journal::Error> {
        let mut verifier = Verifier::new(None);
        let mut lines = journal.read(self.head.seq)?;
        let mut first = true;
        let mut is_known = self.head.seq == 0;
        while let Some(line) = lines.next()? {
            let entry = verifier
                .line(line)
                .map_err(|source| journal::Error::Broken {
                    path: journal.directory().to_owned(),
                    source,
                })?;
            if first && entry.seq > self.head.seq + 1 {
                tracing::warn!(
                    first = entry.seq,
                    "entries of the journal before this one are gone, and use with them: older \
                     grants for so many uses give nothing more"
                );
                self.usage.lose_before(Since {
                    seq: entry.seq,
                    at: parse(line).map_or(Millis::MAX, |line| at(&line)),
                });
                is_known = true;
            }
            first = false;
            if entry.seq == self.head.seq {
                is_known = verifier.head() == Some(self.head);
                if !is_known {
                    break;
                }
            } else if entry.seq > self.head.seq {
                self.take_in(entry.seq, line, things);
            }
            if entry.seq == end {
                break;
            }
        }
        if let Some(head) = verifier.head().filter(|head| head.seq > self.head.seq) {
            self.head = head;
        }
        self.usage.forget(things);
        Ok(is_known)
    }

    fn take_in(&mut self, seq: u64, line: &[u8], things: &Known) {
        match parse(line) {
            Ok(line) => self.usage.replay(seq, at(&line), line.noted, things),
            Err(error) => {
                tracing::warn!(seq, %error, "an entry of the journal tells nothing of use");
            }
        }
    }

    /// Writes the file, in one step.
    fn keep(&self, folder: &Path, state: &RwLock<State>) -> std::io::Result<()> {
        let usage = serde_json::to_string(&self.usage)?;
        let tag = read(state).usage_tag(self.head, usage.as_bytes());
        let kept = Kept {
            seq: self.head.seq,
            hash: self.head.hash,
            tag: hex::encode(tag.as_bytes()),
            usage,
        };
        // Readable by its owner only.
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(&serde_json::to_vec(&kept)?)?;
        file.as_file().sync_all()?;
        file.persist(path(folder))?;
        Ok(())
    }
}

/// When to keep what is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// If the journal has come far since the last time.
    Worth,
    /// In any case.
    Stopping,
}

fn read(state: &RwLock<State>) -> RwLockReadGuard<'_, State> {
    state.read().unwrap_or_else(PoisonError::into_inner)
}

/// Brings the file up to date. Reads files: not for a thread that answers requests.
pub(crate) fn keep(folder: &Path, journal: &Journal, state: &RwLock<State>, when: When) {
    let end = journal.position().head.seq;
    let reached = fs::read(path(folder))
        .ok()
        .and_then(|text| serde_json::from_slice::<Kept>(&text).ok())
        .map_or(0, |kept| kept.seq);
    if when == When::Worth && end.saturating_sub(reached) < WORTH_KEEPING {
        return;
    }
    let kept = History::recall(folder, journal, state)
        .map_err(|error| error.to_string())
        .and_then(|history| {
            history
                .keep(folder, state)
                .map_err(|error| error.to_string())
        });
    if let Err(error) = kept {
        tracing::warn!(
            error,
            "what is known of use is not kept; it stays in the journal"
        );
    }
}

/// The file in the state directory.
fn path(folder: &Path) -> PathBuf {
    folder.join("usage.json")
}
