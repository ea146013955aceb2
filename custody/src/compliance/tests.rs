use proptest::prelude::*;

use super::*;
use crate::{
    caller::{
        Evidence,
        observation::{Credentials, ExeDoubt, Namespaces, Observation, Pinned, Process},
    },
    change::{
        Error,
        life::{self, Deed},
        put::{self, Written},
        set_rules,
    },
    envelope::{Content, PlaintextDek, SealedContent, WrappedDek, Wrapping},
    group::{Group, KeyState, MasterKey},
    name::{KeyId, SecretId, VersionId},
    role::{Act, Admission, Operation, Operator},
    row::{Row, RowKey},
    secret::{
        Accepted,
        version::{Fingerprint, Secret, VersionState, Which},
    },
    state::{State, edit::Edit},
};

fn rules(json: &str) -> Rules {
    serde_json::from_str(json).unwrap()
}

fn properties(of: &[(&str, &str)]) -> Properties {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    of.iter().map(owned).collect()
}

/// The codes that `json` finds of a version written at the beginning of 1970, `now` days later.
fn found(json: &str, kind: &str, of: &[(&str, &str)], now: Millis) -> Vec<&'static str> {
    let subject = Subject {
        kind: Kind::from_name(kind).unwrap(),
        properties: &properties(of),
        written: 0,
    };
    let verdict = check(&rules(json), subject, now * DAY);
    let codes = verdict.findings.iter().map(|finding| finding.code.name());
    codes.collect()
}

#[test]
fn each_rule_finds_what_it_is_for_and_nothing_else() {
    let keys = r#"{"min-rsa-bits":3072,"min-ec-bits":384,"key-algorithms":["rsa","ec"]}"#;
    let symmetric = r#"{"min-symmetric-bits":256,"symmetric-algorithms":["aes","hmac-sha256"]}"#;
    let signed = r#"{"signature-algorithms":["rsa-sha256","ecdsa-sha256"]}"#;
    let tls = r#"{"min-tls-version":"TLSv1.3"}"#;
    let table: &[(&str, &str, &str, &str, &[&str])] = &[
        (keys, "private-key", "key-algorithm", "RSA 3072", &[]),
        (
            keys,
            "private-key",
            "key-algorithm",
            "RSA 2048",
            &["key-size"],
        ),
        (keys, "keystore", "key-algorithm", "EC 384", &[]),
        (
            keys,
            "certificate",
            "key-algorithm",
            "EC 256",
            &["key-size"],
        ),
        (
            keys,
            "keystore",
            "key-algorithm",
            "Ed25519",
            &["key-algorithm"],
        ),
        (
            keys,
            "certificate",
            "key-algorithm",
            "1.2.840.10040.4.1",
            &["key-algorithm"],
        ),
        (
            keys,
            "truststore",
            "key-algorithms",
            "EC 384, RSA 4096",
            &[],
        ),
        (
            keys,
            "truststore",
            "key-algorithms",
            "EC 256, EC 384, RSA 1024",
            &["key-size", "key-size"],
        ),
        (keys, "password", "", "", &[]),
        (
            signed,
            "certificate",
            "signature-algorithm",
            "rsa-sha256",
            &[],
        ),
        (
            signed,
            "keystore",
            "signature-algorithm",
            "rsa-sha1",
            &["signature-algorithm"],
        ),
        (
            signed,
            "keystore",
            "signature-algorithm",
            "1.2.3",
            &["signature-algorithm"],
        ),
        (signed, "private-key", "key-algorithm", "RSA 512", &[]),
        (tls, "tls-context", "min-version", "TLSv1.3", &[]),
        (
            tls,
            "tls-context",
            "min-version",
            "TLSv1.2",
            &["tls-version"],
        ),
        (
            tls,
            "tls-context",
            "keystore",
            "custody:web/tls",
            &["tls-version"],
        ),
        (tls, "keystore", "subject", "CN=x", &[]),
        (
            r#"{"min-tls-version":"TLSv1.2"}"#,
            "tls-context",
            "keystore",
            "x",
            &[],
        ),
        ("{}", "private-key", "key-algorithm", "RSA 512", &[]),
    ];
    for (rules, kind, name, value, codes) in table {
        assert_eq!(
            found(rules, kind, &[(name, value)], 0),
            *codes,
            "{kind} {value}"
        );
    }
    let key = |algorithm, bits| {
        found(
            symmetric,
            "symmetric-key",
            &[("algorithm", algorithm), ("bits", bits)],
            0,
        )
    };
    assert_eq!(key("aes", "256"), [""; 0]);
    assert_eq!(key("aes", "128"), ["key-size"]);
    assert_eq!(key("chacha20", "256"), ["key-algorithm"]);
}

#[test]
fn times_are_found_to_the_moment_and_the_next_one_is_known() {
    let json = r#"{"max-validity-days":10,"warn-before-days":3,"max-age-days":7}"#;
    let valid = |from, to| {
        [
            ("not-before", from),
            ("not-after", to),
            ("chain-not-after", to),
        ]
    };
    let short = valid("1970-01-01T00:00:00Z", "1970-01-11T00:00:00Z");
    let long = valid("1970-01-01T00:00:00Z", "1970-01-11T00:00:01Z");
    assert_eq!(found(json, "certificate", &short, 0), [""; 0]);
    assert_eq!(found(json, "certificate", &long, 0), ["validity"]);
    assert_eq!(
        found(json, "jwt", &[("iat", short[0].1), ("exp", long[1].1)], 0),
        ["validity"]
    );
    assert_eq!(found(json, "jwt", &[("exp", long[1].1)], 0), [""; 0]);

    let kind = Kind::from_name("certificate").unwrap();
    let properties = properties(&short);
    let mut now = 0;
    let mut told = Vec::new();
    // Nothing changes but when it was said to.
    loop {
        let at = |now| {
            let subject = Subject {
                kind,
                properties: &properties,
                written: 0,
            };
            check(&rules(json), subject, now)
        };
        let verdict = at(now);
        let codes = |verdict: &Verdict| -> Vec<_> {
            verdict
                .findings
                .iter()
                .map(|finding| finding.code.name())
                .collect()
        };
        told.push((now, codes(&verdict)));
        let Some(next) = verdict.next else { break };
        assert_eq!(codes(&at(next - 1)), codes(&verdict));
        now = next;
    }
    let expected = [
        (0, vec![]),
        (7 * DAY, vec!["ends-soon"]),
        (7 * DAY + 1, vec!["ends-soon", "age"]),
        (10 * DAY, vec!["ended", "age"]),
    ];
    assert_eq!(told, expected);
}

#[test]
fn rules_are_what_they_say_and_nothing_is_taken_for_one() {
    let all = r#"{"mode":"enforce","min-rsa-bits":1,"min-ec-bits":2,"min-symmetric-bits":3,"key-algorithms":["rsa","ed25519"],"signature-algorithms":["rsa-pss"],"symmetric-algorithms":["aes"],"min-tls-version":"TLSv1.2","max-validity-days":4,"warn-before-days":5,"max-age-days":6}"#;
    assert_eq!(rules(all).to_json(), all);
    assert_eq!(rules("{}").to_json(), r#"{"mode":"report"}"#);
    for wrong in [
        r#"{"min-rsa-bit":1}"#,
        r#"{"min-rsa-bits":0}"#,
        r#"{"mode":"ignore"}"#,
        r#"{"key-algorithms":["dsa"]}"#,
        r#"{"min-tls-version":"SSLv3"}"#,
    ] {
        assert!(Rules::from_json(wrong).is_none(), "{wrong}");
    }
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
            description: String::new(),
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
            token_label: String::new(),
            token_serial: String::new(),
            created: 0,
        }),
        Row::Secret(Secret {
            id: id(),
            kind: Kind::from_name("certificate").unwrap(),
            current: None,
            previous: None,
            pending: Some(2),
            keep: None,
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
        accepted: &accepted,
        fingerprint: Fingerprint::from_bytes([2; 32]),
        sealed: sealed(),
        wrapped: WrappedDek::from_blob([5; 60]),
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
            let subject = Subject { kind, properties: &properties, written };
            let findings = check(&rules, subject, NOW).findings;
            rules.mode == rules::Mode::Report || !findings.iter().any(|one| one.code.refuses())
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
