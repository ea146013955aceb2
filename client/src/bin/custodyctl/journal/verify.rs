//! `custodyctl journal verify`.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
};

use custody::{
    journal::{chain::Verifier, public_key::PublicKey},
    name::InstanceId,
};
use serde::Serialize;

use super::{
    Error, Told,
    segment::{self, failed},
};
use crate::{
    args::Global,
    failure::Failure,
    output::{self, View, properties},
};

/// What was found in a journal that is whole.
#[derive(Debug, Serialize)]
struct Verified {
    directory: PathBuf,
    instance: Option<InstanceId>,
    /// How many files.
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
}

impl View for Verified {
    fn text(&self) -> Option<String> {
        let signed = format!("up to entry {}, by the journal key", self.covered);
        let key = match self.public_key {
            "custodyd" => "as custodyd says; an auditor brings one with --public-key",
            _ => "as given",
        };
        let unfinished = (self.unfinished > 0)
            .then(|| format!("{} bytes at the end are no entry yet", self.unfinished));
        properties([
            ("journal", Some("whole".to_owned())),
            ("folder", Some(self.directory.display().to_string())),
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

pub(super) fn run(
    global: &Global,
    directory: Option<PathBuf>,
    public_key: Option<PathBuf>,
    instance: Option<InstanceId>,
    told: Option<&Told>,
) -> Result<(), Failure> {
    let directory = match (directory, told) {
        (Some(directory), _) => directory,
        (None, Some(told)) => PathBuf::from(&told.journal.directory),
        (None, None) => return Err(Error::NoStatus.into()),
    };
    let expected = instance.or_else(|| told?.instance.parse().ok());
    let (key, source) = match (public_key, told) {
        (Some(path), _) => (load_key(&path)?, "file"),
        (None, Some(told)) => (
            parse_key(&told.journal.public_key, "of custodyd")?,
            "custodyd",
        ),
        (None, None) => return Err(Error::NoStatus.into()),
    };
    let verified = verify(&directory, key, source, told)?;
    match (expected, verified.instance) {
        (Some(expected), Some(found)) if expected != found => {
            return Err(Error::OtherInstance { expected, found }.into());
        }
        _ => {}
    }
    output::show(global.output, &verified)
}

fn load_key(path: &Path) -> Result<PublicKey, Error> {
    let pem = fs::read(path).map_err(failed(path))?;
    parse_key(&String::from_utf8_lossy(&pem), path)
}

fn parse_key(pem: &str, origin: impl AsRef<Path>) -> Result<PublicKey, Error> {
    PublicKey::from_pem(pem).map_err(|_| Error::PublicKey(origin.as_ref().to_owned()))
}

fn verify(
    directory: &Path,
    key: PublicKey,
    source: &'static str,
    told: Option<&Told>,
) -> Result<Verified, Error> {
    let segments = segment::list(directory)?;
    let mut verifier = Verifier::new(Some(key));
    let mut unfinished = 0;
    for (number, path) in segments.iter().enumerate() {
        unfinished = read(path, &mut verifier, told)?;
        if unfinished > 0 && number + 1 < segments.len() {
            return Err(Error::Torn(path.clone()));
        }
    }
    let report = verifier.report();
    if let Some(Told { journal, .. }) = told
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
        directory: directory.to_owned(),
        instance: verifier.instance(),
        segments: segments.len(),
        first: report.first,
        last: report.last,
        hash: report.hash.to_string(),
        checkpoints: report.checkpoints,
        covered: report.covered,
        public_key: source,
        unfinished,
    })
}

/// Verifies one segment; gives the length of what follows its last newline.
fn read(path: &Path, verifier: &mut Verifier, told: Option<&Told>) -> Result<usize, Error> {
    let mut reader = BufReader::new(File::open(path).map_err(failed(path))?);
    let mut line = Vec::new();
    loop {
        line.clear();
        let length = reader.read_until(b'\n', &mut line).map_err(failed(path))?;
        if line.pop_if(|last| *last == b'\n').is_none() {
            return Ok(length);
        }
        let entry = verifier
            .line(&line)
            .map_err(|broken| Error::Broken(path.to_owned(), broken))?;
        if let Some(Told { journal, .. }) = told
            && journal.sequence == entry.seq
            && journal.hash != verifier.report().hash.to_string()
        {
            return Err(Error::OtherEntry(entry.seq));
        }
    }
}
