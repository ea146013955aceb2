//! What only a process with rights over the other may see: its executable, and where it is.

use std::{
    ffi::OsString,
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::ffi::OsStringExt as _,
    },
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use custody::caller::observation::{Doubt, Exe, ExeDoubt, Namespaces};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{
        AtFlags, CWD, Mode, OFlags, ResolveFlags, StatxFlags, makedev, open, openat, openat2,
        readlink, readlinkat, stat, statx,
    },
    io::Errno,
};

use super::{pidfd, sight::Sight};

/// A file's identity: device and inode.
pub(super) type File = (u64, u64);

/// What was seen of a process that was alive when it had been seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) exe: Result<Exe, ExeDoubt>,
    pub(super) namespaces: Namespaces,
}

/// How long it may take to follow a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// As long as it takes: a file system on the network may not answer at all.
    Unbounded,
    /// No longer than the kernel needs for what it has in memory.
    None,
}

/// Why there is no look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missed {
    /// There never will be.
    Doubt(Doubt),
    /// It takes more patience.
    Waiting,
}

impl From<Doubt> for Missed {
    fn from(doubt: Doubt) -> Self {
        Self::Doubt(doubt)
    }
}

/// The host: the namespaces of process 1, and the files that it sees.
///
/// Where process 1 may not be looked at, we are the measure.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) mounts: Namespace,
    pub(super) users: Namespace,
    pids: Namespace,
    root: OwnedFd,
}

/// A namespace, held open, so that the kernel need not make its inode anew for each look.
#[derive(Debug)]
pub(super) struct Namespace {
    file: File,
    _open: OwnedFd,
}

impl Namespace {
    fn open(path: &str) -> rustix::io::Result<Self> {
        let open = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let found = rustix::fs::fstat(&open)?;
        Ok(Self {
            file: (found.st_dev, found.st_ino),
            _open: open,
        })
    }

    pub(super) fn is(&self, other: Option<File>) -> Option<bool> {
        other.map(|other| other == self.file)
    }
}

impl Host {
    /// Looks at this machine, once.
    pub(super) fn here() -> rustix::io::Result<Self> {
        Self::of("/proc/1").or_else(|_| Self::of("/proc/self"))
    }

    fn of(process: &str) -> rustix::io::Result<Self> {
        let namespace = |kind| Namespace::open(&format!("{process}/ns/{kind}"));
        let folder = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self {
            mounts: namespace("mnt")?,
            users: namespace("user")?,
            pids: namespace("pid")?,
            root: open(format!("{process}/root"), folder, Mode::empty())?,
        })
    }

    /// What is at `path`, which must lead there without links, as a descriptor that reads
    /// nothing.
    pub(super) fn open(&self, path: &Path, patience: Patience) -> Result<OwnedFd, Missed> {
        let cached = match patience {
            Patience::None => ResolveFlags::CACHED,
            Patience::Unbounded => ResolveFlags::empty(),
        };
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let path = path.strip_prefix("/").unwrap_or(path);
        let path = if path == "" { Path::new(".") } else { path };
        let how = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | cached;
        let opened = match openat2(&self.root, path, flags, Mode::empty(), how) {
            // RestrictSUIDSGID= rules this call out. Who follows a link ends at another
            // file, or at the same one, and cannot tell how long it takes.
            Err(Errno::NOSYS) => openat(&self.root, path, flags, Mode::empty()),
            opened => opened,
        };
        opened.map_err(|error| match error {
            // What the kernel has not in memory; or an old one that cannot tell.
            Errno::AGAIN | Errno::INVAL if patience == Patience::None => Missed::Waiting,
            _ => Missed::Doubt(Doubt::Unobservable),
        })
    }

    /// Where `path` leads, without links. `None` if it leads nowhere.
    pub(super) fn real_path(&self, path: &str) -> Option<PathBuf> {
        let mut real = PathBuf::from("/");
        let mut rest: Vec<_> = Path::new(path).components().rev().map(owned).collect();
        let mut links = 0;
        while let Some(component) = rest.pop() {
            match Path::new(&component).components().next()? {
                Component::RootDir | Component::Prefix(_) => real = PathBuf::from("/"),
                Component::CurDir => {}
                Component::ParentDir => drop(real.pop()),
                Component::Normal(name) => {
                    let next = real.join(name);
                    let below = next.strip_prefix("/").ok()?;
                    match readlinkat(&self.root, below, Vec::new()) {
                        Ok(target) => {
                            links += 1;
                            let target = OsString::from_vec(target.into_bytes());
                            rest.extend(Path::new(&target).components().rev().map(owned));
                        }
                        // It is no link.
                        Err(Errno::INVAL) => real = next,
                        Err(_) => return None,
                    }
                }
            }
            if links > LINKS {
                return None;
            }
        }
        Some(real)
    }

    /// The file at `path`; `None` if there is none.
    pub(super) fn stamp(&self, path: &Path, patience: Patience) -> Result<Option<Stamp>, Missed> {
        match self.open(path, patience) {
            Ok(file) => Ok(Stamp::of(&file)),
            Err(Missed::Waiting) => Err(Missed::Waiting),
            Err(Missed::Doubt(_)) => Ok(None),
        }
    }

    /// Looks at the process that `pidfd` pins, and makes sure that it is alive afterwards:
    /// what was read by process id was then read of this process.
    ///
    /// The second is what to look at to see that nothing has changed since, if that can
    /// be told.
    pub(super) fn look(
        &self,
        pidfd: BorrowedFd<'_>,
        patience: Patience,
    ) -> Result<(Look, Option<Sight>), Missed> {
        let pid = pidfd::process(pidfd)?.pid;
        let namespaces = || Namespaces {
            mnt: self.mounts.is(identity(format!("/proc/{pid}/ns/mnt"))),
            user: self.users.is(identity(format!("/proc/{pid}/ns/user"))),
            pid: self.pids.is(identity(format!("/proc/{pid}/ns/pid"))),
        };
        let look = || {
            let namespaces = namespaces();
            let exe = self.exe(pid, namespaces.mnt, patience)?;
            Ok::<_, Missed>(Look { exe, namespaces })
        };
        let first = look()?;
        let sight = match &first.exe {
            Ok(Exe { path: Ok(path), .. }) => Sight::before(self, pid, path, patience)?,
            _ => None,
        };
        let sight = match sight {
            // Whatever was read before is read again, between two equal looks.
            Some(sight) if look()? == first && sight.holds(self, patience)? => Some(sight),
            _ => None,
        };
        if !alive(pidfd) {
            return Err(Doubt::Gone.into());
        }
        Ok((first, sight))
    }

    fn exe(
        &self,
        pid: i32,
        host_mounts: Option<bool>,
        patience: Patience,
    ) -> Result<Result<Exe, ExeDoubt>, Missed> {
        let link = format!("/proc/{pid}/exe");
        let file = open(&link, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        let Some(found) = file.ok().and_then(|file| Stamp::of(&file)) else {
            return Ok(Err(ExeDoubt::Unreadable));
        };
        let path = self.path(&link, &found, host_mounts, patience)?;
        let (device, inode) = found.file;
        Ok(Ok(Exe {
            device,
            inode,
            path,
        }))
    }

    fn path(
        &self,
        link: &str,
        found: &Stamp,
        host_mounts: Option<bool>,
        patience: Patience,
    ) -> Result<Result<String, ExeDoubt>, Missed> {
        let Ok(text) = readlink(link, Vec::new()) else {
            return Ok(Err(ExeDoubt::Unreadable));
        };
        // Only what has no name is judged by its text: a file can be called anything.
        if found.names == 0 {
            let memory = text.as_bytes().starts_with(b"/memfd:");
            return Ok(Err(if memory {
                ExeDoubt::Memory
            } else {
                ExeDoubt::Deleted
            }));
        }
        if host_mounts != Some(true) {
            return Ok(Err(ExeDoubt::OtherMounts));
        }
        let Ok(path) = text.into_string() else {
            return Ok(Err(ExeDoubt::OtherFile));
        };
        let there = self.stamp(Path::new(&path), patience)?;
        let same = there.is_some_and(|there| there.is_at(found));
        Ok(if same {
            Ok(path)
        } else {
            Err(ExeDoubt::OtherFile)
        })
    }
}

/// The most links on the way to a file (Linux's `MAXSYMLINKS`).
const LINKS: u32 = 40;

fn owned(component: Component<'_>) -> OsString {
    component.as_os_str().to_owned()
}

/// A file, by which mount it was reached, and when anything about it last changed: its
/// number alone may be given to another file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) file: File,
    mount: u64,
    pub(super) names: u64,
    pub(super) size: u64,
    pub(super) modified: (i64, u32),
    pub(super) changed: (i64, u32),
}

impl Stamp {
    /// The open `file`.
    pub(super) fn of(file: &OwnedFd) -> Option<Self> {
        Self::at(file.as_fd(), "", AtFlags::EMPTY_PATH)
    }

    /// The file that `link` in `/proc` leads to.
    pub(super) fn behind(link: &std::ffi::CStr) -> Option<Self> {
        Self::at(CWD, link, AtFlags::empty())
    }

    fn at(folder: BorrowedFd<'_>, path: impl rustix::path::Arg, how: AtFlags) -> Option<Self> {
        // No server is asked: which file it is does not depend on it.
        let how = how | AtFlags::STATX_DONT_SYNC;
        let found = statx(
            folder,
            path,
            how,
            StatxFlags::BASIC_STATS | StatxFlags::MNT_ID,
        )
        .ok()?;
        let time = |time: rustix::fs::StatxTimestamp| (time.tv_sec, time.tv_nsec);
        Some(Self {
            file: (
                makedev(found.stx_dev_major, found.stx_dev_minor),
                found.stx_ino,
            ),
            mount: found.stx_mnt_id,
            names: found.stx_nlink.into(),
            size: found.stx_size,
            modified: time(found.stx_mtime),
            changed: time(found.stx_ctime),
        })
    }

    /// Whether both are one file, reached by the same mount.
    fn is_at(&self, other: &Self) -> bool {
        (self.file, self.mount) == (other.file, other.mount)
    }
}

/// Device and inode of what is at `path`.
pub(super) fn identity(path: impl rustix::path::Arg) -> Option<File> {
    let found = stat(path).ok()?;
    Some((found.st_dev, found.st_ino))
}

/// A pidfd is readable once its process has ended.
pub(super) fn alive(pidfd: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    matches!(poll(&mut fds, Some(&now)), Ok(0))
}

/// A process that is looked at more than once.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    pub(super) pidfd: Arc<OwnedFd>,
    /// From the first look, and from no later one: what holds is what was found then.
    sight: Option<Arc<Sight>>,
}

impl Watched {
    /// Looks for the first time.
    pub(super) fn meet(
        host: &Host,
        pidfd: &Arc<OwnedFd>,
        patience: Patience,
    ) -> Result<(Look, Self), Missed> {
        let (look, sight) = host.look(pidfd.as_fd(), patience)?;
        let watched = Self {
            pidfd: Arc::clone(pidfd),
            sight: sight.map(Arc::new),
        };
        Ok((look, watched))
    }

    /// Looks again; `None` is the same as at first.
    pub(super) fn again(&self, host: &Host, patience: Patience) -> Result<Option<Look>, Missed> {
        if let Some(sight) = &self.sight
            && sight.holds(host, patience)?
            && alive(self.pidfd.as_fd())
        {
            return Ok(None);
        }
        self.look(host, patience).map(Some)
    }

    /// Looks again in full.
    pub(super) fn look(&self, host: &Host, patience: Patience) -> Result<Look, Missed> {
        let (look, _) = host.look(self.pidfd.as_fd(), patience)?;
        Ok(look)
    }
}
