//! A journal of paper, and a small installation.

use std::{
    collections::BTreeSet,
    future::Future,
    pin::pin,
    sync::Mutex,
    task::{Context as TaskContext, Poll, Waker},
};

use custody::{
    caller::{
        Caller, Evidence,
        observation::{Credentials, ExeDoubt, Namespaces, Observation, Pinned, Process},
    },
    change::{self, put},
    envelope::{Context, PlaintextDek, SealedContent, WrappedDek, Wrapping},
    group::{Group, KeyState, MasterKey},
    holder::{Holders, TokenId},
    journal::{self, Event, Journal, Receipt, Refusal},
    name::{GroupName, KeyId, RuleId, SecretId},
    policy::{
        Deliver, Denial, Moment, Wanted,
        rule::{Patterns, Rule, Selectors, Terms},
    },
    release::{Claim, Claimed},
    role::{Act, Assignment, Operation, Operator, Role},
    row::RowKey,
    secret::{Kind, fields::Fields, version::Which},
    state::{State, edit::Edit},
    usage::Usage,
};

pub(crate) fn now<T>(future: impl Future<Output = T>) -> T {
    let mut context = TaskContext::from_waker(Waker::noop());
    match pin!(future).poll(&mut context) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("nothing here waits"),
    }
}

#[derive(Default)]
pub(crate) struct Paper {
    pub(crate) full: bool,
    pub(crate) lines: Mutex<Vec<String>>,
}

impl Paper {
    pub(crate) fn text(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }
}

impl Journal for Paper {
    type Error = &'static str;

    async fn append_all(&self, events: Vec<Event>) -> Result<Receipt, Self::Error> {
        if self.full {
            return Err("the paper is full");
        }
        let mut lines = self.lines.lock().unwrap();
        let first = lines.len() as u64 + 1;
        lines.extend(events.iter().map(|one| serde_json::to_string(one).unwrap()));
        Ok(Receipt::of_durable(first))
    }
}

/// The claim, which is one that the token unwraps a data key for.
pub(crate) fn at_token(claimed: Claimed) -> Claim {
    match claimed {
        Claimed::Token(claim) => claim,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn evidence(uid: u32) -> Evidence {
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

pub(crate) fn caller(uid: u32) -> Caller {
    Caller::attested(evidence(uid))
}

pub(crate) fn moment(usage: &Usage) -> Moment<'_> {
    Moment { now: 100, usage }
}

pub(crate) fn row_key() -> RowKey {
    RowKey::take(PlaintextDek::take(&mut [3; 32]).unwrap())
}

pub(crate) fn name(text: &str) -> GroupName {
    text.parse().unwrap()
}

pub(crate) fn wanted(secret: &str, version: Option<u32>) -> Wanted {
    let version = version.map_or(Which::Current, Which::Number);
    let (group, secret) = secret.split_once('/').unwrap();
    Wanted {
        group: name(group),
        name: secret.parse().unwrap(),
        version,
        fields: BTreeSet::new(),
    }
}

/// A state with the group `web`, two versions of the password `web/db`, and a grant on
/// `d*` to uid 33; and the sealed contents, both under [`dek`].
pub(crate) struct World {
    pub(crate) state: State,
    pub(crate) edits: Vec<custody::state::edit::Plan>,
    pub(crate) sealed: Vec<SealedContent>,
}

pub(crate) fn master_key(state: KeyState) -> MasterKey {
    MasterKey {
        id: KeyId::from_bytes(&[9; 16]).unwrap(),
        group: name("web"),
        generation: 1,
        state,
        wrapping: Wrapping::Aes256Gcm,
        canary: WrappedDek::from_blob([1; 60]),
        token: TokenId::new("token", "1"),
        blob: None,
        reserved: 0,
        created: 1,
    }
}

/// What seals both contents.
pub(crate) fn dek() -> PlaintextDek {
    PlaintextDek::take(&mut [5; 32]).unwrap()
}

pub(crate) fn world() -> World {
    let mut world = World {
        state: State::empty(row_key()),
        edits: Vec::new(),
        sealed: Vec::new(),
    };
    let group = Group {
        name: name("web"),
        purpose: custody::group::Purpose::default(),
        cache: None,
        holders: Holders::only(TokenId::new("token", "1")),
        keeping: custody::group::Keeping::InToken,
        created: 1,
        created_by: 0,
    };
    let (edit, _) =
        change::create_group(&world.state, group, vec![master_key(KeyState::Active)]).unwrap();
    world.follow(edit);
    let operator = world.writer();
    for password in ["one", "two"] {
        let id = SecretId {
            group: name("web"),
            name: "db".parse().unwrap(),
        };
        let kind = Kind::from_name("password").unwrap();
        let mut fields = Fields::default();
        fields.push("password".into(), password.into());
        let accepted = kind.accept(fields).unwrap();
        let place = put::next_version(&world.state, &id, kind, put::Terms::default()).unwrap();
        let context = Context::Content {
            version: &place.version,
            kind: kind.name(),
        };
        let sealed = SealedContent::seal(&accepted.content, &dek(), context).unwrap();
        let wrapped = WrappedDek::from_blob([2; 60]);
        world.sealed.push(sealed.clone());
        let written = put::Written {
            about: &custody::label::About::default(),
            is_made: false,
            certifies: None,
            accepted: &accepted,
            fingerprint: world.state.fingerprint(&id, &accepted.content),
            sealed,
            wraps: vec![(place.keys[0].id, wrapped)],
        };
        let terms = put::Terms::default();
        let (edit, _) = put::put_secret(&world.state, place, written, terms, &operator, 2).unwrap();
        world.follow(edit);
    }
    let rule = Rule {
        id: RuleId::random().unwrap(),
        group: name("web"),
        patterns: Patterns::new(vec!["d*".parse().unwrap()]).unwrap(),
        selectors: only_uid(33),
        terms: Terms::default(),
        created: 3,
        created_by: 0,
    };
    let (edit, _) = change::add_grant(&world.state, rule, Vec::new()).unwrap();
    world.follow(edit);
    world
}

pub(crate) fn only_uid(uid: u32) -> Selectors {
    Selectors::new(vec![format!("unix:uid:{uid}").parse().unwrap()]).unwrap()
}

impl World {
    /// Uid 0, who may write.
    pub(crate) fn writer(&mut self) -> Operator {
        let assignment = Assignment {
            id: RuleId::random().unwrap(),
            role: Role::Writer,
            group: Some(name("web")),
            selectors: only_uid(0),
            created: 1,
            created_by: None,
        };
        let (edit, _) = change::assign_role(&self.state, assignment, Vec::new()).unwrap();
        self.follow(edit);
        let act = Act {
            group: Some(name("web")),
            ..Act::of(Operation::PutSecret)
        };
        let admission = self.state.admit(evidence(0), act);
        now(journal::admit(admission, &Paper::default())).unwrap()
    }

    pub(crate) fn follow(&mut self, edit: Edit) {
        let plan = self.state.plan(edit, self.edits.len() as u64 + 1);
        self.state.adopt(&plan);
        assert_eq!(self.state.digest(plan.change), plan.digest);
        self.edits.push(plan);
    }

    pub(crate) fn denied(&self, uid: u32, wanted: Wanted) -> Denial {
        let paper = Paper::default();
        let decision = self
            .state
            .decide::<Deliver>(caller(uid), wanted, moment(&Usage::default()));
        match now(journal::record(decision, &paper)) {
            Err(Refusal::Denied(denial)) => {
                assert!(paper.text().contains(r#""kind":"deny""#));
                *denial
            }
            other => panic!("not denied: {other:?}"),
        }
    }
}
