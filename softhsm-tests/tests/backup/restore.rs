//! Restoring a backup: all of it, or nothing.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};

use serde_json::Value;
use softhsm_tests::{
    Site, command,
    disk::{SmallDisk, files, with_own_mounts},
    is_root,
    load::runtime,
    text,
};

use super::{CANARY, fill, saved, shows_canary};

fn restore(site: &Site, name: &str) -> Command {
    let mut restore = Command::new(command("custodyd"));
    restore
        .env_remove("NOTIFY_SOCKET")
        .stdin(Stdio::null())
        .arg("restore")
        .arg(site.path(name))
        .arg(site.path("custodyd.toml"));
    restore
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap()
}

/// The state is lost, with all that is in it.
fn lose_state(site: &Site) {
    fs::remove_dir_all(site.path("state")).unwrap();
}

fn is_restored(site: &Site, name: &str) {
    let output = run(&mut restore(site, name));
    assert!(output.status.success(), "{}", text(&output));
}

/// A site with a backup `one.tar`, of before something was written and something granted was
/// revoked, and without a daemon.
fn with_backup() -> Site {
    let site = Site::new();
    let daemon = site.start();
    site.furnish(CANARY);
    saved(&site, "one.tar");
    site.put("web/key", b"written later");
    site.put("web/later", b"written later");
    daemon.stop();
    fs::copy(site.path("state/journal.pub"), site.path("journal.pub")).unwrap();
    site
}

#[test]
fn what_was_backed_up_is_there_again_and_the_journal_says_so() {
    let site = with_backup();
    let later = site.journal();
    lose_state(&site);
    is_restored(&site, "one.tar");
    for (path, bytes) in files(&site.path("state")) {
        assert!(!shows_canary(&bytes), "{}", path.display());
        let mode = path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", path.display());
    }
    let mode = |name: &str| site.path(name).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("state"), mode("state/journal")), (0o700, 0o700));
    let _daemon = site.start();
    assert_eq!(site.fetch("web/key").stdout, CANARY);
    assert_eq!(site.fetch("web/later").status.code(), Some(3));
    site.put("web/after", CANARY);
    let verified = site.verify_journal();
    assert!(verified.status.success(), "{}", text(&verified));

    // Whoever has the later entries sees where this journal parts from them.
    let restored = site.entries("restore");
    assert_eq!(restored.len(), 1);
    let at = restored[0]["seq"].as_u64().unwrap();
    let now = site.journal();
    let same = |seq: u64| {
        let of = |journal: &[Value]| journal.iter().find(|entry| entry["seq"] == seq).cloned();
        of(&later) == of(&now)
    };
    assert!((1..at).all(same));
    assert!(later.iter().any(|entry| entry["seq"] == at) && !same(at));
}

#[test]
fn nothing_is_restored_over_what_is_there() {
    let site = with_backup();
    let before = files(&site.path("state"));
    let output = run(&mut restore(&site, "one.tar"));
    assert_eq!(output.status.code(), Some(73), "{}", text(&output));
    assert!(files(&site.path("state")) == before);
    // Nor beside a daemon that runs.
    let _daemon = site.start();
    let output = run(&mut restore(&site, "one.tar"));
    assert!(
        text(&output).contains("another custodyd"),
        "{}",
        text(&output)
    );
    assert_eq!(site.fetch("web/key").stdout, b"written later");
}

#[test]
fn what_is_not_the_backup_leaves_nothing() {
    let site = with_backup();
    lose_state(&site);
    let bytes = fs::read(site.path("one.tar")).unwrap();
    let mut changed = bytes.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    for (name, bytes) in [
        ("cut.tar", &bytes[..bytes.len() - 600]),
        ("changed.tar", &changed),
    ] {
        fs::write(site.path(name), bytes).unwrap();
        let output = run(&mut restore(&site, name));
        assert_eq!(output.status.code(), Some(65), "{name}: {}", text(&output));
        assert_eq!(site.path("state").read_dir().unwrap().count(), 0, "{name}");
    }
    // A backup of another installation, which this token does not know.
    let other = with_backup();
    fs::copy(other.path("one.tar"), site.path("foreign.tar")).unwrap();
    let output = run(&mut restore(&site, "foreign.tar"));
    assert_eq!(output.status.code(), Some(69), "{}", text(&output));
    assert!(
        text(&output).contains("not in the token"),
        "{}",
        text(&output)
    );
    // It is told without the token, where the key is known.
    let output = run(restore(&site, "foreign.tar")
        .arg("--public-key")
        .arg(site.path("journal.pub")));
    assert_eq!(output.status.code(), Some(65), "{}", text(&output));
    assert!(
        text(&output).contains("another installation"),
        "{}",
        text(&output)
    );
    assert!(!site.path("state/custody.db").exists() && !site.path("state/journal").exists());
    is_restored(&site, "one.tar");
}

#[test]
fn a_restore_that_is_killed_leaves_all_of_it_or_nothing() {
    let site = with_backup();
    let daemon = site.start();
    // So that it takes its time.
    runtime().block_on(fill(&site, 10, 1 << 20));
    saved(&site, "big.tar");
    daemon.stop();
    lose_state(&site);
    let mut finished = false;
    for nth in 0.. {
        let mut child = restore(&site, "big.tar")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        thread::sleep(Duration::from_millis(5 + 15 * nth));
        child.kill().unwrap();
        finished = child.wait().unwrap().success();
        let is_there =
            site.path("state/custody.db").exists() || site.path("state/restored").exists();
        if finished || is_there {
            break;
        }
        // Nothing is there to be started, and nothing is in the way of trying again.
        let (status, log) = site.does_not_start();
        assert_eq!(status.code(), Some(78), "{log}");
    }
    let _daemon = site.start();
    assert_eq!(site.fetch("web/big-9").stdout.len(), 1 << 20);
    assert_eq!(site.entries("restore").len(), 1);
    let left: Vec<_> = site.path("state").read_dir().unwrap().collect();
    let is_left = |name: &str| name.starts_with(".restore-") || name == "restored";
    let names = left.into_iter().map(|entry| entry.unwrap().file_name());
    let mut names = names.filter_map(|name| name.into_string().ok());
    assert!(!names.any(|name| is_left(&name)), "finished: {finished}");
}

#[test]
fn a_restore_that_was_interrupted_while_it_moved_is_finished_by_the_daemon() {
    // Every state that the moves can be left in.
    let parts = ["journal", "journal.pub", "usage.json", "custody.db"];
    let site = with_backup();
    for moved in 0..parts.len() {
        lose_state(&site);
        is_restored(&site, "one.tar");
        let ready = site.path("state/restored");
        fs::create_dir(&ready).unwrap();
        for part in &parts[moved..] {
            fs::rename(site.path("state").join(part), ready.join(part)).unwrap();
        }
        // An installation is not made over it either.
        if moved == 2 {
            let output = run(&mut site.init());
            assert_eq!(output.status.code(), Some(73), "{}", text(&output));
        }
        let daemon = site.start();
        assert_eq!(site.fetch("web/key").stdout, CANARY, "{moved}");
        assert!(!ready.exists());
        daemon.stop();
    }
}

#[test]
fn a_pin_that_was_refused_is_not_tried_again() {
    let site = with_backup();
    lose_state(&site);
    site.write_pin("wrong");
    let output = run(&mut restore(&site, "one.tar"));
    assert_eq!(output.status.code(), Some(77), "{}", text(&output));
    site.write_pin(softhsm_tests::PIN);
    let output = run(&mut restore(&site, "one.tar"));
    assert_eq!(output.status.code(), Some(77), "{}", text(&output));
    fs::remove_file(site.path("state/pin-refused")).unwrap();
    is_restored(&site, "one.tar");
}

#[test]
fn without_room_for_it_nothing_is_restored() {
    if !is_root("without_room_for_it_nothing_is_restored") {
        return;
    }
    with_own_mounts(|| {
        let site = with_backup();
        lose_state(&site);
        {
            let _disk = SmallDisk::under(&site, 64);
            let output = run(&mut restore(&site, "one.tar"));
            assert_eq!(output.status.code(), Some(1), "{}", text(&output));
            assert!(text(&output).contains("No space"), "{}", text(&output));
            assert_eq!(site.path("state").read_dir().unwrap().count(), 0);
        }
        fs::remove_dir(site.path("state")).unwrap();
        is_restored(&site, "one.tar");
        let _daemon = site.start();
        assert_eq!(site.fetch("web/key").stdout, CANARY);
    });
}
