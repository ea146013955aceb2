//! Files that change together: `..data` in a folder leads to the newest generation of them,
//! as in volumes of Kubernetes, and the names beside it lead through that.

use std::{
    collections::BTreeSet,
    fs::{self, DirBuilder, Permissions},
    io::{self, ErrorKind},
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use tempfile::{Builder, TempDir};

use super::{Error, stage};

/// What leads to the newest generation.
const NEWEST: &str = "..data";

/// What is about to.
const NEXT: &str = "..data-next";

/// With what the names of generations begin.
const GENERATION: &str = "..custodyctl-";

/// A file of a generation.
#[derive(Debug)]
pub(crate) struct File<'a> {
    /// Name of the folder that it is in, below that of the generation.
    pub(crate) folder: String,
    pub(crate) name: String,
    pub(crate) content: &'a [u8],
}

/// Replaces what is in the folders named by `files`, and in those of the generation before, in
/// one step: whoever opens `..data` once finds files of one generation in it. If it fails, all
/// is as it was.
pub(crate) fn replace(path: &Path, files: &[File<'_>]) -> Result<(), Error> {
    let failed = |error| Error::Write(path.to_owned(), error);
    let folder = fs::File::open(path).map_err(failed)?;
    // Two that write at the same time would remove each other's.
    folder.lock().map_err(failed)?;
    let names: BTreeSet<_> = files.iter().map(|file| file.folder.as_str()).collect();
    for name in &names {
        let place = path.join(name);
        match fs::read_link(&place) {
            Ok(to) if to == through(name) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            _ => return Err(Error::InTheWay(place)),
        }
    }
    let generation = prepare(path, files).map_err(failed)?;
    switch(path, &generation).map_err(failed)?;
    let newest = generation.keep();
    for name in names {
        match symlink(through(name), path.join(name)) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(failed(error)),
            _ => {}
        }
    }
    clean(path, &newest).map_err(failed)?;
    folder.sync_all().map_err(failed)
}

/// Where the name beside `..data` leads.
fn through(name: &str) -> PathBuf {
    Path::new(NEWEST).join(name)
}

/// Writes a generation that nothing leads to yet, durably.
fn prepare(path: &Path, files: &[File<'_>]) -> io::Result<TempDir> {
    let generation = Builder::new()
        .prefix(GENERATION)
        .permissions(Permissions::from_mode(0o700))
        .tempdir_in(path)?;
    let mut folders = BTreeSet::new();
    for File {
        folder,
        name,
        content,
    } in files
    {
        let folder = generation.path().join(folder);
        if folders.insert(folder.clone()) {
            DirBuilder::new().mode(0o700).create(&folder)?;
        }
        let place = folder.join(name);
        stage(&place, content)?.persist_noclobber(place)?;
    }
    for folder in folders
        .iter()
        .map(PathBuf::as_path)
        .chain([generation.path()])
    {
        fs::File::open(folder)?.sync_all()?;
    }
    Ok(generation)
}

fn switch(path: &Path, generation: &TempDir) -> io::Result<()> {
    let next = path.join(NEXT);
    match fs::remove_file(&next) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    symlink(generation.path().file_name().unwrap_or_default(), &next)?;
    fs::rename(next, path.join(NEWEST))
}

/// Removes the generations before, whole or not, and the names that lead nowhere now.
fn clean(path: &Path, newest: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let (name, place) = (entry.file_name(), entry.path());
        let name = name.to_string_lossy();
        let is_ours = |to: PathBuf| to == through(&name);
        if name.starts_with(GENERATION) {
            if place.file_name() != newest.file_name() {
                fs::remove_dir_all(place)?;
            }
        } else if fs::read_link(&place).is_ok_and(is_ours) && !place.exists() {
            fs::remove_file(place)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
