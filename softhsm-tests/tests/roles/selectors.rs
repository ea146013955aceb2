//! Operators that are told apart by more than their user.

use client::v1;
use custody::role::Role;
use prost::Message as _;
use softhsm_tests::{Site, intruder::STRANGER, is_root, kind::Kind};

use crate::{OPERATOR, PERMISSION_DENIED, call_by, calls_of, give, manager_call};

fn get_web() -> String {
    let request = v1::GetGroupRequest { name: "web".into() };
    manager_call("GetGroup", &request.encode_to_vec())
}

#[test]
fn a_unit_holds_a_role_that_another_unit_of_its_user_does_not() {
    let test = "a_unit_holds_a_role_that_another_unit_of_its_user_does_not";
    // The machine has no other module.
    if !Kind::is_softhsm(test) {
        return;
    }
    let site = Site::new();
    let Some(machine) = site.machine(test) else {
        return;
    };
    machine.daemon();
    machine.ctl(&["group", "create", "web"]);
    machine.ctl(&[
        "role",
        "assign",
        "reader",
        "--allow-weak",
        "--group",
        "web",
        "--unit",
        "inventory.service",
    ]);
    let line = format!(
        "/usr/bin/peer-intruder call {} {}",
        site.path("run/manager.sock").display(),
        get_web()
    );
    let seen = machine.told("inventory.service", &line, "User=stranger");
    assert_eq!(seen[0]["code"], 0, "{seen}");
    let refused = machine.told("other.service", &line, "User=stranger");
    assert_eq!(refused[0]["code"], PERMISSION_DENIED, "{refused}");

    let calls = calls_of(&site, STRANGER);
    let [seen, refused] = &calls[..] else {
        panic!("{calls:?}")
    };
    assert_eq!(seen["kind"], "manage");
    assert_eq!(seen["operator"]["unit"], "inventory.service");
    assert_eq!(refused["kind"], "refuse");
    assert_eq!(refused["operator"]["unit"], "other.service");
    assert_eq!(refused["is_operator"], false);
}

#[test]
fn a_program_holds_a_role_that_another_of_its_user_does_not() {
    if !is_root("a_program_holds_a_role_that_another_of_its_user_does_not") {
        return;
    }
    let site = Site::new();
    let _daemon = site.start();
    site.ctl(&["group", "create", "web"]);
    let selectors = [
        format!("unix:uid:{OPERATOR}"),
        format!("unix:path:{}", site.path("inventory").display()),
    ];
    let held = give(
        &site,
        Role::Reader,
        Some("web"),
        &selectors.each_ref().map(String::as_str),
    );
    let refused = call_by(&site, "other", OPERATOR, &[get_web()]);
    assert_eq!(refused.answers[0]["code"], PERMISSION_DENIED);
    let seen = call_by(&site, "inventory", OPERATOR, &[get_web()]);
    assert_eq!(seen.answers[0]["code"], 0, "{}", seen.answers[0]);

    let calls = calls_of(&site, OPERATOR);
    assert_eq!(
        (&calls[0]["kind"], &calls[1]["kind"]),
        (&"refuse".into(), &"manage".into())
    );
    assert_eq!(calls[1]["roles"][0], held);
    let exe = site.path("inventory").display().to_string();
    assert_eq!(calls[1]["operator"]["exe"], exe);
}
