//! Where it was measured.

use std::{env, fs, path::Path, thread};

/// The machine, in a line or two.
pub(crate) fn describe() -> String {
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name"));
    let cpu = cpu.map_or("unknown", |line| line.trim_start_matches(['\t', ' ', ':']));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory = memory.split_ascii_whitespace().nth(1).unwrap_or("0");
    let memory = memory.parse::<u64>().unwrap_or(0) >> 20;
    format!(
        "{cores} cores ({cpu}), {memory} GiB, Linux {}; disk: {}; memory: {}",
        kernel.trim(),
        file_system(&env::temp_dir()),
        file_system(Path::new("/dev/shm")),
    )
}

/// Type and source of the file system that `path` is on (proc_pid_mountinfo(5)).
fn file_system(path: &Path) -> String {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mounts = mounts.lines().filter_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let point = Path::new(mount.split(' ').nth(4)?);
        path.starts_with(point).then_some((point, kind))
    });
    let found = mounts.max_by_key(|(point, _)| point.components().count());
    let mut words = found.map_or("unknown", |(_, kind)| kind).split(' ');
    let (kind, source) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    format!("{kind} on {source} ({})", path.display())
}

/// The version of a crate that this was built with.
pub(crate) fn locked(name: &str) -> &'static str {
    let lock = include_str!("../../../Cargo.lock");
    let head = format!("name = \"{name}\"\nversion = \"");
    lock.split_once(&head)
        .and_then(|(_, rest)| rest.split_once('"'))
        .map_or("unknown", |(version, _)| version)
}
