//! The archive: what stands where in it.

use std::io;

use tar::{EntryType, Header};

use super::{Manifest, Member, message};
use crate::journal::{chain::Hash, signing::Signature};

/// Everything in a tar archive begins at a multiple of this (POSIX.1, "ustar Interchange Format").
pub(super) const BLOCK: usize = 512;

/// Name of the manifest in the archive.
const MANIFEST: &str = "manifest.json";

/// Name of its signature: in hexadecimal, and a newline.
const SIGNATURE: &str = "manifest.sig";

/// A manifest that is to be signed.
#[derive(Clone, Debug)]
pub struct Unsigned {
    manifest: Manifest,
    text: Vec<u8>,
}

/// A signed manifest, and with it the archive but for the members' bytes.
#[derive(Clone, Debug)]
pub struct Sealed {
    manifest: Manifest,
    hash: Hash,
    parts: Vec<Part>,
    size: u64,
}

/// A stretch of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// These bytes.
    Bytes(Vec<u8>),
    /// Those of the member that the manifest lists at this place.
    Member(usize),
}

impl Unsigned {
    /// Writes `manifest` as it is to be signed.
    ///
    /// # Panics
    ///
    /// Never: a manifest can be written as JSON.
    pub fn new(manifest: Manifest) -> Self {
        let mut text =
            serde_json::to_vec_pretty(&manifest).expect("text keys, and a Vec takes all");
        text.push(b'\n');
        Self { manifest, text }
    }

    /// The one that was written as `text`.
    pub(super) fn of(manifest: Manifest, text: Vec<u8>) -> Self {
        Self { manifest, text }
    }

    /// What the journal key signs.
    pub fn digest(&self) -> [u8; 32] {
        *Hash::of(&self.message()).as_bytes()
    }

    pub(super) fn message(&self) -> Vec<u8> {
        message(&self.text)
    }

    /// The archive, with `signature` over that.
    pub fn sign(self, signature: &Signature) -> Sealed {
        let Self { manifest, text } = self;
        let mut bytes = Vec::new();
        push(&mut bytes, MANIFEST, &text);
        push(&mut bytes, SIGNATURE, format!("{signature}\n").as_bytes());
        let (mut parts, mut size) = (Vec::new(), 0);
        for (at, member) in manifest.members.iter().enumerate() {
            bytes.extend_from_slice(&header(&member.name.to_string(), member.size));
            size += bytes.len() as u64 + member.size;
            parts.push(Part::Bytes(std::mem::take(&mut bytes)));
            parts.push(Part::Member(at));
            bytes.resize(padding(member.size), 0);
        }
        // Two empty blocks are the end.
        bytes.resize(bytes.len() + 2 * BLOCK, 0);
        size += bytes.len() as u64;
        parts.push(Part::Bytes(bytes));
        Sealed {
            hash: Hash::of(&text),
            manifest,
            parts,
            size,
        }
    }
}

impl Sealed {
    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// SHA-256 of the manifest as it was written.
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// The archive, from its beginning to its end.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Length of the archive.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// `limit` bytes of the archive from `offset` on, or what is left of it. `read` fills a
    /// buffer from a place in a member.
    ///
    /// # Errors
    ///
    /// Those of `read`.
    pub fn read_at(
        &self,
        mut offset: u64,
        limit: usize,
        mut read: impl FnMut(&Member, u64, &mut [u8]) -> io::Result<()>,
    ) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        for part in &self.parts {
            let length = match part {
                Part::Bytes(bytes) => bytes.len() as u64,
                Part::Member(at) => self.manifest.members[*at].size,
            };
            if offset >= length {
                offset -= length;
                continue;
            }
            let wanted = limit - out.len();
            let count = usize::try_from(length - offset).map_or(wanted, |left| left.min(wanted));
            match part {
                Part::Bytes(bytes) => {
                    let bytes = usize::try_from(offset)
                        .ok()
                        .and_then(|from| bytes.get(from..));
                    out.extend(bytes.into_iter().flatten().take(count));
                }
                Part::Member(at) => {
                    let start = out.len();
                    out.resize(start + count, 0);
                    read(&self.manifest.members[*at], offset, &mut out[start..])?;
                }
            }
            offset = 0;
            if out.len() == limit {
                break;
            }
        }
        Ok(out)
    }
}

/// Adds a small file.
fn push(bytes: &mut Vec<u8>, name: &str, content: &[u8]) {
    bytes.extend_from_slice(&header(name, content.len() as u64));
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len() + padding(content.len() as u64), 0);
}

/// What follows a file of that length until the next block.
pub(super) fn padding(size: u64) -> usize {
    let over = usize::try_from(size % BLOCK as u64).expect("less than a block");
    (BLOCK - over) % BLOCK
}

/// The header of a file that only its owner may read and write.
fn header(name: &str, size: u64) -> [u8; BLOCK] {
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::Regular);
    header
        .set_path(name)
        .expect("our names are short and relative");
    header.set_mode(0o600);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(size);
    header.set_cksum();
    *header.as_bytes()
}

/// How long the file is that `header` is of.
pub(super) fn length(header: &[u8]) -> Option<u64> {
    let header = Header::from_byte_slice(header.get(..BLOCK)?);
    header.entry_size().ok()
}
