//! The way of a request through the pure rules, with a journal that can be told to fail.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use std::{
    future::Future,
    pin::pin,
    sync::Mutex,
    task::{Context as TaskContext, Poll, Waker},
};

use custody::{
    caller::{
        Caller, Evidence,
        observation::{Credentials, Drift, ExeDoubt, Namespaces, Observation, Pinned, Process},
    },
    change,
    envelope::{Context, PlaintextDek, SealedContent, WrappedDek, Wrapping},
    group::{Group, KeyState, MasterKey},
    journal::{self, Event, Journal, Receipt, Refusal},
    name::{GroupName, KeyId, SecretId, VersionId},
    policy::{Deliver, Denial, Notify, Reason, Selectors, Wanted, Wrong},
    role::Operators,
    row::{Row, RowKey},
    secret::{Fields, Kind},
    state::{Broken, State, edit::Edit},
};

fn now<T>(future: impl Future<Output = T>) -> T {
    let mut context = TaskContext::from_waker(Waker::noop());
    match pin!(future).poll(&mut context) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("nothing here waits"),
    }
}

#[derive(Default)]
struct Paper {
    full: bool,
    lines: Mutex<Vec<String>>,
}

impl Paper {
    fn text(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }
}

impl Journal for Paper {
    type Error = &'static str;

    async fn append(&self, event: Event) -> Result<Receipt, Self::Error> {
        if self.full {
            return Err("the paper is full");
        }
        let mut lines = self.lines.lock().unwrap();
        lines.push(serde_json::to_string(&event).unwrap());
        Ok(Receipt::of_durable(lines.len() as u64))
    }
}

fn evidence(uid: u32) -> Evidence {
    Evidence::examine(Observation {
        connected: Credentials {
            pid: 7,
            uid,
            gid: uid,
        },
        process: Process {
            id: 70,
            pid: 7,
            uids: [uid; 4],
            gids: [uid; 4],
            cgroup: 1,
        },
        groups: Vec::new(),
        label: None,
        pinned: Pinned::AtConnect,
        namespaces: Namespaces::default(),
        cgroup: None,
        exe: Err(ExeDoubt::Unreadable),
    })
    .unwrap()
}

fn caller(uid: u32) -> Caller {
    Caller::attested(evidence(uid))
}

fn row_key() -> RowKey {
    RowKey::take(PlaintextDek::take(&mut [3; 32]).unwrap())
}

fn name(text: &str) -> GroupName {
    text.parse().unwrap()
}

fn wanted(secret: &str, version: Option<u32>) -> Wanted {
    let (group, secret) = secret.split_once('/').unwrap();
    Wanted {
        group: name(group),
        name: secret.parse().unwrap(),
        version,
    }
}

/// A state with the group `web`, two versions of the password `web/db`, and a grant on
/// `d*` to uid 33; the sealed contents, and the one DEK that seals both.
struct World {
    state: State,
    edits: Vec<custody::state::edit::Plan>,
    sealed: Vec<SealedContent>,
    dek: PlaintextDek,
}

fn master_key(state: KeyState) -> MasterKey {
    MasterKey {
        id: KeyId::from_bytes(&[9; 16]).unwrap(),
        group: name("web"),
        generation: 1,
        state,
        wrapping: Wrapping::Aes256Gcm,
        canary: WrappedDek::from_blob([1; 60]),
        token_label: "t".into(),
        token_serial: "s".into(),
        created: 1,
    }
}

fn world() -> World {
    let operators = Operators {
        uids: vec![0],
        gids: vec![],
    };
    let operator = operators.admit(evidence(0)).unwrap();
    let mut world = World {
        state: State::empty(row_key()),
        edits: Vec::new(),
        sealed: Vec::new(),
        dek: PlaintextDek::take(&mut [5; 32]).unwrap(),
    };
    let group = Group {
        name: name("web"),
        description: String::new(),
        created: 1,
        created_by: 0,
    };
    let (edit, _) =
        change::create_group(&world.state, group, master_key(KeyState::Active)).unwrap();
    world.follow(edit);
    for password in ["one", "two"] {
        let id = SecretId {
            group: name("web"),
            name: "db".parse().unwrap(),
        };
        let kind = Kind::from_name("password").unwrap();
        let mut fields = Fields::default();
        fields.push("password".into(), password.into());
        let accepted = kind.accept(fields).unwrap();
        let place = change::next_version(&world.state, &id, kind).unwrap();
        let context = Context::Content {
            version: &place.version,
            kind: kind.name(),
        };
        let sealed = SealedContent::seal(&accepted.content, &world.dek, context).unwrap();
        let wrapped = WrappedDek::from_blob([2; 60]);
        world.sealed.push(sealed.clone());
        let (edit, _) = change::put_secret(place, &accepted, sealed, wrapped, &operator, 2);
        world.follow(edit);
    }
    let selectors = Selectors::new(vec!["unix:uid:33".parse().unwrap()]).unwrap();
    let rule =
        change::new_rule(name("web"), "d*".parse().unwrap(), selectors, &operator, 3).unwrap();
    let (edit, _) = change::add_grant(&world.state, rule).unwrap();
    world.follow(edit);
    world
}

impl World {
    fn follow(&mut self, edit: Edit) {
        let plan = self.state.plan(edit, self.edits.len() as u64 + 1);
        self.state.adopt(&plan);
        assert_eq!(self.state.digest(plan.change), plan.digest);
        self.edits.push(plan);
    }

    fn denied(&self, uid: u32, wanted: Wanted) -> Denial {
        let paper = Paper::default();
        let decision = self.state.decide::<Deliver>(caller(uid), wanted);
        match now(journal::record(decision, &paper)) {
            Err(Refusal::Denied(denial)) => {
                assert!(paper.text().contains(r#""kind":"deny""#));
                *denial
            }
            other => panic!("not denied: {other:?}"),
        }
    }
}

#[test]
fn a_granted_caller_gets_its_content_and_that_is_on_record() {
    let world = world();
    let paper = Paper::default();
    for (version, expected) in [(None, "two"), (Some(2), "two"), (Some(1), "one")] {
        let decision = world
            .state
            .decide::<Deliver>(caller(33), wanted("web/db", version));
        let permit = now(journal::record(decision, &paper)).unwrap();
        let index = if expected == "one" { 0 } else { 1 };
        let claim = permit.claim(Some(world.sealed[index].clone())).unwrap();
        let delivery = claim
            .open(&world.dek)
            .unwrap()
            .hand_over(&evidence(33))
            .unwrap();
        let fields = Fields::decode(&delivery.content).unwrap();
        assert_eq!(fields.get("password"), Some(expected.as_bytes()));
    }
    let lines = paper.text();
    assert_eq!(lines.matches(r#""kind":"allow""#).count(), 3);
    assert!(lines.contains(r#""uid":33"#) && !lines.contains("two"));
}

#[test]
fn no_record_no_permit() {
    let world = world();
    let paper = Paper {
        full: true,
        ..Paper::default()
    };
    for uid in [33, 34] {
        let decision = world
            .state
            .decide::<Deliver>(caller(uid), wanted("web/db", None));
        let refusal = now(journal::record(decision, &paper)).unwrap_err();
        assert!(matches!(refusal, Refusal::Unrecorded(_)), "uid {uid}");
    }
}

#[test]
fn denial_is_recorded_with_its_reason() {
    let world = world();
    for (uid, secret, version, reason) in [
        (34, "web/db", None, Reason::NoGrant),
        (34, "web/dx", None, Reason::NoGrant),
        (33, "web/x", None, Reason::NoGrant),
        (33, "wed/db", None, Reason::NoGrant),
        (33, "web/dx", None, Reason::NoSuchSecret),
        (33, "web/db", Some(3), Reason::NoSuchVersion),
    ] {
        let denial = world.denied(uid, wanted(secret, version));
        assert_eq!(denial.reason, reason, "{uid} {secret}");
    }
}

#[test]
fn a_key_that_may_not_reveal_delivers_nothing_and_still_tells_the_version() {
    let mut world = world();
    world.follow(Edit {
        puts: vec![Row::MasterKey(master_key(KeyState::Suspended))],
        ..Edit::default()
    });
    let denial = world.denied(33, wanted("web/db", None));
    assert_eq!(denial.reason, Reason::KeyState(KeyState::Suspended));
    let decision = world
        .state
        .decide::<Notify>(caller(33), wanted("web/db", None));
    let permit = now(journal::record(decision, &Paper::default())).unwrap();
    assert_eq!(permit.version().number, 2);
}

#[test]
fn content_of_another_version_cannot_be_claimed() {
    let world = world();
    for (stored, wrong) in [
        (Some(world.sealed[0].clone()), Wrong::Other),
        (None, Wrong::Missing),
    ] {
        let decision = world
            .state
            .decide::<Deliver>(caller(33), wanted("web/db", None));
        let permit = now(journal::record(decision, &Paper::default())).unwrap();
        assert_eq!(permit.claim(stored).unwrap_err().what, wrong);
    }
}

#[test]
fn content_is_not_handed_to_a_caller_that_drifted() {
    let world = world();
    let decision = world
        .state
        .decide::<Deliver>(caller(33), wanted("web/db", None));
    let permit = now(journal::record(decision, &Paper::default())).unwrap();
    let claim = permit.claim(Some(world.sealed[1].clone())).unwrap();
    let released = claim.open(&world.dek).unwrap();
    assert_eq!(released.hand_over(&evidence(0)).unwrap_err(), Drift::Ids);
}

#[test]
fn a_revoked_grant_denies() {
    let mut world = world();
    let id = world
        .state
        .group(&name("web"))
        .unwrap()
        .rules()
        .next()
        .unwrap()
        .id;
    let (edit, _) = change::revoke_grant(&world.state, &id).unwrap();
    world.follow(edit);
    assert_eq!(
        world.denied(33, wanted("web/db", None)).reason,
        Reason::NoGrant
    );
    assert_eq!(
        change::revoke_grant(&world.state, &id).unwrap_err(),
        change::Error::NoSuchGrant(id)
    );
}

#[test]
fn a_deleted_secret_leaves_no_row() {
    let mut world = world();
    let id = SecretId {
        group: name("web"),
        name: "db".parse().unwrap(),
    };
    let (edit, _) = change::delete_secret(&world.state, &id).unwrap();
    assert_eq!(edit.deletes.len(), 5, "two wraps, two versions, the secret");
    world.follow(edit);
    assert_eq!(world.state.counts().secrets, 0);
    assert_eq!(
        change::delete_secret(&world.state, &id).unwrap_err(),
        change::Error::NoSuchSecret(id)
    );
}

#[test]
fn loading_what_was_stored_gives_the_same_state() {
    let world = world();
    let mut loaded = State::empty(row_key());
    // The secret's row was written twice; the database has the newer.
    let rows = world.edits.iter().flat_map(|plan| &plan.rows).cloned();
    let mut stored: Vec<custody::row::Tagged> = Vec::new();
    for tagged in rows {
        match stored
            .iter_mut()
            .find(|old| old.row.id() == tagged.row.id())
        {
            Some(old) => *old = tagged,
            None => stored.push(tagged),
        }
    }
    for tagged in stored.clone() {
        loaded.load(tagged).unwrap();
    }
    assert_eq!(loaded.digest(4), world.state.digest(4));

    // an old row is valid, and gives another digest
    let mut replayed = State::empty(row_key());
    let old = world.edits[1].rows[0].clone();
    for tagged in stored.clone() {
        let replay = tagged.row.id() == old.row.id();
        replayed
            .load(if replay { old.clone() } else { tagged })
            .unwrap();
    }
    assert_ne!(replayed.digest(4), world.state.digest(4));

    // a row that is missing does, too
    let mut less = State::empty(row_key());
    for tagged in &stored[..stored.len() - 1] {
        less.load(tagged.clone()).unwrap();
    }
    assert_ne!(less.digest(4), world.state.digest(4));
}

#[test]
fn a_forged_orphaned_or_repeated_row_is_refused() {
    let world = world();
    let group = world.edits[0].rows[0].clone();
    let mut widened = world.edits[3].rows[0].clone();
    if let Row::Rule(rule) = &mut widened.row {
        rule.pattern = "*".parse().unwrap();
    }
    let mut state = State::empty(row_key());
    state.load(group.clone()).unwrap();
    assert!(matches!(state.load(widened), Err(Broken::Forged(_))));
    assert!(matches!(state.load(group), Err(Broken::Twice(_))));
    let version = world.edits[1].rows[1].clone();
    assert!(matches!(state.load(version), Err(Broken::Orphan(_))));
}

#[test]
fn versions_count_up_and_keep_their_type() {
    let world = world();
    let id = SecretId {
        group: name("web"),
        name: "db".parse().unwrap(),
    };
    let password = Kind::from_name("password").unwrap();
    let place = change::next_version(&world.state, &id, password).unwrap();
    let expected = VersionId {
        secret: id.clone(),
        number: 3,
    };
    assert_eq!(place.version, expected);
    let blob = Kind::from_name("blob").unwrap();
    assert!(matches!(
        change::next_version(&world.state, &id, blob),
        Err(change::Error::OtherKind { .. })
    ));
}
