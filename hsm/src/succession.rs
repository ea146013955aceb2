//! Which of two PINs a token has: on disk, so that no login has to find out by trying.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use crate::{Error, latch::write_durably, wire::PinFrom};

/// How far the token's change to its next PIN has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stand {
    /// custodyd has it, and the token the one before.
    Staged,
    /// The token was told to take it, and what came of that is not known.
    Begun,
    /// The token has it.
    Done,
}

impl Stand {
    const ALL: [Self; 3] = [Self::Staged, Self::Begun, Self::Done];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Staged => "staged",
            Self::Begun => "begun",
            Self::Done => "done",
        }
    }
}

/// The sources of both PINs. What is on record of two says nothing of any others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pair(Vec<u8>);

impl Pair {
    pub(crate) fn new(present: &PinFrom, next: &PinFrom) -> Self {
        Self([&*name(present), b"\0", &*name(next)].concat())
    }

    fn has(&self, source: &PinFrom) -> bool {
        let mut names = self.0.split(|byte| *byte == 0);
        names.any(|it| it == name(source))
    }
}

fn name(source: &PinFrom) -> Vec<u8> {
    match source {
        PinFrom::Credential(name) => [b"credential ", name.as_bytes()].concat(),
        PinFrom::File(path) => [b"file ", &**path].concat(),
        PinFrom::Descriptor(_) => b"descriptor".to_vec(),
        PinFrom::Prompt(_) => b"prompt".to_vec(),
    }
}

/// The record of a change, beside the latch.
#[derive(Clone, Debug)]
pub(crate) struct Succession {
    record: PathBuf,
    lock: PathBuf,
}

/// Nobody else logs in with either PIN, or changes it, while this is held.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    record: &'a Path,
    _lock: File,
}

impl Succession {
    pub(crate) fn new(latch: &Path) -> Self {
        let beside = |suffix| {
            let mut path = OsString::from(latch);
            path.push(suffix);
            PathBuf::from(path)
        };
        Self {
            record: beside(".next"),
            lock: beside(".lock"),
        }
    }

    /// Whether a change was ever prepared, and not forgotten.
    pub(crate) fn is_there(&self) -> bool {
        self.record.exists()
    }

    /// How far the change has come; `None` if it was not prepared.
    pub(crate) fn stand(&self, pair: &Pair) -> Result<Option<Stand>, Error> {
        stand(&self.record, pair)
    }

    /// Waits until nobody else has it.
    pub(crate) fn turn(&self) -> Result<Turn<'_>, Error> {
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&self.lock)
            .and_then(|file| file.lock().map(|()| file));
        Ok(Turn {
            record: &self.record,
            _lock: lock.map_err(|error| unusable(&self.lock, &error))?,
        })
    }
}

impl Turn<'_> {
    pub(crate) fn stand(&self, pair: &Pair) -> Result<Option<Stand>, Error> {
        stand(self.record, pair)
    }

    /// Makes it durable how far the change has come.
    pub(crate) fn note(&self, stand: Stand, pair: &Pair) -> Result<(), Error> {
        let content = [stand.name().as_bytes(), b"\n", &pair.0].concat();
        write_durably(self.record, &content).map_err(|error| unusable(self.record, &error))
    }

    /// The token has the PIN of `source`, and is to have no other: if that was one of two, there is
    /// no change any more.
    pub(crate) fn conclude(&self, source: &PinFrom) -> Result<(), Error> {
        match read(self.record)? {
            Some((_, pair)) if pair.has(source) => {
                fs::remove_file(self.record).map_err(|error| unusable(self.record, &error))
            }
            _ => Ok(()),
        }
    }
}

fn stand(record: &Path, pair: &Pair) -> Result<Option<Stand>, Error> {
    let found = read(record)?;
    Ok(found.and_then(|(stand, of)| (of == *pair).then_some(stand)))
}

fn read(record: &Path) -> Result<Option<(Stand, Pair)>, Error> {
    let content = match fs::read(record) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unusable(record, &error)),
    };
    let mut parts = content.splitn(2, |byte| *byte == b'\n');
    let (name, pair) = (parts.next(), parts.next());
    let mut stands = Stand::ALL.into_iter();
    let stand = stands.find(|stand| name == Some(stand.name().as_bytes()));
    match (stand, pair) {
        (Some(stand), Some(pair)) => Ok(Some((stand, Pair(pair.to_vec())))),
        _ => {
            let unknown = io::Error::other("it says what is not known");
            Err(unusable(record, &unknown))
        }
    }
}

fn unusable(path: &Path, error: &io::Error) -> Error {
    Error::LatchUnusable {
        path: path.to_owned(),
        why: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> PinFrom {
        PinFrom::File(path.into())
    }

    #[test]
    fn a_record_says_something_of_its_two_sources_alone() {
        let folder = tempfile::tempdir().unwrap();
        let succession = Succession::new(&folder.path().join("pin-refused"));
        let pair = Pair::new(&file("/a"), &file("/b\n/c"));
        assert_eq!(succession.stand(&pair).unwrap(), None);
        let turn = succession.turn().unwrap();
        for stand in Stand::ALL {
            turn.note(stand, &pair).unwrap();
            assert_eq!(turn.stand(&pair).unwrap(), Some(stand));
            for (present, next) in [("/a", "/b"), ("/x", "/b\n/c"), ("/b\n/c", "/a")] {
                let other = Pair::new(&file(present), &file(next));
                assert_eq!(turn.stand(&other).unwrap(), None);
            }
        }
        turn.conclude(&file("/x")).unwrap();
        turn.conclude(&PinFrom::Prompt(true)).unwrap();
        assert!(succession.is_there());
        turn.conclude(&file("/b\n/c")).unwrap();
        assert!(!succession.is_there());
    }

    #[test]
    fn a_record_that_is_not_understood_allows_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let latch = folder.path().join("pin-refused");
        let pair = Pair::new(&file("/a"), &file("/b"));
        for content in ["", "done", "other\nfile /a\0file /b"] {
            fs::write(folder.path().join("pin-refused.next"), content).unwrap();
            let refused = Succession::new(&latch).stand(&pair).unwrap_err();
            assert!(matches!(refused, Error::LatchUnusable { .. }), "{refused}");
        }
    }
}
