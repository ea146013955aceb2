//! A full disk, and one that has room again.

use softhsm_tests::{
    Site,
    disk::{SmallDisk, files, with_own_mounts},
    is_root, text,
};

use super::{CONTENT, content, stop_and_verify, versions};

/// `custodyctl`'s exit codes.
const UNAVAILABLE: Option<i32> = Some(6);

#[test]
fn a_write_that_does_not_fit_on_the_disk_changes_nothing() {
    if !is_root("a_write_that_does_not_fit_on_the_disk_changes_nothing") {
        return;
    }
    with_own_mounts(|| {
        let site = Site::new();
        let disk = SmallDisk::under(&site, 2048);
        let daemon = site.start();
        site.furnish(CONTENT);
        let large = vec![b'x'; 200 << 10];
        for _ in 0..3 {
            // Room for the journal, and none for the database, which takes it all the same.
            disk.fill(32 << 10);
            let output = site.put("web/key", &large);
            assert_eq!(output.status.code(), UNAVAILABLE, "{}", text(&output));
            assert!(!text(&output).contains("was made"), "{}", text(&output));
        }
        disk.fill(32 << 10);
        assert_eq!(versions(&site, "web/key"), [1]);
        disk.make_room();
        assert!(site.put("web/key", &large).status.success());
        assert_eq!(versions(&site, "web/key"), [1, 2]);
        assert_eq!(site.fetch("web/key").stdout, large);
        daemon.kill();
        let daemon = site.start();
        assert_eq!(content(&site, "web/key", 1), CONTENT);
        assert_eq!(content(&site, "web/key", 2), large);
        stop_and_verify(&site, daemon);
        assert_eq!(site.entries("start").len(), 2);
        // What was begun and did not fit has its outcome, too.
        let (begun, made) = (site.entries("prepare").len(), site.entries("commit").len());
        let given_up = site.entries("abort").len();
        assert!(given_up > 0);
        assert_eq!(begun, made + given_up);
    });
}

#[test]
fn a_daemon_that_is_killed_on_a_full_disk_starts_once_there_is_room() {
    if !is_root("a_daemon_that_is_killed_on_a_full_disk_starts_once_there_is_room") {
        return;
    }
    with_own_mounts(|| {
        let site = Site::new();
        let disk = SmallDisk::under(&site, 1024);
        let daemon = site.start();
        site.furnish(CONTENT);
        disk.fill(0);
        while site.put("web/key", b"no room").status.success() {}
        let there = versions(&site, "web/key");
        daemon.kill();
        let (status, log) = site.refused_start();
        assert!(!status.success(), "{log}");
        disk.make_room();
        let daemon = site.start();
        assert_eq!(versions(&site, "web/key"), there);
        assert_eq!(content(&site, "web/key", 1), CONTENT);
        assert!(site.put("web/key", b"room").status.success());
        stop_and_verify(&site, daemon);
    });
}

#[test]
fn an_init_on_a_full_disk_leaves_nothing_and_can_be_repeated() {
    if !is_root("an_init_on_a_full_disk_leaves_nothing_and_can_be_repeated") {
        return;
    }
    with_own_mounts(|| {
        let site = Site::without_init();
        let disk = SmallDisk::under(&site, 256);
        disk.fill(32 << 10);
        let output = site.init().output().unwrap();
        assert!(!output.status.success(), "{}", text(&output));
        disk.make_room();
        assert!(files(&site.path("state")).is_empty());
        let output = site.init().output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        site.start().stop();
    });
}
