//! What every store must do. Each implementation's tests call [`keeps`] with a way to
//! make an empty one.

use std::{
    fmt::Debug,
    num::{NonZeroU32, NonZeroU64},
};

use super::Store;
use crate::{
    cache,
    compliance::rules::Adopted,
    envelope::{KeyWrap, PlaintextDek, SealedContent, SealedDigest, WrappedDek, Wrapping},
    group::{Blob, Group, Keeping, KeyState, MasterKey, Purpose},
    holder::{Holders, TokenId},
    journal::trust::Voucher,
    label::About,
    name::{GroupName, InstanceId, KeyId, RuleId, SecretId, VersionId},
    policy::rule::{Patterns, Rate, Rule, Selectors, Terms},
    role::{Assignment, Role},
    row::{Row, RowId, RowKey, System},
    secret::{
        Kind,
        version::{Fingerprint, Secret, Version, VersionState, Wrap},
    },
    state::{State, edit::Edit},
    trustee::Trustee,
};

/// Asserts that a store keeps what it is given, and forgets what it is told to.
///
/// # Panics
///
/// If it does not.
pub fn keeps<S: Store<Error: Debug>>(mut store: S) {
    let row_key = || RowKey::take(PlaintextDek::take(&mut [3; 32]).expect("32 bytes"));
    let mut state = State::empty(row_key());

    assert!(store.system().expect("read").is_none());
    let system = system();
    let tag = row_key().system_tag(&system);
    store.create(&system, tag).expect("create");
    assert!(store.create(&system, tag).is_err(), "created twice");
    assert_eq!(store.system().expect("read"), Some((system, tag)));
    assert_eq!(store.change().expect("read"), 0);

    let rows = rows();
    let ids: Vec<_> = rows.iter().map(Row::id).collect();
    let sealed = SealedContent {
        nonce: [7; 12],
        ciphertext: vec![0, 255, 0],
    };
    let first = state.plan(
        Edit {
            puts: rows,
            deletes: Vec::new(),
            content: vec![(version(), sealed.clone())],
            shreds: Vec::new(),
        },
        1,
    );
    store.apply(&first).expect("apply");
    state.adopt(&first);
    assert_eq!(store.change().expect("read"), 1);
    assert_eq!(store.content(&version()).expect("read"), Some(sealed));
    assert_eq!(reload(&mut store).digest(1), state.digest(1));

    assert!(store.apply(&first).is_err(), "content is written once");
    assert_eq!(store.change().expect("read"), 1);

    let mut group = group();
    group.purpose = purpose("changed");
    group.keeping = Keeping::InToken;
    let second = state.plan(
        Edit {
            puts: vec![
                Row::Group(group),
                Row::MasterKey(MasterKey {
                    state: doomed(),
                    reserved: 1 << 32,
                    blob: master_key().blob.map(|blob| blob.shredded()),
                    ..master_key()
                }),
                Row::Compliance(adopted("{\"mode\":\"enforce\"}")),
                Row::Trustee(Trustee {
                    lost: Some(9),
                    ..trustee("1", None)
                }),
            ],
            ..Edit::default()
        },
        2,
    );
    store.apply(&second).expect("apply");
    state.adopt(&second);
    assert_eq!(reload(&mut store).digest(2), state.digest(2));

    // Content takes the place of other content, with all that belongs to it.
    let renewed = state.plan(renewal(), 3);
    store.apply(&renewed).expect("apply");
    state.adopt(&renewed);
    let (_, after) = renewal().content.swap_remove(0);
    assert_eq!(store.content(&version()).expect("read"), Some(after));
    assert_eq!(reload(&mut store).digest(3), state.digest(3));

    // A version that is shredded keeps its row, and loses its content.
    let shredded = state.plan(shredding(), 4);
    store.apply(&shredded).expect("apply");
    state.adopt(&shredded);
    assert_eq!(store.content(&version()).expect("read"), None);
    assert_eq!(reload(&mut store).digest(4), state.digest(4));

    let wrap = RowId::Wrap(version(), key_id());
    let deletes: Vec<RowId> = ids.into_iter().rev().filter(|id| *id != wrap).collect();
    let third = state.plan(
        Edit {
            deletes,
            ..Edit::default()
        },
        5,
    );
    store.apply(&third).expect("apply");
    state.adopt(&third);
    assert_eq!(store.content(&version()).expect("read"), None);
    assert_eq!(
        reload(&mut store).digest(5),
        State::empty(row_key()).digest(5)
    );
    assert_eq!(store.change().expect("read"), 5);
}

fn reload<S: Store<Error: Debug>>(store: &mut S) -> State {
    let key = RowKey::take(PlaintextDek::take(&mut [3; 32]).expect("32 bytes"));
    let mut state = State::empty(key);
    store
        .rows(&mut |tagged| state.load(tagged).expect("what was stored"))
        .expect("read");
    state
}

fn key_id() -> KeyId {
    KeyId::from_bytes(&[9; KeyId::LEN]).expect("its length")
}

fn version() -> VersionId {
    VersionId {
        secret: SecretId {
            group: group().name,
            name: "tls".parse().expect("a name"),
        },
        number: 1,
    }
}

fn system() -> System {
    System {
        instance: InstanceId::from_bytes(&[1; InstanceId::LEN]).expect("its length"),
        gmk: key_id(),
        wrapping: Wrapping::AesKwp,
        canary: WrappedDek::from_blob([1; 40]),
        row_key: WrappedDek::from_blob([2; 40]),
        journal_key: key_id(),
        journal_public_key: vec![4; 65],
        token_label: "a token".into(),
        token_serial: "00ff".into(),
        created: 1,
    }
}

fn group() -> Group {
    Group {
        name: "web".parse().expect("a name"),
        purpose: purpose("für alle"),
        cache: cache::Terms::new(300, u32::MAX, 0).ok(),
        holders: Holders::only(TokenId::new("token", "1")),
        keeping: Keeping::Wrapped,
        created: 1,
        created_by: 2,
    }
}

fn purpose(text: &str) -> Purpose {
    let labels = format!("{{\"team\":\"{text}\",\"a/b\":\"\"}}");
    Purpose {
        business_group: text.parse().expect("a line"),
        environment: "production".parse().expect("a line"),
        about: About {
            description: format!("{text}\n").parse().expect("a description"),
            labels: serde_json::from_str(&labels).expect("labels"),
        },
    }
}

/// One row of every kind, parents first.
fn rows() -> Vec<Row> {
    let master_key = master_key();
    let secret = Secret {
        id: version().secret,
        kind: Kind::from_name("blob").expect("a type"),
        current: Some(1),
        previous: None,
        pending: Some(2),
        keep: NonZeroU32::new(3),
        about: purpose("für einen").about,
        created: u64::from(u32::MAX) + 1,
        created_by: u32::MAX,
    };
    let wrap = Wrap {
        version: version(),
        gmk: key_id(),
        wrapped: WrappedDek::from_blob([5; 60]),
    };
    vec![
        Row::Group(group()),
        Row::MasterKey(master_key),
        Row::Secret(secret),
        Row::Version(version_row(VersionState::Doomed(8))),
        Row::Wrap(wrap),
        Row::Rule(rule(1, Terms::default())),
        Row::Rule(rule(2, every_term())),
        Row::Compliance(adopted("{\"min-rsa-bits\":3072}")),
        Row::Assignment(assignment(1, Role::Auditor, None)),
        Row::Assignment(assignment(2, Role::Writer, Some(group().name))),
        Row::Trustee(trustee("1", None)),
        Row::Trustee(trustee("2", Some(5))),
    ]
}

fn selectors() -> Selectors {
    let selectors = ["unix:uid:33", "unix:path:/usr/sbin/nginx"];
    let selectors = selectors.map(|text| text.parse().expect("a selector"));
    Selectors::new(selectors.into()).expect("enough")
}

fn rule(id: u8, terms: Terms) -> Rule {
    let patterns = ["t*", "s"].map(|text| text.parse().expect("a pattern"));
    Rule {
        id: RuleId::from_bytes(&[id; RuleId::LEN]).expect("its length"),
        group: group().name,
        patterns: Patterns::new(patterns.into()).expect("enough"),
        selectors: selectors(),
        terms,
        created: 1,
        created_by: 0,
    }
}

fn every_term() -> Terms {
    Terms {
        kind: Kind::from_name("keystore").ok(),
        fields: ["certificate-chain".to_owned()].into(),
        not_before: Some(1),
        not_after: Some(2),
        uses: NonZeroU64::new(3),
        rate: Some(Rate {
            uses: 4,
            seconds: 5,
        }),
    }
}

fn adopted(rules: &str) -> Adopted {
    Adopted {
        group: group().name,
        rules: serde_json::from_str(rules).expect("rules"),
        set: 1,
        set_by: 7,
    }
}

fn assignment(id: u8, role: Role, group: Option<GroupName>) -> Assignment {
    Assignment {
        id: RuleId::from_bytes(&[id; RuleId::LEN]).expect("its length"),
        role,
        created_by: group.as_ref().map(|_| 7),
        group,
        selectors: selectors(),
        created: 1,
    }
}

fn trustee(serial: &str, lost: Option<u64>) -> Trustee {
    let voucher = Voucher {
        public_key: "a key".into(),
        voucher: "a signature".into(),
    };
    Trustee {
        token: TokenId::new("another token", serial),
        voucher: lost.map(|_| voucher),
        joined: 7,
        lost,
        ..Trustee::first(&system())
    }
}

fn version_row(state: VersionState) -> Version {
    Version {
        id: version(),
        size: 3,
        sealed: SealedDigest::from_bytes([6; 32]),
        dek_generation: 1,
        exposed: None,
        properties: vec![("a".into(), "b".into()), ("c".into(), "\"".into())],
        state,
        valid_until: Some(9),
        fingerprint: Fingerprint::from_bytes([6; 32]),
        created: 1,
        created_by: 0,
    }
}

/// Puts other content, another data key and what belongs to them in the place of the version's.
fn renewal() -> Edit {
    let renewed = Version {
        sealed: SealedDigest::from_bytes([8; 32]),
        dek_generation: 2,
        exposed: Some(1),
        ..version_row(VersionState::Enabled)
    };
    let wrap = Wrap {
        version: version(),
        gmk: key_id(),
        wrapped: WrappedDek::from_blob([6; 60]),
    };
    let sealed = SealedContent {
        nonce: [8; 12],
        ciphertext: vec![1],
    };
    Edit {
        puts: vec![Row::Version(renewed), Row::Wrap(wrap)],
        shreds: vec![version()],
        content: vec![(version(), sealed)],
        ..Edit::default()
    }
}

/// Takes the content and the data key of the version.
fn shredding() -> Edit {
    Edit {
        puts: vec![Row::Version(version_row(VersionState::Destroyed))],
        deletes: vec![RowId::Wrap(version(), key_id())],
        shreds: vec![version()],
        ..Edit::default()
    }
}

fn master_key() -> MasterKey {
    MasterKey {
        id: key_id(),
        group: group().name,
        generation: 1,
        state: KeyState::Active,
        wrapping: Wrapping::Aes256Gcm,
        canary: WrappedDek::from_blob([1; 60]),
        token: TokenId::new("a token", "00ff"),
        blob: Some(Blob {
            root: key_id(),
            by: KeyWrap::Kw,
            wrapped: vec![6; 40],
        }),
        reserved: 64,
        created: 1,
    }
}

/// A state with all that there can be.
fn doomed() -> KeyState {
    let over = KeyState::Active.compromised();
    let doomed = over.and_then(|over| over.without_rest(4)?.doomed(5));
    doomed.expect("one thing after the other")
}
