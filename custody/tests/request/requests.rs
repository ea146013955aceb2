//! Keys that wait for their certificates: what is kept of them, and what their use leaves.

use custody::{
    change::{self, life, put},
    envelope::{Context, SealedContent, WrappedDek},
    inward::{self, Certify, Purpose, Renew},
    name::{SecretId, VersionId},
    random::Random,
    release::Unlock as _,
    secret::{
        Accepted, Kind,
        fields::Fields,
        request::Wish,
        version::{VersionState, Which},
    },
};

use crate::world::*;

fn id() -> SecretId {
    SecretId {
        group: name("web"),
        name: "tls".parse().unwrap(),
    }
}

fn version(number: u32) -> VersionId {
    VersionId {
        secret: id(),
        number,
    }
}

/// Writes a version of `web/tls`; gives what was sealed.
fn write(
    world: &mut World,
    accepted: &Accepted,
    terms: put::Terms,
) -> Result<SealedContent, change::Error> {
    let operator = world.writer();
    let place = put::next_version(&world.state, &id(), accepted.kind, terms)?;
    let context = Context::Content {
        version: &place.version,
        kind: accepted.kind.name(),
    };
    let sealed = SealedContent::seal(&accepted.content, &dek(), context).unwrap();
    let written = put::Written {
        about: &custody::label::About::default(),
        is_made: true,
        certifies: None,
        accepted,
        fingerprint: world.state.fingerprint(&id(), &accepted.content),
        sealed: sealed.clone(),
        wraps: vec![(place.keys[0].id, WrappedDek::from_blob([2; 60]))],
    };
    let (edit, _) = put::put_secret(&world.state, place, written, terms, &operator, 2)?;
    world.follow(edit);
    Ok(sealed)
}

fn request(world: &mut World) -> Result<SealedContent, change::Error> {
    let wish = Wish {
        subject: Some("CN=www.example.org".into()),
        ..Wish::default()
    };
    let mut random = Random::seeded(&[7; 64]).unwrap();
    let accepted = wish.make(None, &Vec::new(), &mut random).unwrap();
    let terms = put::Terms {
        is_request: true,
        ..put::Terms::default()
    };
    write(world, &accepted, terms)
}

fn pair() -> Accepted {
    let pair = rcgen::generate_simple_self_signed(vec!["www.example.org".into()]).unwrap();
    let mut fields = Fields::default();
    let chain = pair.cert.pem().into_bytes();
    fields.push("certificate-chain".into(), chain);
    let key = pair.signing_key.serialize_pem().into_bytes();
    fields.push("private-key".into(), key);
    Kind::from_name("keystore").unwrap().accept(fields).unwrap()
}

fn state(world: &World, number: u32) -> VersionState {
    let secret = world.state.group(&id().group).unwrap().secret(&id().name);
    secret.unwrap().version(number).unwrap().row().state
}

/// What is left of version `number` after use, and what is on record.
fn used<P: Purpose>(
    world: &mut World,
    number: u32,
    sealed: SealedContent,
) -> (Option<P::Leaves>, String) {
    let operator = world.writer();
    let intend = || {
        world
            .state
            .intend::<P>(&operator, &version(number))
            .unwrap()
    };
    let full = Paper {
        full: true,
        ..Paper::default()
    };
    assert!(
        now(inward::record(intend(), &full)).is_err(),
        "no record, no permit"
    );
    let paper = Paper::default();
    let permit = now(inward::record(intend(), &paper)).unwrap();
    let claim = permit.claim(Some(sealed)).unwrap();
    (claim.open(&dek()).unwrap(), paper.text())
}

#[test]
fn a_request_becomes_neither_current_nor_old_and_there_is_one() {
    let mut world = world();
    request(&mut world).unwrap();
    let second = request(&mut world).unwrap_err();
    assert_eq!(second, change::Error::Requested(version(1)));
    let keep = put::Terms {
        keep: Some(1),
        ..put::Terms::default()
    };
    for _ in 0..3 {
        write(&mut world, &pair(), keep).unwrap();
    }
    assert_eq!(state(&world, 1), VersionState::Requested);
    assert_eq!(state(&world, 2), VersionState::Destroyed);
    let secret = world.state.group(&id().group).unwrap().secret(&id().name);
    let row = secret.unwrap().row();
    assert_eq!(
        (row.current, row.previous, row.pending),
        (Some(4), Some(3), None)
    );
    let activated = life::activate(&world.state, &id(), Which::Number(1), None, 3);
    assert!(matches!(
        activated,
        Err(change::Error::Life {
            is: "requested",
            ..
        })
    ));
}

#[test]
fn a_use_is_on_record_and_leaves_what_it_is_for() {
    let mut world = world();
    let sealed = request(&mut world).unwrap();
    let (key, record) = used::<Certify>(&mut world, 1, sealed.clone());
    let fields = key.unwrap().with(b"chain".to_vec());
    let names: Vec<_> = fields.names().collect();
    assert_eq!(names, ["certificate-chain", "private-key"]);
    assert!(
        record.contains(r#""kind":"use","operation":"certify""#),
        "{record}"
    );
    assert!(record.contains(r#""secret":"tls","version":1"#), "{record}");
    // There is no certificate in it to be renewed.
    assert_eq!(used::<Renew>(&mut world, 1, sealed).0, None);

    let pair = pair();
    let sealed = write(&mut world, &pair, put::Terms::default()).unwrap();
    let (chain, record) = used::<Renew>(&mut world, 2, sealed.clone());
    let chain = String::from_utf8(chain.unwrap()).unwrap();
    assert!(chain.contains("CERTIFICATE") && !chain.contains("PRIVATE"));
    assert!(record.contains(r#""operation":"renew""#), "{record}");

    let operator = world.writer();
    let intent = world.state.intend::<Renew>(&operator, &version(1)).unwrap();
    let permit = now(inward::record(intent, &Paper::default())).unwrap();
    permit.claim(Some(sealed)).unwrap_err();
    let none = world.state.intend::<Renew>(&operator, &version(9));
    assert!(none.is_err());
}
