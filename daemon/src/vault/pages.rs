//! Memory that other processes, swap and dumps do not get at.
#![expect(
    unsafe_code,
    reason = "of the crates that call memfd_secret none closes its descriptor or says why it failed, and memory that is mapped is reached by a pointer"
)]

use std::{
    ffi::c_void,
    io,
    os::fd::{FromRawFd as _, OwnedFd},
    ptr::{self, NonNull},
    slice,
};

use rustix::{
    fs::ftruncate,
    mm::{Advice, MapFlags, ProtFlags, madvise, mlock, mmap, mmap_anonymous, munmap},
};
use zeroize::Zeroize as _;

/// Pages that are mapped here and in no child; wiped when dropped.
pub(super) struct Pages {
    start: NonNull<c_void>,
    length: usize,
    kind: Kind,
}

/// What kind of memory it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Of `memfd_secret`: the kernel itself does not read it for others, not even for root.
    Secret,
    /// Locked, and left out of dumps.
    Locked,
}

// SAFETY: the mapping is reached through this value alone, and is no thread's own.
unsafe impl Send for Pages {}

impl Pages {
    /// Pages for `length` bytes, of the best kind there is.
    pub(super) fn new(length: usize) -> io::Result<Self> {
        Self::secret(length).or_else(|_| Self::locked(length))
    }

    pub(super) fn secret(length: usize) -> io::Result<Self> {
        let flags = libc::O_CLOEXEC;
        // SAFETY: the call takes flags and no pointer.
        let number = unsafe { libc::syscall(libc::SYS_memfd_secret, flags) };
        let number = i32::try_from(number).ok().filter(|number| *number >= 0);
        let number = number.ok_or_else(io::Error::last_os_error)?;
        // SAFETY: the kernel has just made it, for us alone.
        let file = unsafe { OwnedFd::from_raw_fd(number) };
        ftruncate(&file, length as u64)?;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping, at an address that the kernel chooses. The descriptor, by which
        // another process could map it, is closed when this returns.
        let start = unsafe { mmap(ptr::null_mut(), length, access, MapFlags::SHARED, &file, 0) }?;
        Self::of(start, length, Kind::Secret)
    }

    pub(super) fn locked(length: usize) -> io::Result<Self> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping, at an address that the kernel chooses.
        let start = unsafe { mmap_anonymous(ptr::null_mut(), length, access, MapFlags::PRIVATE) }?;
        let pages = Self::of(start, length, Kind::Locked)?;
        // SAFETY: it is mapped, and stays so for as long as `pages` lives.
        unsafe { mlock(start, length) }?;
        Ok(pages)
    }

    fn of(start: *mut c_void, length: usize, kind: Kind) -> io::Result<Self> {
        let start = NonNull::new(start).ok_or(io::ErrorKind::OutOfMemory)?;
        let pages = Self {
            start,
            length,
            kind,
        };
        for advice in [Advice::LinuxDontDump, Advice::LinuxDontFork] {
            // SAFETY: neither changes what this process sees of its own mapping.
            unsafe { madvise(start.as_ptr(), length, advice) }?;
        }
        Ok(pages)
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    pub(super) fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: so many bytes are mapped there, zero at first, and reached by nothing else
        // while `self` is borrowed.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr().cast(), self.length) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        self.bytes().zeroize();
        // SAFETY: it is ours, and nothing borrows from it any more.
        let unmapped = unsafe { munmap(self.start.as_ptr(), self.length) };
        debug_assert!(unmapped.is_ok(), "what is mapped can be unmapped");
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::unix::fs::FileExt as _};

    use super::*;

    const LENGTH: usize = 64 << 10;

    /// What the kernel says of the mapping, in a line.
    fn flags(pages: &Pages) -> String {
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let begin = format!("{:x}-", pages.start.as_ptr().addr());
        let lines = maps.lines().skip_while(|line| !line.starts_with(&begin));
        let flags = lines.skip(1).find(|line| line.starts_with("VmFlags:"));
        flags.unwrap().to_owned()
    }

    /// Reads the mapping as another process would, by way of the kernel.
    fn seen_from_outside(pages: &Pages) -> io::Result<u8> {
        let memory = File::open("/proc/self/mem")?;
        let mut byte = [0];
        memory.read_exact_at(&mut byte, pages.start.as_ptr().addr() as u64)?;
        Ok(byte[0])
    }

    fn is_locked_not_dumped_and_in_no_child(pages: &Pages) {
        let flags = flags(pages);
        for flag in [" lo", " dd", " dc"] {
            assert!(flags.contains(flag), "{flag}: {flags}");
        }
    }

    #[test]
    fn locked_pages_are_not_swapped_dumped_or_inherited() {
        let mut pages = Pages::locked(LENGTH).unwrap();
        pages.bytes()[0] = 7;
        assert_eq!(seen_from_outside(&pages).unwrap(), 7);
        is_locked_not_dumped_and_in_no_child(&pages);
        assert_eq!(pages.kind(), Kind::Locked);
    }

    #[test]
    fn secret_pages_are_not_read_by_way_of_the_kernel_either() {
        let mut pages = match Pages::secret(LENGTH) {
            Ok(pages) => pages,
            Err(error) => return eprintln!("SKIPPED: there is no memfd_secret: {error}"),
        };
        pages.bytes().fill(7);
        assert!(pages.bytes().iter().all(|byte| *byte == 7));
        seen_from_outside(&pages).unwrap_err();
        is_locked_not_dumped_and_in_no_child(&pages);
        assert_eq!(Pages::new(LENGTH).unwrap().kind(), Kind::Secret);
    }
}
