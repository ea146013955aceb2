//! Opens what is encrypted with the passphrases there are, or one that is typed.

use std::{
    fs::File,
    io::{self, IsTerminal as _, Read as _},
    path::PathBuf,
};

use custody::secret::{
    Refused,
    recognise::{Found, recognise},
};
use zeroize::Zeroizing;

use super::walk::Source;

/// The longest passphrase, in bytes.
const MAX: u64 = 1024;

/// How often a person may mistype one.
const TRIES: usize = 3;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot read the passphrase in {0}")]
    Read(String, #[source] io::Error),
    #[error("the passphrase in {0} is longer than {MAX} bytes or no UTF-8 text")]
    Text(String),
    #[error("cannot read what is typed as passphrase")]
    Prompt(#[source] io::Error),
}

/// Passphrases that may open any of the files. There is no `Debug`.
pub(super) struct Passphrases {
    known: Vec<Zeroizing<String>>,
    /// Whether there is a person to ask.
    can_ask: bool,
}

impl Passphrases {
    /// Reads each of `files`, which holds one passphrase.
    pub(super) fn read(files: &[PathBuf]) -> Result<Self, Error> {
        let known = files.iter().map(|path| {
            let shown = path.display().to_string();
            let mut text = Zeroizing::new(Vec::new());
            let opened = File::open(path);
            opened
                .and_then(|file| file.take(MAX + 2).read_to_end(&mut text))
                .map_err(|error| Error::Read(shown.clone(), error))?;
            let line = text.strip_suffix(b"\n").unwrap_or(&text);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            match str::from_utf8(line) {
                Ok(line) if line.len() as u64 <= MAX => Ok(Zeroizing::new(line.to_owned())),
                _ => Err(Error::Text(shown)),
            }
        });
        Ok(Self {
            known: known.collect::<Result<_, _>>()?,
            can_ask: io::stdin().is_terminal() && io::stderr().is_terminal(),
        })
    }

    /// What is in a file, opened as far as any of the passphrases does.
    pub(super) fn open(&mut self, source: &Source) -> Result<Vec<Found>, Error> {
        let mut best = recognise(&source.bytes, None);
        for passphrase in &self.known {
            if locked(&best) == 0 {
                return Ok(best);
            }
            best = better(best, recognise(&source.bytes, Some(passphrase)));
        }
        for _ in 0..TRIES {
            if locked(&best) == 0 || !self.can_ask {
                break;
            }
            let prompt = format!("passphrase of {} (none to leave it out): ", source.shown);
            let typed = rpassword::prompt_password(prompt).map_err(Error::Prompt)?;
            let typed = Zeroizing::new(typed);
            if typed.is_empty() {
                break;
            }
            best = better(best, recognise(&source.bytes, Some(&typed)));
            self.known.push(typed);
        }
        Ok(best.into_iter().map(told).collect())
    }
}

fn locked(found: &[Found]) -> usize {
    let is_locked = |one: &&Found| matches!(one, Found::Refused(Refused::Locked(_)));
    found.iter().filter(is_locked).count()
}

fn better(one: Vec<Found>, other: Vec<Found>) -> Vec<Found> {
    match locked(&other) < locked(&one) {
        true => other,
        false => one,
    }
}

/// Says of what stays closed how it is opened here.
fn told(found: Found) -> Found {
    match found {
        Found::Refused(Refused::Locked(_)) => Found::Refused(Refused::Locked(
            "holds something under a passphrase that is not given; give it with --passphrase-file"
                .to_owned(),
        )),
        found => found,
    }
}
