//! `custodyctl journal show`.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
};

use super::{
    Error, line,
    segment::{self, failed},
};
use crate::{
    args::Global,
    failure::Failure,
    output::{self, Format, properties},
};

pub(super) async fn run(
    global: &Global,
    number: u64,
    directory: Option<PathBuf>,
) -> Result<(), Failure> {
    let entry = match directory {
        Some(directory) => in_files(&directory, number)?,
        None => over_the_socket(global, number).await?,
    };
    let entry = entry
        .filter(|entry| line::number(entry) == Some(number))
        .ok_or(Error::NoEntry(number))?;
    match global.output {
        Format::Json => output::print(&entry),
        Format::Table => {
            let facts = line::facts(&entry).into_iter();
            let facts = facts.map(|(name, value)| (name, Some(value)));
            output::print(&properties(facts).unwrap_or_default())
        }
    }
}

/// The line where entry `number` belongs.
fn in_files(directory: &Path, number: u64) -> Result<Option<String>, Error> {
    let Some((first, path)) = segment::holding(directory, number)? else {
        return Ok(None);
    };
    let file = File::open(&path).map_err(failed(&path))?;
    let place = usize::try_from(number - first).unwrap_or(usize::MAX);
    let line = BufReader::new(file).lines().nth(place);
    line.transpose().map_err(failed(&path))
}

async fn over_the_socket(global: &Global, number: u64) -> Result<Option<String>, Failure> {
    let manager = global.manager().await?;
    let lines = manager.read_journal(number, false).await;
    let first = lines.map_err(Failure::Manager)?.next().await;
    let first = first.transpose().map_err(Failure::Manager)?;
    Ok(first.and_then(|lines| lines.lines().next().map(str::to_owned)))
}
