//! What the service manager is asked of a caller's unit, under a real systemd.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use softhsm_tests::{
    Site, until,
    verdict::{is_delivered, is_denied},
};

const FETCH: &str = "/usr/bin/peer-intruder fetch";

fn fetch(site: &Site) -> String {
    format!("{FETCH} {} web key", site.provider_socket())
}

#[test]
fn a_transient_unit_of_the_same_name_is_denied_what_the_file_of_that_unit_was_granted() {
    let site = Site::new();
    let test = "a_transient_unit_of_the_same_name_is_denied_what_the_file_of_that_unit_was_granted";
    let Some(machine) = site.machine(test) else {
        return;
    };
    let file = "systemd:fragment_path:/etc/systemd/system/nginx.service";
    machine.furnish(&["systemd:id:nginx.service", file]);
    let line = fetch(&site);
    let words: Vec<_> = line.split(' ').collect();
    let transient = [
        "--quiet",
        "--pipe",
        "--wait",
        "--collect",
        "--unit=nginx.service",
    ];
    let answer = machine.run("systemd-run", &[&transient[..], &words].concat());
    is_denied(&serde_json::from_str(&answer).unwrap());
    let denial = site.is_on_record_as("no-grant");
    assert_eq!(denial["caller"]["unit"], "nginx.service");
    let fragment = "/run/systemd/transient/nginx.service";
    assert_eq!(denial["caller"]["fragment"], fragment);

    // As long as the transient unit is remembered, the file is not looked for.
    let loaded = [
        "list-units",
        "--all",
        "--plain",
        "--no-legend",
        "nginx.service",
    ];
    until("the transient unit is forgotten", || {
        machine
            .run("systemctl", &loaded)
            .trim()
            .is_empty()
            .then_some(())
    });
    is_delivered(&machine.told("nginx.service", &line, ""));
    let allowed = site.is_on_record_as_allowed();
    assert_eq!(
        allowed["caller"]["fragment"],
        "/etc/systemd/system/nginx.service"
    );
}

#[test]
fn a_run_is_granted_and_the_next_run_of_the_same_unit_is_denied() {
    let site = Site::new();
    let test = "a_run_is_granted_and_the_next_run_of_the_same_unit_is_denied";
    let Some(machine) = site.machine(test) else {
        return;
    };
    machine.furnish(&["systemd:id:other.service"]);
    machine.unit("nginx.service", "[Service]\nExecStart=sleep infinity\n");
    machine.start("nginx.service");
    let run = machine.property("nginx.service", "InvocationID");
    machine.ctl(&[
        "grant",
        "add",
        "--allow-weak",
        "web",
        "key",
        "--selector",
        &format!("systemd:invocation_id:{run}"),
    ]);
    let unit = format!(
        "[Service]\nExecStart=sleep infinity\nExecReload=/bin/sh -c '{} >{}'\n",
        fetch(&site),
        site.path("answer").display()
    );
    machine.unit("nginx.service", &unit);
    let asked = |how| {
        machine.run("systemctl", &[how, "nginx.service"]);
        machine.run("systemctl", &["reload", "nginx.service"]);
        let answer = std::fs::read(site.path("answer")).unwrap();
        serde_json::from_slice(&answer).unwrap()
    };
    is_delivered(&asked("show"));
    assert_eq!(site.is_on_record_as_allowed()["caller"]["invocation"], run);
    is_denied(&asked("restart"));
    let denial = site.entries("deny").pop().unwrap();
    assert_eq!(denial["caller"]["unit"], "nginx.service");
    assert_ne!(denial["caller"]["invocation"], run);
}
