//! The life of versions: what each deed leads to, and that no order of deeds leaves a secret
//! whose parts name versions that are not there.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use std::collections::BTreeSet;

use custody::{
    caller::{
        Caller, Evidence,
        observation::{Credentials, ExeDoubt, Namespaces, Observation, Pinned, Process},
    },
    change::{
        Error,
        life::{self, Deed},
        put,
    },
    envelope::{PlaintextDek, SealedContent, WrappedDek, Wrapping},
    group::{Group, KeyState, MasterKey},
    holder::{Holders, TokenId},
    name::{KeyId, RuleId, SecretId, VersionId},
    policy::{
        Deliver, Moment, Reason, Wanted,
        rule::{Patterns, Rule, Selectors, Terms},
    },
    row::{Row, RowKey},
    secret::{
        Kind,
        version::{Fingerprint, Secret, Version, VersionState, Which, Wrap},
    },
    state::{State, edit::Edit},
    usage::Usage,
};
use proptest::prelude::*;

const NOW: u64 = 1_000_000;

fn id() -> SecretId {
    SecretId {
        group: "web".parse().unwrap(),
        name: "key".parse().unwrap(),
    }
}

fn gmk() -> KeyId {
    KeyId::from_bytes(&[9; 16]).unwrap()
}

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

/// A state with the secret `web/key` of `versions` versions, the newest current, all
/// granted to uid 33.
struct Life {
    state: State,
    changes: u64,
}

impl Life {
    fn of(versions: u32) -> Self {
        let mut life = Self {
            state: State::empty(RowKey::take(PlaintextDek::take(&mut [3; 32]).unwrap())),
            changes: 0,
        };
        let group = Group {
            name: id().group,
            purpose: custody::group::Purpose::default(),
            cache: None,
            holders: Holders::only(TokenId::new("token", "1")),
            keeping: custody::group::Keeping::InToken,
            created: 0,
            created_by: 0,
        };
        let key = MasterKey {
            id: gmk(),
            group: id().group,
            generation: 1,
            state: KeyState::Active,
            wrapping: Wrapping::Aes256Gcm,
            canary: WrappedDek::from_blob([1; 60]),
            token: TokenId::new("", ""),
            blob: None,
            reserved: 0,
            created: 0,
        };
        let rule = Rule {
            id: RuleId::from_bytes(&[1; 8]).unwrap(),
            group: id().group,
            patterns: Patterns::new(vec!["*".parse().unwrap()]).unwrap(),
            selectors: Selectors::new(vec!["unix:uid:33".parse().unwrap()]).unwrap(),
            terms: Terms::default(),
            created: 0,
            created_by: 0,
        };
        let secret = Secret {
            id: id(),
            kind: Kind::from_name("blob").unwrap(),
            current: Some(versions),
            previous: (versions > 1).then(|| versions - 1),
            pending: None,
            keep: None,
            about: custody::label::About::default(),
            created: 0,
            created_by: 0,
        };
        let mut puts = vec![
            Row::Group(group),
            Row::MasterKey(key),
            Row::Rule(rule),
            Row::Secret(secret),
        ];
        for number in 1..=versions {
            let version = VersionId {
                secret: id(),
                number,
            };
            let sealed = SealedContent {
                nonce: [0; 12],
                ciphertext: vec![number.to_le_bytes()[0]],
            };
            puts.push(Row::Version(Version {
                id: version.clone(),
                size: 1,
                sealed: sealed.digest(),
                dek_generation: 1,
                exposed: None,
                fingerprint: Fingerprint::from_bytes([0; 32]),
                properties: Vec::new(),
                state: VersionState::Enabled,
                valid_until: None,
                created: 0,
                created_by: 0,
            }));
            puts.push(Row::Wrap(Wrap {
                version,
                gmk: gmk(),
                wrapped: WrappedDek::from_blob([2; 60]),
            }));
        }
        life.follow(Edit {
            puts,
            ..Edit::default()
        });
        life
    }

    fn follow(&mut self, edit: Edit) {
        self.changes += 1;
        let plan = self.state.plan(edit, self.changes);
        self.state.adopt(&plan);
        assert_eq!(self.state.digest(self.changes), plan.digest);
    }

    fn live(&mut self, which: Which, deed: Deed, now: u64) -> Result<(), Error> {
        let (edit, _) = life::live(&self.state, &id(), which, deed, now)?;
        self.follow(edit);
        Ok(())
    }

    fn activate(&mut self, which: Which, overlap: Option<u64>) -> Result<(), Error> {
        let (edit, _) = life::activate(&self.state, &id(), which, overlap, NOW)?;
        self.follow(edit);
        Ok(())
    }

    fn shred(&mut self, now: u64) -> usize {
        let due = life::due(&self.state, now);
        for id in &due {
            let (edit, _) = life::shred(&self.state, id, now).unwrap();
            self.follow(edit);
        }
        due.len()
    }

    fn fetch(&self, which: Which, now: u64) -> Result<u32, Reason> {
        let wanted = Wanted {
            group: id().group,
            name: id().name,
            version: which,
            fields: BTreeSet::new(),
        };
        let usage = Usage::default();
        let moment = Moment { now, usage: &usage };
        let caller = Caller::attested(evidence());
        let decision = self.state.decide::<Deliver>(caller, wanted, moment);
        decision
            .map(|grant| grant.version().number)
            .map_err(|denial| denial.reason)
    }

    fn secret(&self) -> Secret {
        let group = self.state.group(&id().group).unwrap();
        group.secret(&id().name).unwrap().row().clone()
    }

    fn versions(&self) -> Vec<(u32, VersionState, usize)> {
        let group = self.state.group(&id().group).unwrap();
        let secret = group.secret(&id().name).unwrap();
        let each = secret.versions().map(|version| {
            let row = version.row();
            (row.id.number, row.state, version.wraps().len())
        });
        each.collect()
    }
}

#[test]
fn a_disabled_version_is_denied_until_it_is_enabled() {
    let mut life = Life::of(2);
    life.live(Which::Current, Deed::Disable, NOW).unwrap();
    assert_eq!(life.fetch(Which::Current, NOW), Err(Reason::Disabled));
    assert_eq!(life.fetch(Which::Number(2), NOW), Err(Reason::Disabled));
    assert_eq!(life.fetch(Which::Previous, NOW), Ok(1));
    let again = life.live(Which::Current, Deed::Disable, NOW);
    assert!(matches!(again, Err(Error::Life { is: "disabled", .. })));
    life.live(Which::Number(2), Deed::Enable, NOW).unwrap();
    assert_eq!(life.fetch(Which::Current, NOW), Ok(2));
}

#[test]
fn a_doomed_version_can_be_restored_until_its_time_and_then_never() {
    let mut life = Life::of(2);
    life.live(Which::Number(1), Deed::Destroy(10), NOW).unwrap();
    assert_eq!(life.fetch(Which::Number(1), NOW), Err(Reason::Destroyed));
    assert_eq!(life.shred(NOW + 9), 0);
    life.live(Which::Number(1), Deed::Restore, NOW + 9).unwrap();
    assert_eq!(life.fetch(Which::Number(1), NOW), Err(Reason::Disabled));
    assert_eq!(life.shred(NOW + 10), 0, "it was restored");

    life.live(Which::Number(1), Deed::Destroy(10), NOW).unwrap();
    assert_eq!(life.shred(NOW + 10), 1);
    assert_eq!(life.versions()[0], (1, VersionState::Destroyed, 0));
    assert_eq!(life.fetch(Which::Number(1), NOW), Err(Reason::Destroyed));
    for deed in [Deed::Restore, Deed::Enable, Deed::Disable, Deed::Destroy(0)] {
        let refused = life.live(Which::Number(1), deed, NOW);
        assert!(
            matches!(
                refused,
                Err(Error::Life {
                    is: "destroyed",
                    ..
                })
            ),
            "{deed:?}"
        );
    }
    assert_eq!(life.fetch(Which::Current, NOW), Ok(2));
    let long = life.live(Which::Number(2), Deed::Destroy(life::MAX_GRACE + 1), NOW);
    assert_eq!(long, Err(Error::LongGrace));
}

#[test]
fn a_roll_back_makes_a_former_version_current_and_the_newer_one_previous() {
    let mut life = Life::of(3);
    life.activate(Which::Number(1), None).unwrap();
    assert_eq!(life.fetch(Which::Current, NOW), Ok(1));
    assert_eq!(life.fetch(Which::Previous, NOW), Ok(3));
    life.activate(Which::Previous, None).unwrap();
    assert_eq!(life.fetch(Which::Current, NOW), Ok(3));
    assert_eq!(life.fetch(Which::Previous, NOW), Ok(1));
    life.live(Which::Number(2), Deed::Disable, NOW).unwrap();
    let refused = life.activate(Which::Number(2), None);
    assert!(matches!(refused, Err(Error::Life { is: "disabled", .. })));
    let missing = life.activate(Which::Number(4), None);
    assert!(matches!(missing, Err(Error::NoSuchVersion { .. })));
    assert_eq!(life.fetch(Which::Current, NOW), Ok(3), "nothing changed");
}

#[test]
fn the_version_that_was_current_is_valid_for_the_overlap_and_whole_again_after_a_roll_back() {
    let mut life = Life::of(2);
    life.activate(Which::Number(1), Some(100)).unwrap();
    assert_eq!(life.fetch(Which::Previous, NOW + 99), Ok(2));
    assert_eq!(
        life.fetch(Which::Previous, NOW + 100),
        Err(Reason::Outlived)
    );
    assert_eq!(
        life.fetch(Which::Number(2), NOW + 100),
        Err(Reason::Outlived)
    );
    assert_eq!(life.fetch(Which::Current, NOW + 100), Ok(1));
    life.activate(Which::Previous, None).unwrap();
    assert_eq!(life.fetch(Which::Current, u64::MAX), Ok(2));
}

#[test]
fn a_write_that_expects_another_current_version_is_refused() {
    let life = Life::of(2);
    let blob = Kind::from_name("blob").unwrap();
    let place = |expected| {
        let terms = put::Terms {
            expected,
            ..put::Terms::default()
        };
        put::next_version(&life.state, &id(), blob, terms).map(|place| place.version.number)
    };
    assert_eq!(place(Some(2)), Ok(3));
    assert_eq!(place(None), Ok(3));
    for expected in [0, 1, 3] {
        let refused = place(Some(expected)).unwrap_err();
        assert!(
            matches!(refused, Error::NotCurrent { is: 2, .. }),
            "{refused}"
        );
    }
}

#[derive(Clone, Debug)]
enum Step {
    Live(u32, Deed),
    Activate(u32, Option<u64>),
    Shred,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let number = 1..6_u32;
    let deed = prop_oneof![
        Just(Deed::Enable),
        Just(Deed::Disable),
        Just(Deed::Destroy(5)),
        Just(Deed::Restore),
    ];
    let step = prop_oneof![
        3 => (number.clone(), deed).prop_map(|(number, deed)| Step::Live(number, deed)),
        2 => (number, proptest::option::of(0..20_u64)).prop_map(|(n, overlap)| Step::Activate(n, overlap)),
        1 => Just(Step::Shred),
    ];
    proptest::collection::vec(step, 1..40)
}

proptest! {
    #[test]
    fn no_order_of_deeds_leaves_a_part_without_its_version(steps in steps()) {
        let mut life = Life::of(4);
        let mut now = NOW;
        for step in steps {
            now += 3;
            match step {
                Step::Live(number, deed) => drop(life.live(Which::Number(number), deed, now)),
                Step::Activate(number, overlap) => drop(life.activate(Which::Number(number), overlap)),
                Step::Shred => drop(life.shred(now)),
            }
            let secret = life.secret();
            let versions = life.versions();
            prop_assert_eq!(versions.len(), 4, "the record stays");
            for part in [secret.current, secret.previous, secret.pending].into_iter().flatten() {
                prop_assert!(versions.iter().any(|(number, ..)| *number == part));
            }
            prop_assert!(secret.current.is_some() && secret.current != secret.previous);
            for (number, state, wraps) in versions {
                // what is not destroyed can still be opened, what is cannot
                prop_assert_eq!(wraps, usize::from(state != VersionState::Destroyed));
                let fetched = life.fetch(Which::Number(number), now);
                prop_assert!(fetched.is_err() || state == VersionState::Enabled);
            }
        }
    }
}
