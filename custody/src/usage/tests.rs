//! What is counted, and that a replay of the journal counts the same.

use serde_json::json;

use super::{visits::MAX_VERSIONS, *};
use crate::{
    envelope::PlaintextDek,
    group::Group,
    holder::{Holders, TokenId},
    policy::rule::{Patterns, Rate, Selectors, Terms},
    row::{Row, RowKey},
    state::edit::Edit,
};

fn rule(terms: Terms) -> Rule {
    Rule {
        id: RuleId::from_bytes(&[1; 8]).unwrap(),
        group: "web".parse().unwrap(),
        patterns: Patterns::new(vec!["*".parse().unwrap()]).unwrap(),
        selectors: Selectors::new(vec!["unix:uid:1".parse().unwrap()]).unwrap(),
        terms,
        created: 0,
        created_by: 0,
    }
}

fn rated(uses: u32, seconds: u32) -> Rule {
    rule(Terms {
        rate: Some(Rate { uses, seconds }),
        ..Terms::default()
    })
}

fn secret() -> SecretId {
    SecretId {
        group: "web".parse().unwrap(),
        name: "key".parse().unwrap(),
    }
}

fn delivered(seq: u64, version: u32, at: Millis) -> Delivered {
    Delivered {
        receipt: Receipt::of_durable(seq),
        rule: rule(Terms::default()).id,
        secret: secret(),
        version,
        consumer: Consumer {
            uid: 1,
            what: Some(Selector::Unit("a.service".into())),
        },
        at,
    }
}

#[test]
fn a_grant_has_so_many_uses_and_one_that_was_given_back() {
    let twice = rule(Terms {
        uses: 2.try_into().ok(),
        ..Terms::default()
    });
    let mut usage = Usage::default();
    for at in [10, 20] {
        assert!(usage.has_left(&twice));
        usage.take(&twice, at);
    }
    assert!(!usage.has_left(&twice));
    usage.give_back(&twice.id, 20);
    assert!(usage.has_left(&twice));
    assert_eq!(usage.of_rule(&twice.id).unwrap().count, 1);
}

#[test]
fn a_rate_holds_in_every_span() {
    let rule = rated(2, 10);
    let mut usage = Usage::default();
    for (now, within) in [
        (0, true),
        (9_999, true),
        (9_999, false),
        (10_000, true),
        (19_998, false),
        (19_999, true),
    ] {
        assert_eq!(usage.in_rate(&rule, now), within, "at {now}");
        if within {
            usage.take(&rule, now);
        }
    }
    assert!(usage.of_rule(&rule.id).unwrap().recent.len() <= 2);
    // a clock that is set back does not open the gate
    assert!(!usage.in_rate(&rule, 5));
}

#[test]
fn what_was_not_delivered_is_taken_back_once() {
    let rule = rule(Terms::default());
    let mut usage = Usage::default();
    for (seq, version) in [(7, 1), (8, 2)] {
        usage.take(&rule, seq);
        usage.delivered(delivered(seq, version, seq));
    }
    for _ in 0..2 {
        usage.undelivered(Receipt::of_durable(8));
        assert_eq!(usage.of_rule(&rule.id).unwrap().count, 1);
        let secret = secret();
        let (_, visits) = usage.of_secret(&secret).next().unwrap();
        assert_eq!((visits.fetches, visits.first, visits.last), (1, 7, 8));
        assert_eq!(visits.version(), Some(1));
        assert!(usage.gave(&rule.id, &secret));
    }
    usage.undelivered(Receipt::of_durable(7));
    assert!(!usage.gave(&rule.id, &secret()));
}

#[test]
fn the_version_that_was_fetched_last_is_known_and_those_before_it() {
    let mut usage = Usage::default();
    let versions = |usage: &Usage| {
        let secret = secret();
        let (_, visits) = usage.of_secret(&secret).next().unwrap();
        let known = visits.versions.iter();
        known
            .map(|one| (one.version, one.fetches, one.last))
            .collect::<Vec<_>>()
    };
    for (seq, version) in [(10, 1), (20, 2), (30, 1)] {
        usage.delivered(delivered(seq, version, seq));
    }
    assert_eq!(versions(&usage), [(2, 1, 20), (1, 2, 30)]);
    // What was not delivered was not fetched: the other is the last again.
    usage.undelivered(Receipt::of_durable(30));
    assert_eq!(versions(&usage), [(1, 1, 10), (2, 1, 20)]);
    usage.undelivered(Receipt::of_durable(20));
    assert_eq!(versions(&usage), [(1, 1, 10)]);
    for version in 1..=20 {
        let seq = 100 + u64::from(version);
        usage.delivered(delivered(seq, version, seq));
    }
    assert_eq!(versions(&usage).len(), MAX_VERSIONS);
    assert_eq!(versions(&usage).last(), Some(&(20, 1, 120)));
}

#[test]
fn a_grant_that_gave_one_secret_did_not_give_another() {
    let mut usage = Usage::default();
    usage.delivered(delivered(7, 1, 7));
    let rule = rule(Terms::default()).id;
    let other = SecretId {
        name: "other".parse().unwrap(),
        ..secret()
    };
    assert!(usage.gave(&rule, &secret()));
    assert!(!usage.gave(&rule, &other));
    assert!(!usage.gave(&RuleId::from_bytes(&[2; 8]).unwrap(), &secret()));
    usage.forget_secret(&secret());
    assert!(!usage.gave(&rule, &secret()));
}

#[test]
fn who_has_not_come_for_the_longest_time_is_forgotten_first() {
    let mut usage = Usage::default();
    for uid in 0..=u32::try_from(MAX_CONSUMERS).unwrap() {
        let at = if uid == 0 { 5_000 } else { uid.into() };
        usage.delivered(Delivered {
            consumer: Consumer { uid, what: None },
            ..delivered(uid.into(), 1, at)
        });
    }
    let secret = secret();
    let uids: BTreeSet<_> = usage.of_secret(&secret).map(|(who, _)| who.uid).collect();
    assert_eq!(uids.len(), MAX_CONSUMERS);
    assert!(uids.contains(&0) && !uids.contains(&1));
}

#[test]
fn a_replay_counts_the_same() {
    let mut state = State::empty(RowKey::take(PlaintextDek::take(&mut [3; 32]).unwrap()));
    let group = Group {
        name: "web".parse().unwrap(),
        purpose: crate::group::Purpose::default(),
        cache: None,
        holders: Holders::only(TokenId::new("token", "1")),
        keeping: crate::group::Keeping::InToken,
        created: 0,
        created_by: 0,
    };
    let rule = rated(1, 60);
    let edit = Edit {
        puts: vec![Row::Group(group), Row::Rule(rule.clone())],
        ..Edit::default()
    };
    let plan = state.plan(edit, 1);
    state.adopt(&plan);

    let mut lived = Usage::default();
    for (seq, version) in [(7, 1), (8, 3), (9, 2)] {
        lived.take(&rule, seq * 10);
        lived.delivered(delivered(seq, version, seq * 10));
    }
    lived.undelivered(Receipt::of_durable(9));

    let allow = |operation, version| {
        json!({
            "kind": "allow", "operation": operation, "group": "web", "secret": "key",
            "caller": { "uid": 1, "unit": "a.service", "pid": 5, "exe": "/bin/a" },
            "version": version, "grant": "0101010101010101",
        })
    };
    let mut replayed = Usage::default();
    let lines = [
        (6, allow("notify", 1)),
        (7, allow("deliver", 1)),
        (8, allow("deliver", 3)),
        (9, allow("deliver", 2)),
        (10, json!({ "kind": "undelivered", "allowed": 9 })),
        (11, json!({ "kind": "checkpoint", "covers": 9 })),
    ];
    for (seq, line) in lines {
        replayed.replay(
            seq,
            seq * 10,
            serde_json::from_value(line).unwrap(),
            &Known::of(&state),
        );
    }
    assert_eq!(replayed, lived);

    let kept = serde_json::to_string(&lived).unwrap();
    assert_eq!(serde_json::from_str::<Usage>(&kept).unwrap(), lived);
    // the secret is not there, the grant is
    replayed.forget(&Known::of(&state));
    assert_eq!(replayed.of_secret(&secret()).count(), 0);
    assert!(replayed.of_rule(&rule.id).is_some());
}

#[test]
fn a_consumer_is_known_by_what_outlives_it() {
    let part = Some;
    for (pod, container, unit, exe, what) in [
        (
            part("p"),
            part("c"),
            part("a.scope"),
            part("/x"),
            "k8s:pod-uid:p",
        ),
        (
            None,
            part("c"),
            part("a.scope"),
            part("/x"),
            "container:id:c",
        ),
        (
            None,
            None,
            part("a.service"),
            part("/x"),
            "systemd:id:a.service",
        ),
        (
            None,
            None,
            part("session-3.scope"),
            part("/x"),
            "unix:path:/x",
        ),
        (
            None,
            None,
            part("user@5.service"),
            part("/x"),
            "unix:path:/x",
        ),
    ] {
        let consumer = Consumer::from_parts(1, pod, container, unit, exe);
        assert_eq!(consumer.what.unwrap().to_string(), what);
    }
    assert_eq!(Consumer::from_parts(1, None, None, None, None).what, None);
}
