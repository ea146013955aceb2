//! Drills: what opens on a token, and what would be lost.

use std::{fs, process::Command};

use faulty_pkcs11::{Act, Fault};
use serde_json::Value;
use softhsm_tests::{
    PIN, Site, command, disk::files, fault::answering, kind::Kind, load::runtime, text, until,
};

use super::{CANARY, fill, saved, shows_canary};

fn drill(site: &Site, backup: &str) -> Command {
    let mut drill = Command::new(command("custodyd"));
    drill
        .env_remove("NOTIFY_SOCKET")
        .env("TMPDIR", site.path("scratch"))
        .arg("drill")
        .arg(site.path("custodyd.toml"))
        .arg("--backup")
        .arg(site.path(backup));
    drill
}

/// What was found, with the exit code; none of it shows what was tried, and nothing is left.
fn found(site: &Site, drill: &mut Command) -> (Option<i32>, Value, String) {
    fs::create_dir_all(site.path("scratch")).unwrap();
    let output = drill.arg("--json").output().unwrap();
    assert!(!shows_canary(&output.stdout) && !shows_canary(&output.stderr));
    assert_eq!(site.path("scratch").read_dir().unwrap().count(), 0);
    let report = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.code(), report, text(&output))
}

/// Two groups: of `web` three versions of two secrets, one of them disabled, and one destroyed;
/// of `db` one. `one.tar` is a backup of that.
fn with_backup() -> Site {
    let site = Site::new();
    let daemon = site.start();
    site.furnish(CANARY);
    site.put("web/key", &[CANARY, b"2"].concat());
    site.put("web/other", CANARY);
    site.put("web/other", &[CANARY, b"2"].concat());
    site.ctl(&["secret", "disable", "--force", "web/key@1"]);
    site.ctl(&[
        "secret",
        "destroy",
        "--force",
        "--now",
        "--yes",
        "web/other@1",
    ]);
    // A start destroys at once what was to be destroyed by then.
    daemon.stop();
    let daemon = site.start();
    until("it is destroyed", || {
        let left = site.sqlite("SELECT count(*) FROM content WHERE name = 'other'");
        (left.trim() == "1").then_some(())
    });
    site.ctl(&["group", "create", "db"]);
    site.put("db/key", CANARY);
    saved(&site, "one.tar");
    daemon.stop();
    site
}

fn group<'a>(report: &'a Value, name: &str) -> &'a Value {
    let mut groups = report["groups"].as_array().unwrap().iter();
    groups.find(|group| group["group"] == name).unwrap()
}

#[test]
fn everything_opens_and_nothing_is_touched() {
    let site = with_backup();
    // Beside a daemon that runs, and of which nothing is wanted.
    let _daemon = site.start();
    let (journal, before) = (site.journal().len(), files(&site.path("state")).len());
    let (code, report, said) = found(&site, &mut drill(&site, "one.tar"));
    assert_eq!(code, Some(0), "{said}");
    let web = group(&report, "web");
    assert_eq!(
        (&web["versions"], &web["open"]),
        (&3.into(), &3.into()),
        "{said}"
    );
    assert_eq!(web["lost"], Value::Array(Vec::new()));
    assert_eq!(group(&report, "db")["open"], 1);
    assert_eq!(report["token_serial"], *site.serial);
    assert_eq!(
        (site.journal().len(), files(&site.path("state")).len()),
        (journal, before)
    );

    let output = drill(&site, "one.tar").output().unwrap();
    assert!(output.status.success());
    let shown = text(&output);
    for line in [
        "web    1     0        3         3     0",
        "journal key   can be used",
    ] {
        assert!(shown.contains(line), "{shown}");
    }
}

#[test]
fn a_key_that_is_gone_from_the_token_is_told_with_what_is_lost() {
    let site = with_backup();
    site.intrude(&["destroy", &site.gmk("web")]);
    let (code, report, said) = found(&site, &mut drill(&site, "one.tar"));
    assert_eq!(code, Some(10), "{said}");
    assert!(said.contains("3 versions would be lost"), "{said}");
    let web = group(&report, "web");
    assert_eq!((&web["versions"], &web["open"]), (&3.into(), &0.into()));
    let problem = web["keys"][0]["problem"].as_str().unwrap();
    assert!(problem.contains("is not in the token"), "{problem}");
    let lost: Vec<_> = web["lost"].as_array().unwrap().iter().collect();
    let lost: Vec<_> = lost
        .iter()
        .map(|lost| {
            (
                lost["secret"].as_str().unwrap(),
                &lost["version"],
                &lost["current"],
            )
        })
        .collect();
    assert_eq!(
        lost,
        [
            ("key", &1.into(), &false.into()),
            ("key", &2.into(), &true.into()),
            ("other", &2.into(), &true.into()),
        ]
    );
    assert_eq!(group(&report, "db")["open"], 1);
}

#[test]
fn a_key_that_is_kept_wrapped_opens_from_the_backup_by_its_root_key() {
    if !Kind::is_softhsm("a_key_that_is_kept_wrapped_opens_from_the_backup_by_its_root_key") {
        return;
    }
    let site = Site::new();
    let daemon = site.start();
    site.ctl(&["group", "create", "web", "--keep-key=wrapped"]);
    site.put("web/key", CANARY);
    saved(&site, "one.tar");
    daemon.stop();
    let (code, report, said) = found(&site, &mut drill(&site, "one.tar"));
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(group(&report, "web")["open"], 1);

    let root = site.sqlite("SELECT lower(hex(root)) FROM master_key");
    site.intrude(&["destroy", root.trim()]);
    let (code, report, said) = found(&site, &mut drill(&site, "one.tar"));
    assert_eq!(code, Some(10), "{said}");
    let web = group(&report, "web");
    assert_eq!(web["open"], 0);
    let problem = web["keys"][0]["problem"].as_str().unwrap();
    assert!(problem.contains(root.trim()), "{problem}");
}

#[test]
fn another_key_in_its_place_opens_nothing() {
    let site = with_backup();
    site.replace_key(&site.gmk("db"), "custodyd db", "none");
    let (code, report, said) = found(&site, &mut drill(&site, "one.tar"));
    assert_eq!(code, Some(10), "{said}");
    let problem = group(&report, "db")["keys"][0]["problem"].to_string();
    assert!(problem.contains("canary"), "{problem}");
    assert_eq!(group(&report, "web")["open"], 3);
}

#[test]
fn without_the_systems_keys_everything_would_be_lost() {
    let site = with_backup();
    site.intrude(&["destroy", &site.system_gmk()]);
    let (code, report, said) = found(&site, &mut drill(&site, "one.tar"));
    assert_eq!(code, Some(10), "{said}");
    assert!(said.contains("everything would be lost"), "{said}");
    assert_eq!(report["groups"], Value::Array(Vec::new()));

    let site = with_backup();
    let key = site.sqlite("SELECT lower(hex(journal_key)) FROM system");
    site.intrude(&["destroy", key.trim()]);
    let (code, report, said) = found(&site, &mut drill(&site, "one.tar"));
    assert_eq!(code, Some(10), "{said}");
    assert!(said.contains("cannot sign the journal"), "{said}");
    assert_eq!(group(&report, "web")["open"], 3);
}

#[test]
fn another_token_is_tried_by_name() {
    let site = with_backup();
    let serial = site.init_token("empty");
    fs::write(site.path("other-pin"), PIN).unwrap();
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(site.path("other-pin"), private).unwrap();
    let uri = format!("pkcs11:token=empty;serial={serial}");
    let on_other = |pin: &str| {
        let mut drill = drill(&site, "one.tar");
        drill
            .args(["--token", &uri, "--pin-file"])
            .arg(site.path(pin));
        found(&site, &mut drill)
    };
    let (code, report, said) = on_other("other-pin");
    assert_eq!(code, Some(10), "{said}");
    assert_eq!(report["token_serial"], *serial);
    assert!(report["system"][0]["problem"].is_string());

    // A copy of the token, with all of its keys, is as good as it.
    fs::rename(site.path("tokens"), site.path("lost")).unwrap();
    let copied = Command::new("cp")
        .arg("-a")
        .args([site.path("lost"), site.path("tokens")])
        .status();
    assert!(copied.unwrap().success());
    fs::remove_dir_all(site.path("lost")).unwrap();
    let uri = format!("pkcs11:token=test;serial={}", site.serial);
    let mut copied = drill(&site, "one.tar");
    copied
        .args(["--token", &uri, "--module"])
        .arg(softhsm_tests::module());
    assert_eq!(found(&site, &mut copied).0, Some(0));

    // A PIN that it refused is not tried on it again, and is no matter of the other's.
    fs::write(site.path("other-pin"), "wrong").unwrap();
    assert_eq!(on_other("other-pin").0, Some(77));
    fs::write(site.path("other-pin"), PIN).unwrap();
    assert_eq!(on_other("other-pin").0, Some(77));
    assert_eq!(found(&site, &mut drill(&site, "one.tar")).0, Some(0));
}

#[test]
fn what_is_not_authentic_is_not_tried() {
    // Changed in the backup.
    let site = with_backup();
    let bytes = fs::read(site.path("one.tar")).unwrap();
    let at = bytes.windows(3).rposition(|part| part == b"web").unwrap();
    let in_database = bytes[..at]
        .windows(5)
        .rposition(|part| part == b"other")
        .unwrap();
    let mut changed = bytes;
    changed[in_database] ^= 1;
    fs::write(site.path("changed.tar"), changed).unwrap();
    let (code, _, said) = found(&site, &mut drill(&site, "changed.tar"));
    assert_eq!(code, Some(65), "{said}");

    // Changed in the database before, and signed all the same.
    let site = with_backup();
    let daemon = site.start();
    site.sqlite("UPDATE secret SET created_by = 7 WHERE name = 'other'");
    saved(&site, "forged.tar");
    daemon.stop();
    let (code, _, said) = found(&site, &mut drill(&site, "forged.tar"));
    assert_eq!(code, Some(65), "{said}");
    assert!(
        said.contains("the row of secret web/other does not verify"),
        "{said}"
    );

    // Taken out of the database before.
    let site = with_backup();
    let daemon = site.start();
    site.sqlite("DELETE FROM \"grant\"");
    saved(&site, "short.tar");
    daemon.stop();
    let (code, _, said) = found(&site, &mut drill(&site, "short.tar"));
    assert_eq!(code, Some(65), "{said}");
    assert!(said.contains("are not those of the change"), "{said}");
}

#[test]
fn content_and_wraps_that_are_not_what_was_written_are_lost_one_by_one() {
    let site = with_backup();
    let daemon = site.start();
    site.sqlite("UPDATE content SET nonce = zeroblob(length(nonce)) WHERE name = 'other'");
    site.sqlite("DELETE FROM content WHERE name = 'key' AND \"group\" = 'db'");
    saved(&site, "damaged.tar");
    daemon.stop();
    let (code, report, said) = found(&site, &mut drill(&site, "damaged.tar"));
    assert_eq!(code, Some(10), "{said}");
    assert!(said.contains("2 versions would be lost"), "{said}");
    assert_eq!(group(&report, "web")["open"], 2);
    let lost = group(&report, "web")["lost"][0]["problem"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(lost.contains("is not the one that was written"), "{lost}");
    let lost = group(&report, "db")["lost"][0]["problem"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(lost.contains("missing"), "{lost}");
}

#[test]
fn many_are_tried_side_by_side() {
    let site = Site::new();
    let daemon = site.start();
    site.ctl(&["group", "create", "web"]);
    runtime().block_on(fill(&site, 300, 100));
    saved(&site, "one.tar");
    daemon.stop();
    let (code, report, said) = found(&site, &mut drill(&site, "one.tar"));
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(group(&report, "web")["open"], 300);
}

#[test]
fn a_token_in_trouble_is_asked_again_and_not_taken_for_a_loss() {
    // It is asked again for as long as a start may take.
    let patient = |seconds| {
        format!("deadline = \"2s\"\nstart-deadline = \"{seconds}s\"\nlongest-wait = \"500ms\"\n")
    };
    let site = Site::faulty(&patient(60));
    let daemon = site.start();
    site.ctl(&["group", "create", "web"]);
    runtime().block_on(fill(&site, 100, 100));
    saved(&site, "one.tar");
    daemon.stop();

    // For a while, once it serves: one call of ten fails, and once the worker dies.
    site.misbehave(|control| {
        control.faults.push(Fault {
            first: Some(20),
            share: Some(0.1),
            ..answering("C_Decrypt", "CKR_DEVICE_ERROR")
        });
        control.faults.push(Fault {
            function: "C_Decrypt".to_owned(),
            first: Some(60),
            times: Some(1),
            act: Some(Act::Abort),
            ..Fault::default()
        });
    });
    let (code, report, said) = found(&site, &mut drill(&site, "one.tar"));
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(group(&report, "web")["open"], 100);

    // For good, from some moment on: nothing is known then, and nothing is said to be lost.
    site.configure_faulty(&patient(4));
    site.fault(Fault {
        first: Some(60),
        ..answering("C_Decrypt", "CKR_DEVICE_ERROR")
    });
    let (code, report, said) = found(&site, &mut drill(&site, "one.tar"));
    assert_eq!(code, Some(69), "{said}");
    assert_eq!(report, Value::Null);
    assert!(!said.contains("would be lost"), "{said}");
}
