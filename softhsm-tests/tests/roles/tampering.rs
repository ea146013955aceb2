//! Whoever can write the database cannot give a role, take one, or bring one back (P5).

use softhsm_tests::Site;

use crate::{OPERATOR, own_office};

/// The daemon does not start on what it finds, says `what`, and puts that on record.
fn is_refused_at_start(site: &Site, what: &str) {
    let (starts, found) = (site.entries("start").len(), site.entries("tampering").len());
    let (status, log) = site.does_not_start();
    assert_eq!(status.code(), Some(65), "{log}");
    assert!(log.contains(what), "{log}");
    assert_eq!(site.entries("start").len(), starts);
    let recorded = site.entries("tampering");
    assert_eq!(recorded.len(), found + 1);
    let recorded = recorded.last().unwrap()["what"].as_str().unwrap();
    assert!(recorded.contains(what), "{recorded}");
}

/// Changes the roles with `sql` while nobody looks; the start names `what`.
fn is_noticed(sql: &str, what: &str) {
    let site = Site::new();
    let daemon = site.start();
    site.ctl(&["group", "create", "web"]);
    site.ctl(&["group", "create", "db"]);
    let uid = OPERATOR.to_string();
    site.ctl(&["role", "assign", "reader", "--group", "web", "--uid", &uid]);
    daemon.stop();
    site.sqlite(sql);
    is_refused_at_start(&site, what);
}

const DOES_NOT_VERIFY: &str = "the row of role ";
const REMOVED_OR_OLDER: &str = "rows of the database were removed or replaced by older ones";

#[test]
fn a_role_for_another_user_is_noticed() {
    is_noticed(
        r#"UPDATE role SET selectors = '["unix:uid:7"]' WHERE role = 'crypto-officer'"#,
        DOES_NOT_VERIFY,
    );
}

#[test]
fn a_greater_role_is_noticed() {
    is_noticed(
        r#"UPDATE role SET role = 'group-administrator' WHERE "group" = 'web'"#,
        DOES_NOT_VERIFY,
    );
}

#[test]
fn a_role_for_another_group_is_noticed() {
    is_noticed(
        r#"UPDATE role SET "group" = 'db' WHERE "group" = 'web'"#,
        DOES_NOT_VERIFY,
    );
}

#[test]
fn a_role_for_every_group_is_noticed() {
    is_noticed(
        r#"UPDATE role SET "group" = NULL WHERE "group" = 'web'"#,
        DOES_NOT_VERIFY,
    );
}

#[test]
fn a_role_that_is_given_once_more_is_noticed() {
    is_noticed(
        r#"INSERT INTO role SELECT randomblob(length(id)), role, "group", selectors, created,
           created_by, change, tag FROM role WHERE role = 'crypto-officer'"#,
        DOES_NOT_VERIFY,
    );
}

#[test]
fn a_role_that_is_removed_is_noticed() {
    is_noticed("DELETE FROM role WHERE role = 'auditor'", REMOVED_OR_OLDER);
}

#[test]
fn a_role_that_is_none_is_noticed() {
    is_noticed(
        "UPDATE role SET role = 'king' WHERE role = 'auditor'",
        "a row of table role is not one of ours: role does not parse",
    );
}

#[test]
fn a_running_daemon_goes_by_the_roles_that_it_verified() {
    let site = Site::new();
    let daemon = site.start();
    site.sqlite(r#"UPDATE role SET selectors = '["unix:uid:7"]'"#);
    site.ctl(&["group", "create", "web"]);
    site.ctl(&["journal", "tail"]);
    daemon.stop();
    is_refused_at_start(&site, DOES_NOT_VERIFY);
}

#[test]
fn a_role_that_was_taken_back_does_not_come_back() {
    let site = Site::new();
    let daemon = site.start();
    let uid = OPERATOR.to_string();
    let office = own_office(&site);
    site.ctl(&["role", "assign", "crypto-officer", "--uid", &uid]);
    site.sqlite("CREATE TABLE kept AS SELECT * FROM role");
    site.ctl(&["role", "revoke", "--yes", &office]);
    site.sqlite("INSERT OR IGNORE INTO role SELECT * FROM kept; DROP TABLE kept");
    let refused = site.try_ctl(&["group", "create", "web"]);
    assert_eq!(refused.status.code(), crate::DENIED);
    daemon.stop();
    is_refused_at_start(&site, REMOVED_OR_OLDER);
}
