//! Changes of a state: what is to change, and that change made ready to be written.

use std::collections::BTreeSet;

use crate::{
    envelope::SealedContent,
    name::{GroupName, SecretId, VersionId},
    row::{Digest, Row, RowId, SetHash, Tagged},
};

/// Rows to write and to remove, together or not at all.
#[derive(Debug, Default)]
pub struct Edit {
    /// Rows to write, parents first.
    pub puts: Vec<Row>,
    /// Rows to remove, children first.
    pub deletes: Vec<RowId>,
    /// Versions whose content goes, while what is stored about them stays.
    pub shreds: Vec<VersionId>,
    /// Content to write, of versions that have none by then.
    pub content: Vec<(VersionId, SealedContent)>,
}

/// An edit that is ready to be written: authenticated, numbered, and with the digest of
/// the state it leads to.
#[derive(Debug)]
pub struct Plan {
    /// Number of the change.
    pub change: u64,
    /// Rows to write, parents first.
    pub rows: Vec<Tagged>,
    /// Rows to remove, children first.
    pub deletes: Vec<RowId>,
    /// Versions whose content goes.
    pub shreds: Vec<VersionId>,
    /// Content to write, of versions that have none by then.
    pub content: Vec<(VersionId, SealedContent)>,
    /// The digest of the state after it.
    pub digest: Digest,
    pub(super) set: SetHash,
}

impl Plan {
    /// The groups of whose rows it writes or removes any.
    pub fn groups(&self) -> BTreeSet<&GroupName> {
        let written = self.rows.iter().filter_map(|tagged| tagged.row.group());
        let removed = self.deletes.iter().filter_map(RowId::group);
        written.chain(removed).collect()
    }

    /// The secrets that it makes, changes or deletes, themselves or a version of them.
    pub fn secrets(&self) -> BTreeSet<&SecretId> {
        let written = self.rows.iter().filter_map(|tagged| match &tagged.row {
            Row::Secret(secret) => Some(&secret.id),
            Row::Version(version) => Some(&version.id.secret),
            _ => None,
        });
        let deleted = self.deletes.iter().filter_map(|id| match id {
            RowId::Secret(id) => Some(id),
            RowId::Version(id) => Some(&id.secret),
            _ => None,
        });
        written.chain(deleted).collect()
    }
}
