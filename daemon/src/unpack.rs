//! A backup's files, out of it and onto the disk.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use custody::{
    backup::{Archive, Member, MemberName, Sealed},
    journal::public_key::PublicKey,
};

use crate::{progress, run::Failure};

/// Which files are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    All,
    Database,
}

/// Verifies the backup at `path`, with the public key in the file `key` if there is one, and
/// writes the files in it that are wanted below `folder`. They are worth nothing before this
/// returns, and durable then.
pub(crate) fn unpack(
    path: &Path,
    key: Option<&Path>,
    folder: &Path,
    wanted: Wanted,
) -> Result<Sealed, Failure> {
    let broken = |source| Failure::Archive {
        path: path.to_owned(),
        source,
    };
    let key = key.map(read_key).transpose()?;
    let file = File::open(path).map_err(failed("opened", path))?;
    let length = file.metadata().map_err(failed("looked at", path))?.len();
    let bar = progress::bytes("unpacking", length);
    let mut files = Files { folder, open: None };
    let copied = Archive::open(file, key.as_ref()).and_then(|archive| {
        archive.copy(|member, bytes| {
            bar.inc(bytes.len() as u64);
            match wanted == Wanted::All || member.name == MemberName::Database {
                true => files.write(member, bytes),
                false => Ok(()),
            }
        })
    });
    bar.finish_and_clear();
    let sealed = copied.map_err(broken)?;
    files.finish().map_err(failed("written to", folder))?;
    Ok(sealed)
}

fn read_key(path: &Path) -> Result<PublicKey, Failure> {
    let wrong = |why: String| Failure::PublicKey {
        path: path.to_owned(),
        why,
    };
    let pem = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    PublicKey::from_pem(&pem).map_err(|error| wrong(error.to_string()))
}

/// The files that are being written, one after the other.
struct Files<'a> {
    folder: &'a Path,
    open: Option<(MemberName, File)>,
}

impl Files<'_> {
    fn write(&mut self, member: &Member, bytes: &[u8]) -> io::Result<()> {
        match &mut self.open {
            Some((name, file)) if *name == member.name => file.write_all(bytes),
            _ => {
                self.close()?;
                let mut file = self.make(member.name)?;
                file.write_all(bytes)?;
                self.open = Some((member.name, file));
                Ok(())
            }
        }
    }

    fn make(&self, name: MemberName) -> io::Result<File> {
        let path = self.folder.join(name.to_string());
        if let Some(parent) = path.parent().filter(|parent| !parent.exists()) {
            DirBuilder::new().mode(0o700).create(parent)?;
        }
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
    }

    fn close(&mut self) -> io::Result<()> {
        match self.open.take() {
            Some((_, file)) => file.sync_all(),
            None => Ok(()),
        }
    }

    /// Makes the files' names durable, too.
    fn finish(mut self) -> io::Result<()> {
        self.close()?;
        let journal = self.folder.join("journal");
        if journal.exists() {
            File::open(journal)?.sync_all()?;
        }
        File::open(self.folder)?.sync_all()
    }
}

/// The failure of a file.
pub(crate) fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Failure + use<> {
    let path: PathBuf = path.to_owned();
    move |source| Failure::Folder { what, path, source }
}
