//! Segments: the files of the journal, one after the other.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use custody::journal::{
    Event,
    chain::{Entry, Head, Mark, Verifier},
    change::Settled,
    trust::Voucher,
};
use jiff::Timestamp;
use rustix::fs::{fdatasync, fsync};

use super::{Changes, Error, Origin, Position};

/// The segments of one journal, of which the last is open for appending.
#[derive(Debug)]
pub(crate) struct Segments {
    directory: PathBuf,
    origin: Origin,
    /// A new segment begins once one is this large.
    limit: u64,
    open: Open,
    at: Cursor,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Open {
    path: PathBuf,
    /// Number of its first entry.
    first: u64,
    file: File,
    /// Bytes that are durable; whatever is behind them was never acknowledged.
    length: u64,
    /// Bytes behind those may be in the file.
    dirty: bool,
}

/// Where the journal is, and what it has said of changes.
#[derive(Clone, Debug)]
struct Cursor {
    head: Head,
    covered: u64,
    changes: Changes,
    /// For the keys that may sign beside the origin's.
    vouchers: Vec<Voucher>,
}

impl Segments {
    /// Begins a journal in `directory`, which is made.
    pub(crate) fn create(directory: &Path, origin: Origin, limit: u64) -> Result<Self, Error> {
        match DirBuilder::new().mode(0o700).create(directory) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(Error::Exists(directory.to_owned()));
            }
            made => made.map_err(failed("made", directory))?,
        }
        let at = Cursor {
            head: Head::START,
            covered: 0,
            changes: Changes::default(),
            vouchers: Vec::new(),
        };
        let (open, at) = begin(directory, &origin, at)?;
        Ok(Self {
            directory: directory.to_owned(),
            origin,
            limit,
            open,
            at,
            buffer: Vec::new(),
        })
    }

    /// Opens the journal in `directory`, after verifying its last segment. What a crash
    /// left half written at its end was never acknowledged, and is cut off.
    pub(crate) fn open(directory: &Path, limit: u64) -> Result<Self, Error> {
        let mut paths = list(directory)?;
        for path in paths.iter().map(PathBuf::as_path).chain([directory]) {
            let found = path.metadata().map_err(failed("looked at", path))?;
            if found.mode() & 0o022 != 0 {
                return Err(Error::Lax(path.to_owned()));
            }
        }
        loop {
            let Some(path) = paths.pop() else {
                return Err(Error::Missing(directory.to_owned()));
            };
            if let Some((open, origin, at)) = resume(&path)? {
                return Ok(Self {
                    directory: directory.to_owned(),
                    origin,
                    limit,
                    open,
                    at,
                    buffer: Vec::new(),
                });
            }
            // The crash came before the segment's first entry was durable.
            fs::remove_file(&path).map_err(failed("removed", &path))?;
        }
    }

    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// For the keys that may sign beside the origin's.
    pub(crate) fn vouchers(&self) -> &[Voucher] {
        &self.at.vouchers
    }

    pub(crate) fn changes(&self) -> &Changes {
        &self.at.changes
    }

    pub(crate) fn position(&self) -> Position {
        Position {
            head: self.at.head,
            covered: self.at.covered,
            segment: self.open.first,
            length: self.open.length,
        }
    }

    /// Appends `events` and makes them durable; says the number of the first. If that
    /// fails, none of them is, or ever will be, in the journal.
    pub(crate) fn append(&mut self, events: &[Event]) -> Result<u64, Error> {
        self.open.clean()?;
        // A change and its outcome stay in one segment, which can then be read alone.
        if self.open.length >= self.limit && self.at.changes.pending.is_none() {
            (self.open, self.at) = begin(&self.directory, &self.origin, self.at.clone())?;
        }
        let first = self.at.head.seq + 1;
        let mut at = self.at.clone();
        self.buffer.clear();
        at.write(events, &mut self.buffer);
        self.open.write(&self.buffer)?;
        self.at = at;
        Ok(first)
    }
}

impl Cursor {
    fn write(&mut self, events: &[Event], out: &mut Vec<u8>) {
        let now = Timestamp::now()
            .strftime("%Y-%m-%dT%H:%M:%S%.3fZ")
            .to_string();
        for event in events {
            self.head = self.head.append(&now, event, out);
            match event {
                Event::Prepare { number, state, .. } => self.prepare(*number, state.clone()),
                Event::Commit { .. } => self.settle(),
                Event::Abort { .. } => self.changes.pending = None,
                Event::JournalKey(voucher) => self.vouch(voucher.clone()),
                Event::Checkpoint { covers, .. } => self.covered = *covers,
                _ => {}
            }
        }
    }

    fn read(&mut self, entry: Entry) {
        match entry.mark {
            Mark::Segment { settled, .. } => self.changes.settled = settled,
            Mark::Prepare { number, state } => self.prepare(number, state),
            Mark::Commit { .. } => self.settle(),
            Mark::Abort { .. } => self.changes.pending = None,
            Mark::JournalKey(voucher) => self.vouch(voucher),
            Mark::Checkpoint { covers, .. } => self.covered = covers,
            Mark::Other => {}
        }
    }

    fn vouch(&mut self, voucher: Voucher) {
        if !self.vouchers.contains(&voucher) {
            self.vouchers.push(voucher);
        }
    }

    fn prepare(&mut self, number: u64, state: String) {
        self.changes.pending = Some(Settled { number, state });
    }

    fn settle(&mut self) {
        self.changes.settled = self.changes.pending.take();
    }
}

impl Open {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.dirty = true;
        let written = self
            .file
            .write_all(bytes)
            .and_then(|()| Ok(fdatasync(&self.file)?));
        match written {
            Ok(()) => {
                self.length += bytes.len() as u64;
                self.dirty = false;
                Ok(())
            }
            Err(error) => {
                let failed = failed("written", &self.path)(error);
                // If this fails, too, it is tried again before the next entry.
                drop(self.clean());
                Err(failed)
            }
        }
    }

    /// Cuts off what is not acknowledged.
    fn clean(&mut self) -> Result<(), Error> {
        if self.dirty {
            self.file
                .set_len(self.length)
                .and_then(|()| Ok(fdatasync(&self.file)?))
                .map_err(failed("cut", &self.path))?;
            self.dirty = false;
        }
        Ok(())
    }
}

pub(super) fn failed<'a>(
    what: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> Error + use<'a> {
    move |source| Error::Io {
        what,
        path: path.to_owned(),
        source,
    }
}

/// The segments in `directory`, oldest first.
pub(super) fn list(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let listed = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Error::Missing(directory.to_owned()));
        }
        listed => listed.map_err(failed("read", directory))?,
    };
    let mut paths = Vec::new();
    for entry in listed {
        let path = entry.map_err(failed("read", directory))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("journal-") && name.ends_with(".jsonl") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Begins the segment whose first entry comes after `at`.
fn begin(directory: &Path, origin: &Origin, mut at: Cursor) -> Result<(Open, Cursor), Error> {
    let path = directory.join(format!("journal-{:020}.jsonl", at.head.seq + 1));
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(&path)
        .map_err(failed("made", &path))?;
    // An earlier attempt may have left something behind.
    let mut open = Open {
        path,
        first: at.head.seq + 1,
        file,
        length: 0,
        dirty: true,
    };
    open.clean()?;
    let segment = Event::Segment {
        instance: origin.instance,
        public_key: origin.public_key.clone(),
        settled: at.changes.settled.clone(),
    };
    let vouchers = at.vouchers.clone().into_iter().map(Event::JournalKey);
    let first: Vec<_> = [segment].into_iter().chain(vouchers).collect();
    let mut lines = Vec::new();
    at.write(&first, &mut lines);
    open.write(&lines)?;
    // The file's name must survive, too.
    File::open(directory)
        .and_then(|folder| Ok(fsync(folder)?))
        .map_err(failed("synchronised", directory))?;
    Ok((open, at))
}

/// Verifies the segment at `path` to its end. `None` if it has no entry at all.
fn resume(path: &Path) -> Result<Option<(Open, Origin, Cursor)>, Error> {
    let text = fs::read(path).map_err(failed("read", path))?;
    let broken = |source| Error::Broken {
        path: path.to_owned(),
        source,
    };
    let whole = text
        .iter()
        .rposition(|&byte| byte == b'\n')
        .map_or(0, |at| at + 1);
    let mut lines = text[..whole].split(|&byte| byte == b'\n');
    // What follows the last newline is empty.
    lines.next_back();
    let mut verifier = Verifier::new(None);
    let mut at = Cursor {
        head: Head::START,
        covered: 0,
        changes: Changes::default(),
        vouchers: Vec::new(),
    };
    let mut origin = None;
    for line in lines {
        let entry = verifier.line(line).map_err(broken)?;
        if let Mark::Segment {
            instance,
            public_key,
            ..
        } = &entry.mark
        {
            origin = Some(Origin {
                instance: *instance,
                public_key: public_key.clone(),
            });
        }
        at.read(entry);
    }
    let (Some(head), Some(origin)) = (verifier.head(), origin) else {
        return Ok(None);
    };
    at.head = head;
    if whole < text.len() {
        tracing::warn!(
            segment = %path.display(),
            bytes = text.len() - whole,
            "an unfinished entry, never acknowledged, is cut off"
        );
    }
    let file = OpenOptions::new()
        .append(true)
        .open(path)
        .map_err(failed("opened", path))?;
    let mut open = Open {
        path: path.to_owned(),
        first: verifier.report().first,
        file,
        length: whole as u64,
        dirty: whole < text.len(),
    };
    open.clean()?;
    Ok(Some((open, origin, at)))
}

#[cfg(test)]
mod tests;
