//! `custodyctl backup verify`, and the verification of what was saved.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use custody::{
    backup::{Archive, MemberName, Sealed},
    journal::{chain::Hash, public_key::PublicKey},
    name::{BackupId, InstanceId},
};
use serde::Serialize;

use super::Error;
use crate::{
    args::Global,
    failure::Failure,
    journal,
    output::{self, View, properties},
};

/// A key, and where it came from: "file" or "custodyd".
pub(super) struct Key {
    pub(super) key: PublicKey,
    pub(super) source: &'static str,
}

impl Key {
    /// The one in the file at `path`; that of custodyd without one.
    pub(super) async fn of(global: &Global, path: Option<PathBuf>) -> Result<Self, Failure> {
        Ok(match path {
            Some(path) => Self {
                key: journal::load_key(&path)?,
                source: "file",
            },
            None => Self {
                key: journal::key_of_custodyd(global).await?,
                source: "custodyd",
            },
        })
    }
}

/// What was found in a backup that is whole.
#[derive(Debug, Serialize)]
pub(super) struct Verified {
    file: PathBuf,
    backup: BackupId,
    instance: InstanceId,
    created: String,
    /// The version of custodyd that made it.
    version: String,
    /// The token whose keys it takes.
    token_label: String,
    token_serial: String,
    /// Number of the newest change in the database.
    change: u64,
    /// Number of the newest entry of the journal in it.
    sequence: u64,
    /// Hash of that entry.
    hash: Hash,
    /// How many segments of the journal.
    segments: usize,
    /// Length of the file.
    size: u64,
    /// SHA-256 of the manifest, which the journal of custodyd has, too.
    manifest: Hash,
    /// Where the public key came from: "file" or "custodyd".
    public_key: &'static str,
}

impl Verified {
    pub(super) fn of(file: PathBuf, sealed: &Sealed, key: &Key) -> Self {
        let manifest = sealed.manifest().clone();
        let is_segment = |name| matches!(name, MemberName::Segment(_));
        let members = manifest.members.iter();
        Self {
            file,
            backup: manifest.backup,
            instance: manifest.instance,
            segments: members.filter(|member| is_segment(member.name)).count(),
            created: manifest.created,
            version: manifest.version,
            token_label: manifest.token_label,
            token_serial: manifest.token_serial,
            change: manifest.settled.number,
            sequence: manifest.journal.seq,
            hash: manifest.journal.hash,
            size: sealed.size(),
            manifest: sealed.hash(),
            public_key: key.source,
        }
    }
}

impl View for Verified {
    fn text(&self) -> Option<String> {
        let key = match self.public_key {
            "custodyd" => "as custodyd says; bring one with --public-key to be sure",
            _ => "as given",
        };
        let token = format!("{} (serial {})", self.token_label, self.token_serial);
        properties([
            (
                "backup",
                Some("whole, signed by the journal key".to_owned()),
            ),
            ("file", Some(self.file.display().to_string())),
            ("name", Some(self.backup.to_string())),
            ("instance", Some(self.instance.to_string())),
            ("made", Some(self.created.clone())),
            ("by version", Some(self.version.clone())),
            ("token", Some(token)),
            ("change", Some(self.change.to_string())),
            ("journal to", Some(self.sequence.to_string())),
            ("last hash", Some(self.hash.to_string())),
            ("segments", Some(self.segments.to_string())),
            ("bytes", Some(self.size.to_string())),
            ("manifest", Some(self.manifest.to_string())),
            ("public key", Some(key.to_owned())),
        ])
    }
}

pub(super) async fn run(
    global: &Global,
    path: PathBuf,
    public_key: Option<PathBuf>,
    instance: Option<InstanceId>,
) -> Result<(), Failure> {
    let key = Key::of(global, public_key).await?;
    let file = File::open(&path).map_err(|error| Error::Read(path.clone(), error))?;
    let sealed = verified(&file, &path, &key)?;
    let found = sealed.manifest().instance;
    match instance {
        Some(expected) if expected != found => Err(Error::OtherInstance { expected, found }.into()),
        _ => output::show(global.output, &Verified::of(path, &sealed, &key)),
    }
}

/// Reads a backup from where `file` stands to its end.
pub(super) fn verified(file: &File, path: &Path, key: &Key) -> Result<Sealed, Error> {
    let bar = output::bytes_bar();
    bar.set_message("verifying");
    bar.set_length(file.metadata().map_or(0, |found| found.len()));
    let archive = Archive::open(file, Some(&key.key));
    let sealed = archive.and_then(|archive| {
        archive.copy(|_, bytes| {
            bar.inc(bytes.len() as u64);
            Ok(())
        })
    });
    bar.finish_and_clear();
    sealed.map_err(|error| Error::Broken(path.to_owned(), error))
}
