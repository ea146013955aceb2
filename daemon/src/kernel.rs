//! What is asked of the kernel where no crate does it soundly: all that is unsafe here.
#![expect(
    unsafe_code,
    reason = "no crate wraps PIDFD_GET_INFO, SO_PEERGROUPS, SO_PEERSEC and FS_IOC_MEASURE_VERITY; tokio wants to be promised that a descriptor stays what it is; of the crates that call memfd_secret none closes its descriptor or says why it failed, and memory that is mapped is reached by a pointer"
)]

use std::{
    ffi::c_void,
    io, mem,
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
    ptr::{self, NonNull},
    slice,
    sync::Arc,
};

use rustix::{
    fs::ftruncate,
    mm::{Advice, MapFlags, ProtFlags, madvise, mlock, mmap, mmap_anonymous, munmap},
};
use tokio::io::{Interest, unix::AsyncFd};
use zeroize::Zeroize as _;

/// Tells when a descriptor can be read.
pub(crate) fn readable(descriptor: Arc<OwnedFd>) -> io::Result<AsyncFd<Arc<OwnedFd>>> {
    // SAFETY: an owned descriptor has one number, and is open, for as long as anyone
    // holds it; an Arc has no way to change what it holds.
    let watched = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) };
    watched.map_err(io::Error::from)
}

/// What the kernel says of the process that `pidfd` pins; else the number of the error.
pub(crate) fn pidfd_info(pidfd: BorrowedFd<'_>) -> Result<libc::pidfd_info, i32> {
    // SAFETY: pidfd_info is a struct of integers, for which zeroes are a value.
    let mut info: libc::pidfd_info = unsafe { mem::zeroed() };
    let wanted = libc::PIDFD_INFO_PID | libc::PIDFD_INFO_CREDS | libc::PIDFD_INFO_CGROUPID;
    info.mask = wanted.into();
    // SAFETY: the request writes a pidfd_info, whose size is part of its number, to the
    // address given; `info` is one and outlives the call.
    let result = unsafe { libc::ioctl(pidfd.as_raw_fd(), libc::PIDFD_GET_INFO, &raw mut info) };
    match result {
        0 => Ok(info),
        _ => Err(io::Error::last_os_error().raw_os_error().unwrap_or(0)),
    }
}

/// An option of a socket whose value has no fixed length, but at most `most` bytes.
pub(crate) fn peer_option(
    socket: BorrowedFd<'_>,
    name: libc::c_int,
    most: usize,
) -> Option<Vec<u8>> {
    let mut value = vec![0_u8; most.min(256)];
    loop {
        let mut length = libc::socklen_t::try_from(value.len()).ok()?;
        // SAFETY: `value` is writable for `length` bytes, and both outlive the call.
        let result = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                name,
                value.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        let length = usize::try_from(length).ok()?;
        if result == 0 {
            value.truncate(length);
            return Some(value);
        }
        let short = io::Error::last_os_error().raw_os_error() == Some(libc::ERANGE);
        if !short || length <= value.len() || length > most {
            return None;
        }
        value.resize(length, 0);
    }
}

/// The longest digest of fs-verity (SHA-512).
const DIGEST_MAX: u16 = 64;

/// `struct fsverity_digest` of `linux/fsverity.h`, with room for the digest.
#[repr(C)]
pub(crate) struct VerityDigest {
    pub(crate) algorithm: u16,
    pub(crate) size: u16,
    pub(crate) digest: [u8; DIGEST_MAX as usize],
}

/// `_IOWR('f', 134, struct fsverity_digest)`, whose digest counts as empty.
const MEASURE_VERITY: libc::Ioctl = rustix::ioctl::opcode::read_write::<[u16; 2]>(b'f', 134) as _;

/// The digest that the kernel keeps `file` at; `None` if it keeps none. Its size is as the kernel says.
pub(crate) fn measure_verity(file: BorrowedFd<'_>) -> Option<VerityDigest> {
    let mut measured = VerityDigest {
        algorithm: 0,
        size: DIGEST_MAX,
        digest: [0; DIGEST_MAX as usize],
    };
    // SAFETY: the request writes a header and at most `size` bytes behind it, for which
    // `measured` has room and which it outlives.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), MEASURE_VERITY, &raw mut measured) };
    (result == 0).then_some(measured)
}

/// Pages that are mapped here and in no child; wiped when dropped.
pub(crate) struct Pages {
    start: NonNull<c_void>,
    length: usize,
    kind: Kind,
}

/// What kind of memory it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Of `memfd_secret`: the kernel itself does not read it for others, not even for root.
    Secret,
    /// Locked, and left out of dumps.
    Locked,
}

// SAFETY: the mapping is reached through this value alone, and is no thread's own.
unsafe impl Send for Pages {}

impl Pages {
    /// Pages for `length` bytes, of the best kind there is.
    pub(crate) fn new(length: usize) -> io::Result<Self> {
        Self::secret(length).or_else(|_| Self::locked(length))
    }

    pub(crate) fn secret(length: usize) -> io::Result<Self> {
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

    pub(crate) fn locked(length: usize) -> io::Result<Self> {
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

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn bytes(&mut self) -> &mut [u8] {
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

    #[test]
    fn the_request_for_a_digest_has_the_number_that_linux_gave_it() {
        assert_eq!(MEASURE_VERITY, 0xc004_6686);
    }

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
