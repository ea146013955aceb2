//! Small universes of terms, secrets and versions.

use std::num::NonZeroU64;

use custody::{
    envelope::{PlaintextDek, SealedContent, WrappedDek, Wrapping},
    group::{Group, KeyState, MasterKey},
    holder::{Holders, TokenId},
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
pub(crate) const SECRETS: [&str; 3] = ["key", "kex", "pw"];

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

/// A grant of the secrets in `patterns`, with blanks between them, of the group `web`.
pub(crate) fn rule<S: AsRef<str>>(id: u8, patterns: &str, selectors: &[S], terms: Terms) -> Rule {
    let patterns = patterns.split(' ').map(|pattern| pattern.parse().unwrap());
    let selectors = selectors.iter().map(|text| text.as_ref().parse().unwrap());
    Rule {
        id: RuleId::from_bytes(&[id; 8]).unwrap(),
        group: "web".parse().unwrap(),
        patterns: Patterns::new(patterns.collect()).unwrap(),
        selectors: Selectors::new(selectors.collect()).unwrap(),
        terms,
        created: 0,
        created_by: 0,
    }
}

pub(crate) fn kind_of(name: &str) -> Kind {
    Kind::from_name(if name == "pw" { "password" } else { "blob" }).unwrap()
}

/// The versions of `key` besides the current one: the state of each, when it ends, and the
/// state of the master key that wraps it.
fn others() -> Vec<(VersionState, Option<u64>, KeyState)> {
    let plain = (VersionState::Enabled, None, KeyState::Active);
    let mut others = vec![
        plain,
        plain,
        (VersionState::Disabled, None, KeyState::Active),
        (VersionState::Doomed(NOW + 1), None, KeyState::Active),
        (VersionState::Destroyed, None, KeyState::Active),
        (VersionState::Enabled, Some(NOW), KeyState::Active),
        (VersionState::Enabled, Some(NOW + 1), KeyState::Active),
    ];
    others.extend(KeyState::ALL.map(|key| (VersionState::Enabled, None, key)));
    others
}

/// A state with the secrets `key`, `kex` (blobs) and `pw` (a password), and `rules`; and with
/// another `key` in the group `app`.
pub(crate) fn state(rules: &[Rule]) -> State {
    let mut state = State::empty(RowKey::take(PlaintextDek::take(&mut [3; 32]).unwrap()));
    let mut puts = Vec::new();
    for (number, group) in (1..).zip(["web", "app"]) {
        puts.push(Row::Group(Group {
            name: group.parse().unwrap(),
            purpose: custody::group::Purpose::default(),
            cache: None,
            holders: Holders::only(TokenId::new("token", "1")),
            keeping: custody::group::Keeping::InToken,
            created: 0,
            created_by: 0,
        }));
        let keys = (1..).zip(KeyState::ALL);
        puts.extend(keys.map(|(generation, state)| {
            Row::MasterKey(MasterKey {
                id: gmk(number, state),
                group: group.parse().unwrap(),
                generation,
                state,
                wrapping: Wrapping::Aes256Gcm,
                canary: WrappedDek::from_blob([1; 60]),
                token: TokenId::new("", ""),
                blob: None,
                reserved: 0,
                created: 0,
            })
        }));
    }
    for name in SECRETS {
        let others = if name == "key" { others() } else { Vec::new() };
        puts.extend(secret(1, "web", name, &others));
    }
    puts.extend(secret(2, "app", "key", &[]));
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

/// The master key of a group, by its number, that is in a state.
fn gmk(group: u8, state: KeyState) -> KeyId {
    let at = KeyState::ALL.iter().position(|one| *one == state).unwrap();
    let mut id = [group; 16];
    id[0] = u8::try_from(at).unwrap();
    KeyId::from_bytes(&id).unwrap()
}

/// The rows of a secret whose first version is the current one.
fn secret(
    number: u8,
    group: &str,
    name: &str,
    others: &[(VersionState, Option<u64>, KeyState)],
) -> Vec<Row> {
    let id = SecretId {
        group: group.parse().unwrap(),
        name: name.parse().unwrap(),
    };
    let there = |number| (!others.is_empty()).then_some(number);
    let mut rows = vec![Row::Secret(Secret {
        id: id.clone(),
        kind: kind_of(name),
        current: Some(1),
        previous: there(2),
        pending: there(3),
        keep: None,
        about: custody::label::About::default(),
        created: 0,
        created_by: 0,
    })];
    let current = (VersionState::Enabled, None, KeyState::Active);
    let versions = std::iter::once(&current).chain(others);
    for (version, (state, valid_until, key)) in (1..).zip(versions) {
        let id = VersionId {
            secret: id.clone(),
            number: version,
        };
        let sealed = SealedContent {
            nonce: [0; 12],
            ciphertext: Vec::new(),
        };
        rows.push(Row::Version(Version {
            id: id.clone(),
            size: 0,
            sealed: sealed.digest(),
            dek_generation: 1,
            exposed: None,
            properties: Vec::new(),
            fingerprint: Fingerprint::from_bytes([0; 32]),
            state: *state,
            valid_until: *valid_until,
            created: 0,
            created_by: 0,
        }));
        rows.push(Row::Wrap(Wrap {
            version: id,
            gmk: gmk(number, *key),
            wrapped: WrappedDek::from_blob([2; 60]),
        }));
    }
    rows
}

pub(crate) fn wanted(name: &str, fields: &[&str]) -> Wanted {
    Wanted {
        group: "web".parse().unwrap(),
        name: name.parse().unwrap(),
        version: Which::Current,
        fields: fields.iter().map(|field| (*field).to_owned()).collect(),
    }
}
