//! Reading what the journal holds, from its files.

use std::{
    collections::VecDeque,
    fs::File,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
};

use super::{
    Error, Position,
    segment::{failed, list},
};

/// The lines of a journal from one entry's segment on.
#[derive(Debug)]
pub(crate) struct Reading {
    /// Not begun yet, in order.
    segments: VecDeque<PathBuf>,
    lines: Option<Lines>,
}

impl Reading {
    /// From the beginning of the segment in `directory` that holds entry `from`; if that
    /// was taken away, of the one after it.
    pub(super) fn from(directory: &Path, from: u64) -> Result<Self, Error> {
        let mut segments: Vec<_> = list(directory)?
            .into_iter()
            .filter_map(|path| Some((first_of(&path)?, path)))
            .collect();
        let before = segments.iter().rposition(|(first, _)| *first <= from);
        let segments = segments.split_off(before.unwrap_or(0));
        Ok(Self {
            segments: segments.into_iter().map(|(_, path)| path).collect(),
            lines: None,
        })
    }

    /// The next line without its newline; `None` at the end, also before one that is not
    /// whole.
    pub(crate) fn next(&mut self) -> Result<Option<&[u8]>, Error> {
        loop {
            let more = match &mut self.lines {
                Some(lines) => lines.advance()?,
                None => false,
            };
            if more {
                return Ok(self.lines.as_ref().map(Lines::current));
            }
            match self.segments.pop_front() {
                Some(path) => self.lines = Some(Lines::of(path)?),
                None => return Ok(None),
            }
        }
    }
}

/// A file of the journal.
#[derive(Debug)]
pub(crate) struct Segment {
    /// Number of its first entry.
    pub(crate) first: u64,
    pub(crate) path: PathBuf,
    /// How much of it belongs to what was asked for.
    pub(crate) length: u64,
}

/// The segments in `directory` up to `end`, oldest first.
pub(super) fn segments_to(directory: &Path, end: Position) -> Result<Vec<Segment>, Error> {
    let mut segments = Vec::new();
    for path in list(directory)? {
        let length = match first_of(&path) {
            Some(first) if first < end.segment => {
                path.metadata().map_err(failed("looked at", &path))?.len()
            }
            Some(first) if first == end.segment => end.length,
            _ => continue,
        };
        segments.extend(first_of(&path).map(|first| Segment {
            first,
            path,
            length,
        }));
    }
    Ok(segments)
}

/// The number in `journal-%020d.jsonl`.
fn first_of(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    let digits = name.strip_prefix("journal-")?.strip_suffix(".jsonl")?;
    digits.parse().ok()
}

/// The lines of one segment, one after the other, each without its newline.
#[derive(Debug)]
struct Lines {
    path: PathBuf,
    file: BufReader<File>,
    line: Vec<u8>,
}

impl Lines {
    fn of(path: PathBuf) -> Result<Self, Error> {
        let file = File::open(&path).map_err(failed("opened", &path))?;
        Ok(Self {
            path,
            file: BufReader::new(file),
            line: Vec::new(),
        })
    }

    /// Whether there is one more, which then is the current one.
    fn advance(&mut self) -> Result<bool, Error> {
        self.line.clear();
        self.file
            .read_until(b'\n', &mut self.line)
            .map_err(failed("read", &self.path))?;
        Ok(self.line.ends_with(b"\n"))
    }

    fn current(&self) -> &[u8] {
        self.line.strip_suffix(b"\n").unwrap_or(&self.line)
    }
}
