//! What anyone may know of a process: its control group, its groups, its tracer.

use std::{
    fs,
    path::{Path, PathBuf},
};

use custody::caller::{
    cgroup,
    observation::{Cgroup, Doubt},
};
use rustix::fs::{getxattr, stat};

use super::{Tracers, look::identity};

/// The unified hierarchy of control groups.
#[derive(Debug)]
pub(super) struct Hierarchy(Option<PathBuf>);

impl Hierarchy {
    /// As it is mounted here.
    pub(super) fn here() -> std::io::Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        Ok(Self(mount_point(&mounts)))
    }

    /// As if it were mounted there.
    #[cfg(test)]
    pub(super) fn at(root: PathBuf) -> Self {
        Self(Some(root))
    }

    /// Where it is.
    pub(super) fn root(&self) -> Option<&Path> {
        self.0.as_deref()
    }

    fn folder(&self, path: &str) -> Option<PathBuf> {
        Some(self.root()?.join(path.strip_prefix('/')?))
    }

    /// The control group that a process is in; it holds if its pidfd is alive afterwards.
    pub(super) fn of(&self, pid: i32) -> Option<Cgroup> {
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        let path = cgroup::path(&text)?.to_owned();
        let id = identity(self.folder(&path)?).map(|(_, inode)| inode);
        let invocation = self.invocation(&path);
        Some(Cgroup {
            path,
            id,
            invocation,
        })
    }

    /// What the service manager wrote on the folder of the unit that `path` is in.
    pub(super) fn invocation(&self, path: &str) -> Option<String> {
        let folder = self.folder(cgroup::unit_folder(path)?)?;
        attribute(&folder, "trusted.invocation_id").or_else(|| {
            // This one can be written by whoever owns the folder, which a unit with
            // Delegate= does.
            let found = stat(&folder).ok()?;
            let roots_alone = found.st_uid == 0 && found.st_mode & 0o022 == 0;
            roots_alone
                .then(|| attribute(&folder, "user.invocation_id"))
                .flatten()
        })
    }

    /// Ids of at most `most` processes of a unit of the system's manager.
    pub(super) fn members(&self, unit: &str, most: usize) -> Vec<i32> {
        let mut members = Vec::new();
        let found = self.root().and_then(|root| unit_below(root, unit, DEPTH));
        if let Some(folder) = found {
            collect(&folder, most, DEPTH, &mut members);
        }
        members
    }
}

/// How deep control groups are searched.
const DEPTH: usize = 16;

/// The folder of `unit`, which only slices lead to.
fn unit_below(folder: &Path, unit: &str, depth: usize) -> Option<PathBuf> {
    let depth = depth.checked_sub(1)?;
    let mut slices = Vec::new();
    for entry in fs::read_dir(folder).ok()?.flatten() {
        let path = entry.path();
        let name = entry.file_name();
        match name.to_str() {
            Some(name) if name.strip_prefix('_').unwrap_or(name) == unit && path.is_dir() => {
                return Some(path);
            }
            Some(name) if name.ends_with(".slice") => slices.push(path),
            _ => {}
        }
    }
    slices
        .iter()
        .find_map(|slice| unit_below(slice, unit, depth))
}

fn collect(folder: &Path, most: usize, depth: usize, members: &mut Vec<i32>) {
    let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    let room = most.saturating_sub(members.len());
    let pids = text.lines().filter_map(|line| line.parse::<i32>().ok());
    members.extend(pids.take(room));
    let Some(depth) = depth.checked_sub(1) else {
        return;
    };
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if members.len() < most && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&entry.path(), most, depth, members);
        }
    }
}

fn attribute(folder: &Path, name: &str) -> Option<String> {
    let mut value = [0_u8; 64];
    let length = getxattr(folder, name, &mut value).ok()?;
    let text = std::str::from_utf8(&value[..length]).ok()?;
    let digits = text.len() == 32
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    digits.then(|| text.to_owned())
}

/// Where the cgroup2 file system is mounted, as a whole (proc_pid_mountinfo(5)).
fn mount_point(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        (kind.starts_with("cgroup2 ") && root == "/").then(|| point.into())
    })
}

fn status(pid: i32) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/status")).ok()
}

fn line<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name))
}

/// Whether another process traces this one.
pub(super) fn traced(pid: i32) -> Option<bool> {
    tracer(&status(pid)?)
}

fn tracer(status: &str) -> Option<bool> {
    let tracer: i32 = line(status, "TracerPid:")?.trim().parse().ok()?;
    Some(tracer != 0)
}

/// Whether a process has its main thread, without which it has no executable, and is
/// alone with itself, or may be traced; it holds if its pidfd is alive afterwards.
pub(super) fn stands(pid: i32, tracers: Tracers) -> Result<(), Doubt> {
    let status = status(pid).ok_or(Doubt::Gone)?;
    let state = line(&status, "State:").ok_or(Doubt::Unobservable)?;
    if state.trim_start().starts_with(['Z', 'X']) {
        return Err(Doubt::Leaderless);
    }
    match tracer(&status) {
        Some(true) if tracers == Tracers::Refused => Err(Doubt::Traced),
        None => Err(Doubt::Unobservable),
        Some(_) => Ok(()),
    }
}

/// The supplementary groups that a process has now.
pub(super) fn groups(pid: i32) -> Option<Vec<u32>> {
    let status = status(pid)?;
    let groups = line(&status, "Groups:")?.split_ascii_whitespace();
    groups.map(|group| group.parse().ok()).collect()
}

/// The label that a security module gives a process now.
pub(super) fn label(pid: i32) -> Option<String> {
    let label = fs::read(format!("/proc/{pid}/attr/current")).ok()?;
    super::pidfd::label(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unified_hierarchy_is_found_by_its_type() {
        let table = "\
            24 1 0:21 / /proc rw - proc proc rw\n\
            30 24 0:26 /sub /elsewhere rw - cgroup2 cgroup2 rw\n\
            31 24 0:26 / /sys/fs/cgroup/unified rw,nosuid shared:4 - cgroup2 cgroup2 rw\n";
        assert_eq!(mount_point(table), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(mount_point("31 24 0:26 / /x rw - cgroup cgroup rw\n"), None);
    }

    #[test]
    fn the_processes_of_a_unit_are_found_below_slices_only() {
        let root = tempfile::tempdir().unwrap();
        let group = |path: &str, pids: &str| {
            let folder = root.path().join(path);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("cgroup.procs"), pids).unwrap();
        };
        group("plain/nginx.service", "1\n");
        group("a.slice/other.service/nginx.service", "2\n");
        group("a.slice/a-b.slice/nginx.service", "3\n4\n");
        group("a.slice/a-b.slice/nginx.service/below", "5\n");
        let hierarchy = Hierarchy(Some(root.path().to_owned()));
        assert_eq!(hierarchy.members("nginx.service", 9), [3, 4, 5]);
        assert_eq!(hierarchy.members("nginx.service", 2), [3, 4]);
        assert!(hierarchy.members("below", 9).is_empty());
    }

    #[test]
    fn nobody_traces_this_process_and_its_groups_are_its_own() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let groups: Vec<u32> = rustix::process::getgroups()
            .unwrap()
            .into_iter()
            .map(rustix::process::Gid::as_raw)
            .collect();
        assert_eq!(super::groups(pid), Some(groups));
        assert_eq!(traced(pid), Some(false));
        assert_eq!(traced(-1), None);
        assert_eq!(stands(pid, Tracers::Refused), Ok(()));
        assert_eq!(stands(-1, Tracers::Allowed), Err(Doubt::Gone));
    }
}
