//! Backups: the database and the journal of one moment in one file, signed by the journal key.
//!
//! The file is a tar archive of the [`Manifest`], its signature and the members that it lists.
//! Of each signed manifest there is exactly one archive: what is read is compared with that,
//! and nothing in it is believed before.

use std::{fmt, str::FromStr};

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};

use crate::{
    canonical::Encoder,
    journal::{
        chain::{Hash, Head},
        change::Settled,
        trust::Voucher,
    },
    name::{BackupId, InstanceId},
};

mod archive;
mod read;

pub use archive::{Part, Sealed, Unsigned};
pub use read::{Archive, Error};

/// The version of the format of manifests and archives.
pub const FORMAT: u32 = 1;

/// What a backup is of, and what is in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// Its name.
    pub backup: BackupId,
    /// The installation.
    pub instance: InstanceId,
    /// When it was made, RFC 3339.
    pub created: String,
    /// The version of custodyd that made it.
    pub version: String,
    /// Label of the token whose keys it takes.
    pub token_label: String,
    /// Serial number of that token.
    pub token_serial: String,
    /// The journal key's public half: SubjectPublicKeyInfo, PEM.
    pub public_key: String,
    /// Those that it, or one of them, vouches for: one of all these has signed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vouchers: Vec<Voucher>,
    /// The newest change in the database, as the journal knows it.
    pub settled: Settled,
    /// Where the journal ends.
    pub journal: Head,
    /// The files, in the order in which they are in the archive.
    pub members: Vec<Member>,
}

/// A file in a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Which.
    pub name: MemberName,
    /// Its length in bytes.
    pub size: u64,
    /// Its SHA-256.
    pub sha256: Hash,
}

/// The files that a backup may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum MemberName {
    /// The database.
    Database,
    /// What was drawn from the journal.
    Usage,
    /// The segment of the journal that begins with this entry.
    Segment(u64),
}

/// A text that names no file of a backup.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no file of a backup")]
pub struct NoMember(String);

impl fmt::Display for MemberName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database => f.write_str("custody.db"),
            Self::Usage => f.write_str("usage.json"),
            Self::Segment(first) => write!(f, "journal/journal-{first:020}.jsonl"),
        }
    }
}

impl FromStr for MemberName {
    type Err = NoMember;

    fn from_str(text: &str) -> Result<Self, NoMember> {
        let digits = text
            .strip_prefix("journal/journal-")
            .and_then(|rest| rest.strip_suffix(".jsonl"));
        let name = match (text, digits.map(str::parse)) {
            ("custody.db", _) => Self::Database,
            ("usage.json", _) => Self::Usage,
            (_, Some(Ok(first))) => Self::Segment(first),
            _ => return Err(NoMember(text.to_owned())),
        };
        // There is one way to write each.
        match name.to_string() == text {
            true => Ok(name),
            false => Err(NoMember(text.to_owned())),
        }
    }
}

impl TryFrom<String> for MemberName {
    type Error = NoMember;

    fn try_from(text: String) -> Result<Self, NoMember> {
        text.parse()
    }
}

impl From<MemberName> for String {
    fn from(name: MemberName) -> Self {
        name.to_string()
    }
}

impl Manifest {
    /// Whether it lists a database, maybe what was drawn from the journal, and the journal,
    /// in this order and each once.
    fn is_in_order(&self) -> bool {
        let mut names = self.members.iter().map(|member| member.name);
        let ascends = self.members.is_sorted_by(|a, b| a.name < b.name);
        let last = self.members.last().map(|member| member.name);
        ascends
            && names.next() == Some(MemberName::Database)
            && matches!(last, Some(MemberName::Segment(_)))
    }
}

/// What the journal key signs to vouch for a manifest, before hashing.
fn message(manifest: &[u8]) -> Vec<u8> {
    Encoder::new("custodyd backup").bytes(manifest).finish()
}

/// SHA-256 of what comes in pieces.
pub struct Sum(digest::Context);

impl Sum {
    /// Of nothing yet.
    pub fn new() -> Self {
        Self(digest::Context::new(&digest::SHA256))
    }

    /// Of more.
    pub fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The sum.
    pub fn finish(self) -> Hash {
        self.0.finish().into()
    }
}

impl Default for Sum {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sum(..)")
    }
}

#[cfg(test)]
mod tests;
