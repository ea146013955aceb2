//! An `init` that comes second, is killed, or finds half of an installation.

use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

use softhsm_tests::{Site, disk::files, kind::Kind, load::rounds, text};

use super::{CONTENT, DATABASE, kill_after, stop_and_verify};

#[test]
fn a_second_init_is_refused_and_changes_nothing() {
    let site = Site::new();
    let before = files(site.folder());
    let output = site.init().output().unwrap();
    assert_eq!(output.status.code(), Some(73), "{}", text(&output));
    assert!(
        text(&output).contains("nothing was changed"),
        "{}",
        text(&output)
    );
    // No key was made in the token, either.
    assert_eq!(files(site.folder()), before);
    site.start().stop();
}

#[test]
fn an_init_that_was_killed_leaves_nothing_that_runs_and_can_be_repeated() {
    if !Kind::has(
        "an_init_that_was_killed_leaves_nothing_that_runs_and_can_be_repeated",
        "a login that is over in no time",
    ) {
        return;
    }
    let site = Site::without_init();
    // Killed while it wrote: what is aside is never looked at again.
    fs::create_dir_all(site.path("state/.init-abcdef/journal")).unwrap();
    fs::set_permissions(site.path("state"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(site.path("state/.init-abcdef/custody.db"), "half").unwrap();
    for round in 0..rounds(8) as u64 {
        kill_after(&site, site.init(), Duration::from_millis(round * 15));
        if site.path("state/custody.db").exists() {
            // It was done; its keys are in the token that was taken away.
            fs::remove_dir_all(site.path("state")).unwrap();
            break;
        }
        if site.path("state/journal").exists() {
            // Between the two renames, which the next test is about.
            fs::remove_dir_all(site.path("state/journal")).unwrap();
        }
        let (status, log) = site.refused_start();
        assert_eq!(status.code(), Some(78), "{log}");
        assert!(log.contains("custodyd init"), "{log}");
    }
    let output = site.init().output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let left: Vec<_> = fs::read_dir(site.path("state"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with('.'))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    let daemon = site.start();
    site.furnish(CONTENT);
    assert_eq!(site.fetch("web/key").stdout, CONTENT);
    stop_and_verify(&site, daemon);
}

#[test]
fn a_journal_without_its_database_is_not_taken_for_nothing() {
    let site = Site::new();
    for name in DATABASE {
        let _there = fs::remove_file(site.path("state").join(name));
    }
    let before = files(&site.path("state"));
    for command in ["run", "init"] {
        let mut command = match command {
            "init" => site.init(),
            other => site.custodyd(other),
        };
        let output = command.output().unwrap();
        let said = text(&output);
        assert!(matches!(output.status.code(), Some(73 | 78)), "{said}");
        // Both what to remove if it was an `init` that was killed, and what to do if not.
        assert!(
            said.contains(site.path("state/journal").to_str().unwrap()),
            "{said}"
        );
        assert!(said.contains("backup") && said.contains("remove"), "{said}");
    }
    assert_eq!(files(&site.path("state")), before);
    fs::remove_dir_all(site.path("state/journal")).unwrap();
    let output = site.init().output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    site.start().stop();
}
