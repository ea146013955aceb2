//! `custodyctl journal tail`.

use std::{
    collections::VecDeque,
    fs::{self, File},
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use super::{
    Error, line,
    segment::{self, failed},
};
use crate::{
    args::Global,
    failure::Failure,
    output::{self, Format},
};

/// How often to look for new entries.
const PAUSE: Duration = Duration::from_millis(300);

/// From custodyd, over its socket.
pub(super) async fn over_the_socket(
    global: &Global,
    lines: usize,
    follow: bool,
) -> Result<(), Failure> {
    let manager = global.manager().await?;
    let written = super::status(global).await?.journal.sequence;
    let wanted = u64::try_from(lines).unwrap_or(u64::MAX);
    let from = written.saturating_sub(wanted) + 1;
    let stream = manager.read_journal(from, follow).await;
    let mut stream = stream.map_err(Failure::Manager)?;
    // The journal grew since it was asked for its length, if only by that question.
    let mut newest = VecDeque::new();
    while let Some(answer) = stream.next().await {
        for line in answer.map_err(Failure::Manager)?.lines() {
            newest.push_back(line.as_bytes().to_vec());
            if !follow && newest.len() > lines {
                newest.pop_front();
            }
        }
        if follow {
            show(global.output, newest.drain(..))?;
        }
    }
    show(global.output, newest)
}

/// From the files in `directory`.
pub(super) fn of_files(
    global: &Global,
    directory: &Path,
    lines: usize,
    follow: bool,
) -> Result<(), Failure> {
    let mut segments = segment::list(directory)?;
    let (newest, mut place) = last(&segments, lines)?;
    show(global.output, newest)?;
    if !follow {
        return Ok(());
    }
    loop {
        thread::sleep(PAUSE);
        // Listed before it is read: when there is a successor, this one is complete.
        segments = segment::list(directory)?;
        show(global.output, place.advance()?)?;
        let next = segments.into_iter().find(|path| *path > place.path);
        if let Some(path) = next {
            place = Place { path, offset: 0 };
            show(global.output, place.advance()?)?;
        }
    }
}

/// How far a segment has been read.
struct Place {
    path: PathBuf,
    offset: u64,
}

impl Place {
    /// The complete lines after this place, which moves behind them.
    fn advance(&mut self) -> Result<Vec<Vec<u8>>, Error> {
        let mut bytes = Vec::new();
        File::open(&self.path)
            .and_then(|mut file| {
                file.seek(SeekFrom::Start(self.offset))?;
                file.read_to_end(&mut bytes)
            })
            .map_err(failed(&self.path))?;
        let (lines, length) = complete(&bytes);
        self.offset += length;
        Ok(lines)
    }
}

/// The last entries of all segments, and where they end.
fn last(segments: &[PathBuf], wanted: usize) -> Result<(Vec<Vec<u8>>, Place), Error> {
    let mut newest: Vec<Vec<u8>> = Vec::new();
    let mut place = None;
    for path in segments.iter().rev() {
        let bytes = fs::read(path).map_err(failed(path))?;
        let (mut lines, offset) = complete(&bytes);
        place.get_or_insert(Place {
            path: path.clone(),
            offset,
        });
        lines.append(&mut newest);
        newest = lines.split_off(lines.len().saturating_sub(wanted));
        if newest.len() == wanted {
            break;
        }
    }
    Ok((newest, place.expect("a journal has a segment")))
}

/// The lines that have an end, and how long they are together.
fn complete(bytes: &[u8]) -> (Vec<Vec<u8>>, u64) {
    let lines: Vec<_> = bytes
        .split_inclusive(|&b| b == b'\n')
        .filter_map(|line| line.strip_suffix(b"\n"))
        .map(<[u8]>::to_vec)
        .collect();
    let length = lines.iter().map(|line| line.len() as u64 + 1).sum();
    (lines, length)
}

fn show(format: Format, lines: impl IntoIterator<Item = Vec<u8>>) -> Result<(), Failure> {
    for bytes in lines {
        let text = String::from_utf8_lossy(&bytes);
        match format {
            Format::Json => output::print(&text)?,
            Format::Table => output::print(&output::plain(&line::readable(&text)))?,
        }
    }
    Ok(())
}
