//! Control-group paths, read as systemd reads them: from the left.

/// The unified (v2) path in the text of `/proc/PID/cgroup`; `None` when there is
/// none or it is relative to something outside.
pub fn path(proc_cgroup: &str) -> Option<&str> {
    let path = proc_cgroup
        .lines()
        .find_map(|line| line.strip_prefix("0::"))?;
    (path.starts_with('/') && !leaves(path) && !path.ends_with(" (deleted)")).then_some(path)
}

/// The unit of the system's service manager that owns the control group `path`.
///
/// Leading slices are passed over and the first component that is no slice is the
/// unit; what a delegated unit, or a user's own manager, makes below is ignored.
pub fn unit(path: &str) -> Option<String> {
    if leaves(path) {
        return None;
    }
    let first = path
        .strip_prefix('/')?
        .split('/')
        .find(|component| !is_slice(component))?;
    // systemd puts one '_' before a name that would clash with a kernel file.
    let name = first.strip_prefix('_').unwrap_or(first);
    is_unit(name).then(|| name.to_owned())
}

fn leaves(path: &str) -> bool {
    path.split('/').any(|component| component == "..")
}

fn is_slice(component: &str) -> bool {
    let Some(stem) = component.strip_suffix(".slice") else {
        return false;
    };
    // "-.slice" is the root; elsewhere a dash separates parent from child.
    stem == "-"
        || (!stem.is_empty()
            && !stem.starts_with('-')
            && !stem.ends_with('-')
            && !stem.contains("--")
            && stem.bytes().all(is_unit_byte))
}

/// Suffixes of units that hold processes, besides slices (systemd.unit(5)).
const SUFFIXES: [&str; 5] = [".service", ".scope", ".socket", ".mount", ".swap"];

/// The longest unit name (systemd's `UNIT_NAME_MAX`).
const UNIT_NAME_MAX: usize = 255;

pub(crate) fn is_unit(name: &str) -> bool {
    name.len() <= UNIT_NAME_MAX
        && SUFFIXES
            .iter()
            .find_map(|suffix| name.strip_suffix(suffix))
            .is_some_and(|stem| {
                !stem.is_empty() && !stem.starts_with('@') && stem.bytes().all(is_unit_byte)
            })
}

fn is_unit_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn units_are_read_from_the_left() {
        for (path, expected) in [
            ("/system.slice/nginx.service", Some("nginx.service")),
            (
                "/system.slice/system-foo.slice/foo@a-b.service",
                Some("foo@a-b.service"),
            ),
            // Delegate=yes: what is below belongs to the one who owns it
            (
                "/system.slice/deleg.service/system.slice/nginx.service",
                Some("deleg.service"),
            ),
            (
                "/user.slice/user-1000.slice/user@1000.service/app.slice/nginx.service",
                Some("user@1000.service"),
            ),
            (
                "/user.slice/user-0.slice/session-3.scope",
                Some("session-3.scope"),
            ),
            ("/system.slice/_cpu.service", Some("cpu.service")),
            ("/init.scope", Some("init.scope")),
            ("/", None),
            ("/system.slice", None),
            ("/system.slice/nginx", None),
            ("/docker/0123/nginx.service", None),
            ("/../nginx.service", None),
            ("/system.slice/../nginx.service", None),
            ("/system.slice/ng inx.service", None),
            ("/system.slice/.service", None),
            ("/system.slice/@.service", None),
            ("/a--b.slice/nginx.service", None),
            ("nginx.service", None),
        ] {
            assert_eq!(unit(path).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn only_a_unified_path_inside_ours_counts() {
        for (text, expected) in [
            (
                "0::/system.slice/a.service\n",
                Some("/system.slice/a.service"),
            ),
            ("1:name=systemd:/x\n0::/y\n", Some("/y")),
            ("1:name=systemd:/x\n", None),
            ("0::/../x\n", None),
            ("0::/x (deleted)\n", None),
            ("", None),
        ] {
            assert_eq!(path(text), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_lies_below_a_unit_never_matters(below in "[a-z@./-]{0,40}") {
            let path = format!("/system.slice/real.service/{below}");
            prop_assume!(!leaves(&path));
            prop_assert_eq!(unit(&path), Some("real.service".to_owned()));
        }
    }
}
