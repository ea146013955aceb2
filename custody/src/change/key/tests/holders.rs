//! Groups that several tokens hold.

use super::*;
use crate::{
    change::{
        hold::*,
        trustee::{Loss, add_trustee, lose_token},
    },
    holder::Writes,
    journal::trust::Voucher,
    name::InstanceId,
    rewrap::Way,
    row::System,
    trustee::Trustee,
};

fn token(serial: &str) -> TokenId {
    TokenId::new("token", serial)
}

fn holders(serials: &[&str], writes: Writes) -> Holders {
    let tokens = serials.iter().map(|serial| token(serial));
    Holders::new(tokens.collect(), writes).unwrap()
}

impl World {
    fn hold(&mut self, holders: Holders, made: Vec<MasterKey>) -> Result<(), Error> {
        let (edit, _) = hold(&self.state, &name(), holders, made)?;
        self.adopt(edit);
        Ok(())
    }

    fn rotate_in(&mut self, serials: &[&str]) -> Result<(), Error> {
        let next = next_generation(&self.state, &name(), None)?;
        let keys = serials.iter().map(|serial| key_in(token(serial), next));
        let (edit, _) = rotate_group(&self.state, &name(), keys.collect(), None, false)?;
        self.adopt(edit);
        Ok(())
    }

    fn group(&self) -> GroupView<'_> {
        self.state.group(&name()).unwrap()
    }

    /// By token and generation, how many versions are wrapped there.
    fn wraps(&self) -> Vec<(String, u32, u64)> {
        let group = self.group();
        let wraps = group.keys().map(|key| {
            (
                key.token.serial.clone(),
                key.generation,
                group.wraps(&key.id),
            )
        });
        wraps.filter(|(.., wraps)| *wraps > 0).collect()
    }

    /// Has the tokens called so do what they can.
    fn settle(&mut self, serials: &[&str]) {
        for key in self.state.lacking(&name()) {
            if serials.contains(&&*key.token.serial) {
                let batch = self.state.moves(&name(), &key.id, None, usize::MAX);
                let made = batch.moves.into_iter();
                let made = made.map(|it| it.made(WrappedDek::from_blob([3])));
                let written = rewrap(&self.state, &name(), &key.id, made.collect());
                self.adopt(written.unwrap().0);
            }
        }
        loop {
            let superfluous = self.state.superfluous(&name(), 2);
            match unwrap(&self.state, &name(), &superfluous) {
                Some((edit, _)) => self.adopt(edit),
                None => return,
            }
        }
    }
}

#[test]
fn a_token_that_comes_to_hold_a_group_gets_each_data_key_from_the_others() {
    let mut world = World::new(&[("a", 2), ("b", 1)]);
    let both = holders(&["1", "2"], Writes::RequireAll);
    world.hold(both, vec![key_in(token("2"), 1)]).unwrap();
    assert_eq!(world.state.unsettled(), [name()]);
    assert_eq!(world.group().lacks(&key_in(token("2"), 1).id), 3);
    let batch = world
        .state
        .moves(&name(), &key_in(token("2"), 1).id, None, 9);
    assert_eq!(batch.moves.len(), 3);
    assert!(
        batch
            .moves
            .iter()
            .all(|it| matches!(it.way(), Way::Across(_)))
    );
    world.settle(&["2"]);
    assert_eq!(world.wraps(), [("1".into(), 1, 3), ("2".into(), 1, 3)]);
    assert!(world.state.unsettled().is_empty());
}

#[test]
fn fewer_tokens_than_the_policy_wants_are_refused_and_change_nothing() {
    for (writes, least) in [
        (Writes::RequireAll, 3),
        (Writes::Majority, 2),
        (Writes::AnyThenRepair, 1),
    ] {
        let mut world = World::new(&[("a", 1)]);
        let of = ["2", "3", "4"];
        let all: Vec<_> = of.map(|serial| key_in(token(serial), 1)).into();
        for have in 0..=3 {
            let before = world.state.digest(0);
            let held = world.hold(holders(&of, writes), all[..have].to_vec());
            if have < least {
                let refused = held.unwrap_err();
                assert!(matches!(refused, Error::TooFewTokens { .. }), "{refused}");
                assert_eq!(world.state.digest(0), before);
            } else {
                held.unwrap();
                break;
            }
        }
        for have in 0..=3 {
            let rotated = world.rotate_in(&of[..have]);
            assert_eq!(rotated.is_ok(), have >= least, "{writes} {have}");
        }
    }
}

#[test]
fn two_keys_in_one_token_count_as_none() {
    let mut world = World::new(&[]);
    let both = holders(&["1", "2"], Writes::RequireAll);
    assert!(world.hold(both.clone(), vec![key(1)]).is_err());
    world.hold(both, vec![key_in(token("2"), 1)]).unwrap();
    assert!(world.rotate_in(&["1", "1"]).is_err());
    assert!(world.rotate_in(&["1", "3"]).is_err());
    world.rotate_in(&["1", "2"]).unwrap();
    // And there is no second one for a token that has one.
    assert!(join(&world.state, &name(), vec![key_in(token("2"), 2)]).is_err());
}

#[test]
fn a_rotation_moves_within_each_token_and_waits_for_those_that_are_away() {
    let mut world = World::new(&[("a", 2)]);
    let both = holders(&["1", "2"], Writes::AnyThenRepair);
    world.hold(both, vec![key_in(token("2"), 1)]).unwrap();
    world.settle(&["2"]);
    assert_eq!(world.state.left().moves, 0);
    world.rotate_in(&["1"]).unwrap();
    assert_eq!(Vec::from_iter(world.group().vacant()), [&token("2")]);
    assert_eq!(world.state.left().moves, 4);
    let to = key(2).id;
    let batch = world.state.moves(&name(), &to, None, 9);
    let is_within = |it: &crate::rewrap::Move| matches!(it.way(), Way::Within(_));
    assert!(batch.moves.iter().all(is_within));
    world.settle(&["1"]);
    assert_eq!(world.state.left().moves, 2);
    // What the other token has stays until it has something in its place.
    assert_eq!(world.wraps(), [("2".into(), 1, 2), ("1".into(), 2, 2)]);
    assert_eq!(world.state.unsettled(), [name()]);

    let (edit, change) = join(&world.state, &name(), vec![key_in(token("2"), 2)]).unwrap();
    let told = serde_json::to_value(&change).unwrap();
    assert_eq!(told["tokens"][0]["serial"], "2");
    world.adopt(edit);
    assert_eq!(world.state.left().moves, 2);
    world.settle(&["1", "2"]);
    assert_eq!(world.state.left().moves, 0);
    assert_eq!(world.wraps(), [("1".into(), 2, 2), ("2".into(), 2, 2)]);
    while let Some((edit, _)) = empty(&world.state, &name(), NOW) {
        world.adopt(edit);
    }
    assert!(world.state.unsettled().is_empty());
    // A generation is destroyed in all of its tokens.
    world.live(1, Deed::Destroy(0)).unwrap();
    while let Some((edit, _)) = destroy(&world.state, &name(), NOW) {
        world.adopt(edit);
    }
    let gone: Vec<_> = world.state.destroyed();
    let tokens: Vec<_> = gone.iter().map(|it| &*it.token().serial).collect();
    assert_eq!(tokens, ["1", "2"]);
}

#[test]
fn what_a_token_had_that_holds_no_more_goes_when_the_others_have_it() {
    let mut world = World::new(&[("a", 3)]);
    let other = holders(&["2"], Writes::RequireAll);
    world.hold(other, vec![key_in(token("2"), 1)]).unwrap();
    assert!(world.state.superfluous(&name(), 9).is_empty());
    let batch = world
        .state
        .moves(&name(), &key_in(token("2"), 1).id, None, 2);
    let made = batch.moves.into_iter();
    let made: Vec<_> = made.map(|it| it.made(WrappedDek::from_blob([3]))).collect();
    let to = key_in(token("2"), 1).id;
    let (edit, _) = rewrap(&world.state, &name(), &to, made.clone()).unwrap();
    world.adopt(edit);
    assert_eq!(world.state.superfluous(&name(), 9).len(), 2);
    // What was written down once is not written down again.
    assert!(rewrap(&world.state, &name(), &to, made).is_none());
    world.settle(&["2"]);
    assert_eq!(world.wraps(), [("2".into(), 1, 3)]);
    let stays = Superfluous {
        version: version("a", 1),
        gmk: to,
    };
    assert!(unwrap(&world.state, &name(), &[stays]).is_none());
}

#[test]
fn a_version_without_a_data_key_is_lacked_by_nobody() {
    let mut world = World::new(&[("a", 2)]);
    world.adopt(Edit {
        deletes: vec![RowId::Wrap(version("a", 1), key(1).id)],
        ..Edit::default()
    });
    let both = holders(&["1", "2"], Writes::RequireAll);
    world.hold(both, vec![key_in(token("2"), 1)]).unwrap();
    assert_eq!(world.group().lacks(&key(1).id), 0);
    world.settle(&["2"]);
    assert!(world.state.unsettled().is_empty());
    assert_eq!(world.wraps(), [("1".into(), 1, 1), ("2".into(), 1, 1)]);
}

fn system() -> System {
    System {
        instance: InstanceId::from_bytes(&[1; InstanceId::LEN]).unwrap(),
        gmk: key(1).id,
        wrapping: Wrapping::Aes256Gcm,
        canary: WrappedDek::from_blob([0; 4]),
        row_key: WrappedDek::from_blob([0; 4]),
        journal_key: key(1).id,
        journal_public_key: Vec::new(),
        token_label: "token".to_owned(),
        token_serial: "1".to_owned(),
        created: 0,
    }
}

/// A world whose group two tokens hold, which both have keys of the installation.
fn of_two(secrets: &[(&str, u32)]) -> World {
    let mut world = World::new(secrets);
    let both = holders(&["1", "2"], Writes::AnyThenRepair);
    world.hold(both, vec![key_in(token("2"), 1)]).unwrap();
    let trustee = Trustee {
        token: token("2"),
        ..Trustee::first(&system())
    };
    let (edit, _) = add_trustee(&world.state, &system(), trustee.clone()).unwrap();
    world.adopt(edit);
    for again in [Trustee::first(&system()), trustee] {
        let exists = Error::TrusteeExists(again.token.clone());
        let refused = add_trustee(&world.state, &system(), again);
        assert_eq!(refused.unwrap_err(), exists);
    }
    world
}

#[test]
fn vouchers_are_in_the_order_of_the_tokens_whatever_the_clock_says() {
    let mut world = World::new(&[]);
    // The database has them by serial number, and each was vouched for earlier than the one before.
    for (serial, joined) in [("9", 1000), ("5", 10), ("7", 0)] {
        let voucher = Voucher {
            public_key: serial.to_owned(),
            voucher: String::new(),
        };
        let trustee = Trustee {
            token: token(serial),
            voucher: Some(voucher),
            joined,
            ..Trustee::first(&system())
        };
        let (edit, _) = add_trustee(&world.state, &system(), trustee).unwrap();
        world.adopt(edit);
    }
    let vouchers = world.state.vouchers().into_iter();
    let order: Vec<_> = vouchers.map(|it| it.public_key).collect();
    assert_eq!(order, ["9", "5", "7"]);
}

impl World {
    fn lose(&mut self, serial: &str, accept: u64) -> Result<Loss, Error> {
        let token = token(serial);
        let (edit, _, loss) = lose_token(&self.state, &system(), &token, accept, NOW)?;
        self.adopt(edit);
        Ok(loss)
    }
}

#[test]
fn a_token_is_given_up_with_all_that_it_has_and_nothing_else() {
    let mut world = of_two(&[("a", 2)]);
    world.settle(&["2"]);
    let loss = world.lose("1", 0).unwrap();
    assert_eq!((loss.keys, loss.wraps, loss.lost.len()), (1, 2, 0));
    assert_eq!(world.wraps(), [("2".into(), 1, 2)]);
    assert_eq!(world.group().row().holders.tokens().len(), 1);
    assert_eq!(
        world.group().key(&key(1).id).unwrap().state,
        KeyState::Destroyed
    );
    assert!(world.state.unsettled().is_empty());
    let left = Trustee::all(&system(), world.state.trustees().cloned());
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].token, token("2"));
    // Once is enough, and the last one stays.
    assert_eq!(world.lose("1", 0), Err(Error::NoSuchTrustee(token("1"))));
    assert!(matches!(world.lose("2", 0), Err(Error::LastToken { .. })));
    assert_eq!(world.wraps(), [("2".into(), 1, 2)]);
}

#[test]
fn what_would_be_lost_is_named_and_must_be_counted() {
    let mut world = of_two(&[("a", 1), ("b", 1)]);
    for accept in [0, 1, 3] {
        let refused = world.lose("1", accept).unwrap_err();
        let said = refused.to_string();
        assert!(said.contains("web/a@1, web/b@1"), "{said}");
        assert!(said.contains("--accept-loss 2"), "{said}");
        assert_eq!(world.wraps(), [("1".into(), 1, 2)]);
    }
    let loss = world.lose("1", 2).unwrap();
    assert_eq!(loss.lost, [version("a", 1), version("b", 1)]);
    assert!(world.wraps().is_empty());
    assert!(world.state.unsettled().is_empty());
}

#[test]
fn the_only_token_of_a_group_is_not_given_up() {
    let mut world = of_two(&[("a", 1)]);
    world.settle(&["2"]);
    world
        .hold(holders(&["2"], Writes::RequireAll), Vec::new())
        .unwrap();
    let refused = world.lose("2", 0).unwrap_err();
    assert!(refused.to_string().contains("group web"), "{refused}");
    // The other one can go, with what is still wrapped under its key.
    assert_eq!(world.lose("1", 0).unwrap().keys, 1);
}

#[test]
fn what_went_with_a_token_is_not_in_the_way_of_what_the_others_destroy() {
    let mut world = of_two(&[("a", 2)]);
    world.settle(&["2"]);
    world.lose("1", 0).unwrap();
    world.rotate_in(&["2"]).unwrap();
    world.settle(&["2"]);
    while let Some((edit, _)) = empty(&world.state, &name(), NOW) {
        world.adopt(edit);
    }
    for deed in [Deed::Destroy(0), Deed::Spare, Deed::Destroy(0)] {
        let (edit, change) = live(&world.state, &name(), 1, deed, NOW).unwrap();
        world.adopt(edit);
        let Change::MasterKeyFate { master_keys, .. } = change else {
            panic!("{change:?}")
        };
        assert_eq!(master_keys, [key_in(token("2"), 1).id]);
    }
    while let Some((edit, _)) = destroy(&world.state, &name(), NOW) {
        world.adopt(edit);
    }
    let gone = world.group().keys().filter(|key| key.state.is_destroyed());
    assert_eq!(gone.map(|key| key.generation).collect::<Vec<_>>(), [1, 1]);
    let again = live(&world.state, &name(), 1, Deed::Destroy(0), NOW).unwrap_err();
    assert!(matches!(again, Error::KeyLife { .. }), "{again:?}");
}

#[test]
fn what_is_lost_is_not_waited_for_when_its_key_is_compromised() {
    let mut world = of_two(&[("a", 1), ("b", 1)]);
    world.lose("1", 2).unwrap();
    world.rotate_in(&["2"]).unwrap();
    let (edit, _) = live(&world.state, &name(), 1, Deed::Compromise, NOW).unwrap();
    world.adopt(edit);
    assert!(world.state.unrenewed().is_empty());
    assert_eq!(world.state.left(), crate::renew::Left::default());
    while let Some((edit, _)) = empty(&world.state, &name(), NOW) {
        world.adopt(edit);
    }
    assert!(world.state.unsettled().is_empty());
}

#[test]
fn no_token_joins_with_a_generation_that_someone_may_have() {
    let mut world = World::new(&[]);
    let both = holders(&["1", "2"], Writes::AnyThenRepair);
    world.hold(both, Vec::new()).unwrap();
    let trustee = Trustee {
        token: token("2"),
        ..Trustee::first(&system())
    };
    let (edit, _) = add_trustee(&world.state, &system(), trustee).unwrap();
    world.adopt(edit);
    assert_eq!(world.group().joining(), 1);
    world.lose("1", 0).unwrap();
    let (edit, _) = live(&world.state, &name(), 1, Deed::Compromise, NOW).unwrap();
    world.adopt(edit);
    assert_eq!(world.group().joining(), 2);
    for refused in [vec![key_in(token("2"), 1)], Vec::new()] {
        let refused = join(&world.state, &name(), refused).unwrap_err();
        assert_eq!(refused, Error::NotProtecting(name()));
    }
    let (edit, _) = join(&world.state, &name(), vec![key_in(token("2"), 2)]).unwrap();
    world.adopt(edit);
    let protecting = world.group().protecting().map(|key| key.generation);
    assert_eq!(protecting.collect::<Vec<_>>(), [2]);
}
