//! A group with whatever happens to it, and what someone would know who had compromised master
//! keys and every copy of the database there ever was.

use std::collections::{BTreeSet, HashMap};

use crate::{
    change::{
        key::{self, Deed},
        renew::renew,
    },
    envelope::{Content, Context, PlaintextDek, SealedContent, WrappedDek, Wrapping},
    group::{Group, KeyState, MasterKey, Millis, Purpose},
    holder::{Holders, TokenId},
    label::About,
    name::{GroupName, KeyId, SecretId, VersionId},
    release::Unlock as _,
    renew::Renewed,
    rewrap::Way,
    row::{Row, RowKey},
    secret::{
        Kind,
        version::{Fingerprint, Secret, Version, VersionState, Wrap},
    },
    state::{State, edit::Edit, view::GroupView},
};

pub(super) const NOW: Millis = 1000;
pub(super) const MOST: u64 = u64::MAX;

pub(super) type Dek = [u8; PlaintextDek::LEN];

/// A group, its database, a token that wraps by writing the key down, and all that one would
/// know who had compromised master keys and every copy of the database there ever was.
pub(super) struct World {
    pub(super) state: State,
    changes: u64,
    pub(super) contents: HashMap<VersionId, SealedContent>,
    wrapped: BTreeSet<(u32, Dek)>,
    pub(super) compromised: BTreeSet<u32>,
    /// Which data keys each content was ever under.
    deks: HashMap<VersionId, BTreeSet<Dek>>,
}

pub(super) fn name() -> GroupName {
    "web".parse().unwrap()
}

pub(super) fn gmk(generation: u32) -> MasterKey {
    MasterKey {
        id: KeyId::from_bytes(&[u8::try_from(generation).unwrap(); KeyId::LEN]).unwrap(),
        group: name(),
        generation,
        state: KeyState::Active,
        wrapping: Wrapping::AesKwp,
        canary: WrappedDek::from_blob([0; 4]),
        token: TokenId::new("token", "1"),
        blob: None,
        reserved: 0,
        created: 0,
    }
}

pub(super) fn kind() -> Kind {
    Kind::from_name("blob").unwrap()
}

pub(super) fn secret(name_of_it: &str) -> SecretId {
    SecretId {
        group: name(),
        name: name_of_it.parse().unwrap(),
    }
}

pub(super) fn content(id: &VersionId) -> Vec<u8> {
    id.to_string().into_bytes()
}

pub(super) fn dek_of(wrapped: &WrappedDek) -> PlaintextDek {
    PlaintextDek::take(&mut wrapped.blob().to_vec()).unwrap()
}

pub(super) fn wrap(dek: &PlaintextDek) -> WrappedDek {
    WrappedDek::from_blob(*dek.expose())
}

impl World {
    pub(super) fn new() -> Self {
        let row_key = RowKey::take(PlaintextDek::take(&mut [3; 32]).unwrap());
        let mut world = Self {
            state: State::empty(row_key),
            changes: 0,
            contents: HashMap::new(),
            wrapped: BTreeSet::new(),
            compromised: BTreeSet::new(),
            deks: HashMap::new(),
        };
        let group = Group {
            name: name(),
            purpose: Purpose::default(),
            cache: None,
            holders: Holders::only(TokenId::new("token", "1")),
            keeping: crate::group::Keeping::InToken,
            created: 0,
            created_by: 0,
        };
        world.adopt(Edit {
            puts: vec![Row::Group(group), Row::MasterKey(gmk(1))],
            ..Edit::default()
        });
        world
    }

    pub(super) fn group(&self) -> GroupView<'_> {
        self.state.group(&name()).unwrap()
    }

    pub(super) fn adopt(&mut self, edit: Edit) {
        self.changes += 1;
        let plan = self.state.plan(edit, self.changes);
        self.state.adopt(&plan);
        for tagged in &plan.rows {
            if let Row::Wrap(row) = &tagged.row {
                let dek = *dek_of(&row.wrapped).expose();
                let generation = self.group().key(&row.gmk).unwrap().generation;
                self.wrapped.insert((generation, dek));
                self.deks
                    .entry(row.version.clone())
                    .or_default()
                    .insert(dek);
            }
        }
        for id in &plan.shreds {
            self.contents.remove(id);
        }
        for (id, sealed) in plan.content {
            assert!(
                self.contents.insert(id, sealed).is_none(),
                "it is written once"
            );
        }
    }

    pub(super) fn newest(&self) -> u32 {
        self.group().keys().last().unwrap().generation
    }

    pub(super) fn put(&mut self, of: &str) -> VersionId {
        let id = secret(of);
        let view = self.state.secret(&id).ok();
        let last = view.and_then(|secret| secret.versions().last());
        let id = VersionId {
            number: last.map_or(0, |version| version.row().id.number) + 1,
            secret: id,
        };
        let dek = PlaintextDek::generate().unwrap();
        let context = Context::Content {
            version: &id,
            kind: kind().name(),
        };
        let sealed = SealedContent::seal(&Content::take(content(&id)), &dek, context).unwrap();
        let row = Secret {
            id: id.secret.clone(),
            kind: kind(),
            current: Some(id.number),
            previous: None,
            pending: None,
            keep: None,
            about: About::default(),
            created: 0,
            created_by: 0,
        };
        let version = Version {
            id: id.clone(),
            size: 1,
            sealed: sealed.digest(),
            dek_generation: self.newest(),
            exposed: None,
            fingerprint: Fingerprint::from_bytes([0; 32]),
            properties: Vec::new(),
            state: VersionState::Enabled,
            valid_until: None,
            created: 0,
            created_by: 0,
        };
        let wrap = Wrap {
            version: id.clone(),
            gmk: gmk(self.newest()).id,
            wrapped: wrap(&dek),
        };
        self.adopt(Edit {
            puts: vec![Row::Secret(row), Row::Version(version), Row::Wrap(wrap)],
            content: vec![(id.clone(), sealed)],
            ..Edit::default()
        });
        id
    }

    pub(super) fn rotate(&mut self, is_compromised: bool) {
        let next = self.newest() + 1;
        let (edit, _) =
            key::rotate_group(&self.state, &name(), vec![gmk(next)], None, is_compromised).unwrap();
        self.adopt(edit);
        if is_compromised {
            self.compromised.extend(1..next);
        }
    }

    pub(super) fn live(&mut self, generation: u32, deed: Deed) -> bool {
        let lived = key::live(&self.state, &name(), generation, deed, NOW);
        let is_done = lived.is_ok();
        if let Ok((edit, _)) = lived {
            self.adopt(edit);
        }
        is_done
    }

    pub(super) fn compromise(&mut self, generation: u32) -> bool {
        let is_done = self.live(generation, Deed::Compromise);
        if is_done {
            self.compromised.insert(generation);
        }
        is_done
    }

    pub(super) fn move_some(&mut self, most: usize) {
        let to = gmk(self.newest()).id;
        let batch = self.state.moves(&name(), &to, None, most);
        let moved = batch.moves.into_iter().map(|it| {
            let Way::Within(lock) = it.way() else {
                panic!("there is one token");
            };
            let wrapped = lock.wrapped().clone();
            it.made(wrapped)
        });
        if let Some((edit, _)) = key::rewrap(&self.state, &name(), &to, moved.collect()) {
            self.adopt(edit);
        }
    }

    /// Seals anew, without writing it down.
    pub(super) fn renewed(&self, most: usize) -> Vec<Renewed> {
        let batch = self.state.renewals(&name(), None, most, MOST);
        let renewed = batch.renewals.into_iter().map(|renewal| {
            let stored = self.contents.get(renewal.version()).cloned();
            let claim = renewal.with(stored).unwrap();
            let dek = dek_of(claim.locked().locks()[0].wrapped());
            let resealed = claim.open(&dek).unwrap().unwrap();
            let wraps = resealed.to().iter();
            let wraps = wraps.map(|gmk| (*gmk, wrap(resealed.dek()))).collect();
            resealed.wrapped(wraps)
        });
        renewed.collect()
    }

    pub(super) fn write(&mut self, renewed: Vec<Renewed>) -> Option<serde_json::Value> {
        let (edit, change) = renew(&self.state, &name(), renewed)?;
        self.adopt(edit);
        Some(serde_json::to_value(&change).unwrap())
    }

    pub(super) fn empty(&mut self) {
        while let Some((edit, _)) = key::empty(&self.state, &name(), NOW) {
            self.adopt(edit);
        }
    }

    pub(super) fn destroy_key(&mut self, generation: u32) -> bool {
        self.live(generation, Deed::Destroy(0));
        let destroyed = key::destroy(&self.state, &name(), NOW);
        let is_done = destroyed.is_some();
        if let Some((edit, _)) = destroyed {
            self.adopt(edit);
        }
        is_done
    }

    pub(super) fn destroy(&mut self, id: &VersionId) {
        let mut edit = Edit::default();
        let view = self.state.secret(&id.secret).unwrap();
        crate::change::life::destroy(view.version(id.number).unwrap(), &mut edit);
        self.adopt(edit);
    }

    pub(super) fn versions(&self) -> Vec<Version> {
        let secrets = self.group().secrets();
        let versions = secrets.flat_map(|secret| secret.versions());
        versions.map(|version| version.row().clone()).collect()
    }

    pub(super) fn is_known(&self, dek: &Dek) -> bool {
        let compromised = self.compromised.iter();
        let mut wrapped = compromised.map(|generation| self.wrapped.contains(&(*generation, *dek)));
        wrapped.any(|is_wrapped| is_wrapped)
    }

    /// Each content opens; and what someone may know is either known to be so or yet to be
    /// renewed, and keeps each key that gave it away.
    pub(super) fn check(&self) {
        let group = self.group();
        for secret in group.secrets() {
            for version in secret.versions().filter(|version| version.has_content()) {
                let row = version.row();
                let wraps: Vec<_> = version.wraps().collect();
                assert_eq!(wraps.len(), 1, "{}", row.id);
                let dek = dek_of(&wraps[0].wrapped);
                let context = Context::Content {
                    version: &row.id,
                    kind: kind().name(),
                };
                let sealed = self.contents[&row.id].clone();
                assert_eq!(sealed.digest(), row.sealed);
                let opened = sealed.open(&dek, context).unwrap();
                assert_eq!(opened.expose(), content(&row.id));

                let is_to_renew = group.is_to_renew(version);
                let is_known = self.is_known(dek.expose());
                assert!(!is_known || is_to_renew, "{}", row.id);
                let was_known = self.deks[&row.id].iter().any(|dek| self.is_known(dek));
                let is_told = is_to_renew || row.exposed.is_some();
                assert!(!was_known || is_told, "{}", row.id);
            }
        }
        for key in group.keys().filter(|key| key.state.is_compromised()) {
            if key.state.emptied().is_some() {
                assert!(!group.has_left(key), "{}", key.generation);
            }
        }
        let all = self.versions();
        let to_renew = all.iter().filter(|row| {
            let secret = group.secret(&row.id.secret.name).unwrap();
            group.is_to_renew(secret.version(row.id.number).unwrap())
        });
        assert_eq!(self.state.left().renewals, to_renew.count() as u64);
    }
}
