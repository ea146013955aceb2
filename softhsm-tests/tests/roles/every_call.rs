//! Every method of the Manager surface, by everyone who could call it.

use std::collections::BTreeSet;

use custody::role::Role;
use serde_json::Value;
use softhsm_tests::{Site, is_root, load::runtime, raw};

use crate::{
    Answered, INVALID_ARGUMENT, NOT_FOUND, OPERATOR, PERMISSION_DENIED, assign, call_as, calls_of,
    changes_of, manager_call,
};

mod calls;

use calls::{Call, NOWHERE, assignment, calls, furnish};

/// One who holds one role, and no other.
struct Holder {
    uid: u32,
    role: Role,
    group: Option<&'static str>,
    assignment: String,
}

impl Holder {
    fn may(&self, call: &Call) -> bool {
        let Some(roles) = call.takes() else {
            return true;
        };
        let in_group = |group| call.group.is_none() || call.group.as_deref() == Some(group);
        roles.contains(&self.role) && self.group.is_none_or(in_group)
    }

    /// The calls came to what the role allows, and all of it is on record.
    fn did(&self, site: &Site, calls: &[Call], answered: &Answered) {
        let entries = calls_of(site, self.uid);
        assert_eq!(
            (calls.len(), calls.len()),
            (entries.len(), answered.answers.len())
        );
        let mut changes = 0;
        for ((call, answer), entry) in calls.iter().zip(&answered.answers).zip(entries) {
            let Self { role, group, .. } = self;
            let what = format!("{role} of {group:?}: {} of {:?}", call.method, call.group);
            is_on_record(&entry, call, answered.pid, &what);
            if !self.may(call) {
                assert_eq!(entry["kind"], "refuse", "{what}");
                assert_eq!(entry["is_operator"], true, "{what}");
                is_refused_by_name(answer, call, &what);
                continue;
            }
            assert_eq!(entry["kind"], "manage", "{what}");
            assert_eq!(entry["roles"], Value::from([&*self.assignment]), "{what}");
            let code = answer["code"].as_i64().unwrap();
            assert_ne!(code, PERMISSION_DENIED, "{what}: {answer}");
            let there = call.group.as_deref() != Some(NOWHERE);
            match call.method {
                // It has no certificate to give, and no token of that name.
                "CertifySecret" | "LoseToken" if there => {
                    assert_eq!(code, INVALID_ARGUMENT, "{what}");
                }
                "SuggestGrant" | "CompromiseMasterKey" | "DestroyMasterKey" | "SpareMasterKey" => {
                    assert_eq!(code, NOT_FOUND, "{what}");
                }
                "RevokeGrant" | "RevokeRole" if call.group.is_none() && call.role.is_none() => {
                    assert_eq!(code, NOT_FOUND, "{what}");
                }
                _ if there => assert_eq!(code, 0, "{what}: {answer}"),
                _ => {}
            }
            changes += usize::from(call.changes() && code == 0);
        }
        assert_eq!(changes_of(site, self.uid).len(), changes);
    }
}

fn is_on_record(entry: &Value, call: &Call, pid: u32, what: &str) {
    assert_eq!(entry["operator"]["pid"], pid, "{what}");
    assert!(entry["operator"]["cgroup"].is_string(), "{what}");
    assert_eq!(entry["operation"], raw::operation(call.method), "{what}");
    assert_eq!(entry["group"].as_str(), call.group.as_deref(), "{what}");
    let role = call.role.map(Role::name);
    assert_eq!(entry["role"].as_str(), role, "{what}");
}

/// Whoever is an operator learns which role is wanted.
fn is_refused_by_name(answer: &Value, call: &Call, what: &str) {
    assert_eq!(answer["code"], PERMISSION_DENIED, "{what}: {answer}");
    let message = answer["message"].as_str().unwrap();
    assert!(
        message.starts_with(&raw::operation(call.method)),
        "{message}"
    );
    for role in Role::ALL {
        let wanted = call.takes().unwrap().contains(&role);
        assert_eq!(message.contains(role.name()), wanted, "{what}: {message}");
    }
    if let Some(group) = &call.group {
        assert!(message.contains(&format!("group {group}")), "{message}");
    }
}

#[test]
fn each_role_does_what_it_is_for_in_its_group_and_nothing_else() {
    if !is_root("each_role_does_what_it_is_for_in_its_group_and_nothing_else") {
        return;
    }
    let site = Site::new();
    let _daemon = site.start();
    let runtime = runtime();
    let manager = runtime.block_on(site.manager());
    for group in ["web", "db"] {
        site.ctl(&["group", "create", group]);
    }
    let everywhere = Role::ALL.map(|role| (role, None));
    let of_web = Role::ALL.into_iter().filter(|role| role.is_of_groups());
    let of_web = of_web.map(|role| (role, Some("web")));
    for (uid, (role, group)) in (OPERATOR..).zip(everywhere.into_iter().chain(of_web)) {
        let holder = Holder {
            assignment: assign(&site, role, group, uid),
            uid,
            role,
            group,
        };
        let there = runtime.block_on(async {
            [
                furnish(&manager, "web").await,
                furnish(&manager, "db").await,
            ]
        });
        let auditor = runtime.block_on(manager.assign_role(assignment(Role::Auditor, None)));
        let calls = calls(&there, &format!("fresh-{uid}"), &auditor.unwrap().id);
        let arguments: Vec<_> = calls
            .iter()
            .map(|call| manager_call(call.method, &call.request))
            .collect();
        let answered = call_as(&site, uid, &arguments);
        holder.did(&site, &calls, &answered);
    }
}

#[test]
fn a_stranger_is_told_the_same_whatever_there_is() {
    if !is_root("a_stranger_is_told_the_same_whatever_there_is") {
        return;
    }
    let site = Site::new();
    let _daemon = site.start();
    site.ctl(&["group", "create", "web"]);
    let runtime = runtime();
    let (there, auditor) = runtime.block_on(async {
        let manager = site.manager().await;
        let there = [furnish(&manager, "web").await];
        (
            there,
            manager.assign_role(assignment(Role::Auditor, None)).await,
        )
    });
    let calls = calls(&there, "fresh", &auditor.unwrap().id);
    let arguments: Vec<_> = calls
        .iter()
        .map(|call| manager_call(call.method, &call.request))
        .collect();
    let answered = call_as(&site, OPERATOR, &arguments);

    let entries = calls_of(&site, OPERATOR);
    assert_eq!(
        (calls.len(), calls.len()),
        (entries.len(), answered.answers.len())
    );
    let mut refusals = BTreeSet::new();
    for ((call, answer), entry) in calls.iter().zip(&answered.answers).zip(entries) {
        is_on_record(&entry, call, answered.pid, call.method);
        if call.method == "WhoAmI" {
            assert_eq!(answer["code"], 0);
            assert_eq!(entry["kind"], "manage");
            continue;
        }
        assert_eq!(entry["kind"], "refuse", "{}", call.method);
        assert_eq!(entry["is_operator"], false, "{}", call.method);
        assert_eq!(answer["code"], PERMISSION_DENIED, "{}", call.method);
        refusals.insert(answer.to_string());
    }
    assert_eq!(refusals.len(), 1, "{refusals:#?}");
    let said = format!("uid {OPERATOR} gid {OPERATOR} is no operator");
    assert!(refusals.pop_first().unwrap().contains(&said));
    assert_eq!(changes_of(&site, OPERATOR), [Value::Null; 0]);
}
