//! How often what was called, over all processes that use one control file.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};

use rustix::{
    fs::FlockOperation,
    mm::{MapFlags, ProtFlags, mmap},
};

use crate::{
    control::{Fault, MAX_FAULTS},
    function::Function,
};

/// Numbers in the file: which control file is followed, then the calls of each function,
/// then for each fault how many calls it might have struck and how many it did.
const CALLS: usize = 1;
const FAULTS: usize = 128;
const NUMBERS: usize = FAULTS + 2 * MAX_FAULTS;
const BYTES: usize = NUMBERS * size_of::<u64>();

/// The counts as they were at one moment.
#[derive(Debug)]
pub struct Counts(Vec<u64>);

impl Counts {
    /// Reads the counts that belong to a control file; all zero if the module was never
    /// used with it.
    ///
    /// # Errors
    ///
    /// If they cannot be read.
    pub fn read(control: &Path) -> io::Result<Self> {
        let bytes = match fs::read(beside(control)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read?,
        };
        let numbers = bytes.chunks_exact(size_of::<u64>());
        let mut numbers: Vec<_> = numbers
            .map(|number| u64::from_ne_bytes(number.try_into().unwrap_or_default()))
            .collect();
        numbers.resize(NUMBERS, 0);
        Ok(Self(numbers))
    }

    /// How often a function was called, ever.
    pub fn calls(&self, function: Function) -> u64 {
        self.0[CALLS + function.index()]
    }

    /// How often the fault of that place in the control file struck since that changed.
    pub fn strikes(&self, fault: usize) -> u64 {
        self.0[FAULTS + 2 * fault + 1]
    }
}

/// The counts, shared with the other processes.
pub(crate) struct Shared {
    numbers: NonNull<AtomicU64>,
    file: File,
}

// SAFETY: the numbers are atomic, and the memory is never unmapped.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    pub(crate) fn beside(control: &Path) -> io::Result<Self> {
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(beside(control))?;
        file.set_len(BYTES as u64)?;
        let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        // SAFETY: a new mapping of a file that is long enough; nothing else is there.
        let memory = unsafe { mmap(std::ptr::null_mut(), BYTES, access, flags, &file, 0) }?;
        let numbers = NonNull::new(memory.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { numbers, file })
    }

    /// Begins to count the faults anew, unless that was done for this control file before.
    pub(crate) fn follow(&self, control: &fs::Metadata) -> io::Result<()> {
        let changed = control.ctime_nsec().unsigned_abs() ^ (control.ctime().unsigned_abs() << 30);
        let identity = changed ^ control.ino().rotate_left(48);
        rustix::fs::flock(&self.file, FlockOperation::LockExclusive)?;
        if self.number(0).load(Ordering::Relaxed) != identity {
            for at in FAULTS..NUMBERS {
                self.number(at).store(0, Ordering::Relaxed);
            }
            self.number(0).store(identity, Ordering::Relaxed);
        }
        rustix::fs::flock(&self.file, FlockOperation::Unlock)?;
        Ok(())
    }

    pub(crate) fn called(&self, function: Function) {
        let calls = self.number(CALLS + function.index());
        calls.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether the fault, the `at`th of its file, strikes a call that it is for.
    pub(crate) fn strikes(&self, at: usize, fault: &Fault) -> bool {
        let (seen, struck) = (
            self.number(FAULTS + 2 * at),
            self.number(FAULTS + 2 * at + 1),
        );
        let call = seen.fetch_add(1, Ordering::Relaxed) + 1;
        if call < fault.first.unwrap_or(1) || !crate::chance::happens(fault.share.unwrap_or(1.0)) {
            return false;
        }
        let more = |so_far| (so_far < fault.times.unwrap_or(u64::MAX)).then_some(so_far + 1);
        let took = struck.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        took.is_ok()
    }

    fn number(&self, at: usize) -> &AtomicU64 {
        assert!(at < NUMBERS);
        // SAFETY: within the mapping, which lasts, and aligned, since mappings are.
        unsafe { self.numbers.add(at).as_ref() }
    }
}

fn beside(control: &Path) -> PathBuf {
    control.with_extension("counts")
}
