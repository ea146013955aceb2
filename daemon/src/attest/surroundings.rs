//! What a grant's words lead to on this machine: files, folders and units.

use std::{
    os::fd::{AsFd as _, OwnedFd},
    path::PathBuf,
};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, StatxFlags, open, statx};

use super::{
    digest::sha256,
    look::{Host, Patience, Stamp},
    pidfd,
};

/// A file as the host sees it, and who could replace it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileFacts {
    /// Its path without links; differs from the one asked for if there is one in that.
    pub(crate) path: PathBuf,
    /// The root folder, every folder below it on the way, and last the file itself.
    pub(crate) way: Vec<Owned>,
    /// The SHA-256 of its content, if it was asked for and the file is not too large.
    pub(crate) sha256: Option<String>,
    /// The digest that the kernel keeps it at, if that was asked for as well.
    pub(crate) verity: Option<String>,
}

/// Whose a file or folder is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owned {
    pub(crate) path: PathBuf,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Permission bits, with those for set-uid, set-gid and sticky.
    pub(crate) mode: u32,
}

/// A unit as the system's service manager has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct UnitFacts {
    /// Whether it is defined.
    pub(crate) exists: bool,
    /// Its present run.
    pub(crate) invocation: Option<String>,
    /// Whether it may make control groups below its own.
    pub(crate) delegate: bool,
}

/// The most folders on the way to a file that are looked at.
const DEPTH: usize = 64;

impl Host {
    /// Looks at the file at `path`. With `limit`, hashes it, if it is no larger, and asks for
    /// the kernel's digest.
    pub(super) fn file(&self, path: &str, limit: Option<u64>) -> Option<FileFacts> {
        let canonical = self.real_path(path)?;
        let file = self.open(&canonical, Patience::Unbounded).ok()?;
        let stamp = Stamp::of(&file)?;
        let link = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
        let mut way = Vec::new();
        let mut ancestors: Vec<_> = canonical.ancestors().take(DEPTH).collect();
        ancestors.reverse();
        for path in ancestors {
            let folder = self.open(path, Patience::Unbounded).ok()?;
            way.push(owned(&folder, path.to_owned())?);
            // The last of them is the file; if it is another by now, nothing fits.
            if path == canonical && Stamp::of(&folder)?.file != stamp.file {
                return None;
            }
        }
        let regular = kind(&file)? == FileType::RegularFile;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let opened = limit
            .filter(|_| regular)
            .and_then(|_| open(&link, flags, Mode::empty()).ok());
        let small = opened
            .as_ref()
            .filter(|_| limit.is_some_and(|limit| stamp.size <= limit));
        Some(FileFacts {
            sha256: small.and_then(|file| sha256(file, stamp.size)),
            verity: opened.and_then(|file| pidfd::verity(file.as_fd())),
            path: canonical,
            way,
        })
    }
}

fn kind(file: &OwnedFd) -> Option<FileType> {
    let found = statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::TYPE).ok()?;
    Some(FileType::from_raw_mode(found.stx_mode.into()))
}

fn owned(file: &OwnedFd, path: PathBuf) -> Option<Owned> {
    let found = statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS).ok()?;
    Some(Owned {
        path,
        uid: found.stx_uid,
        gid: found.stx_gid,
        mode: u32::from(found.stx_mode) & 0o7777,
    })
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    #[test]
    fn a_file_is_seen_with_every_folder_on_the_way() {
        let host = Host::here().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap().join("program");
        fs::write(&path, "abc").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o4750)).unwrap();
        let found = host.file(path.to_str().unwrap(), Some(3)).unwrap();
        assert_eq!(found.path, path);
        let way: Vec<_> = found.way.iter().map(|owned| owned.path.as_path()).collect();
        let mut ancestors: Vec<_> = path.ancestors().collect();
        ancestors.reverse();
        assert_eq!(way, ancestors);
        let last = found.way.last().unwrap();
        assert_eq!(
            (last.uid, last.mode),
            (nix::unistd::geteuid().as_raw(), 0o4750)
        );
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(found.sha256.as_deref(), Some(abc));

        let link = path.with_file_name("link");
        std::os::unix::fs::symlink("program", &link).unwrap();
        let linked = host.file(link.to_str().unwrap(), Some(2)).unwrap();
        let endless = path.with_file_name("endless");
        std::os::unix::fs::symlink(&endless, &endless).unwrap();
        assert_eq!(host.file(endless.to_str().unwrap(), None), None);
        assert_eq!((linked.path, linked.sha256), (path, None));
        assert_eq!(host.file("/there/is/no/such/file", None), None);
    }
}
