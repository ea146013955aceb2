//! Which digests are taken, kept and told to whom.

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
fn who_waits_for_a_digest_does_not_wait_for_another_users_jobs_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sleeper");
    change(&path, "cp /bin/sleep \"$0\"");
    let digests = Arc::new(Digests::open().unwrap());
    let sleeper = run(&path);
    let ask = |uid| {
        let (told, telling) = mpsc::channel();
        let reply = Box::new(move |digest: Digest| told.send(digest.text).unwrap());
        digests.sha256(&sleeper.1, uid, u64::MAX, reply);
        telling
    };
    let (end, ending) = mpsc::channel::<()>();
    digests
        .desk
        .submit(1, move || ending.recv().unwrap_or_default());
    let (behind, other) = (ask(1), ask(2));
    let text = other.recv_timeout(Duration::from_secs(30)).unwrap();
    // Whoever asked first is told, too.
    assert_eq!(behind.recv_timeout(Duration::from_secs(30)), Ok(text));
    assert!(digests.kept().awaited.is_empty());
    drop(end);
}

#[test]
fn what_one_user_gets_no_place_for_another_gets() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sleeper");
    change(&path, "cp /bin/sleep \"$0\"");
    let digests = Arc::new(Digests::open().unwrap());
    let sleeper = run(&path);
    let (end, ending) = mpsc::channel::<()>();
    digests
        .desk
        .submit(1, move || ending.recv().unwrap_or_default());
    // As many as may wait, and more.
    for _ in 0..64 {
        digests.desk.submit(1, || ());
    }
    let (told, telling) = mpsc::channel();
    for uid in [2, 1] {
        let told = told.clone();
        let reply = Box::new(move |_: Digest| told.send(uid).unwrap());
        digests.sha256(&sleeper.1, uid, u64::MAX, reply);
    }
    assert!(telling.recv_timeout(Duration::from_secs(30)).is_ok());
    drop(end);
}

#[test]
fn a_file_system_in_a_process_is_not_believed() {
    assert!(is_kept_by_the_kernel(&tempfile::tempfile().unwrap().into()));
    // As libc has it, from linux/magic.h.
    assert!(!is_kept_there(libc::FUSE_SUPER_MAGIC as FsWord));
}

#[test]
fn the_hash_of_a_file_that_has_just_changed_is_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sleeper");
    change(&path, "cp /bin/sleep \"$0\"");
    let digests = Arc::new(Digests::open_with(Duration::from_secs(3600)).unwrap());
    assert_eq!(hash(&digests, &run(&path)).1, 0);
}
