//! Writes files that only their owner can read, each in one step or not at all.

use std::{
    fs::{self, DirBuilder, File, Permissions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use tempfile::{Builder, NamedTempFile};

pub(crate) mod generation;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot write {0}")]
    Write(PathBuf, #[source] io::Error),
    #[error("cannot make the folder {0}")]
    Folder(PathBuf, #[source] io::Error),
    #[error("{0} is no regular file, and replacing it would break it; leave --out away for a pipe")]
    Special(PathBuf),
    #[error(
        "{0} is in the way: it is not what an earlier fetch wrote; move it, or name another folder"
    )]
    InTheWay(PathBuf),
}

/// A place for a fetched secret.
#[derive(Debug)]
pub(crate) enum Target {
    /// A folder, with a file for each field.
    Folder(PathBuf),
    /// One file.
    File(PathBuf),
}

impl Target {
    /// A folder if there is one of that name, or the name ends in a slash.
    pub(crate) fn of(path: &Path) -> Result<Self, Error> {
        let slash = path.as_os_str().as_encoded_bytes().ends_with(b"/");
        match fs::metadata(path) {
            Ok(there) if there.is_dir() => Ok(Self::Folder(path.to_owned())),
            Ok(there) if there.is_file() => Ok(Self::File(path.to_owned())),
            Ok(_) => Err(Error::Special(path.to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound && slash => {
                Ok(Self::Folder(path.to_owned()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Ok(Self::File(path.to_owned()))
            }
            Err(error) => Err(Error::Write(path.to_owned(), error)),
        }
    }

    /// Finds out early whether files can be made here, without leaving one.
    pub(crate) fn probe(&self) -> Result<(), Error> {
        let (path, place) = match self {
            Self::Folder(path) if path.exists() => (path, path.as_path()),
            Self::Folder(path) | Self::File(path) => (path, folder(path)),
        };
        match tempfile::tempfile_in(place) {
            Ok(_) => Ok(()),
            Err(error) => Err(Error::Write(path.to_owned(), error)),
        }
    }
}

/// Makes a folder that only we can enter, unless it is there.
pub(crate) fn make_folder(path: &Path) -> Result<(), Error> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(Error::Folder(path.to_owned(), error))
        }
        _ => Ok(()),
    }
}

/// Replaces each file as a whole. All contents are on disk before the first file is
/// replaced, so that a full disk or an unwritable folder replaces none.
pub(crate) fn replace(files: &[(PathBuf, &[u8])]) -> Result<(), Error> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| Error::Write(path, error)
    };
    let mut staged = Vec::new();
    for (path, content) in files {
        staged.push((path, stage(path, content).map_err(failed(path))?));
    }
    for (path, file) in staged {
        file.persist(path)
            .map_err(|error| failed(path)(error.error))?;
    }
    // The renames are durable once their folders are.
    for (path, _) in files {
        File::open(folder(path))
            .and_then(|folder| folder.sync_all())
            .map_err(failed(path))?;
    }
    Ok(())
}

fn stage(path: &Path, content: &[u8]) -> io::Result<NamedTempFile> {
    let mut file = Builder::new()
        .prefix(".custodyctl-")
        .permissions(Permissions::from_mode(0o600))
        .tempfile_in(folder(path))?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    Ok(file)
}

/// The folder that `path` is in.
pub(crate) fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_replaces_none_of_several_files() {
        let folder = tempfile::tempdir().unwrap();
        let there = folder.path().join("a");
        fs::write(&there, "old").unwrap();
        let nowhere = folder.path().join("missing/b");
        replace(&[(there.clone(), b"new"), (nowhere, b"new")]).unwrap_err();
        assert_eq!(fs::read(&there).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_no_file_is_not_replaced() {
        assert!(matches!(
            Target::of(Path::new("/dev/null")),
            Err(Error::Special(_))
        ));
    }

    #[test]
    fn a_slash_means_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let new = folder.path().join("new/");
        assert!(matches!(Target::of(&new), Ok(Target::Folder(_))));
        assert!(matches!(Target::of(folder.path()), Ok(Target::Folder(_))));
        let file = folder.path().join("new");
        assert!(matches!(Target::of(&file), Ok(Target::File(_))));
    }
}
