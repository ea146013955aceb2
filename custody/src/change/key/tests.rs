use super::*;
use crate::{
    envelope::{PlaintextDek, SealedDigest, WrappedDek, Wrapping},
    group::{Group, KeyState, Purpose},
    holder::{Holders, TokenId},
    label::About,
    name::{KeyId, SecretId, VersionId},
    row::RowKey,
    secret::{
        Kind,
        version::{Fingerprint, Secret, Version, VersionState},
    },
};

const NOW: Millis = 1000;

struct World {
    state: State,
    changes: u64,
}

fn name() -> GroupName {
    "web".parse().unwrap()
}

fn key(generation: u32) -> MasterKey {
    key_in(TokenId::new("token", "1"), generation)
}

fn key_in(token: TokenId, generation: u32) -> MasterKey {
    let mut id = [u8::try_from(generation).unwrap(); KeyId::LEN];
    id[0] = token.serial.as_bytes()[0];
    MasterKey {
        id: KeyId::from_bytes(&id).unwrap(),
        group: name(),
        generation,
        state: KeyState::Active,
        wrapping: Wrapping::Aes256Gcm,
        canary: WrappedDek::from_blob([0; 4]),
        token,
        blob: None,
        reserved: 64,
        created: 0,
    }
}

fn version(secret: &str, number: u32) -> VersionId {
    VersionId {
        secret: SecretId {
            group: name(),
            name: secret.parse().unwrap(),
        },
        number,
    }
}

impl World {
    /// A group with one master key, and one secret with so many versions for each name.
    fn new(secrets: &[(&str, u32)]) -> Self {
        let row_key = RowKey::take(PlaintextDek::take(&mut [3; 32]).unwrap());
        let mut world = Self {
            state: State::empty(row_key),
            changes: 0,
        };
        world.put(Row::Group(Group {
            name: name(),
            purpose: Purpose::default(),
            cache: None,
            holders: Holders::only(TokenId::new("token", "1")),
            keeping: Keeping::InToken,
            created: 0,
            created_by: 0,
        }));
        world.put(Row::MasterKey(key(1)));
        for (secret, versions) in secrets {
            world.put(Row::Secret(Secret {
                id: version(secret, 1).secret,
                kind: Kind::from_name("blob").unwrap(),
                current: Some(1),
                previous: None,
                pending: None,
                keep: None,
                about: About::default(),
                created: 0,
                created_by: 0,
            }));
            for number in 1..=*versions {
                world.put(Row::Version(Version {
                    id: version(secret, number),
                    size: 0,
                    sealed: SealedDigest::from_bytes([0; 32]),
                    dek_generation: 1,
                    exposed: None,
                    fingerprint: Fingerprint::from_bytes([0; 32]),
                    properties: Vec::new(),
                    state: VersionState::Enabled,
                    valid_until: None,
                    created: 0,
                    created_by: 0,
                }));
                world.put(Row::Wrap(Wrap {
                    version: version(secret, number),
                    gmk: key(1).id,
                    wrapped: WrappedDek::from_blob([1]),
                }));
            }
        }
        world
    }

    fn put(&mut self, row: Row) {
        self.adopt(write(vec![row]));
    }

    fn adopt(&mut self, edit: Edit) {
        self.changes += 1;
        let plan = self.state.plan(edit, self.changes);
        self.state.adopt(&plan);
    }

    fn rotate(&mut self, is_compromised: bool) {
        let next = next_generation(&self.state, &name(), None).unwrap();
        let (edit, _) =
            rotate_group(&self.state, &name(), vec![key(next)], None, is_compromised).unwrap();
        self.adopt(edit);
    }

    /// The master key that protects, in the token that comes last.
    fn newest(&self) -> KeyId {
        let group = self.state.group(&name()).unwrap();
        group.keys().last().unwrap().id
    }

    /// Moves, as a token would make them.
    fn moved(&self, after: Option<&VersionId>, most: usize) -> (Vec<Moved>, Option<VersionId>) {
        let batch = self.state.moves(&name(), &self.newest(), after, most);
        let made = batch.moves.into_iter();
        let made = made.map(|it| it.made(WrappedDek::from_blob([2])));
        (made.collect(), batch.last)
    }

    fn move_all(&mut self) {
        let (moved, _) = self.moved(None, usize::MAX);
        if let Some((edit, _)) = rewrap(&self.state, &name(), &self.newest(), moved) {
            self.adopt(edit);
        }
    }

    fn keys(&self) -> Vec<(KeyState, u64)> {
        let group = self.state.group(&name()).unwrap();
        group
            .keys()
            .map(|key| (key.state, group.wraps(&key.id)))
            .collect()
    }

    fn live(&mut self, generation: u32, deed: Deed) -> Result<(), Error> {
        let (edit, _) = live(&self.state, &name(), generation, deed, NOW)?;
        self.adopt(edit);
        Ok(())
    }
}

fn deactivated() -> KeyState {
    KeyState::Active.deactivated().unwrap()
}

#[test]
fn a_new_key_protects_and_those_before_it_only_reveal() {
    let mut world = World::new(&[("a", 1)]);
    world.rotate(false);
    assert_eq!(world.keys(), [(deactivated(), 1), (KeyState::Active, 0)]);
    world.rotate(true);
    let compromised = KeyState::Active.compromised().unwrap();
    assert_eq!(
        world.keys(),
        [(compromised, 1), (compromised, 0), (KeyState::Active, 0)]
    );
    let stale = next_generation(&world.state, &name(), Some(2));
    assert!(matches!(stale, Err(Error::NotNewest { is: 3, .. })));
    for generation in [3, 5] {
        assert!(rotate_group(&world.state, &name(), vec![key(generation)], None, false).is_err());
    }
}

#[test]
fn moves_go_through_every_version_once_in_batches() {
    let mut world = World::new(&[("a", 3), ("b", 1), ("c", 2)]);
    assert!(world.moved(None, 9).0.is_empty());
    assert!(world.state.unsettled().is_empty());
    world.rotate(false);
    assert_eq!(world.state.unsettled(), [name()]);
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let (moved, last) = world.moved(after.as_ref(), 2);
        assert!(moved.len() <= 2);
        seen.extend(moved.iter().map(|it| it.of.version().to_string()));
        match last {
            Some(last) => after = Some(last),
            None => break,
        }
    }
    let all = [
        "web/a@1", "web/a@2", "web/a@3", "web/b@1", "web/c@1", "web/c@2",
    ];
    assert_eq!(seen, all);
}

#[test]
fn a_move_leaves_one_wrap_and_is_made_only_of_what_is_still_there() {
    let mut world = World::new(&[("a", 2), ("b", 1)]);
    world.rotate(false);
    let (moved, _) = world.moved(None, 9);
    // Meanwhile one version has gone, and another was moved already.
    world.adopt(Edit {
        deletes: vec![
            RowId::Wrap(version("b", 1), key(1).id),
            RowId::Version(version("b", 1)),
        ],
        ..Edit::default()
    });
    let first = moved[..1].to_vec();
    let (edit, _) = rewrap(&world.state, &name(), &world.newest(), first).unwrap();
    world.adopt(edit);
    assert_eq!(world.keys(), [(deactivated(), 1), (KeyState::Active, 1)]);

    let (edit, change) = rewrap(&world.state, &name(), &world.newest(), moved.clone()).unwrap();
    let told = serde_json::to_value(&change).unwrap();
    assert_eq!(told["versions"], serde_json::json!({ "a": [2] }));
    world.adopt(edit);
    assert_eq!(world.keys(), [(deactivated(), 0), (KeyState::Active, 2)]);
    assert!(rewrap(&world.state, &name(), &world.newest(), moved).is_none());
}

#[test]
fn moves_to_a_key_that_protects_no_more_are_dropped() {
    let mut world = World::new(&[("a", 1)]);
    world.rotate(false);
    let (moved, _) = world.moved(None, 9);
    world.rotate(false);
    assert!(rewrap(&world.state, &name(), &world.newest(), moved).is_none());
    world.move_all();
    let wraps: Vec<_> = world.keys().into_iter().map(|(_, wraps)| wraps).collect();
    assert_eq!(wraps, [0, 0, 1]);
}

#[test]
fn a_key_is_destroyed_only_empty_doomed_and_in_time() {
    let mut world = World::new(&[("a", 1)]);
    let refused = |world: &mut World, generation| {
        let refused = world.live(generation, Deed::Destroy(0)).unwrap_err();
        assert!(matches!(refused, Error::KeyLife { .. }), "{refused}");
        assert!(destroy(&world.state, &name(), Millis::MAX).is_none());
        refused.to_string()
    };
    assert!(refused(&mut world, 1).contains("group rotate"));
    world.rotate(false);
    assert!(empty(&world.state, &name(), NOW).is_none());
    assert!(refused(&mut world, 1).contains("wraps 1 versions"));
    world.move_all();
    // Nothing is left, but that is not on record yet.
    refused(&mut world, 1);
    let (edit, _) = empty(&world.state, &name(), NOW).unwrap();
    world.adopt(edit);
    assert!(empty(&world.state, &name(), NOW).is_none());
    assert!(world.state.unsettled().is_empty());

    refused(&mut world, 2);
    assert_eq!(
        world.live(1, Deed::Destroy(MAX_GRACE + 1)),
        Err(Error::LongKeyGrace)
    );
    assert!(matches!(
        world.live(3, Deed::Spare),
        Err(Error::NoSuchMasterKey { .. })
    ));
    world.live(1, Deed::Destroy(10)).unwrap();
    world.live(1, Deed::Spare).unwrap();
    assert!(world.live(1, Deed::Spare).is_err());
    assert!(due(&world.state, Millis::MAX).is_empty());
    world.live(1, Deed::Destroy(10)).unwrap();
    assert!(due(&world.state, NOW + 9).is_empty());
    assert!(destroy(&world.state, &name(), NOW + 9).is_none());
    assert_eq!(due(&world.state, NOW + 10), [name()]);
    let (edit, _) = destroy(&world.state, &name(), NOW + 10).unwrap();
    world.adopt(edit);
    assert_eq!(
        world.keys(),
        [(KeyState::Destroyed, 0), (KeyState::Active, 1)]
    );
    assert!(world.live(1, Deed::Spare).is_err());
}

mod holders;
