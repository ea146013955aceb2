use proptest::prelude::*;

use super::{record::OnRecord, *};
use crate::{
    compliance::rules::Adopted,
    envelope::{PlaintextDek, SealedDigest},
    group::Group,
    holder::{Holders, TokenId},
    name::VersionId,
    row::{Row, RowId, RowKey},
    secret::{
        Kind,
        version::{Fingerprint, Secret, Version},
    },
    state::edit::Edit,
};

const NOW: Millis = 1_000_000;

/// A state, and the outlook that followed its changes.
struct World {
    state: State,
    outlook: Outlook,
    changes: u64,
    shifts: Vec<(GroupName, Shift)>,
}

impl World {
    fn new() -> Self {
        let key = RowKey::take(PlaintextDek::take(&mut [3; 32]).unwrap());
        let mut world = Self {
            state: State::empty(key),
            outlook: Outlook::default(),
            changes: 0,
            shifts: Vec::new(),
        };
        let groups = ["a", "b"].map(|name| {
            Row::Group(Group {
                name: name.parse().unwrap(),
                purpose: crate::group::Purpose::default(),
                cache: None,
                holders: Holders::only(TokenId::new("token", "1")),
                keeping: crate::group::Keeping::InToken,
                created: 0,
                created_by: 0,
            })
        });
        world.edit(groups.into(), Vec::new());
        let rules = r#"{"warn-before-days":1,"max-age-days":1}"#;
        let adopted = ["a", "b"].map(|group| {
            Row::Compliance(Adopted {
                group: group.parse().unwrap(),
                rules: Rules::from_json(rules).unwrap(),
                set: 0,
                set_by: 0,
            })
        });
        world.edit(adopted.into(), Vec::new());
        world
    }

    fn edit(&mut self, puts: Vec<Row>, deletes: Vec<RowId>) {
        let edit = Edit {
            puts,
            deletes,
            ..Edit::default()
        };
        self.changes += 1;
        let plan = self.state.plan(edit, self.changes);
        self.state.adopt(&plan);
        for id in plan.secrets() {
            let shift = self.outlook.look(&self.state, id, NOW);
            self.shifts.extend(shift.map(|it| (id.group.clone(), it)));
        }
    }

    /// What ends in both groups, by number of the version.
    fn seen(&self, last: Millis) -> Vec<(String, u32)> {
        let groups = ["a", "b"].map(|name| name.parse::<GroupName>().unwrap());
        let of_group = |group| self.outlook.expiring(group, NOW, last);
        let all = groups.iter().flat_map(of_group);
        all.map(|(end, name)| (name.to_string(), end.version))
            .collect()
    }
}

fn id(group: usize, name: usize) -> SecretId {
    SecretId {
        group: ["a", "b"][group].parse().unwrap(),
        name: ["x", "y", "z"][name].parse().unwrap(),
    }
}

fn secret(id: &SecretId, current: Option<u32>, pending: Option<u32>) -> Row {
    Row::Secret(Secret {
        id: id.clone(),
        kind: Kind::from_name("jwt").unwrap(),
        current,
        previous: None,
        pending,
        keep: None,
        about: crate::label::About::default(),
        created: 0,
        created_by: 0,
    })
}

fn version(
    id: &SecretId,
    number: u32,
    exp: &str,
    state: VersionState,
    valid_until: Option<Millis>,
) -> Row {
    Row::Version(Version {
        id: VersionId {
            secret: id.clone(),
            number,
        },
        size: 1,
        sealed: SealedDigest::from_bytes([1; 32]),
        dek_generation: 1,
        exposed: None,
        fingerprint: Fingerprint::from_bytes([1; 32]),
        properties: vec![("alg".into(), "ES256".into()), ("exp".into(), exp.into())],
        state,
        valid_until,
        created: 0,
        created_by: 0,
    })
}

#[test]
fn what_is_in_use_ends_and_what_is_not_does_not() {
    use VersionState::{Disabled, Enabled};
    let mut world = World::new();
    let [x, y] = [id(0, 0), id(1, 1)];
    let (early, late) = ("1970-01-01T00:00:01Z", "1970-01-01T01:00:00Z");
    world.edit(
        vec![
            secret(&x, Some(3), Some(4)),
            version(&x, 1, early, Enabled, None),
            version(&x, 2, early, Enabled, Some(NOW + 7)),
            version(&x, 3, late, Enabled, None),
            version(&x, 4, early, Enabled, None),
            version(&x, 5, late, Enabled, Some(NOW - 7)),
            secret(&y, Some(1), None),
            version(&y, 1, late, Disabled, Some(NOW + 7)),
        ],
        Vec::new(),
    );
    let named = |numbers: &[u32]| -> Vec<_> {
        let x = |number: &u32| ("x".to_owned(), *number);
        numbers.iter().map(x).collect()
    };
    assert_eq!(world.seen(NOW), named(&[4]));
    assert_eq!(world.seen(NOW + 7), named(&[4, 2]));
    assert_eq!(world.seen(3_599_999), named(&[4, 2]));
    assert_eq!(world.seen(3_600_000), named(&[4, 2, 3]));

    world.edit(vec![secret(&x, Some(1), None)], Vec::new());
    assert_eq!(world.seen(Millis::MAX), named(&[1, 2]));
    let versions = (1..=5).map(|number| {
        RowId::Version(VersionId {
            secret: x.clone(),
            number,
        })
    });
    world.edit(
        Vec::new(),
        versions.chain([RowId::Secret(x.clone())]).collect(),
    );
    assert_eq!(world.seen(Millis::MAX), []);
}

prop_compose! {
    fn change()(
        group in 0..2_usize,
        name in 0..3_usize,
        number in 1..4_u32,
        current in proptest::option::of(1..4_u32),
        pending in proptest::option::of(1..4_u32),
        second in 0..60_u32,
        enabled: bool,
        valid_until in proptest::option::of(0..2 * NOW),
        delete in 0..8_u32,
    ) -> (Vec<Row>, Vec<RowId>) {
        let id = id(group, name);
        if delete == 0 {
            return (Vec::new(), vec![RowId::Secret(id)]);
        }
        let state = match enabled {
            true => VersionState::Enabled,
            false => VersionState::Disabled,
        };
        let exp = format!("1970-01-01T00:16:{second:02}Z");
        let puts = vec![
            secret(&id, current, pending),
            version(&id, number, &exp, state, valid_until),
        ];
        (puts, Vec::new())
    }
}

/// When time alone changes what is found of which secret, by its name.
fn nexts(outlook: &Outlook) -> Vec<(Millis, SecretId)> {
    let groups = outlook.groups.iter();
    let nexts = groups.flat_map(|(group, of_group)| {
        let known = of_group.secrets.iter();
        known.filter_map(|(name, known)| {
            let (group, name) = (group.clone(), name.clone());
            Some((known.next?, SecretId { group, name }))
        })
    });
    nexts.collect()
}

fn followed(shifts: &[(GroupName, Shift)]) -> OnRecord {
    let mut record = OnRecord::default();
    for (group, shift) in shifts {
        record.follow(group, vec![shift.clone()]);
    }
    record
}

proptest! {
    #[test]
    fn what_is_not_on_record_is_told_whatever_was_lost_of_it(
        changes in proptest::collection::vec(change(), 1..40),
        lost in proptest::collection::vec(any::<bool>(), 40),
    ) {
        let mut world = World::new();
        for (puts, deletes) in changes {
            world.edit(puts, deletes);
        }
        let all = followed(&world.shifts);
        prop_assert_eq!(world.outlook.unrecorded(&all), []);
        let kept = world.shifts.iter().zip(lost.iter().cycle());
        let kept: Vec<_> = kept.filter(|(_, lost)| !**lost).map(|(it, _)| it.clone()).collect();
        let missing = world.outlook.unrecorded(&followed(&kept));
        prop_assert_eq!(followed(&[kept, missing].concat()), all.clone());

        // It outlives what it is written into.
        let written = serde_json::to_string(&all).unwrap();
        prop_assert_eq!(serde_json::from_str::<OnRecord>(&written).unwrap(), all);
    }

    #[test]
    fn an_outlook_that_follows_every_change_is_the_one_of_a_new_look(
        changes in proptest::collection::vec(change(), 1..40),
        last in 0..200 * NOW,
    ) {
        let mut world = World::new();
        for (puts, deletes) in changes {
            world.edit(puts, deletes);
        }
        // Time passes: what it changed is looked at again.
        let now = NOW + last;
        let nexts = nexts(&world.outlook);
        for at in nexts.iter().map(|(at, _)| *at).chain([now]) {
            let mut due = world.outlook.due(at, usize::MAX);
            due.sort();
            let walked = nexts.iter().filter(|(next, _)| *next <= at);
            prop_assert_eq!(due, Vec::from_iter(walked.map(|(_, id)| id.clone())));
        }
        for id in world.outlook.due(now, usize::MAX) {
            world.outlook.look(&world.state, &id, now);
        }
        prop_assert_eq!(world.outlook.due(now, usize::MAX), []);
        let all = |world: &World| {
            let outlook = &world.outlook;
            let count = |of: (&GroupName, Code, u64)| (of.2 > 0).then(|| (of.0.clone(), of.1, of.2));
            let counts: Vec<_> = outlook.counts().filter_map(count).collect();
            let group = "a".parse().unwrap();
            let foul = outlook.foul(&group).cloned();
            let soonest = outlook.soonest().map(|(group, at)| (group.clone(), at));
            (world.seen(last), counts, Vec::from_iter(foul), Vec::from_iter(soonest))
        };
        let followed = all(&world);
        world.outlook = Outlook::of(&world.state, now);
        prop_assert_eq!(followed, all(&world));
    }
}
