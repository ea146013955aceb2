//! Grants that somebody widens, copies, moves or removes.

use nix::unistd::getuid;
use softhsm_tests::Site;

use super::{ONE, REMOVED_OR_OLDER, furnish, is_delivered, is_noticed, is_refused_at_start};

#[test]
fn a_grant_that_is_widened_under_a_running_daemon_is_of_no_effect() {
    let site = Site::new();
    let daemon = site.start();
    site.furnish(ONE);
    let grants = site.sqlite(r#"UPDATE "grant" SET patterns = '["none"]'; SELECT 1"#);
    assert_eq!(grants, "1\n");
    // What was verified is what is decided by, be it wider or narrower.
    is_delivered(&site, "web/key", ONE);
    daemon.stop();
    is_refused_at_start(&site, "of group web does not verify");
}

#[test]
fn a_grant_to_another_uid_is_noticed_at_start() {
    let other = getuid().as_raw() + 1;
    is_noticed(
        &format!(r#"UPDATE "grant" SET selectors = '["unix:uid:{other}"]'"#),
        "of group web does not verify",
    );
}

#[test]
fn a_grant_with_a_selector_less_is_noticed_at_start() {
    let site = Site::new();
    let daemon = furnish(&site);
    let uid = getuid().to_string();
    let narrow = [
        "grant",
        "add",
        "--allow-weak",
        "web",
        "one",
        "--uid",
        &uid,
        "--gid",
        "7",
    ];
    site.ctl(&narrow);
    daemon.stop();
    site.sqlite(&format!(
        r#"UPDATE "grant" SET selectors = '["unix:uid:{uid}"]' WHERE patterns = '["one"]'"#
    ));
    is_refused_at_start(&site, "of group web does not verify");
}

#[test]
fn a_grant_of_more_secrets_is_noticed_at_start() {
    let site = Site::new();
    let daemon = site.start();
    site.ctl(&["group", "create", "web"]);
    assert!(site.put("web/key", ONE).status.success());
    site.ctl(&[
        "grant",
        "add",
        "--allow-weak",
        "web",
        "x",
        "--uid",
        &getuid().to_string(),
    ]);
    assert_eq!(site.fetch("web/key").status.code(), Some(3));
    daemon.stop();
    site.sqlite(r#"UPDATE "grant" SET patterns = '["*"]'"#);
    is_refused_at_start(&site, "of group web does not verify");
}

#[test]
fn a_copied_grant_is_noticed_at_start() {
    is_noticed(
        r#"INSERT INTO "grant" SELECT randomblob(length(id)), "group", patterns, selectors, terms,
           created, created_by, change, tag FROM "grant""#,
        "of group web does not verify",
    );
}

#[test]
fn a_grant_that_is_moved_to_another_group_is_noticed_at_start() {
    let site = Site::new();
    let daemon = furnish(&site);
    site.ctl(&["group", "create", "db"]);
    daemon.stop();
    site.sqlite(r#"UPDATE "grant" SET "group" = 'db'"#);
    is_refused_at_start(&site, "of group db does not verify");
}

#[test]
fn a_grant_that_is_removed_is_noticed_at_start() {
    is_noticed(r#"DELETE FROM "grant""#, REMOVED_OR_OLDER);
}
