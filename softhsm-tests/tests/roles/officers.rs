//! Who gives roles: crypto officers, of whom one remains, and group administrators.

use std::{fs, thread};

use client::v1;
use custody::role::Role;
use nix::sys::signal::{Signal, kill};
use prost::Message as _;
use serde_json::Value;
use softhsm_tests::{Site, is_root, text, until};

use crate::{
    CONFLICT, DENIED, OPERATOR, assign, call_as, calls_of, changes_of, ctl_as, manager_call,
    own_office,
};

#[test]
fn the_last_crypto_officer_cannot_be_revoked_and_the_last_but_one_can() {
    let site = Site::new();
    let _daemon = site.start();
    let office = own_office(&site);
    let roles = site.ctl(&["role", "list"]);
    let changes = site.entries("prepare").len();
    let refused = site.try_ctl(&["role", "revoke", "--yes", &office]);
    assert_eq!(refused.status.code(), CONFLICT, "{}", text(&refused));
    assert!(text(&refused).contains("the last crypto officer's"));
    assert_eq!(site.entries("prepare").len(), changes);
    assert_eq!(site.ctl(&["role", "list"]), roles);

    assign(&site, Role::CryptoOfficer, None, OPERATOR);
    site.ctl(&["role", "revoke", "--yes", &office]);
    let changes = site.entries("prepare").len();
    let refused = site.try_ctl(&["group", "create", "web"]);
    assert_eq!(refused.status.code(), DENIED, "{}", text(&refused));
    assert_eq!(site.entries("prepare").len(), changes);
}

#[test]
fn of_two_crypto_officers_who_revoke_each_other_at_once_one_remains() {
    if !is_root("of_two_crypto_officers_who_revoke_each_other_at_once_one_remains") {
        return;
    }
    let site = Site::new();
    site.configure_deadline(60_000);
    let daemon = site.start();
    let [one, two] = [OPERATOR, OPERATOR + 1];
    let office = own_office(&site);
    let offices = [one, two].map(|uid| assign(&site, Role::CryptoOfficer, None, uid));
    site.ctl(&["role", "revoke", "--yes", &office]);
    let revoke = |id: &String| {
        let request = v1::RevokeRoleRequest { id: id.clone() };
        [manager_call("RevokeRole", &request.encode_to_vec())]
    };
    let group = v1::CreateGroupRequest {
        name: "web".into(),
        ..Default::default()
    };
    let group = [manager_call("CreateGroup", &group.encode_to_vec())];

    // Both are let in while a change waits for the token, so neither has happened when
    // the other is let in.
    kill(daemon.worker(), Signal::SIGSTOP).unwrap();
    let codes = thread::scope(|scope| {
        let slow = scope.spawn(|| call_as(&site, one, &group));
        until("a change waits for the token", || {
            calls_of(&site, one).first().map(drop)
        });
        let revoking = [(one, &offices[1]), (two, &offices[0])];
        let revoking = revoking.map(|(uid, office)| {
            let call = revoke(office);
            let site = &site;
            scope.spawn(move || call_as(site, uid, &call).answers.remove(0))
        });
        until("both are let in", || {
            let both = calls_of(&site, one).len() == 2 && calls_of(&site, two).len() == 1;
            both.then_some(())
        });
        kill(daemon.worker(), Signal::SIGCONT).unwrap();
        assert_eq!(slow.join().unwrap().answers[0]["code"], 0);
        revoking.map(|thread| thread.join().unwrap()["code"].as_i64().unwrap())
    });
    assert_eq!(
        codes.iter().filter(|code| **code == 0).count(),
        1,
        "{codes:?}"
    );
    let officers = site.sqlite("SELECT count(*) FROM role WHERE role = 'crypto-officer'");
    assert_eq!(officers, "1\n");
    let mut revoked = site.entries("prepare");
    revoked.retain(|entry| entry["change"]["change"] == "revoke-role");
    assert_eq!(revoked.len(), 2, "the test's own, and one of the two");
}

#[test]
fn a_group_administrator_makes_writers_and_unmakes_them() {
    if !is_root("a_group_administrator_makes_writers_and_unmakes_them") {
        return;
    }
    let site = Site::new();
    let _daemon = site.start();
    site.ctl(&["group", "create", "web"]);
    let [administrator, writer] = [OPERATOR, OPERATOR + 1];
    assign(&site, Role::GroupAdministrator, Some("web"), administrator);
    let content = site.path("content");
    fs::write(&content, "a password").unwrap();
    let content = content.to_str().unwrap();
    let put = ["secret", "put", "web/key", "--type", "password", content];
    let puts = || ctl_as(&site, writer, &put);
    assert_eq!(puts().status.code(), DENIED);

    let uid = writer.to_string();
    let given = ["role", "assign", "writer", "--group", "web", "--uid", &uid];
    let given = ctl_as(
        &site,
        administrator,
        &[&["-o", "json"], &given[..]].concat(),
    );
    assert!(given.status.success(), "{}", text(&given));
    assert!(puts().status.success());
    let given: Value = serde_json::from_slice(&given.stdout).unwrap();
    let id = given["id"].as_str().unwrap();
    let taken = ctl_as(&site, administrator, &["role", "revoke", "--yes", id]);
    assert!(taken.status.success(), "{}", text(&taken));
    assert_eq!(puts().status.code(), DENIED);

    assert_eq!(changes_of(&site, writer).len(), 1);
    let changes = changes_of(&site, administrator);
    let changes: Vec<_> = changes.iter().map(|entry| &entry["change"]).collect();
    assert_eq!(changes.len(), 2);
    assert_eq!(changes[0]["change"], "assign-role");
    assert_eq!(
        (&changes[0]["role"], &changes[0]["group"]),
        (&"writer".into(), &"web".into())
    );
    assert_eq!(changes[1]["change"], "revoke-role");
    assert_eq!(changes[1]["assignment"], id);
}

#[test]
fn who_has_a_role_for_one_group_sees_no_other_in_lists() {
    if !is_root("who_has_a_role_for_one_group_sees_no_other_in_lists") {
        return;
    }
    let site = Site::new();
    let _daemon = site.start();
    for group in ["web", "db"] {
        site.ctl(&["group", "create", group]);
        let grant = ["grant", "add", "--allow-weak", group, "*", "--uid", "7"];
        site.ctl(&grant);
        assign(&site, Role::Writer, Some(group), 7);
    }
    let [administrator, auditor] = [OPERATOR, OPERATOR + 1];
    assign(&site, Role::GroupAdministrator, Some("web"), administrator);
    assign(&site, Role::Auditor, None, auditor);
    let lists: [&[&str]; 4] = [
        &["group", "list"],
        &["grant", "list"],
        &["grant", "lint"],
        &["role", "list"],
    ];
    for list in lists {
        let seen = |uid| {
            let output = ctl_as(&site, uid, &[&["-o", "json"], list].concat());
            assert!(output.status.success(), "{}", text(&output));
            let listed = text(&output);
            ["web", "db"].map(|group| listed.contains(&format!("\"{group}\"")))
        };
        assert_eq!(seen(administrator), [true, false], "{list:?}");
        assert_eq!(seen(auditor), [true, true], "{list:?}");
    }
}

#[test]
fn one_user_is_made_to_watch_itself_only_if_that_is_insisted_on() {
    let site = Site::new();
    let _daemon = site.start();
    site.ctl(&["group", "create", "web"]);
    assign(&site, Role::Writer, Some("web"), OPERATOR);
    let uid = OPERATOR.to_string();
    for role in ["auditor", "crypto-officer"] {
        let changes = site.entries("prepare").len();
        let mut given = vec!["role", "assign", role, "--uid", &uid];
        let refused = site.try_ctl(&given);
        assert_eq!(refused.status.code(), CONFLICT, "{}", text(&refused));
        assert!(text(&refused).contains("separation-of-duties"));
        assert_eq!(site.entries("prepare").len(), changes);

        given.push("--allow-weak");
        site.ctl(&given);
        let change = site.entries("prepare").pop().unwrap();
        assert_eq!(change["change"]["role"], role);
        let weak = Value::from(["separation-of-duties"]);
        assert_eq!(change["change"]["weak"], weak);
    }
}
