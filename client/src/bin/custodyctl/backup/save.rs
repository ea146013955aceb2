//! `custodyctl backup save`: aside, piece by piece, and to its place once it is verified.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Seek as _, SeekFrom, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use client::{Backup, Error as Call, Manager, v1, v1::backup_response::Step};
use custody::backup::{Archive, Manifest, Sealed};
use indicatif::ProgressBar;
use tokio::time::Instant;

use super::{
    Error,
    verify::{Key, Verified, verified},
};
use crate::{args::Global, failure::Failure, output};

/// How long to wait for custodyd to be back: a restart fits.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long to wait before it is asked again.
const PAUSE: Duration = Duration::from_millis(500);

pub(super) async fn run(
    global: &Global,
    path: &Path,
    public_key: Option<PathBuf>,
) -> Result<(), Failure> {
    let place = Place::of(path)?;
    let mut part = Part::open(place.part())?;
    let taken = tokio::select! {
        taken = part.take(global, public_key) => taken,
        _ = tokio::signal::ctrl_c() => Err(Error::Interrupted.into()),
    };
    if taken.is_err() {
        part.leave();
    }
    let key = taken?;
    let sealed = part.finish(&key)?;
    let path = place.named(sealed.manifest());
    part.put(&path)?;
    output::show(global.output, &Verified::of(path, &sealed, &key))
}

/// Where the backup is to be.
enum Place {
    File(PathBuf),
    Folder(PathBuf),
}

impl Place {
    fn of(path: &Path) -> Result<Self, Error> {
        match path.symlink_metadata() {
            _ if path.is_dir() => Ok(Self::Folder(path.to_owned())),
            Ok(_) => Err(Error::Exists(path.to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Ok(Self::File(path.to_owned()))
            }
            Err(error) => Err(Error::Write(path.to_owned(), error)),
        }
    }

    /// Where it is until it is whole.
    fn part(&self) -> PathBuf {
        match self {
            Self::File(path) => {
                let mut name = path.clone().into_os_string();
                name.push(".part");
                name.into()
            }
            Self::Folder(folder) => folder.join("custodyd-backup.part"),
        }
    }

    /// Where it is then.
    fn named(self, manifest: &Manifest) -> PathBuf {
        match self {
            Self::File(path) => path,
            Self::Folder(folder) => {
                let time = manifest.created.replace([':', '-'], "");
                folder.join(format!("custodyd-{time}-{}.tar", manifest.backup))
            }
        }
    }
}

/// As much of a backup as there is.
struct Part {
    path: PathBuf,
    file: File,
    length: u64,
    bar: ProgressBar,
}

impl Part {
    /// What an earlier attempt left, or nothing yet.
    fn open(path: PathBuf) -> Result<Self, Error> {
        let failed = |error| Error::Write(path.clone(), error);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(nix::libc::O_NOFOLLOW)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::Taken(path)),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let length = file.metadata().map_err(failed)?.len();
        Ok(Self {
            path,
            file,
            length,
            bar: output::bytes_bar(),
        })
    }

    /// Takes what is missing, and the key to verify it with.
    async fn take(&mut self, global: &Global, key: Option<PathBuf>) -> Result<Key, Failure> {
        let key = Key::of(global, key).await?;
        self.take_all(&global.manager().await?).await?;
        Ok(key)
    }

    /// Takes what is missing, however often it is interrupted, unless nothing comes for a while.
    async fn take_all(&mut self, manager: &Manager) -> Result<(), Failure> {
        let mut end = Instant::now() + PATIENCE;
        loop {
            let before = self.length;
            match self.take_more(manager).await {
                Err(Failure::Manager(Call::NotFound(_))) if self.length > 0 => {
                    self.bar.suspend(|| {
                        output::note(
                            "what is there is of a backup that is no longer kept: it begins anew",
                        );
                    });
                    self.start_anew()?;
                }
                Err(Failure::Manager(Call::Unavailable(_) | Call::Connect { .. }))
                    if self.length > before || Instant::now() < end =>
                {
                    if self.length > before {
                        end = Instant::now() + PATIENCE;
                    }
                    tokio::time::sleep(PAUSE).await;
                }
                taken => {
                    self.bar.finish_and_clear();
                    return taken;
                }
            }
        }
    }

    async fn take_more(&mut self, manager: &Manager) -> Result<(), Failure> {
        let mut stream = match self.begun()? {
            Some(sealed) if sealed.size() == self.length => return Ok(()),
            Some(sealed) => {
                let name = sealed.manifest().backup.to_string();
                manager.go_on_with_backup(&name, self.length).await
            }
            None => {
                self.start_anew()?;
                manager.backup().await
            }
        }
        .map_err(Failure::Manager)?;
        self.write(&mut stream).await
    }

    async fn write(&mut self, stream: &mut Backup) -> Result<(), Failure> {
        let mut size = None;
        while let Some(step) = stream.next().await {
            match step.map_err(Failure::Manager)? {
                Step::Preparing(v1::BackupPreparing { done, all }) => {
                    self.bar.set_message("copying");
                    self.bar.set_length(all);
                    self.bar.set_position(done);
                }
                Step::Begun(begun) if begun.offset == self.length => {
                    size = Some(begun.size);
                    self.bar.set_message("receiving");
                    self.bar.set_length(begun.size);
                    self.bar.set_position(self.length);
                }
                Step::Begun(_) => return Err(Error::OtherParts.into()),
                Step::Data(data) => {
                    self.add(&data)?;
                    self.bar.set_position(self.length);
                }
            }
        }
        match size {
            Some(size) if size == self.length => Ok(()),
            // An answer without an end is one that broke off.
            Some(size) if size > self.length => Err(Failure::Manager(Call::Unavailable(
                "custodyd broke off in the middle of the backup".to_owned(),
            ))),
            _ => Err(Error::OtherParts.into()),
        }
    }

    /// Appends `data`.
    fn add(&mut self, data: &[u8]) -> Result<(), Error> {
        let written = self
            .file
            .seek(SeekFrom::Start(self.length))
            .and_then(|_| self.file.write_all(data));
        written.map_err(|error| Error::Write(self.path.clone(), error))?;
        self.length += data.len() as u64;
        Ok(())
    }

    /// What the beginning says that it is the beginning of, if there is enough of it.
    fn begun(&mut self) -> Result<Option<Sealed>, Error> {
        self.rewind()?;
        let archive = Archive::open(&self.file, None).ok();
        let sealed = archive.map(|archive| archive.sealed().clone());
        Ok(sealed.filter(|sealed| self.length <= sealed.size()))
    }

    /// Leaves what the same command can go on with, and nothing else.
    fn leave(&self) {
        if self.length == 0 {
            let _removed = fs::remove_file(&self.path);
        }
    }

    fn start_anew(&mut self) -> Result<(), Error> {
        let cut = self.file.set_len(0);
        cut.map_err(|error| Error::Write(self.path.clone(), error))?;
        self.length = 0;
        Ok(())
    }

    fn rewind(&mut self) -> Result<(), Error> {
        let rewound = self.file.rewind();
        rewound.map_err(|error| Error::Read(self.path.clone(), error))
    }

    /// Verifies all of it, once it is on disk. What does not verify is removed.
    fn finish(&mut self, key: &Key) -> Result<Sealed, Error> {
        let synced = self.file.sync_all();
        synced.map_err(|error| Error::Write(self.path.clone(), error))?;
        self.rewind()?;
        let sealed = verified(&self.file, &self.path, key);
        if matches!(&sealed, Err(Error::Broken(_, error)) if error.is_of_content()) {
            // Whoever repeats it is not to go on with it.
            let _removed = fs::remove_file(&self.path);
        }
        sealed
    }

    /// Moves it to its place, where nothing may have come to be meanwhile.
    fn put(self, path: &Path) -> Result<(), Error> {
        let failed = |error| Error::Write(path.to_owned(), error);
        match fs::hard_link(&self.path, path) {
            Ok(()) => fs::remove_file(&self.path).map_err(failed)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(Error::Exists(path.to_owned()));
            }
            // Not every file system has links.
            Err(_) => fs::rename(&self.path, path).map_err(failed)?,
        }
        let folder = crate::files::folder(path);
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(failed)
    }
}
