//! Data keys that are kept: for whom, how long, how often, and what has them forgotten.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use custody::{
    cache::{Cache, Seen, Terms, Tick, Unfit},
    change::{self, life},
    envelope::{PlaintextDek, WrappedDek},
    group::{Group, KeyState, MasterKey, Repurposed},
    journal::{self, change::Change},
    label::Said,
    name::{KeyId, RuleId, SecretId, VersionId},
    policy::{Deliver, Grant, rule::Rule},
    release::{Claimed, Unlock as _},
    row::Row,
    secret::version::{Which, Wrap},
    state::{State, edit::Edit},
    usage::Usage,
};

use crate::world::*;
use heap::Heap;

mod heap;

const MINUTES: u64 = 60_000;

/// A world with a cache, a token that can be told not to serve, and a clock that is set.
struct Cached {
    world: World,
    cache: Mutex<Cache>,
    resting: Arc<AtomicUsize>,
    serves: bool,
    now: u64,
    paper: Paper,
}

/// Where a delivery had its data key from.
#[derive(Debug, PartialEq, Eq)]
enum From {
    /// The token, and nothing is kept.
    Token,
    /// The token, and it is kept.
    Fresh,
    Cache,
}

impl Cached {
    /// With room for so many keys.
    fn with_room(room: usize, terms: Option<Terms>) -> Self {
        let resting = Arc::new(AtomicUsize::new(0));
        let vault = Heap {
            room,
            resting: Arc::clone(&resting),
        };
        let mut world = world();
        let (edit, _) = change::set_cache(&world.state, &name("web"), terms).unwrap();
        world.follow(edit);
        Self {
            world,
            cache: Mutex::new(Cache::new(Box::new(vault))),
            resting,
            serves: true,
            now: 0,
            paper: Paper::default(),
        }
    }

    fn on(terms: Terms) -> Self {
        Self::with_room(8, Some(terms))
    }

    fn grants(&self, version: Option<u32>) -> Vec<Grant<Deliver>> {
        let usage = Usage::default();
        let decision = self.world.state.decide::<Deliver>(
            caller(33),
            wanted("web/db", version),
            moment(&usage),
        );
        vec![decision.unwrap()]
    }

    /// Records what is granted, and delivers it.
    fn deliver(&self, grants: Vec<Grant<Deliver>>) -> From {
        let number = grants[0].version().number;
        let permits = now(journal::record_all(Ok(grants), &self.paper)).unwrap();
        let permit = permits.into_iter().next().unwrap();
        let sealed = self.world.sealed[number as usize - 1].clone();
        let (from, released) = match permit.claim(Some(sealed)).unwrap() {
            Claimed::Token(claim) => (From::Token, claim.open(&dek())),
            Claimed::Fresh(fresh) => {
                let keeping = fresh.keeping(&self.cache);
                (From::Fresh, keeping.open(&dek()))
            }
            Claimed::Cache(lent) => (From::Cache, lent.open()),
        };
        let written = released.unwrap().as_stored().unwrap();
        let fields = written.hand_over(&evidence(33)).unwrap().fields;
        let content: &[u8] = if number == 1 { b"one" } else { b"two" };
        assert_eq!(fields.get("password"), Some(content));
        // What is on record is what happened.
        let entry = self.paper.lines.lock().unwrap().last().unwrap().clone();
        assert_eq!(entry.contains(r#""cached":true"#), from == From::Cache);
        from
    }

    fn lend(&self, grants: &mut [Grant<Deliver>], seen: Seen) {
        let serves = |_: &KeyId| self.serves;
        let mut cache = self.cache.lock().unwrap();
        cache.lend(grants, seen, Tick(self.now), serves);
    }

    fn fetch(&self) -> From {
        self.fetch_version(None)
    }

    fn fetch_version(&self, version: Option<u32>) -> From {
        let seen = self.cache.lock().unwrap().seen();
        let mut grants = self.grants(version);
        self.lend(&mut grants, seen);
        self.deliver(grants)
    }

    fn resting(&self) -> usize {
        self.resting.load(Ordering::Relaxed)
    }

    fn expire(&self) -> Option<Tick> {
        self.cache.lock().unwrap().expire(Tick(self.now))
    }

    /// Makes a change, and has the cache told as the daemon does.
    fn follow(&mut self, edit: Edit) {
        self.world.follow(edit);
        let plan = self.world.edits.last().unwrap();
        self.cache.lock().unwrap().forget(&plan.groups());
    }
}

fn terms(minutes: u32, uses: u32, outage_minutes: u32) -> Terms {
    Terms::new(minutes * 60, uses, outage_minutes * 60).unwrap()
}

#[test]
fn nothing_is_kept_unless_the_group_says_so() {
    let cached = Cached::with_room(8, None);
    assert_eq!([cached.fetch(), cached.fetch()], [From::Token, From::Token]);
    assert_eq!(cached.resting(), 0);
}

#[test]
fn a_key_is_used_again_for_its_own_version_alone() {
    let cached = Cached::on(terms(5, 100, 0));
    assert_eq!([cached.fetch(), cached.fetch()], [From::Fresh, From::Cache]);
    assert_eq!(cached.fetch_version(Some(1)), From::Fresh);
    assert_eq!(cached.fetch_version(Some(1)), From::Cache);
    assert_eq!(cached.resting(), 2);
}

#[test]
fn it_is_used_as_often_as_is_said_and_wiped_then() {
    let cached = Cached::on(terms(5, 2, 0));
    let fetched: Vec<_> = (0..3).map(|_| cached.fetch()).collect();
    assert_eq!(fetched, [From::Fresh, From::Cache, From::Cache]);
    assert_eq!(cached.resting(), 0);
    assert_eq!(cached.fetch(), From::Fresh);
}

#[test]
fn it_is_used_as_long_as_is_said_and_wiped_then() {
    let mut cached = Cached::on(terms(5, 100, 0));
    cached.now = 1000;
    cached.fetch();
    // The time is absolute: use does not prolong it.
    for now in [MINUTES, 5 * MINUTES, 1000 + 5 * MINUTES - 1] {
        cached.now = now;
        assert_eq!(cached.fetch(), From::Cache);
    }
    assert_eq!(cached.expire(), Some(Tick(1000 + 5 * MINUTES)));
    cached.now += 1;
    assert_eq!(cached.expire(), None);
    assert_eq!(cached.resting(), 0);
    assert_eq!(cached.fetch(), From::Fresh);
}

#[test]
fn one_whose_time_is_over_is_replaced_though_nobody_cleared_it_away() {
    let mut cached = Cached::on(terms(5, 100, 60));
    cached.fetch();
    cached.now = 5 * MINUTES;
    assert_eq!([cached.fetch(), cached.fetch()], [From::Fresh, From::Cache]);
    assert_eq!(cached.resting(), 1);
    // It is looked for when the first would have been over, and left.
    assert_eq!(cached.expire(), Some(Tick(65 * MINUTES)));
    cached.now = 65 * MINUTES;
    assert_eq!(cached.expire(), Some(Tick((5 + 65) * MINUTES)));
    assert_eq!(cached.resting(), 1);
}

#[test]
fn the_time_of_each_is_over_by_itself() {
    let mut cached = Cached::on(terms(5, 100, 0));
    cached.fetch();
    assert_eq!(cached.expire(), Some(Tick(5 * MINUTES)));
    cached.now = MINUTES;
    cached.fetch_version(Some(1));
    assert_eq!(cached.expire(), Some(Tick(5 * MINUTES)));
    cached.now = 5 * MINUTES;
    assert_eq!(cached.expire(), Some(Tick(6 * MINUTES)));
    assert_eq!(cached.resting(), 1);
    cached.now = 6 * MINUTES;
    assert_eq!((cached.expire(), cached.resting()), (None, 0));
}

#[test]
fn in_an_outage_it_is_not_used_unless_that_is_said() {
    let mut cached = Cached::on(terms(5, 100, 0));
    cached.fetch();
    cached.serves = false;
    assert_eq!(cached.fetch(), From::Fresh, "the token is to be asked");
    cached.serves = true;
    assert_eq!(cached.fetch(), From::Cache);
}

#[test]
fn in_an_outage_it_is_used_for_longer_if_that_is_said() {
    let fetched_at = |now, serves| {
        let mut cached = Cached::on(terms(5, 100, 60));
        cached.fetch();
        cached.now = now;
        cached.expire();
        cached.serves = serves;
        cached.fetch()
    };
    for (now, serves, from) in [
        (5 * MINUTES, true, From::Fresh),
        (5 * MINUTES, false, From::Cache),
        (65 * MINUTES - 1, true, From::Fresh),
        (65 * MINUTES - 1, false, From::Cache),
        (65 * MINUTES, false, From::Fresh),
    ] {
        assert_eq!(fetched_at(now, serves), from, "{now} {serves}");
    }
}

#[test]
fn an_outage_does_not_have_it_used_more_often() {
    let mut cached = Cached::on(terms(5, 1, 60));
    cached.fetch();
    cached.serves = false;
    assert_eq!([cached.fetch(), cached.fetch()], [From::Cache, From::Fresh]);
}

#[test]
fn any_change_of_the_group_has_all_its_keys_forgotten() {
    type Made = Result<(Edit, Change), change::Error>;
    let changes: [fn(&State) -> Made; 9] = [
        |state| change::set_cache(state, &name("web"), Some(terms(5, 100, 0))),
        |state| change::set_rules(state, &name("web"), None, 0, 1),
        |state| change::update_group(state, &name("web"), Repurposed::default()),
        |state| change::update_secret(state, &db(), Said::default()),
        |state| life::activate(state, &db(), Which::Number(1), None, 3),
        |state| life::live(state, &db(), Which::Number(2), life::Deed::Disable, 3),
        |state| {
            let group = state.group(&name("web")).unwrap();
            let rule = Rule {
                id: RuleId::random().unwrap(),
                ..group.rules().last().unwrap().clone()
            };
            change::add_grant(state, rule, Vec::new())
        },
        |state| {
            let group = state.group(&name("web")).unwrap();
            change::revoke_grant(state, &group.rules().last().unwrap().id)
        },
        |state| {
            let next = MasterKey {
                id: KeyId::from_bytes(&[8; 16]).unwrap(),
                generation: 2,
                ..master_key(KeyState::Active)
            };
            change::key::rotate_group(state, &name("web"), vec![next], None, false)
        },
    ];
    for make in changes {
        let mut cached = Cached::on(terms(5, 100, 0));
        cached.fetch_version(Some(1));
        assert_eq!(cached.fetch_version(Some(1)), From::Cache);
        assert_eq!(cached.resting(), 1);
        let (edit, change) = make(&cached.world.state).unwrap();
        cached.follow(edit);
        assert_eq!(cached.resting(), 0, "{change:?}");
    }
}

#[test]
fn a_key_is_for_its_very_wrap() {
    let mut cached = Cached::on(terms(5, 100, 0));
    cached.fetch();
    let wrap = Wrap {
        version: VersionId {
            secret: db(),
            number: 2,
        },
        gmk: KeyId::from_bytes(&[9; 16]).unwrap(),
        wrapped: WrappedDek::from_blob([3; 60]),
    };
    // The cache is not told.
    cached.world.follow(Edit {
        puts: vec![Row::Wrap(wrap)],
        ..Edit::default()
    });
    assert_eq!([cached.fetch(), cached.fetch()], [From::Fresh, From::Cache]);
    assert_eq!(cached.resting(), 1);
}

fn db() -> SecretId {
    SecretId {
        group: name("web"),
        name: "db".parse().unwrap(),
    }
}

#[test]
fn a_change_of_another_group_leaves_them() {
    let mut cached = Cached::on(terms(5, 100, 0));
    cached.fetch();
    let group = Group {
        name: name("other"),
        ..cached
            .world
            .state
            .group(&name("web"))
            .unwrap()
            .row()
            .clone()
    };
    let key = MasterKey {
        id: KeyId::from_bytes(&[8; 16]).unwrap(),
        group: name("other"),
        ..master_key(KeyState::Active)
    };
    let (edit, _) = change::create_group(&cached.world.state, group, vec![key]).unwrap();
    cached.follow(edit);
    assert_eq!(cached.fetch(), From::Cache);
}

#[test]
fn what_was_decided_before_a_change_is_not_kept_after_it() {
    let mut cached = Cached::on(terms(5, 100, 0));
    let seen = cached.cache.lock().unwrap().seen();
    let mut grants = cached.grants(None);
    let (edit, _) =
        change::update_group(&cached.world.state, &name("web"), Repurposed::default()).unwrap();
    cached.follow(edit);
    cached.lend(&mut grants, seen);
    assert_eq!(cached.deliver(grants), From::Fresh);
    assert_eq!(cached.resting(), 0);
    // Nor is what was still at the token when all was forgotten.
    let seen = cached.cache.lock().unwrap().seen();
    let mut grants = cached.grants(None);
    cached.lend(&mut grants, seen);
    cached.cache.lock().unwrap().forget_all();
    assert_eq!(cached.deliver(grants), From::Fresh);
    assert_eq!(cached.resting(), 0);
}

#[test]
fn what_is_recorded_as_cached_is_delivered_from_there_whatever_is_forgotten_meanwhile() {
    let cached = Cached::on(terms(5, 100, 0));
    cached.fetch();
    let seen = cached.cache.lock().unwrap().seen();
    let mut grants = cached.grants(None);
    cached.lend(&mut grants, seen);
    cached.cache.lock().unwrap().forget_all();
    assert_eq!(cached.resting(), 1, "as long as the delivery takes");
    assert_eq!(cached.deliver(grants), From::Cache);
    assert_eq!(cached.resting(), 0);
}

#[test]
fn a_key_that_opens_nothing_is_not_kept() {
    let cached = Cached::on(terms(5, 100, 0));
    let seen = cached.cache.lock().unwrap().seen();
    let mut grants = cached.grants(None);
    cached.lend(&mut grants, seen);
    let permits = now(journal::record_all(Ok(grants), &cached.paper)).unwrap();
    let permit = permits.into_iter().next().unwrap();
    let Claimed::Fresh(fresh) = permit.claim(Some(cached.world.sealed[1].clone())).unwrap() else {
        panic!("it is to be kept");
    };
    let wrong = PlaintextDek::take(&mut [6; 32]).unwrap();
    fresh.keeping(&cached.cache).open(&wrong).unwrap_err();
    assert_eq!(cached.resting(), 0);
}

#[test]
fn without_room_it_is_not_kept() {
    let cached = Cached::with_room(1, Some(terms(5, 100, 0)));
    assert_eq!([cached.fetch(), cached.fetch()], [From::Fresh, From::Cache]);
    assert_eq!(cached.fetch_version(Some(1)), From::Fresh);
    assert_eq!(cached.fetch_version(Some(1)), From::Fresh);
    assert_eq!(cached.fetch(), From::Cache);
}

#[test]
fn terms_have_bounds() {
    assert_eq!(Terms::new(0, 1, 0), Err(Unfit::Seconds));
    assert_eq!(Terms::new(24 * 3600 + 1, 1, 0), Err(Unfit::Seconds));
    assert_eq!(Terms::new(1, 0, 0), Err(Unfit::Uses));
    assert_eq!(Terms::new(1, 1, 7 * 86_400 + 1), Err(Unfit::Outage));
    let most = Terms::new(24 * 3600, u32::MAX, 7 * 86_400).unwrap();
    assert_eq!(most.outage_seconds(), 7 * 86_400);
}
