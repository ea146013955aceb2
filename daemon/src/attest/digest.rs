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
use rustix::fs::{Mode, OFlags, open};

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
    awaited: HashMap<Key, Vec<Reply>>,
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
            if let Some(others) = kept.awaited.get_mut(&key) {
                others.push(reply);
                return;
            }
            kept.awaited.insert(key, vec![reply]);
        }
        let job = Job {
            digests: Arc::clone(self),
            key: Some(key),
        };
        let settled = self.settled;
        self.desk.submit(uid, move || {
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
            let digest = pidfd::verity(file.as_fd());
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

/// Those who wait for one digest. Dropped undone, they are told nothing.
struct Job {
    digests: Arc<Digests>,
    key: Option<Key>,
}

impl Job {
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
        for reply in replies {
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
        if let Some(key) = self.key {
            let undone = self.digests.kept().awaited.remove(&key);
            drop(undone);
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keep {
    Yes,
    No,
}

/// The SHA-256 of `file`, which must be and stay what `key` says.
fn hashed(file: &OwnedFd, key: &Key, settled: Duration) -> Option<(String, Keep)> {
    let now = SystemTime::now();
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
mod tests {
    use std::{
        path::Path,
        process::{Child, Command},
        sync::mpsc,
    };

    use rustix::process::{Pid, PidfdFlags, pidfd_open};

    use super::*;

    struct Sleeper(Child, Arc<OwnedFd>);

    impl Drop for Sleeper {
        fn drop(&mut self) {
            drop(self.0.kill());
            drop(self.0.wait());
        }
    }

    fn run(path: &Path) -> Sleeper {
        let child = Command::new(path).arg("60").spawn().unwrap();
        let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
        Sleeper(child, Arc::new(pidfd))
    }

    /// Has a shell do what `deed` says to the file at `path`.
    fn change(path: &Path, deed: &str) {
        let done = Command::new("sh").args(["-c", deed]).arg(path).status();
        assert!(done.unwrap().success());
    }

    /// The hash of what runs, and how many are kept now.
    fn hash(digests: &Arc<Digests>, sleeper: &Sleeper) -> (String, usize) {
        let (told, telling) = mpsc::channel();
        let reply = Box::new(move |digest: Digest| told.send(digest.text).unwrap());
        digests.sha256(&sleeper.1, 0, u64::MAX, reply);
        let text = telling.recv_timeout(Duration::from_secs(30)).unwrap();
        (text, digests.kept().digests.len())
    }

    #[test]
    fn a_hash_is_kept_until_anything_about_the_file_changes_and_not_for_one_without_a_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sleeper");
        change(&path, "cp /bin/sleep \"$0\"");
        let digests = Arc::new(Digests::open_with(Duration::ZERO).unwrap());
        let first = run(&path);
        let (before, kept) = hash(&digests, &first);
        assert_eq!((hash(&digests, &first), kept), ((before.clone(), 1), 1));
        drop(first);
        // As long as before, with its former times; but that of the change is the kernel's.
        change(
            &path,
            "cp -p \"$0\" \"$0.old\" && printf x | \
                dd of=\"$0\" bs=1 seek=$(($(stat -c %s \"$0\") - 1)) conv=notrunc status=none && \
                touch -r \"$0.old\" \"$0\"",
        );
        let second = run(&path);
        let (after, kept) = hash(&digests, &second);
        assert_ne!(after, before);
        assert_eq!(kept, 2);
        change(&path, "rm \"$0\"");
        let (deleted, kept) = hash(&digests, &second);
        assert_eq!((deleted, kept), (after, 2));
    }

    #[test]
    fn the_hash_of_a_file_that_has_just_changed_is_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sleeper");
        change(&path, "cp /bin/sleep \"$0\"");
        let digests = Arc::new(Digests::open_with(Duration::from_secs(3600)).unwrap());
        assert_eq!(hash(&digests, &run(&path)).1, 0);
    }
}
