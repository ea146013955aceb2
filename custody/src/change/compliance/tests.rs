use proptest::prelude::*;

use super::*;
use crate::{
    caller::{
        Evidence,
        observation::{Credentials, ExeDoubt, Namespaces, Observation, Pinned, Process},
    },
    change::{
        self,
        life::{self, Deed},
        put::{self, Written},
    },
    envelope::{Content, PlaintextDek, SealedContent, WrappedDek, Wrapping},
    group::{Group, KeyState, MasterKey},
    holder::{Holders, TokenId},
    label::{Labels, Said},
    name::{KeyId, SecretId, VersionId},
    role::{Act, Admission, Operation, Operator},
    row::{Row, RowKey},
    secret::{
        Accepted, Kind, Properties,
        version::{Fingerprint, Secret, Version, VersionState, Which},
    },
    state::{State, edit::Edit},
};

/// Milliseconds of a day.
const DAY: Millis = 24 * 60 * 60 * 1000;

fn properties(of: &[(&str, &str)]) -> Properties {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    of.iter().map(owned).collect()
}

const NOW: Millis = 40 * DAY;

fn evidence() -> Evidence {
    Evidence::examine(Observation {
        connected: Credentials {
            pid: 7,
            uid: 33,
            gid: 33,
        },
        groups: Vec::new(),
        label: None,
        process: Process {
            id: 70,
            pid: 7,
            uids: [33; 4],
            gids: [33; 4],
            cgroup: 1,
        },
        pinned: Pinned::AtConnect,
        cgroup: None,
        namespaces: Namespaces::default(),
        exe: Err(ExeDoubt::Unreadable),
    })
    .unwrap()
}

fn id() -> SecretId {
    SecretId {
        group: "web".parse().unwrap(),
        name: "tls".parse().unwrap(),
    }
}

fn gmk() -> KeyId {
    KeyId::from_bytes(&[9; KeyId::LEN]).unwrap()
}

fn version(number: u32, properties: Properties, written: Millis, state: VersionState) -> Row {
    Row::Version(Version {
        id: VersionId {
            secret: id(),
            number,
        },
        size: 1,
        sealed: sealed().digest(),
        dek_generation: 1,
        exposed: None,
        fingerprint: Fingerprint::from_bytes([1; 32]),
        properties,
        state,
        valid_until: None,
        created: written,
        created_by: 0,
    })
}

fn sealed() -> SealedContent {
    SealedContent {
        nonce: [7; 12],
        ciphertext: vec![0; 20],
    }
}

/// `web/tls`, whose version 2 is pending and whose version 3 is disabled, both like that.
fn state(rules: Rules, properties: &Properties, written: Millis) -> State {
    let mut state = State::empty(RowKey::take(PlaintextDek::take(&mut [3; 32]).unwrap()));
    let puts = vec![
        Row::Group(Group {
            name: id().group,
            purpose: crate::group::Purpose::default(),
            cache: None,
            holders: Holders::only(TokenId::new("token", "1")),
            keeping: crate::group::Keeping::InToken,
            created: 0,
            created_by: 0,
        }),
        Row::MasterKey(MasterKey {
            id: gmk(),
            group: id().group,
            generation: 1,
            state: KeyState::Active,
            wrapping: Wrapping::Aes256Gcm,
            canary: WrappedDek::from_blob([1; 60]),
            token: TokenId::new("token", "1"),
            blob: None,
            reserved: 0,
            created: 0,
        }),
        Row::Secret(Secret {
            id: id(),
            kind: Kind::from_name("certificate").unwrap(),
            current: None,
            previous: None,
            pending: Some(2),
            keep: None,
            about: crate::label::About::default(),
            created: 0,
            created_by: 0,
        }),
        version(2, properties.clone(), written, VersionState::Enabled),
        version(3, properties.clone(), written, VersionState::Disabled),
    ];
    let edit = Edit {
        puts,
        ..Edit::default()
    };
    let plan = state.plan(edit, 1);
    state.adopt(&plan);
    let (edit, _) = set_rules(&state, &id().group, Some(rules), 7, 1).unwrap();
    let plan = state.plan(edit, 2);
    state.adopt(&plan);
    state
}

fn put(state: &State, properties: &Properties) -> Result<(), Error> {
    let kind = Kind::from_name("certificate").unwrap();
    let terms = put::Terms::default();
    let place = put::next_version(state, &id(), kind, terms).unwrap();
    let accepted = Accepted {
        kind,
        content: Content::take(vec![0]),
        size: 1,
        properties: properties.clone(),
    };
    let written = Written {
        about: &crate::label::About::default(),
        is_made: false,
        certifies: None,
        accepted: &accepted,
        fingerprint: Fingerprint::from_bytes([2; 32]),
        sealed: sealed(),
        wraps: vec![(place.keys[0].id, WrappedDek::from_blob([5; 60]))],
    };
    let operator = Operator(Admission {
        evidence: evidence(),
        act: Act::of(Operation::PutSecret),
        held: Vec::new(),
    });
    put::put_secret(state, place, written, terms, &operator, NOW).map(drop)
}

prop_compose! {
    fn any_rules()(
        mode in prop_oneof![Just("report"), Just("enforce")],
        rsa in proptest::option::of(1..4096_u32),
        validity in proptest::option::of(1..60_u32),
        warn in proptest::option::of(1..60_u32),
        age in proptest::option::of(1..60_u32),
        only in proptest::option::of(prop_oneof![Just("rsa"), Just("ec")]),
        label in proptest::bool::weighted(0.2),
    ) -> Rules {
        let mut rules = serde_json::json!({ "mode": mode });
        for (name, number) in [
            ("min-rsa-bits", rsa),
            ("max-validity-days", validity),
            ("warn-before-days", warn),
            ("max-age-days", age),
        ] {
            if let Some(number) = number {
                rules[name] = number.into();
            }
        }
        if let Some(only) = only {
            rules["key-algorithms"] = serde_json::json!([only]);
        }
        if label {
            rules["required-labels"] = serde_json::json!(["team"]);
        }
        serde_json::from_value(rules).unwrap()
    }
}

prop_compose! {
    fn any_properties()(
        key in prop_oneof![Just("RSA 1024"), Just("RSA 4096"), Just("EC 256"), Just("Ed25519")],
        from in 1..28_u32,
        to in 1..28_u32,
    ) -> Properties {
        let to = format!("1970-02-{to:02}T00:00:00Z");
        properties(&[
            ("key-algorithm", key),
            ("not-before", &format!("1970-01-{from:02}T00:00:00Z")),
            ("not-after", &to),
            ("chain-not-after", &to),
        ])
    }
}

proptest! {
    /// By whatever way a version comes into use: it does exactly if nothing is found that
    /// refuses, or the rules are not enforced.
    #[test]
    fn what_is_enforced_lets_nothing_in_that_would_be_found(
        rules in any_rules(),
        properties in any_properties(),
        written in 0..NOW,
    ) {
        let state = state(rules.clone(), &properties, written);
        let kind = Kind::from_name("certificate").unwrap();
        let lets_in = |written| {
            let labels = Labels::default();
            let subject = Subject { kind, properties: &properties, written, labels: &labels };
            let findings = check(&rules, subject, NOW).findings;
            rules.mode == Mode::Report || !findings.iter().any(|one| one.code.refuses())
        };
        let pending = life::activate(&state, &id(), Which::Pending, None, NOW).map(drop);
        let disabled = life::live(&state, &id(), Which::Number(3), Deed::Enable, NOW).map(drop);
        for (way, outcome, lets_in) in [
            ("activate", pending, lets_in(written)),
            ("enable", disabled, lets_in(written)),
            ("put", put(&state, &properties), lets_in(NOW)),
        ] {
            match outcome {
                Ok(()) => prop_assert!(lets_in, "{} let it in", way),
                Err(Error::Noncompliant { findings, .. }) => {
                    prop_assert!(!lets_in, "{} kept it out", way);
                    prop_assert!(!findings.is_empty());
                }
                Err(other) => panic!("{other}"),
            }
        }
    }

    #[test]
    fn what_makes_a_version_unused_is_never_refused(
        rules in any_rules(),
        properties in any_properties(),
    ) {
        let state = state(rules, &properties, 0);
        for deed in [Deed::Disable, Deed::Destroy(0)] {
            prop_assert!(life::live(&state, &id(), Which::Pending, deed, NOW).is_ok());
        }
    }
}

fn said(labels: &str, removed: &[&str]) -> Said {
    Said {
        description: None,
        labels: serde_json::from_str(labels).unwrap(),
        removed_labels: removed.iter().map(|key| key.parse().unwrap()).collect(),
    }
}

#[test]
fn a_required_label_stays_once_it_is_there() {
    let json = r#"{"mode":"enforce","required-labels":["owner","team"]}"#;
    let mut state = state(Rules::from_json(json).unwrap(), &properties(&[]), 0);
    let mut update = |said| {
        let (edit, _) = change::update_secret(&state, &id(), said)?;
        let plan = state.plan(edit, 3);
        state.adopt(&plan);
        Ok::<_, Error>(())
    };
    // One at a time: what was missing before keeps nobody from making it better.
    update(said(r#"{"team":"edge"}"#, &[])).unwrap();
    update(said(r#"{"other":""}"#, &["owner"])).unwrap();
    let refused = update(said("{}", &["team"])).unwrap_err();
    assert!(matches!(&refused, Error::Unlabelled { finding, .. }
        if finding.to_string() == "label: it has no label team; label it"));
    update(said(r#"{"team":"core"}"#, &["team", "other"])).unwrap();
    let about = &state.secret(&id()).unwrap().row().about;
    assert_eq!(about.labels, said(r#"{"team":"core"}"#, &[]).labels);
}
