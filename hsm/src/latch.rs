//! What is on disk about logins: that the token refused the PIN, and attempts whose answer is not known.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use crate::Error;

/// Attempts in a row that may go without an answer before they are spaced.
const UNANSWERED: u32 = 2;
/// The space between attempts from then on.
const SPACE: Duration = Duration::from_secs(3600);

const REFUSED: &str = "The token refused the PIN when custodyd logged in.\n\
    While this file exists, custodyd does not log in, so that the token does not lock the PIN.\n\
    Correct the PIN at its source, remove this file, then restart custodyd.\n";
const LOST: &str = "A login of custodyd was interrupted before the token answered, and the token\n\
    reports that a wrong PIN was entered since the last login that succeeded.\n\
    While this file exists, custodyd does not log in, so that the token does not lock the PIN.\n\
    Make sure that the PIN at its source is right, remove this file, then restart custodyd.\n";
const DOUBTED: &str = "A change of the PIN was cut off, and the token then refused the next PIN: so it\n\
    has the one that it had, as far as custodyd knows, and the next login is with that.\n\
    While this file exists, custodyd does not log in, so that the token does not lock the PIN.\n\
    Make sure that the token has the PIN at the source token.pin, for instance by the vendor's tool,\n\
    remove this file, then restart custodyd.\n";
const DOUBTED_LOST: &str = "A change of the PIN was cut off, and somebody, perhaps custodyd, may have entered\n\
    a wrong PIN since. Which of the two PINs the token has is not known.\n\
    While this file exists, custodyd does not log in, so that the token does not lock the PIN.\n\
    Find out which it has, by the vendor's tool; make that the PIN at the source token.pin, take\n\
    token.next-pin out of the configuration, remove this file, then restart custodyd.\n";

/// The latch, and the record of attempts beside it.
#[derive(Clone, Debug)]
pub(crate) struct Latch {
    path: PathBuf,
    attempt: PathBuf,
    /// Whether the PIN that is tried is known to have been the token's.
    trust: Trust,
}

/// How much is known of the PIN that is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trust {
    /// It is the operator's word.
    Given,
    /// It is one of two, of which the token has one.
    Doubted,
}

impl Latch {
    pub(crate) fn new(path: &Path) -> Self {
        let mut attempt = path.as_os_str().to_owned();
        attempt.push(".attempt");
        Self {
            path: path.to_owned(),
            attempt: attempt.into(),
            trust: Trust::Given,
        }
    }

    /// For a PIN that may be wrong: it is not tried if another may have been.
    pub(crate) fn in_doubt(&self) -> Self {
        Self {
            trust: Trust::Doubted,
            ..self.clone()
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Refuses if the latch is there, or if it cannot be known.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match self.path.symlink_metadata() {
            Ok(_) => Err(Error::PinLatched {
                path: self.path.clone(),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(self.unusable(&error)),
        }
    }

    /// Makes it durable that a login is about to be attempted. `wrong_pin_seen` is
    /// whether the token says that a wrong PIN was entered since the last good login.
    pub(crate) fn begin(&self, wrong_pin_seen: bool) -> Result<(), Error> {
        self.check()?;
        let unanswered = self.unanswered().map_err(|error| self.unusable(&error))?;
        if self.trust == Trust::Doubted && (unanswered > 0 || wrong_pin_seen) {
            self.close_with(DOUBTED_LOST)?;
            return Err(Error::PinLatched {
                path: self.path.clone(),
            });
        }
        if unanswered > 0 && wrong_pin_seen {
            self.close_with(LOST)?;
            return Err(Error::PinRefused {
                path: self.path.clone(),
            });
        }
        if unanswered >= UNANSWERED && self.is_recent() {
            return Err(Error::PinUnanswered {
                path: self.attempt.clone(),
            });
        }
        let count = unanswered.saturating_add(1).to_string();
        write_durably(&self.attempt, count.as_bytes()).map_err(|error| self.unusable(&error))
    }

    /// The token answered, and not that the PIN is wrong.
    pub(crate) fn answered(&self) {
        if let Err(error) = fs::remove_file(&self.attempt) {
            let path = self.attempt.display();
            tracing::warn!(%path, %error, "the record of a login cannot be removed");
        }
    }

    /// Makes the latch, durably.
    pub(crate) fn close(&self) -> Result<(), Error> {
        self.close_with(match self.trust {
            Trust::Given => REFUSED,
            Trust::Doubted => DOUBTED,
        })
    }

    fn close_with(&self, text: &str) -> Result<(), Error> {
        write_durably(&self.path, text.as_bytes()).map_err(|error| self.unusable(&error))?;
        if self.attempt.exists() {
            self.answered();
        }
        Ok(())
    }

    fn unanswered(&self) -> io::Result<u32> {
        match fs::read_to_string(&self.attempt) {
            // An attempt that was being written down was not made.
            Ok(text) => Ok(text.trim().parse().unwrap_or(0)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
    }

    fn is_recent(&self) -> bool {
        let modified = self.attempt.metadata().and_then(|found| found.modified());
        modified.is_ok_and(|time| {
            SystemTime::now()
                .duration_since(time)
                .is_ok_and(|age| age < SPACE)
        })
    }

    fn unusable(&self, error: &io::Error) -> Error {
        Error::LatchUnusable {
            path: self.path.clone(),
            why: error.to_string(),
        }
    }
}

/// Replaces `path` by a file of ours with `content`, so that a crash leaves the old or the new.
pub(crate) fn write_durably(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latch() -> (tempfile::TempDir, Latch) {
        let folder = tempfile::tempdir().unwrap();
        let latch = Latch::new(&folder.path().join("pin-refused"));
        (folder, latch)
    }

    #[test]
    fn a_closed_latch_stays_closed_until_it_is_removed() {
        let (_folder, latch) = latch();
        latch.begin(false).unwrap();
        latch.close().unwrap();
        assert!(matches!(latch.check(), Err(Error::PinLatched { .. })));
        assert!(matches!(latch.begin(false), Err(Error::PinLatched { .. })));
        fs::remove_file(&latch.path).unwrap();
        latch.begin(false).unwrap();
    }

    #[test]
    fn an_answered_attempt_leaves_nothing() {
        let (folder, latch) = latch();
        latch.begin(true).unwrap();
        latch.answered();
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);
    }

    #[test]
    fn a_lost_answer_latches_if_the_token_saw_a_wrong_pin() {
        let (_folder, latch) = latch();
        latch.begin(false).unwrap();
        assert!(matches!(latch.begin(true), Err(Error::PinRefused { .. })));
        assert!(matches!(latch.check(), Err(Error::PinLatched { .. })));
    }

    #[test]
    fn a_doubted_pin_is_not_tried_after_what_may_have_been_a_wrong_one() {
        for (answer_was_lost, wrong_pin_seen) in [(true, false), (false, true)] {
            let (_folder, latch) = latch();
            if answer_was_lost {
                latch.in_doubt().begin(false).unwrap();
            }
            let second = latch.in_doubt().begin(wrong_pin_seen);
            assert!(
                matches!(second, Err(Error::PinLatched { .. })),
                "{second:?}"
            );
            assert!(matches!(latch.check(), Err(Error::PinLatched { .. })));
        }
    }

    #[test]
    fn lost_answers_are_soon_spaced_and_never_latch() {
        let (_folder, latch) = latch();
        latch.begin(false).unwrap();
        latch.begin(false).unwrap();
        let third = latch.begin(false);
        assert!(
            matches!(third, Err(Error::PinUnanswered { .. })),
            "{third:?}"
        );
        let long_ago = SystemTime::now() - SPACE;
        let record = File::options().write(true).open(&latch.attempt).unwrap();
        record.set_modified(long_ago).unwrap();
        latch.begin(false).unwrap();
        latch.check().unwrap();
    }
}
