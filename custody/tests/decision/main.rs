//! The decision against an oracle that is written another way: for every small universe of
//! callers, grants, secrets and times, both say the same.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use std::{collections::BTreeSet, num::NonZeroU64};

use custody::{
    caller::{Caller, fact::Need},
    policy::{
        Deliver, Depth, Moment, Notify, Operation, Wanted,
        rule::{Rule, Terms},
    },
    secret::version::Which,
    state::State,
    usage::Usage,
};

mod caller;
mod world;

use caller::*;
use world::*;

/// The oracle: whether this one grant gives the caller what it wants, said in one line for
/// each thing that could be in the way.
fn gives(rule: &Rule, who: Who, wanted: &Wanted, used: u64, reveals: bool) -> bool {
    let name = wanted.name.to_string();
    let mut patterns = rule.patterns.as_slice().iter().map(ToString::to_string);
    let covered = patterns.any(|pattern| match pattern.split_once('*') {
        Some((start, _)) => name.starts_with(start),
        None => name == pattern,
    });
    let terms = &rule.terms;
    let has = |field: &String| field == if name == "pw" { "password" } else { "content" };
    wanted.group == rule.group
        && covered
        && rule
            .selectors
            .as_slice()
            .iter()
            .all(|selector| holds(&selector.to_string(), who))
        && terms
            .kind
            .is_none_or(|kind| kind.name() == kind_of(&name).name())
        && wanted.fields.iter().all(has)
        && (terms.fields.is_empty()
            || wanted
                .fields
                .iter()
                .all(|field| terms.fields.contains(field)))
        && (terms.fields.is_empty() || terms.fields.iter().any(has))
        && NOW >= terms.not_before.unwrap_or(0)
        && NOW < terms.not_after.unwrap_or(u64::MAX)
        && used < terms.uses.map_or(u64::MAX, NonZeroU64::get)
        && !(reveals && terms.rate.is_some_and(|rate| used >= rate.uses.into()))
}

/// The oracle: whether the version that is wanted can be had, by whoever may.
fn is_there(wanted: &Wanted, reveals: bool) -> bool {
    let number = match (wanted.name.as_str(), wanted.version) {
        (_, Which::Current) => 1,
        ("key", Which::Previous) => 2,
        ("key", Which::Pending) => 3,
        (_, Which::Number(number)) => number,
        _ => return false,
    };
    match number {
        1 => true,
        _ if wanted.name.as_str() != "key" => false,
        2 | 3 => true,
        // Disabled, doomed, destroyed, outlived.
        4..=7 => false,
        // Outlived in a moment.
        8 => true,
        // Under a master key that is pre-active, suspended, destroyed, destroyed and compromised.
        9 | 11 | 14 | 15 => !reveals,
        // Active, deactivated, compromised.
        10 | 12 | 13 => true,
        _ => false,
    }
}

fn agree<Op: Operation>(
    state: &State,
    rules: &[Rule],
    usage: &Usage,
    who: Who,
    wanted: &Wanted,
) -> bool {
    let moment = Moment { now: NOW, usage };
    let used = |rule: &Rule| usage.of_rule(&rule.id).map_or(0, |uses| uses.count);
    let mut giving = rules
        .iter()
        .filter(|rule| gives(rule, who, wanted, used(rule), Op::REVEALS));
    let expected = giving.clone().next().is_some()
        && SECRETS.contains(&wanted.name.as_str())
        && is_there(wanted, Op::REVEALS);
    let decided = state.decide::<Op>(Caller::attested(evidence(who)), wanted.clone(), moment);
    let explained = state.explain::<Op>(&evidence(who), wanted, moment);
    assert_eq!(decided.is_ok(), expected, "{who:?} {wanted:?} {rules:?}");
    match (decided, explained.outcome) {
        (Ok(grant), Ok(rule)) => {
            assert_eq!(grant.rule(), rule);
            assert!(
                giving.any(|one| one == rule),
                "{rule:?} gives {wanted:?} to {who:?}"
            );
            assert!(
                explained
                    .considered
                    .iter()
                    .any(|(one, missing)| *one == rule && missing.is_empty())
            );
        }
        (Err(denial), Err(reason)) => assert_eq!(denial.reason, reason),
        (_, explained) => panic!("the decision is explained by {explained:?}"),
    }
    expected
}

fn wishes() -> Vec<Wanted> {
    let mut wishes: Vec<_> = ["key", "kex", "pw", "none"]
        .map(|name| wanted(name, &[]))
        .into();
    wishes.extend([
        wanted("pw", &["password"]),
        wanted("key", &["content"]),
        wanted("key", &["other"]),
        // There is one of this name there, too.
        Wanted {
            group: "app".parse().unwrap(),
            ..wanted("key", &[])
        },
        Wanted {
            group: "none".parse().unwrap(),
            ..wanted("key", &[])
        },
    ]);
    wishes
}

fn agree_on_all(rules: &[Rule]) -> usize {
    agree_on(rules, &callers(), &wishes())
}

fn agree_on(rules: &[Rule], callers: &[Who], wishes: &[Wanted]) -> usize {
    let state = state(rules);
    let fresh = Usage::default();
    let mut spent = Usage::default();
    rules.iter().for_each(|rule| spent.take(rule, NOW));
    let mut granted = 0;
    for usage in [&fresh, &spent] {
        for &who in callers {
            for wish in wishes {
                granted += usize::from(agree::<Deliver>(&state, rules, usage, who, wish));
                granted += usize::from(agree::<Notify>(&state, rules, usage, who, wish));
            }
        }
    }
    granted
}

#[test]
fn one_grant_gives_what_the_oracle_says() {
    assert_eq!(agree_on_all(&[]), 0);
    let mut granted = 0;
    for demand in demands() {
        granted += agree_on_all(&[rule(1, "ke*", &demand, Terms::default())]);
    }
    for pattern in ["key", "*", "kex pw", "pw k*"] {
        for identity in identities() {
            granted += agree_on_all(&[rule(1, pattern, &[identity], Terms::default())]);
        }
        for terms in terms() {
            granted += agree_on_all(&[rule(1, pattern, &["unix:uid:33"], terms)]);
        }
    }
    assert!(granted > 1000, "the oracle denies nearly everything");
}

#[test]
fn two_grants_give_what_either_does() {
    let mut few = callers();
    few.retain(|who| who.more == More::Nothing && who.exe == "/bin/a");
    for first in terms() {
        for second in terms() {
            let rules = [
                rule(1, "*", &["unix:uid:33"], first.clone()),
                rule(2, "k*", &["systemd:id:nginx.service"], second),
            ];
            agree_on(&rules, &few, &wishes());
        }
    }
}

#[test]
fn two_grants_to_different_callers_give_what_either_does() {
    let wishes = [wanted("key", &[]), wanted("pw", &[])];
    let mut granted = 0;
    for first in identities() {
        for second in identities() {
            let rules = [
                rule(1, "key", std::slice::from_ref(&first), Terms::default()),
                rule(2, "k* pw", &[second], Terms::default()),
            ];
            granted += agree_on(&rules, &callers(), &wishes);
        }
    }
    assert!(granted > 1000, "the oracle denies nearly everything");
}

#[test]
fn a_version_is_given_by_its_state_and_that_of_its_master_key() {
    let numbers = (0..=16).map(Which::Number);
    let parts = [Which::Current, Which::Previous, Which::Pending];
    let mut wishes = Vec::new();
    for version in parts.into_iter().chain(numbers) {
        for name in ["key", "pw", "none"] {
            wishes.push(Wanted {
                version,
                ..wanted(name, &[])
            });
        }
    }
    let rules = [rule(1, "*", &["unix:uid:33"], Terms::default())];
    let granted = agree_on(&rules, &[PLAIN, Who { uid: 34, ..PLAIN }], &wishes);
    // Nine versions of one and one of the other, the current ones by two names more, and
    // three more that may be told of: with fresh counts and with spent ones.
    assert!(granted > 40, "the oracle denies nearly everything");
}

#[test]
fn a_caller_gets_the_grant_that_gives_most_and_costs_least() {
    let part = Terms {
        fields: ["content".to_owned()].into(),
        ..Terms::default()
    };
    let counted = Terms {
        uses: NonZeroU64::new(1),
        ..Terms::default()
    };
    let rules = [
        rule(1, "*", &["unix:uid:33"], part),
        rule(2, "*", &["unix:uid:33"], counted),
        rule(3, "*", &["unix:uid:33"], Terms::default()),
    ];
    let who = PLAIN;
    let usage = Usage::default();
    let chosen = |rules: &[Rule], fields: &[&str]| {
        let moment = Moment {
            now: NOW,
            usage: &usage,
        };
        let caller = Caller::attested(evidence(who));
        let decision = state(rules).decide::<Deliver>(caller, wanted("key", fields), moment);
        decision.unwrap().rule().id.as_bytes()[0]
    };
    assert_eq!(chosen(&rules, &[]), 3);
    assert_eq!(
        chosen(&rules[..2], &[]),
        2,
        "all fields, though it is counted"
    );
    assert_eq!(chosen(&rules[..2], &["content"]), 1, "no use is wasted");
}

#[test]
fn facts_are_looked_up_for_those_alone_who_could_match_by_them() {
    let rules = [
        rule(
            1,
            "key",
            &["unix:uid:33", "process:traced:no"],
            Terms::default(),
        ),
        rule(
            2,
            "pw",
            &["unix:uid:33", &format!("unix:sha256:{}", "0".repeat(64))],
            Terms::default(),
        ),
    ];
    let state = state(&rules);
    let needs = |uid, name| {
        let who = Who { uid, ..PLAIN };
        state.needs(&evidence(who), &wanted(name, &[]), Depth::Alone)
    };
    assert!(needs(33, "key").has(Need::Tracer) && !needs(33, "key").has(Need::Sha256));
    assert!(needs(33, "pw").has(Need::Sha256) && !needs(33, "pw").has(Need::Tracer));
    assert!(needs(34, "key").is_empty() && needs(34, "pw").is_empty());
    assert!(needs(33, "none").is_empty());
}

#[test]
fn an_explanation_puts_the_nearest_grant_first() {
    let rules = [
        rule(1, "pw", &["unix:uid:33"], Terms::default()),
        rule(
            2,
            "key",
            &["unix:uid:34", "systemd:id:nginx.service"],
            Terms::default(),
        ),
        rule(
            3,
            "key",
            &["unix:uid:33", "systemd:id:nginx.service"],
            Terms::default(),
        ),
    ];
    let state = state(&rules);
    let evidence = evidence(PLAIN);
    let usage = Usage::default();
    let moment = Moment {
        now: NOW,
        usage: &usage,
    };
    let wish = wanted("key", &[]);
    let explained = state.explain::<Deliver>(&evidence, &wish, moment);
    assert!(explained.outcome.is_err());
    let order: Vec<_> = explained
        .considered
        .iter()
        .map(|(rule, _)| rule.id.as_bytes()[0])
        .collect();
    assert_eq!(order, [3, 2, 1]);
    let (nearest, missing) = &explained.considered[0];
    assert_eq!(missing[0].demands(nearest), "systemd:id:nginx.service");
    assert_eq!(missing[0].found(&evidence, &wish), "nothing of that kind");
    let (other, missing) = &explained.considered[1];
    assert_eq!(missing[0].demands(other), "unix:uid:34");
    assert_eq!(missing[0].found(&evidence, &wish), "unix:uid:33");
    assert_eq!(BTreeSet::from_iter(order).len(), 3);
}
