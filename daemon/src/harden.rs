//! What keeps the process's memory out of files and other processes' hands.

use nix::{
    sys::{
        prctl,
        resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit},
        stat::{Mode, umask},
    },
    unistd::geteuid,
};
use rustix::{
    mm::{MlockAllFlags, mlockall},
    thread::{CapabilitySet, capabilities},
};
use tracing::warn;

/// Whether memory is kept from being swapped out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Memory {
    Locked,
    Swappable,
}

/// Hardens this process: no core dumps, no tracing by others of the same user, files
/// readable by us only, memory locked where that is permitted.
pub(crate) fn process() -> Memory {
    shield();
    lock_memory()
}

/// The same but for locking memory, for a process that holds no secret.
pub(crate) fn shield() {
    umask(Mode::from_bits_truncate(0o077));
    if let Err(error) = setrlimit(Resource::RLIMIT_CORE, 0, 0) {
        warn!(%error, "core dumps could not be turned off");
    }
    if let Err(error) = prctl::set_dumpable(false) {
        warn!(%error, "the process could not be made undumpable");
    }
    if let Err(error) = prctl::set_no_new_privs() {
        warn!(%error, "gaining privileges could not be ruled out");
    }
}

fn lock_memory() -> Memory {
    // With a finite limit, locking what is to come would make later allocations fail.
    if !may_lock_everything() {
        warn!(
            "memory is not locked and may be swapped out; \
             set LimitMEMLOCK=infinity or grant CAP_IPC_LOCK, or use encrypted swap"
        );
        return Memory::Swappable;
    }
    let flags = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    match mlockall(flags) {
        Ok(()) => Memory::Locked,
        Err(error) => {
            warn!(%error, "memory could not be locked and may be swapped out");
            Memory::Swappable
        }
    }
}

fn may_lock_everything() -> bool {
    let raised = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY).is_ok();
    let unlimited =
        || getrlimit(Resource::RLIMIT_MEMLOCK).is_ok_and(|(soft, _)| soft == RLIM_INFINITY);
    let capable =
        || capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::IPC_LOCK));
    raised || unlimited() || capable() || geteuid().is_root()
}
