//! Small universes of callers, and what each can be selected by.

use custody::caller::{
    Evidence,
    fact::Facts,
    observation::{Cgroup, Credentials, Exe, Namespaces, Observation, Pinned, Process},
};

const UIDS: [u32; 2] = [33, 34];
const UNITS: [Option<&str>; 2] = [None, Some("nginx.service")];
/// A caller in few words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Who {
    pub(crate) uid: u32,
    pub(crate) unit: Option<&'static str>,
    pub(crate) exe: &'static str,
    pub(crate) traced: Option<bool>,
    /// One more thing that it has.
    pub(crate) more: More,
}

/// Nobody in particular.
pub(crate) const PLAIN: Who = Who {
    uid: 33,
    unit: None,
    exe: "/bin/a",
    traced: None,
    more: More::Nothing,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum More {
    Nothing,
    Fragment,
    Invocation,
    UserUnit,
    Container,
    Pod,
    Sha256,
    Verity,
    Label,
}

const MORE: [More; 8] = [
    More::Fragment,
    More::Invocation,
    More::UserUnit,
    More::Container,
    More::Pod,
    More::Sha256,
    More::Verity,
    More::Label,
];

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const RUN: &str = "0123456789abcdef0123456789abcdef";
const POD: &str = "2c48913c-b29f-11e7-9350-020968147796";

pub(crate) fn callers() -> Vec<Who> {
    let mut callers = Vec::new();
    for uid in UIDS {
        for unit in UNITS {
            for exe in ["/bin/a", "/bin/b"] {
                for traced in [None, Some(false), Some(true)] {
                    callers.push(Who {
                        uid,
                        unit,
                        exe,
                        traced,
                        more: More::Nothing,
                    });
                }
            }
            for more in MORE {
                callers.push(Who {
                    uid,
                    unit,
                    more,
                    ..PLAIN
                });
            }
        }
    }
    callers
}

pub(crate) fn evidence(who: Who) -> Evidence {
    let path = match (who.more, who.unit) {
        (More::UserUnit, _) => "/user.slice/user-33.slice/user@33.service/a.service".to_owned(),
        (More::Container, _) => format!("/system.slice/docker-{ID}.scope"),
        (More::Pod, _) => format!("/kubepods/pod{POD}/{ID}"),
        (_, Some(unit)) => format!("/system.slice/{unit}"),
        (_, None) => "/".to_owned(),
    };
    let with = |more, text: &str| (who.more == more).then(|| text.to_owned());
    let seen = Observation {
        connected: Credentials {
            pid: 7,
            uid: who.uid,
            gid: 5,
        },
        groups: vec![6],
        label: with(More::Label, "confined"),
        process: Process {
            id: 70,
            pid: 7,
            uids: [who.uid; 4],
            gids: [5; 4],
            cgroup: 1,
        },
        pinned: Pinned::AtConnect,
        cgroup: Some(Cgroup {
            path,
            id: Some(1),
            invocation: with(More::Invocation, RUN),
        }),
        namespaces: Namespaces {
            mnt: Some(true),
            user: None,
            pid: Some(false),
        },
        exe: Ok(Exe {
            device: 1,
            inode: 2,
            path: Ok(who.exe.to_owned()),
        }),
    };
    let facts = Facts {
        traced: who.traced,
        fragment: with(More::Fragment, "/etc/nginx.service"),
        sha256: with(More::Sha256, ID),
        verity: with(More::Verity, &format!("sha256:{ID}")),
    };
    Evidence::examine(seen).unwrap().with(facts)
}

/// What the oracle thinks of a selector's text.
pub(crate) fn holds(selector: &str, who: Who) -> bool {
    match selector {
        "unix:gid:5" | "unix:supplementary_gid:6" | "namespace:mnt:host" => true,
        "namespace:user:host" | "namespace:pid:host" | "unix:gid:6" => false,
        "process:traced:no" => who.traced == Some(false),
        _ => {
            let mut held = vec![
                format!("unix:uid:{}", who.uid),
                format!("unix:path:{}", who.exe),
            ];
            // Where it is says in which unit; some places are no unit's.
            held.extend(match (who.more, who.unit) {
                (More::UserUnit, _) => Some("systemd:id:user@33.service".to_owned()),
                (More::Container, _) => Some(format!("systemd:id:docker-{ID}.scope")),
                (More::Pod, _) => None,
                (_, unit) => unit.map(|unit| format!("systemd:id:{unit}")),
            });
            held.extend(match who.more {
                More::Nothing => None,
                // Of no unit there is no run.
                More::Invocation if who.unit.is_none() => None,
                // Another user's manager may say what it likes.
                More::UserUnit if who.uid != 33 => None,
                more => Some(text_of(more)),
            });
            if who.more == More::Pod {
                held.push(text_of(More::Container));
            }
            held.iter().any(|held| held == selector)
        }
    }
}

fn text_of(more: More) -> String {
    match more {
        More::Nothing => unreachable!("it has no text"),
        More::Fragment => "systemd:fragment_path:/etc/nginx.service".to_owned(),
        More::Invocation => format!("systemd:invocation_id:{RUN}"),
        More::UserUnit => "systemd:user_unit:a.service".to_owned(),
        More::Container => format!("container:id:{ID}"),
        More::Pod => format!("k8s:pod-uid:{POD}"),
        More::Sha256 => format!("unix:sha256:{ID}"),
        More::Verity => format!("unix:verity:sha256:{ID}"),
        More::Label => "lsm:label:confined".to_owned(),
    }
}

/// Every selector that makes a grant by itself.
pub(crate) fn identities() -> Vec<String> {
    let alone = [
        More::Fragment,
        More::Invocation,
        More::Container,
        More::Pod,
        More::Label,
    ];
    let mut identities = vec![
        "unix:uid:33".to_owned(),
        "systemd:id:nginx.service".to_owned(),
    ];
    identities.extend(alone.map(text_of));
    identities
}

/// Every way to be selected that is worth trying, each of which makes a grant.
pub(crate) fn demands() -> Vec<Vec<String>> {
    let more = [
        "unix:path:/bin/a",
        "unix:gid:5",
        "unix:gid:6",
        "unix:supplementary_gid:6",
        "namespace:mnt:host",
        "namespace:user:host",
        "process:traced:no",
    ];
    let more = more.map(str::to_owned);
    let narrowing = [More::UserUnit, More::Sha256, More::Verity].map(text_of);
    let identities = identities();
    let mut demands = vec![identities[..2].to_vec()];
    for identity in identities {
        demands.push(vec![identity.clone()]);
        let narrowed = more.iter().chain(&narrowing);
        demands.extend(narrowed.map(|one| vec![identity.clone(), one.clone()]));
    }
    demands
}
