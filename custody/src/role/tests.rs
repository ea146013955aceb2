//! Which role admits to what: every operation, every role, both scopes.

use super::*;
use crate::{
    caller::observation::{Credentials, ExeDoubt, Namespaces, Observation, Pinned, Process},
    envelope::PlaintextDek,
    row::{Row, RowKey},
    state::{State, edit::Edit},
};

const GROUPS: [&str; 2] = ["web", "db"];

fn evidence(uid: u32) -> Evidence {
    Evidence::examine(Observation {
        connected: Credentials {
            pid: 7,
            uid,
            gid: 9,
        },
        groups: Vec::new(),
        label: None,
        process: Process {
            id: 70,
            pid: 7,
            uids: [uid; 4],
            gids: [9; 4],
            cgroup: 1,
        },
        pinned: Pinned::AtConnect,
        cgroup: None,
        namespaces: Namespaces::default(),
        exe: Err(ExeDoubt::Unreadable),
    })
    .unwrap()
}

/// A state in which uid 33 holds `role` and uid 34 nothing.
fn state(role: Role, group: Option<&str>) -> State {
    let mut state = State::empty(RowKey::take(PlaintextDek::take(&mut [3; 32]).unwrap()));
    let assignment = Assignment {
        id: RuleId::from_bytes(&[1; 8]).unwrap(),
        role,
        group: group.map(|name| name.parse().unwrap()),
        selectors: Selectors::new(vec!["unix:uid:33".parse().unwrap()]).unwrap(),
        created: 0,
        created_by: None,
    };
    let edit = Edit {
        puts: vec![Row::Assignment(assignment)],
        ..Edit::default()
    };
    let plan = state.plan(edit, 1);
    state.adopt(&plan);
    state
}

fn act(operation: Operation, group: Option<&str>) -> Act {
    Act {
        group: group.map(|name| name.parse().unwrap()),
        ..Act::of(operation)
    }
}

#[test]
fn a_role_admits_to_what_takes_it_in_its_group_and_to_nothing_else() {
    for role in Role::ALL {
        for scope in [None, Some(GROUPS[0])] {
            let state = state(role, scope);
            for operation in Operation::ALL {
                for group in [None, Some(GROUPS[0]), Some(GROUPS[1])] {
                    let act = act(operation, group);
                    let expected = match act.takes() {
                        None => true,
                        Some(roles) => {
                            roles.contains(&role)
                                && (scope.is_none() || group.is_none() || scope == group)
                        }
                    };
                    let admitted = state.admit(evidence(33), act.clone());
                    assert_eq!(admitted.is_ok(), expected, "{role} {scope:?} {act:?}");
                    let stranger = state.admit(evidence(34), act);
                    assert_eq!(stranger.is_ok(), operation == Operation::WhoAmI);
                }
            }
        }
    }
}

#[test]
fn what_matters_most_takes_a_role_of_its_own() {
    let alone = |operation: Operation| operation.takes().unwrap().to_vec();
    assert_eq!(alone(Operation::PutSecret), [Role::Writer]);
    assert_eq!(alone(Operation::AddGrant), [Role::GroupAdministrator]);
    assert_eq!(alone(Operation::ReadJournal), [Role::Auditor]);
    assert_eq!(alone(Operation::CreateGroup), [Role::CryptoOfficer]);
}

#[test]
fn a_groups_administrator_gives_writing_and_reading_there_and_no_more() {
    let state = state(Role::GroupAdministrator, Some("web"));
    for operation in [Operation::AssignRole, Operation::RevokeRole] {
        for role in Role::ALL {
            for group in [None, Some("web"), Some("db")] {
                let act = Act {
                    role: Some(role),
                    ..act(operation, group)
                };
                let expected = group == Some("web") && matches!(role, Role::Writer | Role::Reader);
                let admitted = state.admit(evidence(33), act).is_ok();
                assert_eq!(admitted, expected, "{operation} {role} {group:?}");
            }
        }
    }
}

#[test]
fn a_refusal_says_which_role_is_missing_but_nothing_to_strangers() {
    let state = state(Role::Reader, Some("web"));
    let refusal = |uid, group| {
        let act = act(Operation::PutSecret, Some(group));
        state.admit(evidence(uid), act).unwrap_err().to_string()
    };
    assert_eq!(
        refusal(33, "web"),
        "put-secret takes the role writer for group web, which uid 33 does not hold"
    );
    assert_eq!(refusal(34, "web"), "uid 34 gid 9 is no operator");
    assert_eq!(refusal(34, "web"), refusal(34, "none"));
}

#[test]
fn roles_and_operations_have_names_of_their_own() {
    for role in Role::ALL {
        assert_eq!(role.name().parse(), Ok(role));
    }
    assert!("root".parse::<Role>().is_err());
    let mut names = Operation::ALL.map(Operation::name).to_vec();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Operation::ALL.len());
}
