//! A secret with what it refers to: all of it, each by a grant of its own, or none.

use std::collections::BTreeSet;

use custody::{
    caller::fact::Need,
    change,
    journal::{self, Refusal},
    name::RuleId,
    policy::{
        Deliver, Denial, Depth, Grant, Notify, Operation, Wanted,
        rule::{Patterns, Rule, Selectors, Terms},
    },
    usage::Usage,
};

use crate::{
    references::Shelf,
    world::{Paper, World, caller, evidence, name, now, only_uid, wanted},
};

/// A key store, a trust store, and a context of both; nobody has a grant.
fn shelf() -> Shelf {
    let mut shelf = Shelf::with_keystore();
    shelf.put("web/ca", "truststore", &[]).unwrap();
    let refers = [
        ("keystore", "custody:web/key"),
        ("truststore", "custody:web/ca"),
    ];
    shelf.put("web/ctx", "tls-context", &refers).unwrap();
    shelf
}

fn grant(world: &mut World, secret: &str, selectors: Selectors, terms: Terms) -> RuleId {
    let rule = Rule {
        id: RuleId::random().unwrap(),
        group: name("web"),
        patterns: Patterns::new(vec![secret.parse().unwrap()]).unwrap(),
        selectors,
        terms,
        created: 3,
        created_by: 0,
    };
    let id = rule.id;
    let (edit, _) = change::add_grant(&world.state, rule, Vec::new()).unwrap();
    world.follow(edit);
    id
}

fn decide<Op: Operation>(
    world: &World,
    wanted: Wanted,
    usage: &mut Usage,
) -> Result<Vec<Grant<Op>>, Box<Denial>> {
    world
        .state
        .decide_all(&caller(33), wanted, Depth::Resolved, 100, usage)
}

fn versions<Op: Operation>(grants: &[Grant<Op>]) -> Vec<String> {
    grants
        .iter()
        .map(|grant| grant.version().to_string())
        .collect()
}

fn counted(uses: u64) -> Terms {
    Terms {
        uses: uses.try_into().ok(),
        ..Terms::default()
    }
}

#[test]
fn each_part_has_a_grant_and_an_entry_of_its_own() {
    let mut shelf = shelf();
    for secret in ["ctx", "key", "ca"] {
        grant(&mut shelf.world, secret, only_uid(33), Terms::default());
    }
    shelf.put("web/key", "keystore", &[]).unwrap();
    let decision = decide::<Deliver>(&shelf.world, wanted("web/ctx", None), &mut Usage::default());
    let all = ["web/ctx@1", "web/key@2", "web/ca@1"];
    assert_eq!(versions(decision.as_deref().unwrap()), all);
    let paper = Paper::default();
    let permits = now(journal::record_all(decision, &paper)).unwrap();
    let receipts: Vec<_> = permits
        .iter()
        .map(|permit| permit.receipt().seq())
        .collect();
    assert_eq!(receipts, [1, 2, 3]);
    let lines = paper.lines.lock().unwrap();
    let has = |line: &str, text| line.contains(text);
    assert!(!has(&lines[0], "via"), "{}", lines[0]);
    assert!(
        has(&lines[1], r#""via":"web/ctx@1#keystore""#),
        "{}",
        lines[1]
    );
    assert!(
        has(&lines[2], r#""via":"web/ctx@1#truststore""#),
        "{}",
        lines[2]
    );
}

#[test]
fn without_a_record_of_all_there_is_no_permit_for_any() {
    let mut shelf = shelf();
    grant(&mut shelf.world, "*", only_uid(33), Terms::default());
    let decision = decide::<Deliver>(&shelf.world, wanted("web/ctx", None), &mut Usage::default());
    let paper = Paper {
        full: true,
        ..Paper::default()
    };
    let refused = now(journal::record_all(decision, &paper));
    assert!(matches!(refused, Err(Refusal::Unrecorded(_))));
}

#[test]
fn one_denial_denies_all_and_gives_every_use_back() {
    let mut shelf = shelf();
    let ids = ["ctx", "key"].map(|secret| {
        let (selectors, terms) = (only_uid(33), counted(5));
        grant(&mut shelf.world, secret, selectors, terms)
    });
    let mut usage = Usage::default();
    let denial = decide::<Deliver>(&shelf.world, wanted("web/ctx", None), &mut usage).unwrap_err();
    assert_eq!(denial.wanted.name.as_str(), "ca");
    assert_eq!(denial.via.unwrap().to_string(), "web/ctx@1#truststore");
    assert_eq!(
        ids.map(|id| usage.of_rule(&id).map_or(0, |uses| uses.count)),
        [0, 0]
    );

    grant(&mut shelf.world, "ca", only_uid(33), Terms::default());
    decide::<Notify>(&shelf.world, wanted("web/ctx", None), &mut usage).unwrap();
    assert_eq!(
        ids.map(|id| usage.of_rule(&id).map_or(0, |uses| uses.count)),
        [0, 0]
    );
    decide::<Deliver>(&shelf.world, wanted("web/ctx", None), &mut usage).unwrap();
    assert_eq!(
        ids.map(|id| usage.of_rule(&id).map_or(0, |uses| uses.count)),
        [1, 1]
    );
}

#[test]
fn what_is_decided_for_one_part_has_not_the_use_of_another() {
    let mut shelf = shelf();
    let id = grant(&mut shelf.world, "*", only_uid(33), counted(2));
    let mut usage = Usage::default();
    decide::<Deliver>(&shelf.world, wanted("web/ctx", None), &mut usage).unwrap_err();
    assert_eq!(usage.of_rule(&id).unwrap().count, 0);
}

#[test]
fn only_the_references_that_are_delivered_are_followed() {
    let mut shelf = shelf();
    let terms = Terms {
        fields: ["keystore", "alpn"].map(str::to_owned).into(),
        ..Terms::default()
    };
    grant(&mut shelf.world, "ctx", only_uid(33), terms);
    grant(&mut shelf.world, "key", only_uid(33), Terms::default());
    let of = |fields: &[&str]| {
        let fields: BTreeSet<_> = fields.iter().map(|field| (*field).to_owned()).collect();
        let wanted = Wanted {
            fields,
            ..wanted("web/ctx", None)
        };
        let decision = decide::<Deliver>(&shelf.world, wanted, &mut Usage::default());
        versions(&decision.unwrap())
    };
    assert_eq!(of(&[]), ["web/ctx@1", "web/key@1"]);
    assert_eq!(of(&["alpn"]), ["web/ctx@1"]);
    let alone = shelf.world.state.decide_all::<Deliver>(
        &caller(33),
        wanted("web/ctx", None),
        Depth::Alone,
        100,
        &mut Usage::default(),
    );
    assert_eq!(versions(&alone.unwrap()), ["web/ctx@1"]);
}

#[test]
fn what_a_part_s_grant_asks_for_is_looked_up_before() {
    let mut shelf = shelf();
    grant(&mut shelf.world, "ctx", only_uid(33), Terms::default());
    let digest = format!("unix:sha256:{}", "0".repeat(64));
    let selectors = ["unix:uid:33", &digest].map(|text| text.parse().unwrap());
    let selectors = Selectors::new(selectors.into()).unwrap();
    grant(&mut shelf.world, "key", selectors, Terms::default());
    let needs = |depth| {
        shelf
            .world
            .state
            .needs(&evidence(33), &wanted("web/ctx", None), depth)
    };
    assert!(needs(Depth::Resolved).has(Need::Sha256));
    assert!(!needs(Depth::Alone).has(Need::Sha256));
}
