use proptest::prelude::*;

use super::*;
use crate::{
    envelope::{PlaintextDek, SealedDigest},
    group::{Group, Purpose},
    holder::{Holders, TokenId},
    label::About,
    policy::rule::{Patterns, Selectors, Terms},
    row::{Row, RowId, RowKey, Tagged},
    secret::version::{Fingerprint, Secret, VersionState},
    state::edit::Edit,
};

const RULES: u8 = 4;

/// A state that was changed, and the rows that are stored after that.
struct World {
    state: State,
    /// Parents first.
    rows: BTreeMap<(u8, String), Tagged>,
    changes: u64,
}

fn empty() -> State {
    State::empty(RowKey::take(PlaintextDek::take(&mut [3; 32]).unwrap()))
}

fn place(id: &RowId) -> (u8, String) {
    let depth = match id {
        RowId::Group(_) => 0,
        RowId::Secret(_) => 1,
        _ => 2,
    };
    (depth, format!("{id:?}"))
}

impl World {
    fn new() -> Self {
        Self {
            state: empty(),
            rows: BTreeMap::new(),
            changes: 0,
        }
    }

    fn edit(&mut self, puts: Vec<Row>, deletes: Vec<RowId>) {
        self.changes += 1;
        let edit = Edit {
            puts,
            deletes,
            ..Edit::default()
        };
        let plan = self.state.plan(edit, self.changes);
        self.state.adopt(&plan);
        for id in &plan.deletes {
            self.rows.remove(&place(id));
        }
        for tagged in plan.rows {
            self.rows.insert(place(&tagged.row.id()), tagged);
        }
    }

    /// The state that a start makes of the rows.
    fn loaded(&self) -> State {
        let mut state = empty();
        for tagged in self.rows.values() {
            state.load(tagged.clone()).unwrap();
        }
        state
    }
}

/// Every grant, and what is doomed by `now`.
type Seen<'a> = (Vec<Option<&'a Rule>>, Vec<&'a SecretId>);

fn looked_up(state: &State, now: Millis) -> Seen<'_> {
    let rules = (0..RULES).map(|number| state.rule(&rule_id(number)));
    (rules.collect(), Vec::from_iter(state.doomed(now)))
}

fn walked(state: &State, now: Millis) -> Seen<'_> {
    let rule = |number| {
        state
            .groups()
            .find_map(|group| group.rule(&rule_id(number)))
    };
    let secrets = state.groups().flat_map(|group| group.secrets());
    let doomed = secrets.filter(|secret| {
        let mut dooms = secret.versions().filter_map(|it| it.row().state.doom());
        dooms.any(|at| at <= now)
    });
    let doomed = doomed.map(|secret| &secret.row().id);
    ((0..RULES).map(rule).collect(), doomed.collect())
}

fn rule_id(number: u8) -> RuleId {
    RuleId::from_bytes(&[number; 8]).unwrap()
}

/// Each grant has its group for good.
fn owner(rule: u8) -> GroupName {
    ["a", "b"][usize::from(rule % 2)].parse().unwrap()
}

fn rule(number: u8) -> Row {
    Row::Rule(Rule {
        id: rule_id(number),
        group: owner(number),
        patterns: Patterns::new(vec!["*".parse().unwrap()]).unwrap(),
        selectors: Selectors::new(vec!["unix:uid:1000".parse().unwrap()]).unwrap(),
        terms: Terms::default(),
        created: 0,
        created_by: 0,
    })
}

fn group(name: GroupName) -> Row {
    Row::Group(Group {
        name,
        purpose: Purpose::default(),
        cache: None,
        holders: Holders::only(TokenId::new("token", "1")),
        keeping: crate::group::Keeping::InToken,
        created: 0,
        created_by: 0,
    })
}

fn secret(id: &SecretId) -> Row {
    Row::Secret(Secret {
        id: id.clone(),
        kind: Kind::from_name("blob").unwrap(),
        current: None,
        previous: None,
        pending: None,
        keep: None,
        about: About::default(),
        created: 0,
        created_by: 0,
    })
}

fn version(secret: &SecretId, number: u32, state: VersionState) -> Row {
    Row::Version(Version {
        id: VersionId {
            secret: secret.clone(),
            number,
        },
        size: 1,
        sealed: SealedDigest::from_bytes([1; 32]),
        dek_generation: 1,
        exposed: None,
        fingerprint: Fingerprint::from_bytes([1; 32]),
        properties: Vec::new(),
        state,
        valid_until: None,
        created: 0,
        created_by: 0,
    })
}

/// A secret and all below it, children first.
fn with_versions(view: crate::state::view::SecretView<'_>) -> Vec<RowId> {
    let versions = view.versions().map(|version| version.row().id.clone());
    let mut all: Vec<_> = versions.map(RowId::Version).collect();
    all.push(RowId::Secret(view.row().id.clone()));
    all
}

/// A group and all below it, children first.
fn with_all(state: &State, name: &GroupName) -> Vec<RowId> {
    let Some(view) = state.group(name) else {
        return Vec::new();
    };
    let mut all: Vec<_> = view.secrets().flat_map(with_versions).collect();
    all.extend(view.rules().map(|rule| RowId::Rule(name.clone(), rule.id)));
    all.push(RowId::Group(name.clone()));
    all
}

proptest! {
    #[test]
    fn what_is_looked_up_is_what_a_walk_finds(
        changes in proptest::collection::vec(
            (0..12_u8, 0..RULES, 0..2_usize, 1..4_u32, 0..4_u64), 1..60,
        ),
        now in 0..4_u64,
    ) {
        let mut world = World::new();
        for (what, number, name, nth, at) in changes {
            let of = owner(number);
            let id = SecretId { group: of.clone(), name: ["x", "y"][name].parse().unwrap() };
            let (mut puts, mut deletes) = (Vec::new(), Vec::new());
            match what {
                0 => deletes = with_all(&world.state, &of),
                1 => deletes = world.state.secret(&id).map(with_versions).unwrap_or_default(),
                2 => deletes = vec![RowId::Version(VersionId { secret: id, number: nth })],
                3 => deletes = vec![RowId::Rule(of, rule_id(number))],
                4..=6 => puts = vec![group(of), rule(number)],
                _ => {
                    let state = match at {
                        0 => VersionState::Disabled,
                        at => VersionState::Doomed(at),
                    };
                    puts = vec![group(of), secret(&id), version(&id, nth, state)];
                }
            }
            world.edit(puts, deletes);
            prop_assert_eq!(looked_up(&world.state, now), walked(&world.state, now));
        }
        let loaded = world.loaded();
        prop_assert_eq!(looked_up(&loaded, now), walked(&world.state, now));
    }
}

#[test]
fn what_is_gone_takes_no_room() {
    let mut world = World::new();
    let name = "x".parse().unwrap();
    let id = SecretId {
        group: owner(0),
        name,
    };
    for gone in [RowId::Secret(id.clone()), RowId::Group(owner(0))] {
        let doomed = [1, 2].map(|number| version(&id, number, VersionState::Doomed(1)));
        let mut puts = vec![group(owner(0)), rule(0), secret(&id)];
        puts.extend(doomed);
        world.edit(puts, Vec::new());
        assert_eq!(world.state.doomed.0.len(), 2);
        assert_eq!(world.state.owners.0.len(), 1);
        world.edit(Vec::new(), vec![gone]);
        assert!(world.state.doomed.0.is_empty());
    }
    assert!(world.state.owners.0.is_empty());
    world.edit(vec![group(owner(0)), rule(0)], Vec::new());
    world.edit(Vec::new(), vec![RowId::Rule(owner(0), rule_id(0))]);
    assert!(world.state.owners.0.is_empty());
}
