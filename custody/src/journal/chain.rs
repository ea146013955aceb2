//! The hash chain: how entries are written, and how anyone can verify them.
//!
//! An entry is one line of JSON. Its hash is the SHA-256 of the line without the
//! newline; the next entry carries it as `prev`. So nothing can be changed, taken out
//! or put in without changing every hash after it, and checkpoints, signed in the
//! token, vouch for the hashes.

use std::{collections::BTreeMap, fmt, time::Duration};

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};

use super::{
    Event,
    change::Settled,
    public_key::PublicKey,
    signing::Signature,
    trust::{Trust, Voucher},
};
use crate::{canonical::Encoder, name::InstanceId};

mod broken;

pub use broken::Broken;

/// SHA-256: of an entry's line, where nothing else is said.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hash([u8; 32]);

impl Hash {
    /// What the first entry carries as the hash of the one before.
    pub const ZERO: Self = Self([0; 32]);

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// That of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        digest::digest(&digest::SHA256, bytes).into()
    }
}

impl From<digest::Digest> for Hash {
    fn from(digest: digest::Digest) -> Self {
        Self(digest.as_ref().try_into().expect("SHA-256 gives 32 bytes"))
    }
}

impl TryFrom<String> for Hash {
    type Error = hex::FromHexError;

    fn try_from(text: String) -> Result<Self, hex::FromHexError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map(|()| Self(bytes))
    }
}

impl From<Hash> for String {
    fn from(hash: Hash) -> Self {
        hash.to_string()
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The end of a chain: where the next entry goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Number of the newest entry; 0 before the first.
    pub seq: u64,
    /// Its hash.
    pub hash: Hash,
}

#[derive(Serialize)]
struct Line<'a> {
    seq: u64,
    time: &'a str,
    prev: Hash,
    #[serde(flatten)]
    event: &'a Event,
}

impl Head {
    /// Before the first entry.
    pub const START: Self = Self {
        seq: 0,
        hash: Hash::ZERO,
    };

    /// The head after one more entry, whose line goes to the end of `out`. `time` is
    /// RFC 3339.
    pub fn append(self, time: &str, event: &Event, out: &mut Vec<u8>) -> Self {
        let line = Line {
            seq: self.seq + 1,
            time,
            prev: self.hash,
            event,
        };
        let start = out.len();
        serde_json::to_writer(&mut *out, &line).expect("events have text keys and a Vec takes all");
        let hash = Hash::of(&out[start..]);
        out.push(b'\n');
        Self {
            seq: line.seq,
            hash,
        }
    }

    /// What the journal key signs to vouch for this head.
    pub fn checkpoint_digest(self, instance: &InstanceId) -> [u8; 32] {
        Hash::of(&checkpoint_message(instance, self)).0
    }
}

/// When the journal key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointPolicy {
    /// At the latest after so many entries.
    pub entries: u64,
    /// At the latest after so long, if there is anything new.
    pub interval: Duration,
}

/// What a checkpoint's signature is over, before hashing.
pub fn checkpoint_message(instance: &InstanceId, covers: Head) -> Vec<u8> {
    Encoder::new("custodyd checkpoint")
        .bytes(instance.as_bytes())
        .u64(covers.seq)
        .bytes(&covers.hash.0)
        .finish()
}

/// An entry as it is read.
#[derive(Clone, Debug, Deserialize)]
pub struct Entry {
    /// Its number.
    pub seq: u64,
    /// When it was written, RFC 3339.
    pub time: String,
    /// Hash of the entry before.
    pub prev: Hash,
    /// What it says, as far as the chain is concerned.
    #[serde(flatten)]
    pub mark: Mark,
}

/// The events that matter to whoever reads the journal to verify it or to go on with it.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[allow(missing_docs, reason = "as in Event")]
pub enum Mark {
    Segment {
        instance: InstanceId,
        public_key: String,
        settled: Option<Settled>,
    },
    Prepare {
        number: u64,
        state: String,
    },
    Commit {
        number: u64,
    },
    Abort {
        number: u64,
    },
    JournalKey(Voucher),
    Checkpoint {
        covers: u64,
        hash: Hash,
        signature: String,
    },
    #[serde(other)]
    Other,
}

/// What a verification found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Number of the first entry; 0 if there is none.
    pub first: u64,
    /// Number of the last entry.
    pub last: u64,
    /// Hash of the last entry.
    pub hash: Hash,
    /// How many checkpoints there are.
    pub checkpoints: u64,
    /// The newest entry that a checkpoint vouches for; 0 if there is none.
    pub covered: u64,
}

/// Verifies a journal line by line.
///
/// It trusts one key, and those that are vouched for in entries of their own.
///
/// It begins with any segment's first entry; what stands before that is taken on
/// trust, unless a checkpoint further on covers it.
#[derive(Debug)]
pub struct Verifier {
    trust: Option<Trust>,
    instance: Option<InstanceId>,
    head: Option<Head>,
    uncovered: BTreeMap<u64, Hash>,
    report: Report,
}

impl Verifier {
    /// Verifies against `key`; without one, against the key that the first segment
    /// names, which proves that the journal is whole but not whose it is.
    pub fn new(key: Option<PublicKey>) -> Self {
        Self {
            trust: key.map(Trust::root),
            instance: None,
            head: None,
            uncovered: BTreeMap::new(),
            report: Report {
                first: 0,
                last: 0,
                hash: Hash::ZERO,
                checkpoints: 0,
                covered: 0,
            },
        }
    }

    /// Verifies the next line, without its newline, and says what it is.
    ///
    /// # Errors
    ///
    /// What is [`Broken`]; the verifier is of no further use.
    pub fn line(&mut self, line: &[u8]) -> Result<Entry, Broken> {
        let entry: Entry = serde_json::from_slice(line).map_err(|source| Broken::NoEntry {
            after: self.report.last,
            source,
        })?;
        let seq = entry.seq;
        match self.head {
            None if !matches!(entry.mark, Mark::Segment { .. }) => {
                return Err(Broken::NoSegment { seq });
            }
            // A journal from its beginning has nothing before it.
            None if seq == 1 && entry.prev != Hash::ZERO => return Err(Broken::Chain { seq }),
            None => self.report.first = seq,
            Some(head) if head.seq.checked_add(1) != Some(seq) => {
                return Err(Broken::Number {
                    expected: head.seq.saturating_add(1),
                    found: seq,
                });
            }
            Some(head) if head.hash != entry.prev => return Err(Broken::Chain { seq }),
            Some(_) => {}
        }
        match &entry.mark {
            Mark::Segment {
                instance,
                public_key,
                ..
            } => self.segment(seq, *instance, public_key)?,
            Mark::JournalKey(voucher) => self.journal_key(seq, voucher)?,
            Mark::Checkpoint {
                covers,
                hash,
                signature,
            } => self.checkpoint(seq, *covers, *hash, signature)?,
            _ => {}
        }
        let head = Head {
            seq,
            hash: Hash::of(line),
        };
        self.head = Some(head);
        self.uncovered.insert(seq, head.hash);
        self.report.last = seq;
        self.report.hash = head.hash;
        Ok(entry)
    }

    /// Where the chain ends, once there is a line.
    pub fn head(&self) -> Option<Head> {
        self.head
    }

    /// What was found so far.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// The installation whose journal it is, once there is a line.
    pub fn instance(&self) -> Option<InstanceId> {
        self.instance
    }

    fn segment(&mut self, seq: u64, instance: InstanceId, pem: &str) -> Result<(), Broken> {
        let named = PublicKey::from_pem(pem)?;
        let trust = self.trust.get_or_insert_with(|| Trust::root(named.clone()));
        if !trust.is_root(&named) || *self.instance.get_or_insert(instance) != instance {
            return Err(Broken::OtherOrigin { seq });
        }
        Ok(())
    }

    fn journal_key(&mut self, seq: u64, voucher: &Voucher) -> Result<(), Broken> {
        match (&mut self.trust, &self.instance) {
            (Some(trust), Some(instance)) => trust.extend(instance, voucher).ok(),
            _ => None,
        }
        .ok_or(Broken::Unvouched { seq })
    }

    fn checkpoint(
        &mut self,
        seq: u64,
        covers: u64,
        hash: Hash,
        signature: &str,
    ) -> Result<(), Broken> {
        let signature = Signature::from_hex(signature).ok_or(Broken::Signature { seq })?;
        let head = Head { seq: covers, hash };
        match (&self.trust, &self.instance) {
            (Some(trust), Some(instance))
                if trust.signed(&checkpoint_message(instance, head), &signature) => {}
            _ => return Err(Broken::Signature { seq }),
        }
        // An entry before the first one read cannot be compared.
        let known = covers < self.report.first || self.uncovered.get(&covers) == Some(&hash);
        if covers >= seq || !known {
            return Err(Broken::Covers { seq, covers });
        }
        self.report.checkpoints += 1;
        self.report.covered = covers;
        self.uncovered = self.uncovered.split_off(&covers);
        Ok(())
    }
}
