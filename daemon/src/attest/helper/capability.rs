//! The rights of this process, which it can only ever give up.

use rustix::{
    io,
    thread::{
        CapabilitySet, CapabilitySets, capabilities, capability_is_in_ambient_set,
        capability_is_in_bounding_set, configure_capability_in_ambient_set,
        remove_capability_from_bounding_set, set_capabilities,
    },
};

/// What it takes to see which file another user's process executes, and to read that:
/// the kernel lets only who might trace a process see it.
pub(super) const LOOKING: CapabilitySet =
    CapabilitySet::SYS_PTRACE.union(CapabilitySet::DAC_READ_SEARCH);

/// Capabilities that this thread may use.
pub(super) fn held() -> CapabilitySet {
    capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.permitted)
}

/// Has programs that this thread executes keep `set`, which it must hold.
pub(super) fn lend(set: CapabilitySet) -> io::Result<()> {
    let now = capabilities(None)?;
    set_capabilities(
        None,
        CapabilitySets {
            inheritable: now.inheritable | set,
            ..now
        },
    )?;
    each(set).try_for_each(|one| configure_capability_in_ambient_set(one, true))
}

/// Gives up everything but `kept`, for this thread and those that it starts; programs
/// that it executes get no more than `passed_on`.
pub(super) fn keep_only(kept: CapabilitySet, passed_on: CapabilitySet) -> io::Result<()> {
    let now = capabilities(None)?;
    for one in each(!passed_on) {
        // Without this right, the set is what whoever started us made of it.
        if now.effective.contains(CapabilitySet::SETPCAP)
            && capability_is_in_bounding_set(one) == Ok(true)
        {
            remove_capability_from_bounding_set(one)?;
        }
        if capability_is_in_ambient_set(one) == Ok(true) {
            configure_capability_in_ambient_set(one, false)?;
        }
    }
    let permitted = now.permitted & kept;
    set_capabilities(
        None,
        CapabilitySets {
            effective: permitted,
            permitted,
            inheritable: now.inheritable & passed_on,
        },
    )
}

fn each(set: CapabilitySet) -> impl Iterator<Item = CapabilitySet> {
    (0..u64::BITS)
        .map(|bit| CapabilitySet::from_bits_retain(1 << bit))
        .filter(move |one| set.contains(*one))
}
