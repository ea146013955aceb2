//! Digests of executables, taken by descriptor and kept while the file cannot have changed.

use std::{
    collections::{HashMap, VecDeque},
    fs,
    io::{self, Read as _},
    os::fd::{AsFd as _, OwnedFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use aws_lc_rs::digest;
use rustix::fs::{FsWord, Mode, OFlags, fstatfs, open};

use super::{
    desk::Desk,
    look::{File, Stamp},
    pidfd,
};

/// What a file's content comes to, and which file that was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Digest {
    pub(super) file: File,
    pub(super) text: String,
}

/// Told the digest, or dropped if there is none.
pub(super) type Reply = Box<dyn FnOnce(Digest) + Send>;

/// Takes digests, on threads of its own.
#[derive(Debug)]
pub(super) struct Digests {
    pub(super) desk: Desk,
    kept: Mutex<Kept>,
    settled: Duration,
}

/// A file, and when its content last changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    file: File,
    size: u64,
    modified: (i64, u32),
    changed: (i64, u32),
}

impl Key {
    fn of(stamp: &Stamp) -> Self {
        Self {
            file: stamp.file,
            size: stamp.size,
            modified: stamp.modified,
            changed: stamp.changed,
        }
    }
}

#[derive(Default)]
struct Kept {
    digests: HashMap<Key, String>,
    order: VecDeque<Key>,
    /// Who waits for it, on account of which user.
    awaited: HashMap<Key, Vec<(u32, Reply)>>,
}

/// How many digests are kept.
const KEPT: usize = 1024;

/// How old the last change of a file must be for another to be told from it: clocks of
/// files are coarse.
const SETTLED: Duration = Duration::from_secs(2);

impl Digests {
    pub(super) fn open() -> io::Result<Self> {
        Self::open_with(SETTLED)
    }

    /// The same for files whose last change is no younger than `settled` when they are
    /// read.
    fn open_with(settled: Duration) -> io::Result<Self> {
        Ok(Self {
            desk: Desk::open()?,
            kept: Mutex::default(),
            settled,
        })
    }

    /// Tells the SHA-256 of what the process executes that `pidfd` pins; nothing if that is
    /// larger than `limit`. Whoever asks makes sure that the process is alive afterwards.
    pub(super) fn sha256(
        self: &Arc<Self>,
        pidfd: &Arc<OwnedFd>,
        uid: u32,
        limit: u64,
        reply: Reply,
    ) {
        let Some(link) = executable(pidfd) else {
            return;
        };
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let file = open(&link, flags, Mode::empty()).ok();
        let Some(stamp) = file.and_then(|file| Stamp::of(&file)) else {
            return;
        };
        let key = Key::of(&stamp);
        {
            let mut kept = self.kept();
            if let Some(text) = kept.digests.get(&key) {
                let text = text.clone();
                drop(kept);
                let file = key.file;
                reply(Digest { file, text });
                return;
            }
            if stamp.size > limit {
                return;
            }
            let awaited = kept.awaited.entry(key).or_default();
            let is_waiting = awaited.iter().any(|(other, _)| *other == uid);
            awaited.push((uid, reply));
            if is_waiting {
                return;
            }
        }
        // Whoever waits behind another user's jobs would wait for those, too: each user has
        // a job for it, and the first that is done answers all.
        let job = Job {
            digests: Arc::clone(self),
            key: Some(key),
            uid,
        };
        let settled = self.settled;
        self.desk.submit(uid, move || {
            if !job.is_awaited() {
                return;
            }
            let file = open(&link, READ, Mode::empty());
            job.done(file.ok().and_then(|file| hashed(&file, &key, settled)));
        });
    }

    /// Tells the digest that the kernel keeps the process's executable at, if it does.
    pub(super) fn verity(&self, pidfd: &Arc<OwnedFd>, uid: u32, reply: Reply) {
        let Some(link) = executable(pidfd) else {
            return;
        };
        self.desk.submit(uid, move || {
            let Ok(file) = open(&link, READ, Mode::empty()) else {
                return;
            };
            let kept = is_kept_by_the_kernel(&file);
            let digest = kept.then(|| pidfd::verity(file.as_fd())).flatten();
            if let Some((text, stamp)) = digest.zip(Stamp::of(&file)) {
                let file = stamp.file;
                reply(Digest { file, text });
            }
        });
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A device or a pipe does not keep whoever opens it waiting.
const READ: OFlags = OFlags::RDONLY
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY);

fn executable(pidfd: &OwnedFd) -> Option<String> {
    let pid = pidfd::process(pidfd.as_fd()).ok()?.pid;
    Some(format!("/proc/{pid}/exe"))
}

/// A digest that is to be taken on account of one user. Dropped undone, those who wait on
/// that account are told nothing.
struct Job {
    digests: Arc<Digests>,
    key: Option<Key>,
    uid: u32,
}

impl Job {
    /// Whether it was not done on another's account meanwhile.
    fn is_awaited(&self) -> bool {
        let kept = self.digests.kept();
        let awaited = self.key.and_then(|key| kept.awaited.get(&key));
        awaited.is_some_and(|all| all.iter().any(|(uid, _)| *uid == self.uid))
    }

    fn done(mut self, digest: Option<(String, Keep)>) {
        let (Some(key), Some((text, keep))) = (self.key, digest) else {
            return;
        };
        // Others may wait for the same digest anew from here on, and not for this job.
        self.key = None;
        let replies = {
            let mut kept = self.digests.kept();
            if keep == Keep::Yes {
                kept.keep(key, text.clone());
            }
            kept.awaited.remove(&key).unwrap_or_default()
        };
        for (_, reply) in replies {
            let text = text.clone();
            reply(Digest {
                file: key.file,
                text,
            });
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        let Some(key) = self.key else {
            return;
        };
        let mut kept = self.digests.kept();
        let awaited = kept.awaited.remove(&key).unwrap_or_default();
        let own = |(uid, _): &(u32, Reply)| *uid == self.uid;
        let (undone, others): (Vec<_>, Vec<_>) = awaited.into_iter().partition(own);
        if !others.is_empty() {
            kept.awaited.insert(key, others);
        }
        // To be told takes the lock on something else.
        drop(kept);
        drop(undone);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keep {
    Yes,
    No,
}

/// Whether the kernel keeps what is in `file`. A process that serves a file system tells
/// each who reads a file what it likes.
fn is_kept_by_the_kernel(file: &OwnedFd) -> bool {
    fstatfs(file).is_ok_and(|found| is_kept_there(found.f_type))
}

/// What a file system in a process says that it is (`FUSE_SUPER_MAGIC` of `linux/magic.h`).
const FUSE: FsWord = 0x6573_5546;

fn is_kept_there(file_system: FsWord) -> bool {
    file_system != FUSE
}

/// The SHA-256 of `file`, which must be and stay what `key` says.
fn hashed(file: &OwnedFd, key: &Key, settled: Duration) -> Option<(String, Keep)> {
    let now = SystemTime::now();
    if !is_kept_by_the_kernel(file) {
        return None;
    }
    let stamp = Stamp::of(file).filter(|stamp| Key::of(stamp) == *key)?;
    let text = sha256(file, key.size)?;
    let after = Stamp::of(file).filter(|stamp| Key::of(stamp) == *key)?;
    let is_settled = [stamp.modified, stamp.changed].into_iter().all(|at| {
        let since_epoch = u64::try_from(at.0).map(|seconds| Duration::new(seconds, at.1));
        let at = since_epoch.map(|since| SystemTime::UNIX_EPOCH + since);
        at.is_ok_and(|at| now.duration_since(at).is_ok_and(|age| age > settled))
    });
    let keep = if is_settled && after.names > 0 {
        Keep::Yes
    } else {
        Keep::No
    };
    Some((text, keep))
}

/// The SHA-256 of the `size` bytes that `file` has; `None` if it has more or fewer.
pub(super) fn sha256(file: &OwnedFd, size: u64) -> Option<String> {
    let mut file = fs::File::from(file.try_clone().ok()?);
    let mut context = digest::Context::new(&digest::SHA256);
    let mut buffer = vec![0; 128 * 1024];
    let mut total = 0;
    loop {
        let read = match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return None,
        };
        total += u64::try_from(read).ok()?;
        // What grows without end is left at once.
        if total > size {
            return None;
        }
        context.update(&buffer[..read]);
    }
    (total == size).then(|| hex::encode(context.finish()))
}

impl Kept {
    fn keep(&mut self, key: Key, text: String) {
        if self.digests.insert(key, text).is_none() {
            self.order.push_back(key);
        }
        while self.order.len() > KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.digests.remove(&oldest);
        }
    }
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let awaited: usize = self.awaited.values().map(Vec::len).sum();
        f.debug_struct("Kept")
            .field("digests", &self.digests.len())
            .field("awaited", &awaited)
            .finish()
    }
}

#[cfg(test)]
mod tests;
