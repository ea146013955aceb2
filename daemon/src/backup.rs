//! Backups as operators are given them: at most one at a time, kept for a while, so that a
//! transfer that was interrupted can go on.

use std::{
    fs, io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use custody::{
    backup::{Member, MemberName, Sealed},
    name::BackupId,
};
use tempfile::TempDir;
use tokio::sync::watch;

use crate::{journal, store};

mod make;

pub(crate) use make::{Copied, Preparing, Source};

/// How long a backup is kept.
#[derive(Clone, Copy, Debug)]
struct Stays {
    /// After some of it was read, or nothing yet.
    some: Duration,
    /// Once all of it was.
    all: Duration,
}

const STAYS: Stays = Stays {
    some: Duration::from_secs(60 * 60),
    all: Duration::from_secs(60),
};

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{} cannot be {what}", .path.display())]
    Io {
        what: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("the database cannot be copied")]
    Database(#[from] store::Error),
    #[error("the journal cannot be copied")]
    Journal(#[from] journal::Error),
    #[error(
        "there is no room for a copy of the database: it takes {needed} bytes in the state \
         directory, and {free} are free"
    )]
    NoRoom { needed: u64, free: u64 },
    #[error("another backup is being made or read; try again when that is done")]
    Occupied,
    #[error("there is no backup {0}, or no longer: begin anew")]
    NoSuchBackup(BackupId),
    #[error("the backup {backup} has {size} bytes")]
    Beyond { backup: BackupId, size: u64 },
}

/// The one backup that is kept, if there is one.
#[derive(Debug)]
pub(crate) struct Shelf {
    folder: PathBuf,
    stays: Stays,
    kept: Mutex<Option<Arc<Kept>>>,
    /// Whoever makes one has it.
    making: Arc<tokio::sync::Mutex<()>>,
}

/// Where a backup is being made.
#[derive(Debug)]
pub(crate) struct Place {
    folder: TempDir,
    _turn: tokio::sync::OwnedMutexGuard<()>,
}

impl Place {
    fn path(&self, name: MemberName) -> PathBuf {
        path(self.folder.path(), name)
    }
}

/// A backup that can be read. Its files are removed when it is dropped.
#[derive(Debug)]
pub(crate) struct Kept {
    folder: TempDir,
    sealed: Sealed,
    stays: Stays,
    until: watch::Sender<Instant>,
}

impl Shelf {
    /// An empty one in the state directory `state`; what a daemon that was killed left there
    /// is removed.
    pub(crate) fn empty(state: &Path) -> Result<Self, Error> {
        let folder = state.join("backup");
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("removed", &folder)(error));
            }
            _ => {}
        }
        Ok(Self {
            folder,
            stays: STAYS,
            kept: Mutex::default(),
            making: Arc::default(),
        })
    }

    /// A place to make a backup in. The one that is kept goes, unless it is being read.
    pub(crate) fn place(&self) -> Result<Place, Error> {
        let turn = Arc::clone(&self.making).try_lock_owned();
        let turn = turn.map_err(|_| Error::Occupied)?;
        self.give_up(|_| true)?;
        fs::create_dir_all(&self.folder).map_err(failed("made", &self.folder))?;
        // Only its owner may enter it.
        let folder = tempfile::tempdir_in(&self.folder).map_err(failed("made", &self.folder))?;
        Ok(Place {
            folder,
            _turn: turn,
        })
    }

    /// Keeps what was made in `place`.
    pub(crate) fn keep(self: &Arc<Self>, place: Place, sealed: Sealed) -> Arc<Kept> {
        let kept = Arc::new(Kept {
            folder: place.folder,
            sealed,
            stays: self.stays,
            until: watch::Sender::new(Instant::now() + self.stays.some),
        });
        *self.lock() = Some(Arc::clone(&kept));
        tokio::spawn(Arc::clone(self).expire(kept.until.subscribe()));
        kept
    }

    /// The backup of that name.
    pub(crate) fn find(&self, backup: BackupId) -> Result<Arc<Kept>, Error> {
        let kept = self.lock().clone();
        kept.filter(|kept| kept.name() == backup)
            .ok_or(Error::NoSuchBackup(backup))
    }

    /// Removes a backup once nobody has read it for long enough. `until` ends with it.
    async fn expire(self: Arc<Self>, mut until: watch::Receiver<Instant>) {
        loop {
            let end = *until.borrow_and_update();
            tokio::select! {
                // It may be much sooner now.
                changed = until.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return,
                },
                () = tokio::time::sleep_until(end.into()) => {}
            }
            let is_over = |kept: &Kept| *kept.until.borrow() <= Instant::now();
            if self.give_up(is_over).is_err() {
                // Somebody reads it.
                tokio::time::sleep(self.stays.all).await;
            }
        }
    }

    /// Removes the backup that is kept, if `is_over`, unless somebody reads it.
    fn give_up(&self, is_over: impl FnOnce(&Kept) -> bool) -> Result<(), Error> {
        let mut kept = self.lock();
        match kept.take_if(|kept| is_over(kept)) {
            Some(there) if Arc::strong_count(&there) > 1 => {
                *kept = Some(there);
                Err(Error::Occupied)
            }
            _ => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Kept>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Its name.
    pub(crate) fn name(&self) -> BackupId {
        self.sealed.manifest().backup
    }

    /// Length of its archive.
    pub(crate) fn size(&self) -> u64 {
        self.sealed.size()
    }

    /// Whether it has a byte at `offset`, or ends there.
    pub(crate) fn check(&self, offset: u64) -> Result<(), Error> {
        let (backup, size) = (self.name(), self.size());
        match offset <= size {
            true => Ok(()),
            false => Err(Error::Beyond { backup, size }),
        }
    }

    /// `limit` bytes from `offset` on, or what is left. Blocks.
    pub(crate) fn read(&self, offset: u64, limit: usize) -> Result<Vec<u8>, Error> {
        let stays = match offset.saturating_add(limit as u64) >= self.size() {
            true => self.stays.all,
            false => self.stays.some,
        };
        self.until.send_replace(Instant::now() + stays);
        let read = |member: &Member, from, buffer: &mut [u8]| {
            fs::File::open(path(self.folder.path(), member.name))?.read_exact_at(buffer, from)
        };
        let read = self.sealed.read_at(offset, limit, read);
        read.map_err(failed("read", self.folder.path()))
    }
}

/// Where a member's bytes are; segments of the journal stand beside the other files.
fn path(folder: &Path, name: MemberName) -> PathBuf {
    folder.join(name.to_string().replace('/', "-"))
}

fn failed<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Error + use<'a> {
    move |source| Error::Io {
        what,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests;
