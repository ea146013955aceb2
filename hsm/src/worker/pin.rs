//! The PIN: read from its source, kept for successors where it cannot be read again, given to the token.

use std::{
    env, fmt,
    fs::File,
    io::{self, Read as _},
    os::{
        fd::OwnedFd,
        unix::fs::{FileExt as _, MetadataExt as _},
    },
    path::{Path, PathBuf},
};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use cryptoki::types::{AuthPin, RawAuthPin};
use zeroize::{Zeroize as _, Zeroizing};

use crate::{
    PinProblem, TokenDescription,
    wire::{PinFrom, problem},
};

/// The longest PIN.
const MAX_LEN: usize = 1024;

/// A PIN, wiped when dropped. It cannot be printed.
pub(super) struct Pin(Zeroizing<Vec<u8>>);

impl Pin {
    /// Takes what the source held: the PIN, and perhaps the newline that an editor adds.
    fn take(mut bytes: Zeroizing<Vec<u8>>, what: &str) -> Result<Self, PinProblem> {
        if bytes.len() > MAX_LEN {
            return Err(PinProblem::TooLong(what.to_owned()));
        }
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
        }
        if bytes.is_empty() {
            return Err(PinProblem::Empty(what.to_owned()));
        }
        Ok(Self(bytes))
    }

    /// Gives it up in the form that a login takes.
    pub(super) fn spend(mut self) -> RawAuthPin {
        RawAuthPin::new(Box::new(std::mem::take(&mut *self.0)))
    }

    /// Gives it up in the form that a change takes, which is text.
    pub(super) fn spend_as_text(self) -> Option<AuthPin> {
        let text = std::str::from_utf8(&self.0).ok()?;
        Some(AuthPin::new(text.into()))
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pin(..)")
    }
}

/// Where the PIN is.
pub(super) enum Source {
    Credential(String),
    File(PathBuf),
    /// Can be read once: kept in `memory`, which our successors get as well.
    Once {
        memory: Option<File>,
        from: Option<File>,
    },
}

impl Source {
    pub(super) fn new(from: &PinFrom, descriptors: Vec<OwnedFd>) -> Self {
        let mut files = descriptors.into_iter().map(File::from);
        match from {
            PinFrom::Credential(name) => Self::Credential(name.clone()),
            PinFrom::File(path) => Self::File(problem::path(path.clone())),
            PinFrom::Descriptor(_) | PinFrom::Prompt(_) => Self::Once {
                memory: files.next(),
                from: files.next(),
            },
        }
    }

    /// Whether a person will be asked.
    pub(super) fn asks(&self) -> bool {
        match self {
            Self::Once {
                memory: Some(memory),
                from: None,
            } => memory.metadata().is_ok_and(|found| found.len() == 0),
            _ => false,
        }
    }

    pub(super) fn read(&self, token: &TokenDescription) -> Result<Pin, PinProblem> {
        match self {
            Self::Credential(name) => credential(name),
            Self::File(path) => file(path),
            Self::Once { memory, from } => once(memory.as_ref(), from.as_ref(), token),
        }
    }
}

fn credential(name: &str) -> Result<Pin, PinProblem> {
    let missing = || PinProblem::NoCredential(name.to_owned());
    if name.is_empty() || name.starts_with('.') || name.contains('/') {
        return Err(missing());
    }
    // Who may read it is systemd's to say: it grants us access by an ACL, which shows as a group's.
    let folder = env::var_os("CREDENTIALS_DIRECTORY").ok_or_else(missing)?;
    let path = Path::new(&folder).join(name);
    match File::open(&path) {
        Ok(file) => all_of(&file, &path.display().to_string()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(missing()),
        Err(error) => Err(unreadable(&path.display().to_string(), &error)),
    }
}

fn file(path: &Path) -> Result<Pin, PinProblem> {
    let what = path.display().to_string();
    let file = File::open(path).map_err(|error| unreadable(&what, &error))?;
    let found = file.metadata().map_err(|error| unreadable(&what, &error))?;
    let us = rustix::process::geteuid().as_raw();
    if found.uid() != us && found.uid() != 0 {
        return Err(PinProblem::Foreign {
            path: path.to_owned(),
            owner: found.uid(),
        });
    }
    if found.mode() & 0o077 != 0 {
        return Err(PinProblem::Lax {
            path: path.to_owned(),
            mode: found.mode() & 0o777,
        });
    }
    all_of(&file, &what)
}

fn once(
    memory: Option<&File>,
    from: Option<&File>,
    token: &TokenDescription,
) -> Result<Pin, PinProblem> {
    let what = "the PIN's descriptor";
    let failed = |error: &io::Error| unreadable("the memory that keeps the PIN", error);
    let memory = memory.ok_or_else(|| PinProblem::Empty(what.to_owned()))?;
    let kept = memory.metadata().map_err(|error| failed(&error))?.len();
    if kept > 0 {
        let len = usize::try_from(kept).unwrap_or(usize::MAX).min(MAX_LEN);
        let mut bytes = Zeroizing::new(vec![0; len]);
        memory
            .read_exact_at(&mut bytes, 0)
            .map_err(|error| failed(&error))?;
        return Pin::take(bytes, what);
    }
    let pin = match from {
        Some(file) => all_of(file, what)?,
        None => prompt(token)?,
    };
    memory
        .write_all_at(&pin.0, 0)
        .map_err(|error| failed(&error))?;
    Ok(pin)
}

fn prompt(token: &TokenDescription) -> Result<Pin, PinProblem> {
    let question = format!("PIN of token {:?}, serial {}: ", token.label, token.serial);
    let answer = rpassword::prompt_password(question);
    let answer = answer.map_err(|error| PinProblem::NoTerminal(error.to_string()))?;
    Pin::take(Zeroizing::new(answer.into_bytes()), "the answer")
}

/// Reads into a buffer that never moves, so that no copy is left behind.
fn all_of(mut file: &File, what: &str) -> Result<Pin, PinProblem> {
    let mut buffer = Zeroizing::new([0; MAX_LEN + 2]);
    let mut len = 0;
    while len < buffer.len() {
        match file.read(&mut buffer[len..]) {
            Ok(0) => break,
            Ok(count) => len += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(unreadable(what, &error)),
        }
    }
    let bytes = Zeroizing::new(buffer[..len].to_vec());
    buffer.zeroize();
    Pin::take(bytes, what)
}

fn unreadable(what: &str, error: &io::Error) -> PinProblem {
    PinProblem::Unreadable {
        what: what.to_owned(),
        why: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    fn pin_file(content: &str, mode: u32) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pin");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (folder, path)
    }

    #[test]
    fn one_trailing_newline_is_no_part_of_the_pin() {
        for (content, pin) in [("1234", "1234"), ("1234\n", "1234"), ("12\n\n", "12\n")] {
            let (_folder, path) = pin_file(content, 0o600);
            assert_eq!(*file(&path).unwrap().0, pin.as_bytes());
        }
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        for mode in [0o640, 0o604, 0o620, 0o601] {
            let (_folder, path) = pin_file("1234", mode);
            let refused = file(&path).unwrap_err();
            assert_eq!(refused, PinProblem::Lax { path, mode });
        }
    }

    #[test]
    fn an_empty_or_endless_pin_is_refused() {
        let (_folder, path) = pin_file("\n", 0o400);
        assert!(matches!(file(&path), Err(PinProblem::Empty(_))));
        let (_folder, path) = pin_file(&"1".repeat(5000), 0o400);
        assert!(matches!(file(&path), Err(PinProblem::TooLong(_))));
    }

    #[test]
    fn a_credential_is_a_plain_name() {
        for name in ["", "..", "../pin", "a/b"] {
            assert!(matches!(credential(name), Err(PinProblem::NoCredential(_))));
        }
    }

    #[test]
    fn a_pin_does_not_print() {
        let pin = Pin::take(Zeroizing::new(b"1234".to_vec()), "test").unwrap();
        assert_eq!(format!("{pin:?}"), "Pin(..)");
    }
}
