//! Control-group paths, read as systemd reads them: from the left.

/// The unified (v2) path in the text of `/proc/PID/cgroup`; `None` when there is
/// none or it is relative to something outside.
pub fn path(proc_cgroup: &str) -> Option<&str> {
    let path = proc_cgroup
        .lines()
        .find_map(|line| line.strip_prefix("0::"))?;
    (path.starts_with('/') && !leaves(path) && !path.ends_with(" (deleted)")).then_some(path)
}

/// What a control group's path says of whoever is in it. It is read from the left, and
/// whatever the first owner makes below its own place is not believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Unit of the system's service manager.
    pub unit: Option<String>,
    /// Id of the container, 64 hexadecimal digits, if a runtime of the system's made it.
    pub container: Option<String>,
    /// Uid of the pod, with dashes, that the container belongs to.
    pub pod: Option<String>,
    /// Whose own service manager it is under, and the unit that one has put it in.
    user: Option<(u32, String)>,
}

impl Place {
    /// The place at `path`, which says nothing if it leads outside.
    pub fn of(path: &str) -> Self {
        let Some(rest) = path.strip_prefix('/').filter(|_| !leaves(path)) else {
            return Self::default();
        };
        let mut components = rest.split('/');
        let mut slices = Vec::new();
        let first = loop {
            match components.next() {
                Some(slice) if is_slice(slice) => slices.push(slice),
                Some(first) => break first,
                None => return Self::default(),
            }
        };
        let unit = unit_name(first);
        let owner = unit.and_then(|unit| {
            unit.strip_prefix("user@")?
                .strip_suffix(".service")?
                .parse()
                .ok()
        });
        let user = owner.zip(
            components
                .clone()
                .find(|component| !is_slice(component))
                .and_then(unit_name),
        );
        let (container, pod) = match first {
            "kubepods" if slices.is_empty() => pod_below(components),
            "docker" if slices.is_empty() => (components.next().and_then(container_id), None),
            _ => scope(first, &slices),
        };
        Self {
            unit: unit.map(str::to_owned),
            container,
            pod,
            user: user.map(|(owner, unit)| (owner, unit.to_owned())),
        }
    }

    /// The unit that the service manager of `uid` has put it in: what that user says.
    pub fn user_unit(&self, uid: u32) -> Option<String> {
        let (owner, unit) = self.user.as_ref()?;
        (*owner == uid).then(|| unit.clone())
    }
}

/// The part of `path` that is the folder of its unit of the system's manager: what the
/// unit makes below it is left out.
pub fn unit_folder(path: &str) -> Option<&str> {
    if leaves(path) {
        return None;
    }
    let mut end = 0;
    for component in path.strip_prefix('/')?.split('/') {
        end += 1 + component.len();
        if !is_slice(component) {
            return unit_name(component).map(|_| &path[..end]);
        }
    }
    None
}

/// systemd puts one '_' before a name that would clash with a kernel file.
fn unit_name(component: &str) -> Option<&str> {
    let name = component.strip_prefix('_').unwrap_or(component);
    is_unit(name).then_some(name)
}

/// Container and pod where the kubelet makes control groups by itself
/// (`/kubepods/burstable/podUID/ID`).
fn pod_below(components: std::str::Split<'_, char>) -> (Option<String>, Option<String>) {
    let mut components =
        components.skip_while(|class| matches!(*class, "burstable" | "besteffort"));
    let pod = components
        .next()
        .and_then(|component| pod_uid(component.strip_prefix("pod")?));
    let container = components.next().and_then(container_id);
    container.zip(pod).unzip()
}

/// Container and pod where systemd makes control groups for the kubelet or the runtime
/// (`/kubepods.slice/…-podUID.slice/cri-containerd-ID.scope`).
fn scope(unit: &str, slices: &[&str]) -> (Option<String>, Option<String>) {
    const RUNTIMES: [&str; 4] = ["cri-containerd-", "crio-", "docker-", "libpod-"];
    let id = unit.strip_suffix(".scope").and_then(|stem| {
        let mut ids = RUNTIMES
            .iter()
            .filter_map(|runtime| stem.strip_prefix(runtime));
        ids.find_map(container_id)
    });
    match slices {
        ["kubepods.slice", .., last] => {
            let stem = last.strip_suffix(".slice");
            let pod = stem.and_then(|stem| pod_uid(stem.rsplit_once("-pod")?.1));
            id.zip(pod).unzip()
        }
        ["system.slice" | "machine.slice", ..] => (id, None),
        _ => (None, None),
    }
}

/// Hexadecimal digits in a container's id.
const CONTAINER_ID: usize = 64;

pub(crate) fn container_id(text: &str) -> Option<String> {
    (text.len() == CONTAINER_ID && text.bytes().all(is_hex)).then(|| text.to_owned())
}

/// A UUID; in the name of a slice, where a dash has a meaning, with '_' for '-'.
pub(crate) fn pod_uid(text: &str) -> Option<String> {
    let uid = text.replace('_', "-");
    let lengths = uid.split('-').map(str::len);
    let digits = uid.bytes().all(|byte| byte == b'-' || is_hex(byte));
    (digits && lengths.eq([8, 4, 4, 4, 12])).then_some(uid)
}

pub(crate) fn is_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
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

/// Whether a unit of the system's manager is one user's: a login session, or all that the
/// user's own manager starts.
pub fn is_session(unit: &str) -> bool {
    let between = |start, end| unit.starts_with(start) && unit.ends_with(end);
    between("session-", ".scope") || between("user@", ".service")
}

fn is_unit_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn unit(path: &str) -> Option<String> {
        Place::of(path).unit
    }

    #[test]
    fn sessions_are_told_from_services_that_are_called_alike() {
        for session in ["session-3.scope", "session-c1.scope", "user@1000.service"] {
            assert!(is_session(session));
        }
        for other in ["session-3.service", "user.service", "nginx.service"] {
            assert!(!is_session(other));
        }
    }

    #[test]
    fn the_folder_of_a_unit_ends_with_its_name() {
        for (path, folder) in [
            (
                "/system.slice/nginx.service/below/other.service",
                Some("/system.slice/nginx.service"),
            ),
            (
                "/a.slice/a-b.slice/_cpu.service",
                Some("/a.slice/a-b.slice/_cpu.service"),
            ),
            ("/nginx.service", Some("/nginx.service")),
            ("/system.slice", None),
            ("/system.slice/plain/nginx.service", None),
            ("/../nginx.service", None),
            ("", None),
        ] {
            assert_eq!(unit_folder(path), folder, "{path}");
        }
    }

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const POD: &str = "2c48913c-b29f-11e7-9350-020968147796";

    #[test]
    fn containers_and_pods_are_read_from_the_left() {
        let other = ID.replace('0', "f");
        let pod_ = POD.replace('-', "_");
        let both = (Some(ID), Some(POD));
        let only = (Some(ID), None);
        let none = (None, None);
        for (path, expected) in [
            (format!("/kubepods/burstable/pod{POD}/{ID}"), both),
            (format!("/kubepods/pod{POD}/{ID}/below"), both),
            (
                format!(
                    "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{pod_}.slice/cri-containerd-{ID}.scope"
                ),
                both,
            ),
            (
                format!("/kubepods.slice/kubepods-pod{pod_}.slice/crio-{ID}.scope/init"),
                both,
            ),
            (format!("/docker/{ID}"), only),
            (format!("/system.slice/docker-{ID}.scope"), only),
            (format!("/machine.slice/libpod-{ID}.scope/container"), only),
            // whoever owns the outer container makes what is inside
            (
                format!("/docker/{ID}/kubepods/besteffort/pod{POD}/{other}"),
                only,
            ),
            // a user's own runtime says what that user wants
            (
                format!(
                    "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope"
                ),
                none,
            ),
            (
                format!("/system.slice/evil.service/kubepods/pod{POD}/{ID}"),
                none,
            ),
            (format!("/x/kubepods/pod{POD}/{ID}"), none),
            (format!("/../kubepods/pod{POD}/{ID}"), none),
            (format!("/kubepods/pod{POD}/{ID}/../x"), none),
            (format!("/kubepods/pod{POD}/{}", &ID[1..]), none),
            (format!("/kubepods/pod{}/{ID}", &POD[1..]), none),
            (format!("/kubepods/pod{POD}"), none),
            (format!("/kubepods.slice/crio-{ID}.scope"), none),
            (format!("/system.slice/crio-conmon-{ID}.scope"), none),
            (format!("/docker/{}", ID.to_uppercase()), none),
        ] {
            let place = Place::of(&path);
            let found = (place.container.as_deref(), place.pod.as_deref());
            assert_eq!(found, expected, "{path}");
        }
    }

    #[test]
    fn a_user_unit_is_its_own_users() {
        let path = "/user.slice/user-1000.slice/user@1000.service/app.slice/web.service/x";
        let place = Place::of(path);
        assert_eq!(place.user_unit(1000).as_deref(), Some("web.service"));
        assert_eq!(place.user_unit(1001), None);
        assert_eq!(place.unit.as_deref(), Some("user@1000.service"));
        for path in [
            "/user.slice/user-1000.slice/session-1.scope/web.service",
            "/user.slice/user-1000.slice/user@1000.service",
            "/system.slice/a.service/user@1000.service/web.service",
        ] {
            assert_eq!(Place::of(path).user_unit(1000), None, "{path}");
        }
    }

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
