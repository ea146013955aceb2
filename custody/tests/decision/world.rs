//! Small universes: callers, demands, terms, secrets.

use std::num::NonZeroU64;

use custody::{
    caller::{
        Evidence,
        fact::Facts,
        observation::{Cgroup, Credentials, Exe, Namespaces, Observation, Pinned, Process},
    },
    envelope::{PlaintextDek, SealedContent, WrappedDek, Wrapping},
    group::{Group, KeyState, MasterKey},
    name::{KeyId, RuleId, SecretId, VersionId},
    policy::{
        Wanted,
        rule::{Patterns, Rate, Rule, Selectors, Terms},
    },
    row::{Row, RowKey},
    secret::{
        Kind,
        version::{Fingerprint, Secret, Version, VersionState, Which, Wrap},
    },
    state::{State, edit::Edit},
};

pub(crate) const NOW: u64 = 1_000_000;
pub(crate) const UIDS: [u32; 2] = [33, 34];
pub(crate) const UNITS: [Option<&str>; 2] = [None, Some("nginx.service")];
pub(crate) const SECRETS: [&str; 3] = ["key", "kex", "pw"];

/// A caller in few words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Who {
    pub(crate) uid: u32,
    pub(crate) unit: Option<&'static str>,
    pub(crate) exe: &'static str,
    pub(crate) traced: Option<bool>,
}

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
                    });
                }
            }
        }
    }
    callers
}

pub(crate) fn evidence(who: Who) -> Evidence {
    let path = who
        .unit
        .map_or("/".to_owned(), |unit| format!("/system.slice/{unit}"));
    let seen = Observation {
        connected: Credentials {
            pid: 7,
            uid: who.uid,
            gid: 5,
        },
        groups: vec![6],
        label: None,
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
            invocation: None,
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
        ..Facts::default()
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
            let uid = format!("unix:uid:{}", who.uid);
            let path = format!("unix:path:{}", who.exe);
            let unit = who.unit.map(|unit| format!("systemd:id:{unit}"));
            [Some(uid), Some(path), unit]
                .iter()
                .flatten()
                .any(|held| held == selector)
        }
    }
}

/// Every way to be selected that is worth trying, each of which makes a grant.
pub(crate) fn demands() -> Vec<Vec<&'static str>> {
    let identities = ["unix:uid:33", "systemd:id:nginx.service"];
    let more = [
        "unix:path:/bin/a",
        "unix:gid:5",
        "unix:gid:6",
        "unix:supplementary_gid:6",
        "namespace:mnt:host",
        "namespace:user:host",
        "process:traced:no",
    ];
    let mut demands = vec![identities.to_vec()];
    for identity in identities {
        demands.push(vec![identity]);
        demands.extend(more.map(|one| vec![identity, one]));
    }
    demands
}

pub(crate) fn terms() -> Vec<Terms> {
    let none = Terms::default;
    vec![
        none(),
        Terms {
            kind: Kind::from_name("password").ok(),
            ..none()
        },
        Terms {
            fields: ["password".to_owned()].into(),
            ..none()
        },
        Terms {
            fields: ["content".to_owned()].into(),
            ..none()
        },
        Terms {
            not_before: Some(NOW),
            ..none()
        },
        Terms {
            not_before: Some(NOW + 1),
            ..none()
        },
        Terms {
            not_after: Some(NOW),
            ..none()
        },
        Terms {
            not_after: Some(NOW + 1),
            ..none()
        },
        Terms {
            uses: NonZeroU64::new(1),
            ..none()
        },
        Terms {
            rate: Some(Rate {
                uses: 1,
                seconds: 1,
            }),
            ..none()
        },
    ]
}

pub(crate) fn rule(id: u8, pattern: &str, selectors: &[&str], terms: Terms) -> Rule {
    Rule {
        id: RuleId::from_bytes(&[id; 8]).unwrap(),
        group: "web".parse().unwrap(),
        patterns: Patterns::new(vec![pattern.parse().unwrap()]).unwrap(),
        selectors: Selectors::new(selectors.iter().map(|text| text.parse().unwrap()).collect())
            .unwrap(),
        terms,
        created: 0,
        created_by: 0,
    }
}

pub(crate) fn kind_of(name: &str) -> Kind {
    Kind::from_name(if name == "pw" { "password" } else { "blob" }).unwrap()
}

/// A state with the secrets `key`, `kex` (blobs) and `pw` (a password), and `rules`.
pub(crate) fn state(rules: &[Rule]) -> State {
    let gmk = KeyId::from_bytes(&[9; 16]).unwrap();
    let mut state = State::empty(RowKey::take(PlaintextDek::take(&mut [3; 32]).unwrap()));
    let group = Group {
        name: "web".parse().unwrap(),
        description: String::new(),
        created: 0,
        created_by: 0,
    };
    let key = MasterKey {
        id: gmk,
        group: group.name.clone(),
        generation: 1,
        state: KeyState::Active,
        wrapping: Wrapping::Aes256Gcm,
        canary: WrappedDek::from_blob([1; 60]),
        token_label: String::new(),
        token_serial: String::new(),
        created: 0,
    };
    let mut puts = vec![Row::Group(group.clone()), Row::MasterKey(key)];
    for name in SECRETS {
        let id = SecretId {
            group: group.name.clone(),
            name: name.parse().unwrap(),
        };
        let version = VersionId {
            secret: id.clone(),
            number: 1,
        };
        let sealed = SealedContent {
            nonce: [0; 12],
            ciphertext: Vec::new(),
        };
        puts.extend([
            Row::Secret(Secret {
                id,
                kind: kind_of(name),
                current: Some(1),
                previous: None,
                pending: None,
                keep: None,
                created: 0,
                created_by: 0,
            }),
            Row::Version(Version {
                id: version.clone(),
                size: 0,
                sealed: sealed.digest(),
                properties: Vec::new(),
                fingerprint: Fingerprint::from_bytes([0; 32]),
                state: VersionState::Enabled,
                valid_until: None,
                created: 0,
                created_by: 0,
            }),
            Row::Wrap(Wrap {
                version,
                gmk,
                wrapped: WrappedDek::from_blob([2; 60]),
            }),
        ]);
    }
    puts.extend(rules.iter().cloned().map(Row::Rule));
    let plan = state.plan(
        Edit {
            puts,
            ..Edit::default()
        },
        1,
    );
    state.adopt(&plan);
    state
}

pub(crate) fn wanted(name: &str, fields: &[&str]) -> Wanted {
    Wanted {
        group: "web".parse().unwrap(),
        name: name.parse().unwrap(),
        version: Which::Current,
        fields: fields.iter().map(|field| (*field).to_owned()).collect(),
    }
}
