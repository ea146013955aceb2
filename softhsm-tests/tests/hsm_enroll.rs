//! `hsm enroll`: a token's names come into a configuration, if it is one to be used.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    process::{Command, Output},
};

use softhsm_tests::{Site, kind::Kind, module, text};

/// `custodyd`'s exit codes.
const UNFIT: Option<i32> = Some(69);
const IN_THE_WAY: Option<i32> = Some(73);

/// `custodyctl hsm enroll` into `new.toml`, with more arguments.
fn enroll(site: &Site, more: &[&str]) -> Output {
    let mut command = site.custodyctl();
    command
        .args(["hsm", "enroll", "--module"])
        .arg(module())
        .arg("--pin")
        .arg(format!("file={}", site.path("pin").display()))
        .arg("--state-directory")
        .arg(site.path("state"))
        .arg("--config")
        .arg(site.path("new.toml"))
        .args(more);
    for (variable, value) in site.module_environment() {
        let pair = format!("{variable}={value}");
        command.args(["--environment", &pair]);
    }
    command.output().unwrap()
}

fn written(site: &Site) -> String {
    fs::read_to_string(site.path("new.toml")).unwrap()
}

fn mode(site: &Site) -> u32 {
    let found = fs::metadata(site.path("new.toml")).unwrap();
    found.permissions().mode() & 0o777
}

#[test]
fn the_only_token_is_written_into_a_new_configuration_that_init_takes() {
    let site = Site::without_init();
    let output = enroll(&site, &[]);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(mode(&site), 0o644);
    let new = written(&site);
    for part in [
        &*format!("serial = {:?}", site.serial),
        "label = \"test\"",
        "# How long the token may take for one operation.",
    ] {
        assert!(new.contains(part), "{new}");
    }
    let mut init = Command::new(softhsm_tests::command("custodyd"));
    init.arg("init").arg(site.path("new.toml"));
    let init = init
        .args(["--crypto-officer", "unix:uid:0"])
        .output()
        .unwrap();
    assert!(init.status.success(), "{}", text(&init));
}

#[test]
fn of_several_tokens_none_is_chosen_but_by_name() {
    if !Kind::has(
        "of_several_tokens_none_is_chosen_but_by_name",
        "several tokens of one label",
    ) {
        return;
    }
    let site = Site::without_init();
    let (same, other) = (site.init_token("test"), site.init_token("other"));
    let output = enroll(&site, &[]);
    assert_eq!(output.status.code(), UNFIT);
    for serial in [&site.serial, &same, &other] {
        assert!(text(&output).contains(&**serial), "{}", text(&output));
    }
    // A label is not enough if two have it.
    assert_eq!(enroll(&site, &["--label", "test"]).status.code(), UNFIT);
    assert_eq!(enroll(&site, &["--label", "none"]).status.code(), UNFIT);
    assert!(!site.path("new.toml").exists());
    assert!(enroll(&site, &["--label", "other"]).status.success());
    assert!(written(&site).contains(&other));
}

#[test]
fn what_is_there_is_left_unless_it_is_to_be_changed_and_then_the_rest_of_it() {
    let site = Site::without_init();
    let before = "# mine\nstate-directory = \"/elsewhere\"\n[listen]\nmanager = \"/m\" # this one\n\
         provider = \"/p\"\n[token]\nmodule = \"/other.so\"\nuri = \"pkcs11:token=a;serial=1\"\n\
         pin = \"prompt\"\nsessions = 3 # three\n";
    fs::write(site.path("new.toml"), before).unwrap();
    fs::set_permissions(site.path("new.toml"), fs::Permissions::from_mode(0o600)).unwrap();
    let output = enroll(&site, &[]);
    assert_eq!(output.status.code(), IN_THE_WAY, "{}", text(&output));
    assert!(text(&output).contains(&format!("serial = {:?}", site.serial)));
    assert_eq!(written(&site), before);
    let output = enroll(&site, &["--force"]);
    assert!(output.status.success(), "{}", text(&output));
    let after = written(&site);
    for part in [
        "# mine",
        "manager = \"/m\" # this one",
        "sessions = 3 # three",
        &site.serial,
    ] {
        assert!(after.contains(part), "{after}");
    }
    assert!(!after.contains("pkcs11:token=a"), "{after}");
    assert_eq!(mode(&site), 0o600);
    let left = fs::read_dir(site.folder()).unwrap();
    let left = left.filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_string_lossy().starts_with(".custodyd.toml")
    });
    assert_eq!(left.count(), 0);
}

#[test]
fn printing_writes_nothing_and_prints_nothing_else() {
    let site = Site::without_init();
    let output = enroll(&site, &["--print"]);
    assert!(output.status.success(), "{}", text(&output));
    let stanza = String::from_utf8(output.stdout).unwrap();
    assert!(stanza.starts_with("[token]\nmodule = "), "{stanza}");
    assert!(
        stanza.contains(&format!("serial = {:?}\n", site.serial)),
        "{stanza}"
    );
    assert!(!site.path("new.toml").exists());
}

#[test]
fn a_token_that_is_refused_is_not_written_down() {
    let site = Site::without_init();
    site.write_pin("wrong pin");
    let output = enroll(&site, &[]);
    assert_eq!(output.status.code(), UNFIT, "{}", text(&output));
    assert!(!site.path("new.toml").exists());
    assert!(site.path("state/pin-refused").exists());
}

#[test]
fn another_token_comes_beside_the_first_and_is_examined_by_name() {
    let site = Site::without_init();
    assert!(enroll(&site, &[]).status.success());
    let serial = site.init_token("other");
    let output = enroll(&site, &["--another", "--label", "other"]);
    assert!(output.status.success(), "{}", text(&output));
    let new = written(&site);
    let tables = new.lines().filter(|line| *line == "[[token]]").count();
    assert_eq!(tables, 2, "{new}");
    for part in [
        &*format!("serial = {:?}", site.serial),
        &format!("serial = {serial:?}"),
        "# How long the token may take for one operation.",
    ] {
        assert!(new.contains(part), "{new}");
    }
    let doctor = |token: &str| {
        let mut doctor = Command::new(softhsm_tests::command("custodyd"));
        doctor.args(["hsm", "doctor", "--json", "--token", token]);
        doctor.arg(site.path("new.toml")).output().unwrap()
    };
    for (name, serial) in [("other", &serial), ("test", &site.serial)] {
        let output = doctor(name);
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["token"]["serial"], **serial, "{}", text(&output));
    }
    let output = doctor("none");
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    // The same one is not put beside itself.
    let output = enroll(&site, &["--another", "--label", "other"]);
    assert!(!output.status.success());
    assert_eq!(written(&site), new);
}
