//! Backups that were interrupted, at either end.

use std::{fs, process::Command};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use softhsm_tests::{Site, disk::with_own_mounts, is_root, load::runtime, text, until};

use super::{CANARY, fill, save, saved, verify};

/// A daemon with some 20 MiB of content.
fn furnish(site: &Site) {
    site.ctl(&["group", "create", "web"]);
    runtime().block_on(fill(site, 20, 1 << 20));
}

fn part_length(site: &Site) -> u64 {
    fs::metadata(site.path("one.tar.part")).map_or(0, |found| found.len())
}

/// Has a client killed after it has written some of `one.tar`, by the limit of what it may
/// write.
fn is_killed_early(site: &Site) {
    let whole = save(site, "one.tar");
    let mut limited = Command::new("prlimit");
    limited
        .args(["--fsize=3000000", "--"])
        .arg(whole.get_program());
    for (name, value) in whole.get_envs() {
        limited.env(name, value.unwrap());
    }
    let output = limited.args(whole.get_args()).output().unwrap();
    assert!(output.status.code().is_none(), "{}", text(&output));
    assert!((1..=3_000_000).contains(&part_length(site)));
    assert!(!site.path("one.tar").exists());
}

#[test]
fn a_client_that_was_killed_goes_on_where_it_was() {
    let site = Site::new();
    let _daemon = site.start();
    furnish(&site);
    is_killed_early(&site);
    // What was written since is not in it: it is the same backup.
    site.put("web/later", CANARY);
    let told = saved(&site, "one.tar").told;
    assert!(verify(&site, "one.tar").status.success());
    let made = site.entries("backup");
    assert_eq!(made.len(), 1);
    assert_eq!(made[0]["backup"], told["backup"]);
    assert!(!site.path("one.tar.part").exists());
}

#[test]
fn after_the_daemon_was_killed_a_backup_begins_anew() {
    let site = Site::new();
    let daemon = site.start();
    furnish(&site);
    is_killed_early(&site);
    assert!(site.path("state/backup").read_dir().unwrap().any(|_| true));
    daemon.kill();
    let _daemon = site.start();
    // What it had copied is gone with it.
    assert!(!site.path("state/backup").exists());
    saved(&site, "one.tar");
    assert!(verify(&site, "one.tar").status.success());
    assert_eq!(site.entries("backup").len(), 2);
}

#[test]
fn a_client_outlives_the_daemon() {
    let site = Site::new();
    let daemon = site.start();
    furnish(&site);
    let mut client = save(&site, "one.tar").spawn().unwrap();
    let pid = Pid::from_raw(i32::try_from(client.id()).unwrap());
    until("something is written", || {
        (part_length(&site) > 0).then_some(())
    });
    kill(pid, Signal::SIGSTOP).unwrap();
    assert!(
        !site.path("one.tar").exists(),
        "it was too quick to be stopped"
    );
    daemon.kill();
    let _daemon = site.start();
    kill(pid, Signal::SIGCONT).unwrap();
    assert!(client.wait().unwrap().success());
    assert!(verify(&site, "one.tar").status.success());
    assert_eq!(site.entries("backup").len(), 2);
}

#[test]
fn one_backup_is_taken_at_a_time() {
    let site = Site::new();
    let _daemon = site.start();
    furnish(&site);
    let mut client = save(&site, "one.tar").spawn().unwrap();
    let pid = Pid::from_raw(i32::try_from(client.id()).unwrap());
    until("something is written", || {
        (part_length(&site) > 0).then_some(())
    });
    kill(pid, Signal::SIGSTOP).unwrap();
    let output = save(&site, "two.tar").output().unwrap();
    assert_eq!(output.status.code(), Some(5), "{}", text(&output));
    assert!(
        text(&output).contains("another backup"),
        "{}",
        text(&output)
    );
    // Nor do two write to one file.
    let output = save(&site, "one.tar").output().unwrap();
    assert_eq!(output.status.code(), Some(5), "{}", text(&output));
    kill(pid, Signal::SIGCONT).unwrap();
    assert!(client.wait().unwrap().success());
    assert!(verify(&site, "one.tar").status.success());
    saved(&site, "two.tar");
}

#[test]
fn a_disk_that_is_full_at_the_receiver_can_be_given_room() {
    if !is_root("a_disk_that_is_full_at_the_receiver_can_be_given_room") {
        return;
    }
    with_own_mounts(|| {
        let site = Site::new();
        let _daemon = site.start();
        furnish(&site);
        let disk = site.path("disk");
        fs::create_dir(&disk).unwrap();
        let mounted = |flags, size: &str| {
            let options = format!("size={size}");
            mount(Some("d"), &disk, Some("tmpfs"), flags, Some(&*options)).unwrap();
        };
        mounted(MsFlags::empty(), "5m");
        let output = save(&site, "disk/one.tar").output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        assert!(text(&output).contains("No space"), "{}", text(&output));
        assert!(!site.path("disk/one.tar").exists());
        let left = fs::metadata(site.path("disk/one.tar.part")).unwrap().len();
        assert!((1 << 20..=5 << 20).contains(&left), "{left}");
        mounted(MsFlags::MS_REMOUNT, "50m");
        saved(&site, "disk/one.tar");
        assert!(verify(&site, "disk/one.tar").status.success());
        assert_eq!(site.entries("backup").len(), 1);
        umount2(&disk, MntFlags::MNT_DETACH).unwrap();
    });
}
