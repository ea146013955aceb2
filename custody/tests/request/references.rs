//! References: what they must mean, and what cannot go because something refers to it.

use std::num::NonZeroU32;

use custody::{
    change::{
        self, Error,
        life::{self, Deed},
        put::{self, Terms},
    },
    envelope::{Content, SealedContent, WrappedDek},
    holder::{Holders, TokenId},
    name::{RuleId, SecretId, VersionId},
    reference::Reference,
    role::{Assignment, Operator, Role},
    secret::{Accepted, Kind, version::Which},
    state::links::Problem,
};
use proptest::prelude::*;

use crate::world::{World, name, only_uid, world};

fn id(path: &str) -> SecretId {
    let reference: Reference = format!("custody:{path}").parse().unwrap();
    reference.secret
}

/// The small installation, with one who may write and nothing that refers.
pub(crate) struct Shelf {
    pub(crate) world: World,
    writer: Operator,
}

impl Shelf {
    fn new() -> Self {
        let mut world = world();
        let writer = world.writer();
        Self { world, writer }
    }

    pub(crate) fn with_keystore() -> Self {
        let mut shelf = Self::new();
        shelf.put("web/key", "keystore", &[]).unwrap();
        shelf
    }

    pub(crate) fn put(
        &mut self,
        path: &str,
        kind: &str,
        refers: &[(&str, &str)],
    ) -> Result<u32, Error> {
        self.put_on(path, kind, refers, Terms::default())
    }

    fn put_on(
        &mut self,
        path: &str,
        kind: &str,
        refers: &[(&str, &str)],
        terms: Terms,
    ) -> Result<u32, Error> {
        let kind = Kind::from_name(kind).unwrap();
        let text = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let accepted = Accepted {
            kind,
            content: Content::take(Vec::new()),
            size: 0,
            properties: refers.iter().map(text).collect(),
        };
        let state = &self.world.state;
        let place = put::next_version(state, &id(path), kind, terms)?;
        let number = place.version.number;
        let written = put::Written {
            about: &custody::label::About::default(),
            is_made: false,
            certifies: None,
            accepted: &accepted,
            fingerprint: state.fingerprint(&id(path), &accepted.content),
            sealed: SealedContent {
                nonce: [0; 12],
                ciphertext: vec![number.to_le_bytes()[0]],
            },
            wraps: vec![(place.keys[0].id, WrappedDek::from_blob([2; 60]))],
        };
        let (edit, _) = put::put_secret(state, place, written, terms, &self.writer, 5)?;
        self.world.follow(edit);
        Ok(number)
    }

    fn live(&mut self, path: &str, which: Which, deed: Deed) -> Result<(), Error> {
        let (edit, _) = life::live(&self.world.state, &id(path), which, deed, 5)?;
        self.world.follow(edit);
        Ok(())
    }

    fn activate(&mut self, path: &str, which: Which, overlap: Option<u64>) -> Result<(), Error> {
        let (edit, _) = life::activate(&self.world.state, &id(path), which, overlap, 5)?;
        self.world.follow(edit);
        Ok(())
    }

    fn delete(&mut self, path: &str) -> Result<(), Error> {
        let (edit, _) = put::delete_secret(&self.world.state, &id(path))?;
        self.world.follow(edit);
        Ok(())
    }

    fn shred(&mut self) {
        for id in life::due(&self.world.state, 5) {
            let (edit, _) = life::shred(&self.world.state, &id, 5).unwrap();
            self.world.follow(edit);
        }
    }

    /// Every reference there is, with what keeps its target from being delivered.
    fn all(&self) -> Vec<(VersionId, Option<Problem>)> {
        let state = &self.world.state;
        let secrets = state.groups().flat_map(|group| group.secrets());
        let versions = secrets.flat_map(|secret| secret.versions());
        versions
            .flat_map(|version| state.refers_to(&version.row().id))
            .map(|link| (link.from.clone(), state.problem(&link)))
            .collect()
    }

    fn referrers(&self, path: &str) -> Vec<String> {
        let links = self.world.state.referred_by(&id(path));
        links.iter().map(|link| link.from.to_string()).collect()
    }
}

fn problem(refused: Result<u32, Error>) -> Problem {
    match refused.unwrap_err() {
        Error::Refers(dangling) => dangling.problem,
        other => panic!("{other}"),
    }
}

fn referrers(refused: Result<(), Error>) -> Vec<String> {
    match refused.unwrap_err() {
        Error::ReferredTo { by, .. } => by.iter().map(|one| one.link.from.to_string()).collect(),
        other => panic!("{other}"),
    }
}

#[test]
fn a_reference_to_what_is_not_there_is_not_written() {
    let mut shelf = Shelf::with_keystore();
    shelf
        .live("web/key", Which::Number(1), Deed::Disable)
        .unwrap();
    shelf.put("web/key", "keystore", &[]).unwrap();
    shelf.put("web/key", "keystore", &[]).unwrap();
    shelf
        .live("web/key", Which::Number(2), Deed::Destroy(9))
        .unwrap();
    for (to, expected) in [
        ("custody:web/nothing", Problem::NoSecret),
        ("custody:nowhere/key", Problem::NoSecret),
        ("custody:web/db", Problem::OtherKind(&["keystore"])),
        ("custody:web/key@4", Problem::NoVersion),
        ("custody:web/key@2", Problem::Gone),
        ("custody:web/key@previous", Problem::Gone),
    ] {
        let refers = [("keystore", to)];
        // To a group that is not there, nobody has a role.
        if to.contains("nowhere") {
            let refused = shelf.put("web/ctx", "tls-context", &refers).unwrap_err();
            assert!(matches!(refused, Error::RefersUnseen { .. }), "{refused}");
            continue;
        }
        assert_eq!(
            problem(shelf.put("web/ctx", "tls-context", &refers)),
            expected,
            "{to}"
        );
    }
    assert!(shelf.all().is_empty(), "nothing was written");
    for to in ["custody:web/key", "custody:web/key@1", "custody:web/key@3"] {
        shelf
            .put("web/ctx", "tls-context", &[("keystore", to)])
            .unwrap();
    }
}

#[test]
fn a_refusal_names_the_field_the_reference_and_the_problem() {
    let mut shelf = Shelf::with_keystore();
    let refers = [
        ("keystore", "custody:web/key"),
        ("crls", "custody:web/crls@7"),
    ];
    let refused = shelf.put("web/ctx", "tls-context", &refers).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "web/ctx@1 (crls: custody:web/crls@7): there is no such secret"
    );
    shelf.put("web/ctx", "tls-context", &refers[..1]).unwrap();
    let refused = shelf.delete("web/key").unwrap_err();
    assert_eq!(
        refused.to_string(),
        "web/key is referred to: \
         web/ctx@1 (keystore: custody:web/key): there is no such secret"
    );
}

#[test]
fn what_is_referred_to_is_neither_deleted_nor_destroyed_until_the_last_reference_goes() {
    let mut shelf = Shelf::with_keystore();
    for _ in 0..2 {
        shelf
            .put("web/ctx", "tls-context", &[("keystore", "custody:web/key")])
            .unwrap();
    }
    let both = ["web/ctx@1", "web/ctx@2"];
    assert_eq!(referrers(shelf.delete("web/key")), both);
    let destroyed = shelf.live("web/key", Which::Current, Deed::Destroy(0));
    assert_eq!(referrers(destroyed), both);
    shelf
        .live("web/ctx", Which::Number(1), Deed::Destroy(0))
        .unwrap();
    assert_eq!(referrers(shelf.delete("web/key")), both[1..]);
    shelf.delete("web/ctx").unwrap();
    assert!(shelf.referrers("web/key").is_empty());
    shelf.delete("web/key").unwrap();
}

#[test]
fn a_version_is_restored_only_while_what_it_refers_to_is_there() {
    let mut shelf = Shelf::with_keystore();
    let refers = [("keystore", "custody:web/key")];
    shelf.put("web/ctx", "tls-context", &refers).unwrap();
    shelf
        .live("web/ctx", Which::Current, Deed::Destroy(9))
        .unwrap();
    shelf
        .live("web/key", Which::Current, Deed::Destroy(9))
        .unwrap();
    let restored = shelf.live("web/ctx", Which::Current, Deed::Restore);
    assert!(matches!(restored, Err(Error::Refers(_))), "{restored:?}");
    shelf
        .live("web/key", Which::Current, Deed::Restore)
        .unwrap();
    shelf
        .live("web/ctx", Which::Current, Deed::Restore)
        .unwrap();
    assert_eq!(shelf.referrers("web/key"), ["web/ctx@1"]);
}

#[test]
fn disabling_is_told_what_it_silences_and_takes_nothing_away() {
    let mut shelf = Shelf::with_keystore();
    shelf
        .put(
            "web/ctx",
            "tls-context",
            &[("keystore", "custody:web/key@1")],
        )
        .unwrap();
    let state = &shelf.world.state;
    let (edit, _) = life::live(state, &id("web/key"), Which::Current, Deed::Disable, 5).unwrap();
    let silenced = state.silenced(&edit);
    assert_eq!(silenced[0].link.from.to_string(), "web/ctx@1");
    assert_eq!(silenced[0].problem, Problem::Disabled);
    shelf.world.follow(edit);
    assert_eq!(shelf.all()[0].1, Some(Problem::Disabled));
    shelf.live("web/key", Which::Current, Deed::Enable).unwrap();
    assert_eq!(shelf.all()[0].1, None);
}

#[test]
fn a_version_that_is_referred_to_by_number_is_neither_retired_nor_given_an_end() {
    let mut shelf = Shelf::with_keystore();
    shelf
        .put(
            "web/ctx",
            "tls-context",
            &[("keystore", "custody:web/key@1")],
        )
        .unwrap();
    let overlap = Terms {
        overlap: Some(9),
        ..Terms::default()
    };
    let limited = shelf.put_on("web/key", "keystore", &[], overlap).map(drop);
    assert_eq!(referrers(limited), ["web/ctx@1"]);
    let keep = Terms {
        keep: Some(1),
        ..Terms::default()
    };
    for _ in 0..4 {
        shelf.put_on("web/key", "keystore", &[], keep).unwrap();
    }
    let group = shelf.world.state.group(&name("web")).unwrap();
    let secret = group.secret(&id("web/key").name).unwrap();
    assert_eq!(secret.row().keep, NonZeroU32::new(1));
    let kept: Vec<_> = secret
        .versions()
        .filter(|version| version.wraps().len() > 0)
        .map(|version| version.row().id.number)
        .collect();
    assert_eq!(kept, [1, 4, 5], "that, the previous and the current one");
    assert_eq!(shelf.all()[0].1, None);
}

#[test]
fn a_secret_of_another_group_is_referred_to_by_those_who_may_see_it_only() {
    let mut shelf = Shelf::with_keystore();
    let group = custody::group::Group {
        name: name("shop"),
        purpose: custody::group::Purpose::default(),
        cache: None,
        holders: Holders::only(TokenId::new("token", "1")),
        keeping: custody::group::Keeping::InToken,
        created: 1,
        created_by: 0,
    };
    let key = custody::group::MasterKey {
        id: custody::name::KeyId::from_bytes(&[8; 16]).unwrap(),
        group: name("shop"),
        ..crate::world::master_key(custody::group::KeyState::Active)
    };
    let (edit, _) = change::create_group(&shelf.world.state, group, vec![key]).unwrap();
    shelf.world.follow(edit);
    let refers = [("keystore", "custody:web/key")];
    shelf.put("shop/ctx", "tls-context", &refers).unwrap();

    // The writer of web has no role in shop: there or not, the answer is one.
    let told = |shelf: &mut Shelf, to: &str| {
        let refused = shelf.put("web/ctx", "tls-context", &[("keystore", to)]);
        refused.unwrap_err().to_string()
    };
    let there = told(&mut shelf, "custody:shop/ctx");
    let nowhere = told(&mut shelf, "custody:shop/abc");
    assert_eq!(there.replace("ctx", "abc"), nowhere);
    assert!(there.contains("takes the role"), "{there}");
    let reader = Assignment {
        id: RuleId::random().unwrap(),
        role: Role::Reader,
        group: Some(name("shop")),
        selectors: only_uid(0),
        created: 1,
        created_by: None,
    };
    let (edit, _) = change::assign_role(&shelf.world.state, reader, Vec::new()).unwrap();
    shelf.world.follow(edit);
    assert_eq!(
        problem(shelf.put(
            "web/ctx",
            "tls-context",
            &[("keystore", "custody:shop/ctx")]
        )),
        Problem::OtherKind(&["keystore"])
    );
}

#[derive(Clone, Debug)]
enum Step {
    Put(usize, usize, Terms),
    Live(usize, Which, Deed),
    Activate(usize, Which, Option<u64>),
    Delete(usize),
    Shred,
}

const PATHS: [(&str, &str); 4] = [
    ("web/key", "keystore"),
    ("web/ca", "truststore"),
    ("web/ctx", "tls-context"),
    ("web/other", "tls-context"),
];

const REFERS: [&[(&str, &str)]; 5] = [
    &[("keystore", "custody:web/key")],
    &[("keystore", "custody:web/key@1")],
    &[("keystore", "custody:web/key@previous")],
    &[
        ("keystore", "custody:web/key@2"),
        ("truststore", "custody:web/ca"),
    ],
    &[
        ("keystore", "custody:web/key"),
        ("truststore", "custody:web/ca@previous"),
    ],
];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let secret = 0..PATHS.len();
    let which = prop_oneof![
        Just(Which::Current),
        Just(Which::Previous),
        Just(Which::Pending),
        (1..4_u32).prop_map(Which::Number),
    ];
    let deed = prop_oneof![
        Just(Deed::Enable),
        Just(Deed::Disable),
        Just(Deed::Destroy(0)),
        Just(Deed::Destroy(9)),
        Just(Deed::Restore),
    ];
    let overlap = proptest::option::of(0..20_u64);
    let terms = (
        any::<bool>(),
        overlap.clone(),
        proptest::option::of(0..3_u32),
    );
    let terms = terms.prop_map(|(is_pending, overlap, keep)| Terms {
        is_pending,
        overlap,
        keep,
        ..Terms::default()
    });
    let step = prop_oneof![
        6 => (secret.clone(), 0..REFERS.len(), terms).prop_map(|(s, r, t)| Step::Put(s, r, t)),
        4 => (secret.clone(), which.clone(), deed).prop_map(|(s, w, d)| Step::Live(s, w, d)),
        2 => (secret.clone(), which, overlap).prop_map(|(s, w, o)| Step::Activate(s, w, o)),
        1 => secret.prop_map(Step::Delete),
        1 => Just(Step::Shred),
    ];
    proptest::collection::vec(step, 1..40)
}

proptest! {
    #[test]
    fn no_order_of_deeds_leaves_a_reference_dangling(steps in steps()) {
        let mut shelf = Shelf::new();
        for step in steps {
            match step {
                Step::Put(secret, refers, terms) => {
                    let (path, kind) = PATHS[secret];
                    let refers = if kind == "tls-context" { REFERS[refers] } else { &[] };
                    drop(shelf.put_on(path, kind, refers, terms));
                }
                Step::Live(secret, which, deed) => drop(shelf.live(PATHS[secret].0, which, deed)),
                Step::Activate(secret, which, overlap) => {
                    drop(shelf.activate(PATHS[secret].0, which, overlap));
                }
                Step::Delete(secret) => drop(shelf.delete(PATHS[secret].0)),
                Step::Shred => shelf.shred(),
            }
            let all = shelf.all();
            for (from, problem) in &all {
                prop_assert!(matches!(problem, None | Some(Problem::Disabled)), "{from}: {problem:?}");
            }
            // What is known of who refers to what agrees with what is written.
            let mut found: Vec<_> = PATHS.iter().flat_map(|(path, _)| shelf.referrers(path)).collect();
            let mut written: Vec<_> = all.iter().map(|(from, _)| from.to_string()).collect();
            found.sort();
            written.sort();
            prop_assert_eq!(found, written);
        }
    }
}
