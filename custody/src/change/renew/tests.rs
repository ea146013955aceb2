mod world;

use proptest::prelude::*;

use super::*;
use crate::{
    change::key::{self, Deed},
    group::{Group, KeyState, Millis},
    holder::{Holders, TokenId, Writes},
};
use world::{MOST, NOW, World, dek_of, gmk, name};

#[test]
fn a_renewal_replaces_content_key_and_wrap_and_says_so_beforehand() {
    let mut world = World::new();
    let id = world.put("a");
    let before = (world.versions(), world.contents.clone());
    assert!(world.renewed(9).is_empty());
    world.rotate(true);
    assert_eq!(world.state.unrenewed(), [name()]);
    let renewed = world.renewed(9);
    let told = world.write(renewed).unwrap();
    assert_eq!(told["change"], "renew");
    assert_eq!(told["versions"], serde_json::json!({ "a": [1] }));
    let after = world.versions();
    assert_ne!(world.contents[&id], before.1[&id]);
    let unchanged = Version {
        sealed: after[0].sealed,
        dek_generation: 2,
        exposed: Some(1),
        ..before.0[0].clone()
    };
    assert_eq!(after[0], unchanged);
    assert_eq!(world.group().wraps(&gmk(1).id), 0);
    assert_eq!(world.group().wraps(&gmk(2).id), 1);
    assert!(world.state.unrenewed().is_empty());
    world.check();
}

#[test]
fn what_happened_to_a_version_meanwhile_stays() {
    let mut world = World::new();
    let (destroyed, deleted) = (world.put("a"), world.put("b"));
    let (renewed, kept) = (world.put("c"), world.put("d"));
    world.rotate(true);
    let late = world.renewed(9);
    assert_eq!(late.len(), 4);
    world.destroy(&destroyed);
    let (mut edit, _) = crate::change::put::delete_secret(&world.state, &deleted.secret).unwrap();
    // The database does it.
    edit.shreds.push(deleted.clone());
    world.adopt(edit);
    let again = world.renewed(9);
    let first = again.into_iter().filter(|it| it.locked.version == renewed);
    world.write(first.collect()).unwrap();
    let told = world.write(late).unwrap();
    assert_eq!(told["versions"], serde_json::json!({ "d": [1] }));
    assert_eq!(world.contents.len(), 2);
    assert!(world.contents.contains_key(&kept));
    world.check();
}

#[test]
fn fewer_tokens_than_the_group_wants_renew_nothing() {
    let mut world = World::new();
    world.put("a");
    world.rotate(true);
    let held_by = |world: &mut World, writes| {
        let tokens = ["1", "2"].map(|serial| TokenId::new("token", serial));
        let group = Group {
            holders: Holders::new(tokens.into(), writes).unwrap(),
            ..world.group().row().clone()
        };
        world.adopt(Edit {
            puts: vec![Row::Group(group)],
            ..Edit::default()
        });
    };
    // One of two has a master key.
    held_by(&mut world, Writes::RequireAll);
    let renewed = world.renewed(9);
    assert_eq!(renewed.len(), 1);
    assert!(world.write(renewed).is_none());
    assert_eq!(world.group().wraps(&gmk(1).id), 1);
    held_by(&mut world, Writes::AnyThenRepair);
    let renewed = world.renewed(9);
    assert!(world.write(renewed).is_some());
    assert_eq!(world.group().wraps(&gmk(1).id), 0);
}

#[test]
fn other_content_is_not_overwritten_even_if_it_is_to_be_renewed() {
    let mut world = World::new();
    world.put("a");
    world.rotate(true);
    let late = world.renewed(9);
    let other = Version {
        sealed: crate::envelope::SealedDigest::from_bytes([1; 32]),
        ..world.versions().swap_remove(0)
    };
    world.adopt(Edit {
        puts: vec![Row::Version(other)],
        ..Edit::default()
    });
    assert!(world.write(late).is_none());
}

#[test]
fn a_renewal_for_a_key_that_protects_no_more_is_dropped() {
    let mut world = World::new();
    world.put("a");
    world.rotate(true);
    let late = world.renewed(9);
    world.rotate(false);
    assert!(world.write(late).is_none());
    let renewed = world.renewed(9);
    world.write(renewed).unwrap();
    assert_eq!(world.versions()[0].dek_generation, 3);
    world.check();
}

#[test]
fn a_key_that_is_compromised_after_all_was_moved_is_not_empty_before_all_is_renewed() {
    let mut world = World::new();
    world.put("a");
    world.rotate(false);
    world.put("b");
    world.move_some(9);
    world.empty();
    assert!(world.live(1, Deed::Destroy(10)));
    assert!(world.compromise(1));
    assert!(!world.compromise(1), "it is said once");
    assert!(!world.compromise(2), "it protects");
    world.empty();
    let refused = key::live(&world.state, &name(), 1, Deed::Destroy(0), NOW).unwrap_err();
    assert!(refused.to_string().contains("1 versions"), "{refused}");
    assert!(key::destroy(&world.state, &name(), Millis::MAX).is_none());
    world.check();
    // Only what was ever under it.
    let renewed = world.renewed(9);
    assert_eq!(renewed.len(), 1);
    world.write(renewed).unwrap();
    world.empty();
    assert!(world.destroy_key(1));
    let first = world.group().keys().next().unwrap();
    assert_eq!(first.state, KeyState::DestroyedCompromised);
    world.check();
}

#[test]
fn a_key_that_was_destroyed_can_still_be_called_compromised() {
    let mut world = World::new();
    world.put("a");
    world.rotate(false);
    world.move_some(9);
    world.empty();
    assert!(world.destroy_key(1));
    world.rotate(false);
    let states = |world: &World| {
        world
            .group()
            .keys()
            .map(|key| key.state)
            .collect::<Vec<_>>()
    };
    assert!(world.state.unrenewed().is_empty());
    assert!(world.compromise(1));
    assert_eq!(states(&world)[0], KeyState::DestroyedCompromised);
    assert_eq!(world.state.unrenewed(), [name()]);
    let renewed = world.renewed(9);
    world.write(renewed).unwrap();
    assert!(world.state.unrenewed().is_empty());
    world.check();
}

#[test]
fn a_rotation_says_nothing_of_keys_that_were_destroyed_before() {
    let mut world = World::new();
    world.rotate(false);
    world.empty();
    assert!(world.destroy_key(1));
    world.rotate(true);
    let states: Vec<_> = world.group().keys().map(|key| key.state).collect();
    assert_eq!(states[0], KeyState::Destroyed);
    assert!(states[1].is_compromised());
}

#[test]
fn renewals_go_through_every_version_once_in_batches_of_so_many_bytes() {
    let mut world = World::new();
    for of in ["a", "a", "b", "c", "c", "c"] {
        world.put(of);
    }
    world.rotate(true);
    for (most, bytes, largest) in [(2, MOST, 2), (9, 3, 3)] {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let batch = world.state.renewals(&name(), after.as_ref(), most, bytes);
            assert!(batch.renewals.len() <= largest);
            seen.extend(batch.renewals.iter().map(|it| it.version().to_string()));
            match batch.last {
                Some(last) => after = Some(last),
                None => break,
            }
        }
        let all = [
            "web/a@1", "web/a@2", "web/b@1", "web/c@1", "web/c@2", "web/c@3",
        ];
        assert_eq!(seen, all);
    }
}

proptest! {
    #[test]
    fn whoever_has_compromised_keys_and_every_copy_of_the_database_opens_nothing_in_the_end(
        steps in proptest::collection::vec((0..11_u8, 1..7_u32, 1..4_usize), 1..60),
    ) {
        let mut world = World::new();
        let mut late = Vec::new();
        for (what, nth, most) in steps {
            match what {
                0..=2 => drop(world.put(["a", "b", "c"][most - 1])),
                3 if world.newest() < 6 => world.rotate(false),
                4 if world.newest() < 6 => world.rotate(true),
                5 => drop(world.compromise(nth)),
                6 => world.move_some(most),
                7 => late.extend(world.renewed(most)),
                8 => drop(world.write(std::mem::take(&mut late))),
                9 => {
                    world.empty();
                    world.destroy_key(nth);
                }
                10 => {
                    let with_content = world.contents.keys().min_by_key(|id| id.to_string());
                    if let Some(id) = with_content.cloned() {
                        world.destroy(&id);
                    }
                }
                _ => {}
            }
            world.check();
        }
        let renewed = world.renewed(usize::MAX);
        world.write(renewed);
        world.move_some(usize::MAX);
        world.empty();
        world.check();
        prop_assert_eq!(world.state.left(), crate::renew::Left::default());
        for version in world.state.group(&name()).unwrap().secrets().flat_map(|it| it.versions()) {
            for wrap in version.wraps() {
                prop_assert!(!world.is_known(dek_of(&wrap.wrapped).expose()));
            }
        }
        for key in world.group().keys() {
            let is_over = !key.state.is_left() || key.state.emptied().is_some();
            prop_assert!(is_over, "{:?}", key.state);
        }
    }
}
