//! Finds and reads the files to import: none that could hang, and not without end.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use nix::fcntl::OFlag;
use zeroize::Zeroizing;

use super::plan::Left;

/// How deep folders may be in each other.
const MAX_DEPTH: usize = 16;

/// The most files and folders looked at.
const MAX_ENTRIES: usize = 100_000;

/// The most bytes of one file: a manifest of thousands of secrets fits.
const MAX_FILE: u64 = 16 << 20;

/// The most bytes of all files together; they are held in memory.
const MAX_TOTAL: u64 = 256 << 20;

/// What standard input is called.
const STDIN: &str = "standard input";

/// Why what was named cannot be imported.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot read {0}")]
    Read(String, #[source] io::Error),
    #[error("there are over {MAX_ENTRIES} files and folders; import them in parts")]
    Many,
    #[error("the files have over {} MiB together; import them in parts", MAX_TOTAL >> 20)]
    Large,
}

/// A file, read. There is no `Debug`: it may hold anything.
pub(super) struct Source {
    /// Its path, or what to call it.
    pub(super) shown: String,
    /// Name of the folder that was named, or that the file is in that was.
    pub(super) root: String,
    /// Names of the folders below that, and its own.
    pub(super) place: Vec<String>,
    pub(super) bytes: Zeroizing<Vec<u8>>,
}

/// What was found under the paths that were named.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) sources: Vec<Source>,
    /// What was not read, and why.
    pub(super) left: Vec<Left>,
    root: String,
    entries: usize,
    bytes: u64,
}

/// Reads all files under `paths`; `-` is standard input. Links are followed only if they are
/// named themselves.
pub(super) fn gather(paths: &[PathBuf]) -> Result<Gathered, Error> {
    let mut gathered = Gathered::default();
    for path in paths {
        if path.as_os_str() == "-" {
            gathered.add(STDIN, vec!["stdin".to_owned()], io::stdin().lock())?;
            continue;
        }
        let failed = |error| Error::Read(path.display().to_string(), error);
        let name = lossy(path.file_name().unwrap_or_default());
        if fs::metadata(path).map_err(failed)?.is_dir() {
            gathered.root = name;
            gathered.folder(path, &mut Vec::new())?;
        } else {
            let folder = path.parent().and_then(Path::file_name);
            gathered.root = lossy(folder.unwrap_or_default());
            gathered.file(path, vec![name], OFlag::empty())?;
        }
    }
    Ok(gathered)
}

fn lossy(name: &OsStr) -> String {
    name.to_string_lossy().into_owned()
}

impl Gathered {
    fn leave(&mut self, path: &Path, why: impl Into<String>, is_fault: bool) {
        self.left.push(Left {
            source: path.display().to_string(),
            why: why.into(),
            is_fault,
        });
    }

    fn folder(&mut self, path: &Path, place: &mut Vec<String>) -> Result<(), Error> {
        if place.len() == MAX_DEPTH {
            let why = format!("is deeper than {MAX_DEPTH} folders");
            self.leave(path, why, true);
            return Ok(());
        }
        let entries = match fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
            Ok(entries) => entries,
            Err(error) => {
                self.leave(path, format!("cannot be read: {error}"), true);
                return Ok(());
            }
        };
        self.entries += entries.len();
        if self.entries > MAX_ENTRIES {
            return Err(Error::Many);
        }
        // In one order, so that an import that goes on where it stopped finds the same.
        let mut names: Vec<OsString> = entries.iter().map(fs::DirEntry::file_name).collect();
        names.sort();
        for name in names {
            let path = path.join(&name);
            let kind = match fs::symlink_metadata(&path) {
                Ok(metadata) => metadata.file_type(),
                Err(error) => {
                    self.leave(&path, format!("cannot be read: {error}"), true);
                    continue;
                }
            };
            place.push(lossy(&name));
            if kind.is_dir() && name == ".git" {
                self.leave(&path, "is git's own, and not looked into", false);
            } else if kind.is_dir() {
                self.folder(&path, place)?;
            } else if kind.is_symlink() {
                let why = "is a symbolic link, and not followed; name what it points to";
                self.leave(&path, why, false);
            } else if kind.is_file() {
                self.file(&path, place.clone(), OFlag::O_NOFOLLOW)?;
            } else {
                self.leave(&path, "is no regular file", false);
            }
            place.pop();
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, place: Vec<String>, flags: OFlag) -> Result<(), Error> {
        // A pipe that has taken the file's place would not answer.
        let flags = flags | OFlag::O_NONBLOCK;
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(flags.bits())
            .open(path);
        let opened = opened.and_then(|file| Ok((file.metadata()?.is_file(), file)));
        let file: File = match opened {
            Ok((true, file)) => file,
            Ok((false, _)) => {
                self.leave(path, "is no regular file", false);
                return Ok(());
            }
            Err(error) => {
                self.leave(path, format!("cannot be read: {error}"), true);
                return Ok(());
            }
        };
        self.add(&path.display().to_string(), place, file)
    }

    fn add(&mut self, shown: &str, place: Vec<String>, from: impl Read) -> Result<(), Error> {
        let mut bytes = Zeroizing::new(Vec::new());
        let outcome = from.take(MAX_FILE + 1).read_to_end(&mut bytes);
        let length = bytes.len() as u64;
        if let Err(error) = outcome {
            let why = format!("cannot be read: {error}");
            self.leave(Path::new(shown), why, true);
        } else if length > MAX_FILE {
            let why = format!(
                "has over {} MiB, more than a file of secrets",
                MAX_FILE >> 20
            );
            self.leave(Path::new(shown), why, true);
        } else {
            self.bytes += length;
            if self.bytes > MAX_TOTAL {
                return Err(Error::Large);
            }
            self.sources.push(Source {
                shown: shown.to_owned(),
                root: self.root.clone(),
                place,
                bytes,
            });
        }
        Ok(())
    }
}

impl Source {
    /// Its own name.
    pub(super) fn name(&self) -> &str {
        self.place.last().map_or("", String::as_str)
    }

    /// Its own name without the ending that tells the form.
    fn stem(&self) -> &str {
        let own = self.name().trim_start_matches('.');
        match own.rsplit_once('.') {
            Some((stem, ending)) if ENDINGS.contains(&&*ending.to_ascii_lowercase()) => stem,
            _ => own,
        }
    }

    /// Whether it is called for what is in it, such as privkey.pem, and not for whose it is.
    pub(super) fn is_usual(&self) -> bool {
        USUAL.contains(&&*self.stem().to_ascii_lowercase())
    }

    /// What a secret out of it is called: its path below the folder that was named, or just
    /// that of its folder if it has a usual name.
    pub(super) fn secret_name(&self) -> String {
        let folders = match self.place.split_last() {
            Some((_, folders)) => folders,
            None => &[],
        };
        let own = match (self.is_usual(), folders) {
            (true, [_, ..]) => None,
            (true, []) if !valid(&self.root).is_empty() => Some(self.root.as_str()),
            _ => Some(self.stem()),
        };
        let parts = folders.iter().map(String::as_str).chain(own);
        valid(&parts.collect::<Vec<_>>().join("-"))
    }

    /// Whether its name says that it has variables.
    pub(super) fn is_dotenv(&self) -> bool {
        let name = self.name();
        name == ".env" || name.ends_with(".env") || name.starts_with(".env.")
    }

    /// Whether it is a file, and not standard input.
    pub(super) fn is_file(&self) -> bool {
        self.shown != STDIN
    }

    /// Whether it reads like a manifest, whatever it is called.
    pub(super) fn is_like_manifest(&self) -> bool {
        self.bytes.windows(10).any(|at| at == b"apiVersion")
    }

    /// Whether its name says that it is YAML or JSON.
    pub(super) fn is_manifest(&self) -> bool {
        let ending = self.name().rsplit_once('.').map(|(_, ending)| ending);
        ending.is_some_and(|ending| {
            ["yaml", "yml", "json"]
                .iter()
                .any(|known| known.eq_ignore_ascii_case(ending))
        })
    }
}

/// Endings of file names that tell a form and nothing else.
const ENDINGS: &[&str] = &[
    "pem",
    "crt",
    "cer",
    "cert",
    "der",
    "key",
    "p12",
    "pfx",
    "jks",
    "keystore",
    "truststore",
    "crl",
    "env",
    "yaml",
    "yml",
    "json",
];

/// Names of files for what is in them.
const USUAL: &[&str] = &[
    "cert",
    "certificate",
    "chain",
    "fullchain",
    "key",
    "privkey",
    "private",
    "private-key",
];

/// A text as the name of a secret may be written, as near as that comes. It may still be none.
pub(super) fn valid(text: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let mut name: String = text
        .chars()
        .map(|c| if fits(c) { c } else { '-' })
        .collect();
    name.truncate(
        name.trim_end_matches(|c: char| !c.is_ascii_alphanumeric())
            .len(),
    );
    name.trim_start_matches(|c: char| !c.is_ascii_alphanumeric())
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(place: &[&str]) -> String {
        let source = Source {
            shown: String::new(),
            root: "root".to_owned(),
            place: place.iter().map(|&name| name.to_owned()).collect(),
            bytes: Zeroizing::default(),
        };
        source.secret_name()
    }

    #[test]
    fn a_secret_is_called_like_its_file_or_the_folder_of_a_usual_file() {
        for (place, name) in [
            (&["tls.crt"][..], "tls"),
            (&["a", "b", "tls.KEY"], "a-b-tls"),
            (&["example.org", "privkey.pem"], "example.org"),
            (&["privkey.pem"], "root"),
            (&[".env"], "env"),
            (&["app", ".env.production"], "app-env.production"),
            (&["prod.env"], "prod"),
            (&["caf\u{e9} \u{fffd}.pem"], "caf"),
            (&["my key (old).pem"], "my-key--old"),
            (&["_.pem"], ""),
            (&["id_ed25519"], "id_ed25519"),
            (&["www.example.org"], "www.example.org"),
        ] {
            assert_eq!(named(place), name, "{place:?}");
        }
    }
}
