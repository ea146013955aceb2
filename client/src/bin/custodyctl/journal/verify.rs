//! `custodyctl journal verify`.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
};

use custody::{
    journal::{
        chain::{Mark, Verifier},
        public_key::PublicKey,
    },
    name::InstanceId,
};
use serde::Serialize;

use super::{
    Error, Told,
    segment::{self, failed},
    status,
};
use crate::{
    args::Global,
    failure::Failure,
    output::{self, View, properties},
};

/// What was found in a journal that is whole.
#[derive(Debug, Serialize)]
struct Verified {
    /// Missing when custodyd read it out.
    directory: Option<PathBuf>,
    instance: Option<InstanceId>,
    /// How many segments.
    segments: usize,
    /// Number of the first entry that is there.
    first: u64,
    /// Number of the last.
    last: u64,
    /// Hash of the last.
    hash: String,
    /// How many signatures there are, all of them good.
    checkpoints: u64,
    /// The newest entry that a signature vouches for.
    covered: u64,
    /// Where the public key came from: "file" or "custodyd".
    public_key: &'static str,
    /// Bytes of an entry that was being written, or never was to its end.
    unfinished: usize,
    /// The installation that custodyd says it is.
    #[serde(skip)]
    told: Option<InstanceId>,
}

impl View for Verified {
    fn text(&self) -> Option<String> {
        let signed = format!("up to entry {}, by the journal key", self.covered);
        let key = match self.public_key {
            "custodyd" => "as custodyd says; an auditor brings one with --public-key",
            _ => "as given",
        };
        let origin = match &self.directory {
            Some(directory) => directory.display().to_string(),
            None => "custodyd".to_owned(),
        };
        let unfinished = (self.unfinished > 0)
            .then(|| format!("{} bytes at the end are no entry yet", self.unfinished));
        properties([
            ("journal", Some("whole".to_owned())),
            ("read from", Some(origin)),
            ("instance", self.instance.map(|id| id.to_string())),
            ("segments", Some(self.segments.to_string())),
            ("entries", Some(format!("{} to {}", self.first, self.last))),
            ("last hash", Some(self.hash.clone())),
            ("signed", Some(signed)),
            ("public key", Some(key.to_owned())),
            ("unfinished", unfinished),
        ])
    }
}

pub(super) async fn run(
    global: &Global,
    directory: Option<PathBuf>,
    public_key: Option<PathBuf>,
    instance: Option<InstanceId>,
) -> Result<(), Failure> {
    let given = public_key.map(|path| load_key(&path)).transpose()?;
    let verified = match (directory, given) {
        (Some(directory), Some(key)) => of_files(directory, Check::new(key, "file", None))?,
        (Some(directory), None) => {
            let told = status(global).await?;
            let key = parse_key(&told.journal.public_key, "of custodyd")?;
            of_files(directory, Check::new(key, "custodyd", Some(told)))?
        }
        (None, Some(key)) => {
            let told = status(global).await?;
            over_the_socket(global, Check::new(key, "file", Some(told))).await?
        }
        (None, None) => return Err(Error::KeyWanted.into()),
    };
    let expected = instance.or(verified.told);
    match (expected, verified.instance) {
        (Some(expected), Some(found)) if expected != found => {
            return Err(Error::OtherInstance { expected, found }.into());
        }
        _ => {}
    }
    output::show(global.output, &verified)
}

pub(super) fn load_key(path: &Path) -> Result<PublicKey, Error> {
    let pem = fs::read(path).map_err(failed(path))?;
    parse_key(&String::from_utf8_lossy(&pem), path)
}

pub(super) fn parse_key(pem: &str, origin: impl AsRef<Path>) -> Result<PublicKey, Error> {
    PublicKey::from_pem(pem).map_err(|_| Error::PublicKey(origin.as_ref().to_owned()))
}

fn of_files(directory: PathBuf, mut check: Check) -> Result<Verified, Error> {
    let segments = segment::list(&directory)?;
    let mut unfinished = 0;
    for (number, path) in segments.iter().enumerate() {
        unfinished = read(path, &mut check)?;
        if unfinished > 0 && number + 1 < segments.len() {
            return Err(Error::Torn(path.clone()));
        }
    }
    check.finish(Some(directory), unfinished)
}

/// Verifies one segment; gives the length of what follows its last newline.
fn read(path: &Path, check: &mut Check) -> Result<usize, Error> {
    let mut reader = BufReader::new(File::open(path).map_err(failed(path))?);
    let mut line = Vec::new();
    loop {
        line.clear();
        let length = reader.read_until(b'\n', &mut line).map_err(failed(path))?;
        if line.pop_if(|last| *last == b'\n').is_none() {
            return Ok(length);
        }
        check.line(&line, path)?;
    }
}

async fn over_the_socket(global: &Global, mut check: Check) -> Result<Verified, Failure> {
    let manager = global.manager().await?;
    let stream = manager.read_journal(0, false).await;
    let mut stream = stream.map_err(Failure::Manager)?;
    while let Some(answer) = stream.next().await {
        for line in answer.map_err(Failure::Manager)?.lines() {
            check.line(line.as_bytes(), Path::new("what custodyd sent"))?;
        }
    }
    Ok(check.finish(None, 0)?)
}

/// A verification, line by line.
struct Check {
    verifier: Verifier,
    /// Where the public key came from.
    source: &'static str,
    /// What custodyd said of its journal before.
    told: Option<Told>,
    segments: usize,
}

impl Check {
    fn new(key: PublicKey, source: &'static str, told: Option<Told>) -> Self {
        Self {
            verifier: Verifier::new(Some(key)),
            source,
            told,
            segments: 0,
        }
    }

    fn line(&mut self, line: &[u8], origin: &Path) -> Result<(), Error> {
        let entry = self
            .verifier
            .line(line)
            .map_err(|broken| Error::Broken(origin.to_owned(), broken))?;
        if matches!(entry.mark, Mark::Segment { .. }) {
            self.segments += 1;
        }
        if let Some(Told { journal, .. }) = &self.told
            && journal.sequence == entry.seq
            && journal.hash != self.verifier.report().hash.to_string()
        {
            return Err(Error::OtherEntry(entry.seq));
        }
        Ok(())
    }

    fn finish(self, directory: Option<PathBuf>, unfinished: usize) -> Result<Verified, Error> {
        let report = self.verifier.report();
        if let Some(Told { journal, .. }) = &self.told
            && report.last < journal.sequence
        {
            return Err(Error::Short {
                last: report.last,
                written: journal.sequence,
            });
        }
        // Whoever can copy a public key can write a chain without signatures.
        if report.checkpoints == 0 {
            return Err(Error::Unsigned);
        }
        Ok(Verified {
            directory,
            instance: self.verifier.instance(),
            segments: self.segments,
            first: report.first,
            last: report.last,
            hash: report.hash.to_string(),
            checkpoints: report.checkpoints,
            covered: report.covered,
            public_key: self.source,
            unfinished,
            told: self.told.and_then(|told| told.instance.parse().ok()),
        })
    }
}
