//! How callers and operators are named on the command line: a flag for each selector.

use clap::Args;

/// Every flag with a value, and the selector it stands for.
const FLAGS: [(&str, &str); 17] = [
    ("--uid", "unix:uid:"),
    ("--user", "unix:user:"),
    ("--gid", "unix:gid:"),
    ("--primary-group", "unix:group:"),
    ("--supplementary-group", "unix:supplementary_gid:"),
    ("--supplementary-group", "unix:supplementary_group:"),
    ("--unit", "systemd:id:"),
    ("--fragment", "systemd:fragment_path:"),
    ("--invocation", "systemd:invocation_id:"),
    ("--user-unit", "systemd:user_unit:"),
    ("--container", "container:id:"),
    ("--pod-uid", "k8s:pod-uid:"),
    ("--exe", "unix:path:"),
    ("--sha256", "unix:sha256:"),
    ("--verity", "unix:verity:"),
    ("--label", "lsm:label:"),
    ("--selector", ""),
];

/// What `--host-only` stands for.
const HOST: [&str; 3] = [
    "namespace:mnt:host",
    "namespace:user:host",
    "namespace:pid:host",
];

/// What `--not-traced` stands for.
const UNTRACED: &str = "process:traced:no";

/// Who is meant: all that is given must hold at once.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
#[command(next_help_heading = "Who (all that is given must hold)")]
pub(crate) struct Callers {
    /// Runs as this user id.
    #[arg(long, value_name = "N", conflicts_with = "user")]
    uid: Option<u32>,
    /// Runs as this user of this machine; custodyd looks up the number once, now.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Runs with this primary group id.
    #[arg(long, value_name = "N", conflicts_with = "primary_group")]
    gid: Option<u32>,
    /// Runs with this primary group of this machine; looked up once, now.
    #[arg(long, value_name = "NAME")]
    primary_group: Option<String>,
    /// Has this group besides, by name or number. May be given several times.
    #[arg(long = "supplementary-group", value_name = "NAME|N")]
    supplementary_groups: Vec<String>,
    /// Is in this unit of the system's systemd.
    #[arg(long, value_name = "X.service")]
    unit: Option<String>,
    /// Is in a unit that this file defines.
    #[arg(long, value_name = "PATH")]
    fragment: Option<String>,
    /// Is in this one run of a unit.
    #[arg(long, value_name = "HEX")]
    invocation: Option<String>,
    /// Is in this unit of the user's own systemd: what the user says.
    #[arg(long, value_name = "X.service")]
    user_unit: Option<String>,
    /// Is in this container.
    #[arg(long, value_name = "ID")]
    container: Option<String>,
    /// Is in a container of this Kubernetes pod.
    #[arg(long, value_name = "UUID")]
    pod_uid: Option<String>,
    /// Executes this file.
    #[arg(long, value_name = "PATH")]
    exe: Option<String>,
    /// Executes a file with this content.
    #[arg(long, value_name = "HEX")]
    sha256: Option<String>,
    /// Executes a file that fs-verity keeps at this digest.
    #[arg(long, value_name = "sha256:HEX")]
    verity: Option<String>,
    /// Is in the host's mount, user and PID namespaces: in no container.
    #[arg(long)]
    host_only: bool,
    /// Has this label of the security module (SELinux, AppArmor).
    #[arg(long, value_name = "LABEL")]
    label: Option<String>,
    /// Is not traced by another process.
    #[arg(long)]
    not_traced: bool,
    /// Satisfies this selector, such as unix:uid:33; 'custodyctl whoami' shows them. May be
    /// given several times.
    #[arg(long = "selector", value_name = "S")]
    selectors: Vec<String>,
}

impl Callers {
    /// The selectors that the flags stand for.
    pub(crate) fn selectors(self) -> Vec<String> {
        let supplementary = |group: String| match group.parse::<u32>() {
            Ok(gid) => format!("unix:supplementary_gid:{gid}"),
            Err(_) => format!("unix:supplementary_group:{group}"),
        };
        let of = |kind: &str, value: Option<String>| value.map(|value| format!("{kind}{value}"));
        let named = [
            of("unix:uid:", self.uid.map(|uid| uid.to_string())),
            of("unix:user:", self.user),
            of("unix:gid:", self.gid.map(|gid| gid.to_string())),
            of("unix:group:", self.primary_group),
            of("systemd:id:", self.unit),
            of("systemd:fragment_path:", self.fragment),
            of("systemd:invocation_id:", self.invocation),
            of("systemd:user_unit:", self.user_unit),
            of("container:id:", self.container),
            of("k8s:pod-uid:", self.pod_uid),
            of("unix:path:", self.exe),
            of("unix:sha256:", self.sha256),
            of("unix:verity:", self.verity),
            of("lsm:label:", self.label),
            self.not_traced.then(|| UNTRACED.to_owned()),
        ];
        let groups = self.supplementary_groups.into_iter().map(supplementary);
        let host = HOST.iter().filter(|_| self.host_only);
        named
            .into_iter()
            .flatten()
            .chain(groups)
            .chain(host.map(|&selector| selector.to_owned()))
            .chain(self.selectors)
            .collect()
    }
}

/// The flags that stand for `selectors`: words of a command line, not yet quoted.
pub(crate) fn flags(selectors: &[String]) -> Vec<Vec<String>> {
    let host_only = HOST
        .iter()
        .all(|host| selectors.iter().any(|text| text == host));
    let mut flags = Vec::new();
    for selector in selectors {
        if selector == UNTRACED {
            flags.push(vec!["--not-traced".to_owned()]);
        } else if !(host_only && HOST.contains(&selector.as_str())) {
            let (flag, value) = FLAGS
                .iter()
                .find_map(|(flag, kind)| Some((*flag, selector.strip_prefix(kind)?)))
                .expect("the last flag takes any selector");
            flags.push(vec![flag.to_owned(), value.to_owned()]);
        }
    }
    if host_only {
        flags.push(vec!["--host-only".to_owned()]);
    }
    flags
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        callers: Callers,
    }

    fn parse(words: impl IntoIterator<Item = String>) -> Vec<String> {
        let line = Line::try_parse_from(["x".to_owned()].into_iter().chain(words));
        let mut selectors = line.unwrap().callers.selectors();
        selectors.sort();
        selectors
    }

    #[test]
    fn the_flags_for_selectors_stand_for_just_these() {
        let mut selectors: Vec<String> = [
            "unix:uid:33",
            "unix:gid:33",
            "unix:supplementary_gid:4",
            "unix:supplementary_gid:5",
            "unix:supplementary_group:adm",
            "systemd:id:nginx.service",
            "systemd:fragment_path:/usr/lib/systemd/system/nginx.service",
            "systemd:invocation_id:00112233445566778899aabbccddeeff",
            "systemd:user_unit:app.service",
            "container:id:aa",
            "k8s:pod-uid:2c48913c-b29f-11e7-9350-020968147796",
            "unix:path:/usr/sbin/nginx",
            "unix:sha256:bb",
            "unix:verity:sha256:cc",
            "lsm:label:system_u:system_r:httpd_t:s0",
            "process:traced:no",
            "namespace:mnt:host",
            "namespace:user:host",
            "namespace:pid:host",
            "new:kind:of thing",
        ]
        .map(str::to_owned)
        .to_vec();
        selectors.sort();
        let words = flags(&selectors);
        assert_eq!(parse(words.concat()), selectors);
        let unknown = words.iter().filter(|words| words[0] == "--selector");
        assert_eq!(unknown.count(), 1, "{words:?}");
    }

    #[test]
    fn names_stand_for_names() {
        let words = ["--user=www-data", "--primary-group=web"].map(str::to_owned);
        assert_eq!(parse(words), ["unix:group:web", "unix:user:www-data"]);
    }

    #[test]
    fn two_of_the_hosts_namespaces_are_not_all_three() {
        let selectors: Vec<String> = HOST[..2].iter().map(|&text| text.to_owned()).collect();
        let words = flags(&selectors);
        assert_eq!(parse(words.concat()), selectors);
    }
}
