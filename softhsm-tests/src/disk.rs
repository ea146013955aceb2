//! A small disk under the state directory, to be filled up, in mounts of the test's own.

use std::{
    fs, io, panic,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
    unistd::Pid,
};

use crate::{Site, text};

/// Runs `test` on a thread with mounts of its own, which its commands and threads
/// inherit and nobody else sees. Needs root.
pub fn with_own_mounts(test: impl FnOnce() + Send) {
    let own = || {
        unshare(CloneFlags::CLONE_NEWNS).expect("mounts of its own");
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).expect("private mounts");
        test();
    };
    let ended = thread::scope(|scope| scope.spawn(own).join());
    if let Err(why) = ended {
        panic::resume_unwind(why);
    }
}

/// A disk of a few hundred KiB that holds a site's state. Taken away when dropped.
#[derive(Debug)]
pub struct SmallDisk {
    at: PathBuf,
}

impl SmallDisk {
    /// Moves what is in the state directory to a disk of `kib`, and mounts that there.
    /// Only on a thread of [`with_own_mounts`].
    pub fn under(site: &Site, kib: u32) -> Self {
        let (at, aside) = (site.path("state"), site.path("state-before"));
        fs::create_dir_all(&at).expect("a state directory");
        fs::rename(&at, &aside).expect("moved aside");
        fs::create_dir(&at).expect("a mount point");
        let options = format!("size={kib}k,mode=0700");
        mount(
            Some("small"),
            &at,
            Some("tmpfs"),
            MsFlags::empty(),
            Some(&*options),
        )
        .expect("a small disk");
        let disk = Self { at };
        for entry in fs::read_dir(&aside).expect("what was there") {
            let from = entry.expect("what was there").path();
            let output = Command::new("cp")
                .arg("-a")
                .arg(from)
                .arg(&disk.at)
                .output();
            let output = output.expect("cp runs");
            assert!(output.status.success(), "{}", text(&output));
        }
        disk
    }

    /// Fills the disk to the last block, and gives `spare` bytes back.
    pub fn fill(&self, spare: u64) {
        use io::Write as _;
        let mut filler = fs::File::create(self.filler()).expect("a filler");
        let full = loop {
            if let Err(error) = filler.write_all(&[0; 4096]) {
                break error;
            }
        };
        assert_eq!(full.kind(), io::ErrorKind::StorageFull, "{full}");
        let filled = filler.metadata().expect("the filler").len();
        filler.set_len(filled - spare).expect("some of it back");
    }

    /// Gives all room back.
    pub fn make_room(&self) {
        fs::remove_file(self.filler()).expect("the filler is there");
    }

    fn filler(&self) -> PathBuf {
        self.at.join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // What still runs on it keeps it until it ends.
        let _gone = umount2(&self.at, MntFlags::MNT_DETACH);
    }
}

/// Limits how large a file `process` may write; `None` lifts the limit. As a disk that
/// is full, but for any user.
pub fn limit_files(process: Pid, bytes: Option<u64>) {
    let soft = bytes.map_or_else(|| "unlimited".to_owned(), |bytes| bytes.to_string());
    let output = Command::new("prlimit")
        .args(["--pid", &process.to_string()])
        .arg(format!("--fsize={soft}:unlimited"))
        .output()
        .expect("prlimit runs");
    assert!(output.status.success(), "{}", text(&output));
}

/// Every file below `folder`, with its bytes, in order of path.
pub fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let kind = path.symlink_metadata().expect("it is there").file_type();
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() {
                let bytes = fs::read(&path).expect("readable");
                all.push((path, bytes));
            }
        }
    }
    all.sort();
    all
}
