//! Reading a backup: nothing of it is believed before it is verified.

use std::io::{self, Read};

use serde::Deserialize;

use super::{
    FORMAT, Manifest, Member, MemberName, Part, Sealed, Sum, Unsigned,
    archive::{self, BLOCK, padding},
    message,
};
use crate::journal::{
    chain::{Broken, Mark, Verifier},
    change::Settled,
    public_key::{NoPublicKey, PublicKey},
    signing::Signature,
    trust::Trust,
};

/// A manifest is no longer than that: it lists some 100,000 segments.
const LONGEST_MANIFEST: usize = 16 << 20;

/// Nor the file with its signature than that: one of RSA with 4096 bits, in hexadecimal, and a
/// newline.
const LONGEST_SIGNATURE: usize = 2 * Signature::LONGEST + 1;

/// How much of a member is read at once.
const CHUNK: usize = 256 << 10;

/// Why a file is not the backup that was made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("it cannot be read")]
    Read(#[source] io::Error),
    /// What is in it cannot be written elsewhere.
    #[error("{name} cannot be written")]
    Write {
        /// Which file of it.
        name: MemberName,
        /// Why not.
        source: io::Error,
    },
    /// It does not begin like one.
    #[error("it is no backup")]
    NoBackup,
    /// It ends too early.
    #[error("it is cut off")]
    CutOff,
    /// It goes on after its end.
    #[error("it goes on after its end")]
    TooLong,
    /// It is of a format that is not known.
    #[error("it has format {0}, and this custodyd knows {FORMAT}")]
    Format(u32),
    /// The manifest is no manifest.
    #[error("its manifest cannot be read")]
    Manifest(#[source] serde_json::Error),
    /// The manifest lists what does not make a backup.
    #[error("its manifest does not list the files of a backup")]
    Members,
    /// The public key in the manifest is none.
    #[error(transparent)]
    PublicKey(#[from] NoPublicKey),
    /// It was signed by another journal key than the one expected.
    #[error("it is of another installation: its journal key is another")]
    OtherKey,
    /// The signature is not over this manifest.
    #[error(
        "its manifest is not signed by the journal key: it was changed, or somebody else made it"
    )]
    Signature,
    /// What stands between the files is not what belongs there.
    #[error("what stands before or after {0} is not what was written there")]
    Between(MemberName),
    /// A file is not the one that was backed up.
    #[error("{0} is not the one that was backed up")]
    Other(MemberName),
    /// The journal is not whole.
    #[error("the journal in it is not whole")]
    Journal(#[from] Broken),
    /// Manifest, journal and database are not of one moment.
    #[error("the journal in it does not end where the manifest says")]
    OtherMoment,
}

impl Error {
    /// Whether it is the backup that is wrong, and not what reads or writes it.
    pub fn is_of_content(&self) -> bool {
        !matches!(self, Self::Read(_) | Self::Write { .. })
    }
}

/// A backup whose manifest is verified.
#[derive(Debug)]
pub struct Archive<R> {
    read: R,
    sealed: Sealed,
    key: PublicKey,
}

impl<R: Read> Archive<R> {
    /// Reads the manifest from the beginning of a backup and verifies it with `key`; without
    /// one, with the key that it names itself, which shows that it is whole but not whose it
    /// is.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn open(mut read: R, key: Option<&PublicKey>) -> Result<Self, Error> {
        let mut head = Vec::new();
        let text = file(&mut read, &mut head, LONGEST_MANIFEST)?.ok_or(Error::NoBackup)?;
        let manifest = parse(&text)?;
        let named = PublicKey::from_pem(&manifest.public_key)?;
        if key.is_some_and(|key| *key != named) {
            return Err(Error::OtherKey);
        }
        let signature = file(&mut read, &mut head, LONGEST_SIGNATURE)?;
        let signature = signature
            .as_deref()
            .and_then(|text| text.strip_suffix(b"\n"));
        let signature = signature.and_then(Signature::from_hex);
        let signature = signature.ok_or(Error::Signature)?;
        let mut trust = Trust::root(named.clone());
        for voucher in &manifest.vouchers {
            let trusted = trust.extend(&manifest.instance, voucher);
            trusted.map_err(|_| Error::Signature)?;
        }
        if !trust.signed(&message(&text), &signature) {
            return Err(Error::Signature);
        }
        if !manifest.is_in_order() {
            return Err(Error::Members);
        }
        let sealed = Unsigned::of(manifest, text).sign(&signature);
        // The header of the first member belongs to the same part.
        take(&mut read, &mut head, BLOCK)?;
        if sealed.parts().first() != Some(&Part::Bytes(head)) {
            return Err(Error::Between(MemberName::Database));
        }
        Ok(Self {
            read,
            sealed,
            key: named,
        })
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        self.sealed.manifest()
    }

    /// What is signed, and what the rest must be.
    pub fn sealed(&self) -> &Sealed {
        &self.sealed
    }

    /// The key that it is signed by.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// Reads and verifies the rest. `sink` gets each member's bytes in pieces, the first of
    /// them empty; what it got is worth nothing before this returns.
    ///
    /// # Errors
    ///
    /// What is wrong with it, or with what `sink` does.
    pub fn copy(
        mut self,
        mut sink: impl FnMut(&Member, &[u8]) -> io::Result<()>,
    ) -> Result<Sealed, Error> {
        let mut journal = Journal::new(self.key);
        let mut last = MemberName::Database;
        for part in self.sealed.parts().iter().skip(1) {
            match part {
                Part::Member(at) => {
                    let member = &self.sealed.manifest().members[*at];
                    last = member.name;
                    let mut sum = Sum::new();
                    copy(&mut self.read, member, |bytes| {
                        sum.add(bytes);
                        if matches!(member.name, MemberName::Segment(_)) {
                            journal.read(bytes)?;
                        }
                        sink(member, bytes).map_err(|source| Error::Write {
                            name: member.name,
                            source,
                        })
                    })?;
                    if sum.finish() != member.sha256 {
                        return Err(Error::Other(member.name));
                    }
                }
                Part::Bytes(expected) => {
                    let mut found = Vec::new();
                    take(&mut self.read, &mut found, expected.len())?;
                    if found != *expected {
                        return Err(Error::Between(last));
                    }
                }
            }
        }
        match self.read.read(&mut [0]) {
            Ok(0) => {}
            Ok(_) => return Err(Error::TooLong),
            Err(error) => return Err(Error::Read(error)),
        }
        match journal.ends_as(self.sealed.manifest()) {
            true => Ok(self.sealed),
            false => Err(Error::OtherMoment),
        }
    }
}

/// Reads the next small file and appends it to `head`, with its header and what follows it. `None` if
/// it is empty or longer than `longest`.
fn file(
    read: &mut impl Read,
    head: &mut Vec<u8>,
    longest: usize,
) -> Result<Option<Vec<u8>>, Error> {
    let at = head.len();
    take(read, head, BLOCK)?;
    let length = archive::length(&head[at..]).and_then(|length| usize::try_from(length).ok());
    let Some(length) = length.filter(|length| (1..=longest).contains(length)) else {
        return Ok(None);
    };
    take(read, head, length + padding(length as u64))?;
    Ok(Some(head[at + BLOCK..][..length].to_vec()))
}

/// What every manifest has, whatever its format.
#[derive(Deserialize)]
struct Any {
    format: u32,
}

fn parse(text: &[u8]) -> Result<Manifest, Error> {
    let Any { format } = serde_json::from_slice(text).map_err(Error::Manifest)?;
    if format != FORMAT {
        return Err(Error::Format(format));
    }
    serde_json::from_slice(text).map_err(Error::Manifest)
}

/// Appends `count` bytes to `out`.
fn take(read: &mut impl Read, out: &mut Vec<u8>, count: usize) -> Result<(), Error> {
    let taken = read.take(count as u64).read_to_end(out);
    match taken.map_err(Error::Read)? == count {
        true => Ok(()),
        false => Err(Error::CutOff),
    }
}

fn copy(
    read: &mut impl Read,
    member: &Member,
    mut each: impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    each(&[])?;
    let mut read = read.take(member.size);
    let mut buffer = vec![0; CHUNK];
    loop {
        match read.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => each(&buffer[..count])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::Read(error)),
        }
    }
    match read.limit() {
        0 => Ok(()),
        _ => Err(Error::CutOff),
    }
}

/// The journal in a backup, as it is read.
struct Journal {
    verifier: Verifier,
    line: Vec<u8>,
    settled: Option<Settled>,
    pending: Option<Settled>,
}

impl Journal {
    fn new(key: PublicKey) -> Self {
        Self {
            verifier: Verifier::new(Some(key)),
            line: Vec::new(),
            settled: None,
            pending: None,
        }
    }

    fn read(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            match piece.strip_suffix(b"\n") {
                None => self.line.extend_from_slice(piece),
                Some(end) => {
                    self.line.extend_from_slice(end);
                    let mark = self.verifier.line(&self.line)?.mark;
                    self.line.clear();
                    self.note(mark);
                }
            }
        }
        Ok(())
    }

    fn note(&mut self, mark: Mark) {
        match mark {
            Mark::Segment { settled, .. } => self.settled = settled,
            Mark::Prepare { number, state } => self.pending = Some(Settled { number, state }),
            Mark::Commit { .. } => self.settled = self.pending.take(),
            Mark::Abort { .. } => self.pending = None,
            Mark::JournalKey(_) | Mark::Checkpoint { .. } | Mark::Other => {}
        }
    }

    /// Whether it ends with an entry, at the moment that `manifest` is of.
    fn ends_as(&self, manifest: &Manifest) -> bool {
        self.line.is_empty()
            && self.verifier.head() == Some(manifest.journal)
            && self.verifier.instance() == Some(manifest.instance)
            && self.pending.is_none()
            && self.settled.as_ref() == Some(&manifest.settled)
    }
}
