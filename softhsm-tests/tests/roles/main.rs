//! Roles: what an operator may do, how one comes to be one, and how one ceases to be.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use std::{
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use custody::role::Role;
use nix::unistd::getuid;
use serde_json::Value;
use softhsm_tests::Site;

mod every_call;
mod installation;
mod lists;
mod loss;
mod officers;
mod read_out;
mod references;
mod selectors;
mod tampering;

/// The first of many users whom nobody knows.
const OPERATOR: u32 = 21_001;

/// `custodyctl`'s exit codes.
const DENIED: Option<i32> = Some(3);
const CONFLICT: Option<i32> = Some(5);

/// Numbers of answers (gRPC).
const INVALID_ARGUMENT: i64 = 3;
const NOT_FOUND: i64 = 5;
const PERMISSION_DENIED: i64 = 7;

/// Gives a role to a user, however weak that is; says the name of the assignment.
fn assign(site: &Site, role: Role, group: Option<&str>, uid: u32) -> String {
    give(site, role, group, &[&format!("unix:uid:{uid}")])
}

/// Gives a role to whoever satisfies all of `selectors`; says the name of the assignment.
fn give(site: &Site, role: Role, group: Option<&str>, selectors: &[&str]) -> String {
    let mut arguments = vec!["role", "assign", role.name(), "--allow-weak"];
    arguments.extend(group.map(|group| ["--group", group]).iter().flatten());
    for selector in selectors {
        arguments.extend(["--selector", selector]);
    }
    let given = site.ctl_json(&arguments);
    given["id"].as_str().unwrap().to_owned()
}

/// The name of the assignment that makes whoever runs the test a crypto officer.
fn own_office(site: &Site) -> String {
    let roles = site.ctl_json(&["role", "list"]);
    let own = Value::from(format!("unix:uid:{}", getuid()));
    let mut roles = roles["roles"].as_array().unwrap().iter();
    let office = roles.find(|held| held["role"] == "crypto-officer" && held["selectors"][0] == own);
    office.unwrap()["id"].as_str().unwrap().to_owned()
}

/// A method of the Manager surface and its request, as `peer-intruder` wants them.
fn manager_call(method: &str, request: &[u8]) -> String {
    format!("/custody.v1.Manager/{method}?{}", hex::encode(request))
}

/// What a process was answered.
struct Answered {
    pid: u32,
    answers: Vec<Value>,
}

/// One of our commands where every user reaches it. One that is there may be running.
fn installed(site: &Site, command: &str, name: &str) -> PathBuf {
    let path = site.path(name);
    if path.exists() {
        path
    } else {
        site.installed(command, name)
    }
}

/// Has `uid` make calls, one after the other, in a process of its own.
fn call_as(site: &Site, uid: u32, calls: &[String]) -> Answered {
    call_by(site, "client", uid, calls)
}

/// Has `uid` make calls by a copy of the program, called `name`.
fn call_by(site: &Site, name: &str, uid: u32, calls: &[String]) -> Answered {
    let mut client = Command::new(installed(site, "peer-intruder", name));
    client
        .arg("call")
        .arg(site.path("run/manager.sock"))
        .args(calls);
    answered(client.uid(uid).gid(uid))
}

/// Runs a `peer-intruder` that calls.
fn answered(client: &mut Command) -> Answered {
    let child = client.stdout(Stdio::piped()).spawn().unwrap();
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let answers: Value = serde_json::from_slice(&output.stdout).unwrap();
    let answers = answers.as_array().unwrap().clone();
    Answered { pid, answers }
}

/// `custodyctl` as `uid`, yet to be given arguments and run.
fn custodyctl_as(site: &Site, uid: u32) -> Command {
    let mut client = Command::new(installed(site, "custodyctl", "ctl"));
    client
        .env("CUSTODY_MANAGER", site.path("run/manager.sock"))
        .env("CUSTODY_PROVIDER", site.path("run/provider.sock"))
        .current_dir("/")
        .stdin(Stdio::null())
        .uid(uid)
        .gid(uid);
    client
}

/// Runs `custodyctl` as `uid` with `arguments`.
fn ctl_as(site: &Site, uid: u32, arguments: &[&str]) -> Output {
    custodyctl_as(site, uid).args(arguments).output().unwrap()
}

/// What is on record of the operator `uid`: each call, let in or not.
fn calls_of(site: &Site, uid: u32) -> Vec<Value> {
    let mut entries = site.journal();
    let is_call = |entry: &Value| entry["kind"] == "manage" || entry["kind"] == "refuse";
    entries.retain(|entry| is_call(entry) && entry["operator"]["uid"] == uid);
    entries
}

/// The changes that are on record, of the operator `uid`.
fn changes_of(site: &Site, uid: u32) -> Vec<Value> {
    let mut entries = site.entries("prepare");
    entries.retain(|entry| entry["operator"]["uid"] == uid);
    entries
}
