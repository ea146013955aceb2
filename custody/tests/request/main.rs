//! The way of a request through the pure rules, with a journal that can be told to fail.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use custody::{
    caller::observation::Drift,
    change::{self, put},
    group::KeyState,
    journal::{self, Refusal},
    name::{SecretId, VersionId},
    policy::{Deliver, Notify, Reason, Wrong, rule::Patterns},
    release::{Unlock as _, Unwritable},
    row::Row,
    secret::{
        Kind,
        format::{Format, Rendering},
    },
    state::{Broken, State, edit::Edit},
    usage::Usage,
};

mod cache;
mod parts;
mod references;
mod requests;
mod world;

use world::*;

#[test]
fn a_granted_caller_gets_its_content_and_that_is_on_record() {
    let world = world();
    let paper = Paper::default();
    for (version, expected) in [(None, "two"), (Some(2), "two"), (Some(1), "one")] {
        let decision = world.state.decide::<Deliver>(
            caller(33),
            wanted("web/db", version),
            moment(&Usage::default()),
        );
        let permit = now(journal::record(decision, &paper)).unwrap();
        let index = if expected == "one" { 0 } else { 1 };
        let claim = at_token(permit.claim(Some(world.sealed[index].clone())).unwrap());
        let delivery = claim
            .open(&dek())
            .unwrap()
            .as_stored()
            .unwrap()
            .hand_over(&evidence(33))
            .unwrap();
        let fields = delivery.fields;
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
        let decision = world.state.decide::<Deliver>(
            caller(uid),
            wanted("web/db", None),
            moment(&Usage::default()),
        );
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
    let decision = world.state.decide::<Notify>(
        caller(33),
        wanted("web/db", None),
        moment(&Usage::default()),
    );
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
        let decision = world.state.decide::<Deliver>(
            caller(33),
            wanted("web/db", None),
            moment(&Usage::default()),
        );
        let permit = now(journal::record(decision, &Paper::default())).unwrap();
        assert_eq!(permit.claim(stored).unwrap_err().what, wrong);
    }
}

#[test]
fn content_is_not_handed_to_a_caller_that_drifted() {
    let world = world();
    let decision = world.state.decide::<Deliver>(
        caller(33),
        wanted("web/db", None),
        moment(&Usage::default()),
    );
    let permit = now(journal::record(decision, &Paper::default())).unwrap();
    let claim = at_token(permit.claim(Some(world.sealed[1].clone())).unwrap());
    let released = claim.open(&dek()).unwrap();
    let written = released.as_stored().unwrap();
    assert_eq!(written.hand_over(&evidence(0)).unwrap_err(), Drift::Ids);
}

#[test]
fn what_a_format_cannot_hold_is_known_before_it_is_on_record() {
    let world = world();
    let decide = |uid| {
        let usage = Usage::default();
        let wanted = wanted("web/db", None);
        world
            .state
            .decide::<Deliver>(caller(uid), wanted, moment(&usage))
    };
    let grant = decide(33).unwrap();
    assert!(grant.fits(Format::Pkcs12).is_err(), "it is a password");
    assert_eq!(grant.fits(Format::Json), Ok(()));
    // Who has no grant does not get as far as to ask.
    assert_eq!(decide(34).unwrap_err().reason, Reason::NoGrant);
}

#[test]
fn content_is_written_in_a_format_before_the_caller_is_looked_at_again() {
    let world = world();
    let released = || {
        let decision = world.state.decide::<Deliver>(
            caller(33),
            wanted("web/db", None),
            moment(&Usage::default()),
        );
        let permit = now(journal::record(decision, &Paper::default())).unwrap();
        let claim = at_token(permit.claim(Some(world.sealed[1].clone())).unwrap());
        claim.open(&dek()).unwrap()
    };
    let json = Rendering::new(Format::Json, None).unwrap();
    let written = released().render(&json).unwrap();
    let documents = written.hand_over(&evidence(33)).unwrap().fields;
    let expected = b"{\"password\":\"two\"}\n";
    assert_eq!(documents.get("secret.json"), Some(&expected[..]));
    let written = released().render(&json).unwrap();
    assert_eq!(written.hand_over(&evidence(0)).unwrap_err(), Drift::Ids);
    let pem = Rendering::new(Format::Pem, None).unwrap();
    let refused = released().render(&pem).unwrap_err();
    assert!(matches!(refused, Unwritable::Format(_)), "{refused}");
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
    let (edit, _) = put::delete_secret(&world.state, &id).unwrap();
    assert_eq!(edit.deletes.len(), 5, "two wraps, two versions, the secret");
    world.follow(edit);
    assert_eq!(world.state.counts().secrets, 0);
    assert_eq!(
        put::delete_secret(&world.state, &id).unwrap_err(),
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
    assert_eq!(loaded.digest(5), world.state.digest(5));

    // an old row is valid, and gives another digest
    let mut replayed = State::empty(row_key());
    let old = world.edits[2].rows[0].clone();
    for tagged in stored.clone() {
        let replay = tagged.row.id() == old.row.id();
        replayed
            .load(if replay { old.clone() } else { tagged })
            .unwrap();
    }
    assert_ne!(replayed.digest(5), world.state.digest(5));

    // a row that is missing does, too
    let mut less = State::empty(row_key());
    for tagged in &stored[..stored.len() - 1] {
        less.load(tagged.clone()).unwrap();
    }
    assert_ne!(less.digest(5), world.state.digest(5));
}

#[test]
fn a_forged_orphaned_or_repeated_row_is_refused() {
    let world = world();
    let group = world.edits[0].rows[0].clone();
    let mut widened = world.edits[4].rows[0].clone();
    if let Row::Rule(rule) = &mut widened.row {
        rule.patterns = Patterns::new(vec!["*".parse().unwrap()]).unwrap();
    }
    let mut state = State::empty(row_key());
    state.load(group.clone()).unwrap();
    assert!(matches!(state.load(widened), Err(Broken::Forged(_))));
    assert!(matches!(state.load(group), Err(Broken::Twice(_))));
    let version = world.edits[2].rows[1].clone();
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
    let place = put::next_version(&world.state, &id, password, put::Terms::default()).unwrap();
    let expected = VersionId {
        secret: id.clone(),
        number: 3,
    };
    assert_eq!(place.version, expected);
    let blob = Kind::from_name("blob").unwrap();
    assert!(matches!(
        put::next_version(&world.state, &id, blob, put::Terms::default()),
        Err(change::Error::OtherKind { .. })
    ));
}
