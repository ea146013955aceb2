//! How a role is lost: at once, and also by who uses it at that moment.

use std::{os::unix::process::CommandExt as _, process::Command, time::Duration};

use client::{Error, v1};
use custody::role::Role;
use serde_json::Value;
use softhsm_tests::{Site, is_root};
use tokio::time::timeout;

use crate::{
    DENIED, OPERATOR, PERMISSION_DENIED, answered, assign, call_as, calls_of, ctl_as, manager_call,
};

/// The name of the assignment that makes whoever runs the test an auditor.
async fn own_audit(manager: &client::Manager) -> String {
    let whoami = manager.whoami().await.unwrap();
    let mut roles = whoami.roles.into_iter();
    roles.find(|held| held.role == "auditor").unwrap().id
}

#[tokio::test]
async fn a_role_that_is_taken_back_is_lost_where_it_is_in_use() {
    let site = Site::new();
    let _daemon = site.start();
    let manager = site.manager().await;
    let id = own_audit(&manager).await;
    let mut following = manager.read_journal(0, true).await.unwrap();
    let mut read = following.next().await.unwrap().unwrap();
    assert!(!read.is_empty());
    let revoked = manager.revoke_role(v1::RevokeRoleRequest { id }).await;
    revoked.unwrap();
    let lost = site.entries("commit").pop().unwrap()["seq"].clone();
    let after = v1::CreateGroupRequest {
        name: "after".into(),
        ..Default::default()
    };
    manager.create_group(after).await.unwrap();

    let end = loop {
        let more = timeout(Duration::from_secs(30), following.next()).await;
        match more.expect("it ends").expect("it ends with a reason") {
            Ok(lines) => read.push_str(&lines),
            Err(end) => break end,
        }
    };
    assert!(matches!(end, Error::NoRole(_)), "{end}");
    let last: Value = serde_json::from_str(read.lines().last().unwrap()).unwrap();
    assert!(last["seq"].as_u64() < lost.as_u64(), "{last}");
    let again = manager.read_journal(0, false).await.unwrap_err();
    assert!(matches!(again, Error::NoRole(_)), "{again}");
}

#[test]
fn a_role_that_is_taken_back_is_gone_and_others_stay() {
    if !is_root("a_role_that_is_taken_back_is_gone_and_others_stay") {
        return;
    }
    let site = Site::new();
    let _daemon = site.start();
    site.ctl(&["group", "create", "web"]);
    site.ctl(&["group", "create", "db"]);
    let web = assign(&site, Role::Reader, Some("web"), OPERATOR);
    assign(&site, Role::Reader, Some("db"), OPERATOR);
    let shows = |group| ctl_as(&site, OPERATOR, &["group", "show", group]).status;
    assert!(shows("web").success());
    site.ctl(&["role", "revoke", "--yes", &web]);
    assert_eq!(shows("web").code(), DENIED);
    assert!(shows("db").success());
    let calls = calls_of(&site, OPERATOR);
    let kinds: Vec<_> = calls.iter().map(|call| &call["kind"]).collect();
    assert_eq!(kinds, ["manage", "refuse", "manage"]);
}

#[test]
fn an_operator_that_executes_another_program_after_it_connected_is_no_operator() {
    let test = "an_operator_that_executes_another_program_after_it_connected_is_no_operator";
    if !is_root(test) {
        return;
    }
    let site = Site::new();
    let _daemon = site.start();
    assign(&site, Role::Reader, None, OPERATOR);
    let call = manager_call("ListGroups", b"");
    let other = site.installed("peer-intruder", "other");
    let mut operator = Command::new(site.installed("peer-intruder", "operator"));
    operator
        .arg("become")
        .arg(other)
        .arg(site.path("run/manager.sock"))
        .arg(&call);
    let refused = answered(operator.uid(OPERATOR).gid(OPERATOR));
    assert_eq!(refused.answers[0]["code"], PERMISSION_DENIED);
    assert_eq!(refused.answers[0]["message"], "denied");
    assert_eq!(calls_of(&site, OPERATOR), [Value::Null; 0]);
    let doubt = site.entries("unattested").pop().unwrap();
    assert_eq!(doubt["doubt"], "exe");
    assert_eq!(doubt["surface"], "manager");
    assert_eq!(
        (&doubt["uid"], &doubt["pid"]),
        (&OPERATOR.into(), &refused.pid.into())
    );

    // Either program may, as long as it stays what it is.
    let seen = call_as(&site, OPERATOR, &[call]);
    assert_eq!(seen.answers[0]["code"], 0);
}
