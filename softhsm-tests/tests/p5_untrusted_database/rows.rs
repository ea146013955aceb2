//! Rows of rules, master keys, groups, secrets and the system that say something else.

use std::fs;

use softhsm_tests::{Site, daemon::Daemon, kind::Kind};

use super::{REMOVED_OR_OLDER, furnish, is_noticed, is_refused_at_start};

/// What is said of a row key that is another. One that a pair wraps is signed, too.
fn another_row_key() -> &'static str {
    match Kind::chosen().makes_pairs() {
        true => "the token's journal key has not signed the row key",
        false => "the row key does not open under the system GMK",
    }
}

/// Rules that are enforced in the group `web`.
fn furnish_with_rules(site: &Site) -> Daemon<'_> {
    let daemon = furnish(site);
    let file = site.path("rules.toml");
    fs::write(&file, "mode = \"enforce\"\nmin-rsa-bits = 3072\n").unwrap();
    site.ctl(&["group", "rules", "web", file.to_str().unwrap()]);
    daemon
}

#[test]
fn rules_that_are_relaxed_are_noticed_at_start() {
    let site = Site::new();
    furnish_with_rules(&site).stop();
    site.sqlite(r#"UPDATE compliance SET rules = '{"mode":"report"}'"#);
    is_refused_at_start(&site, "the row of rules of group web does not verify");
}

#[test]
fn rules_that_are_removed_are_noticed_at_start() {
    let site = Site::new();
    furnish_with_rules(&site).stop();
    site.sqlite("DELETE FROM compliance");
    is_refused_at_start(&site, REMOVED_OR_OLDER);
}

#[test]
fn rules_that_do_not_parse_are_noticed_at_start() {
    let site = Site::new();
    furnish_with_rules(&site).stop();
    site.sqlite(r#"UPDATE compliance SET rules = '{"min-rsa-bits":0}'"#);
    is_refused_at_start(&site, "rules does not parse");
}

#[test]
fn a_master_key_whose_state_is_changed_is_noticed_at_start() {
    is_noticed(
        "UPDATE master_key SET state = 'deactivated'",
        "the row of master key 1 of group web (",
    );
}

#[test]
fn what_is_said_about_a_group_or_secret_cannot_be_changed_unnoticed() {
    for (table, column, value) in [
        ("group", "business_group", "others"),
        ("group", "environment", "production"),
        ("group", "description", "others"),
        ("group", "labels", "{\"team\":\"edge\"}"),
        ("secret", "description", "others"),
        ("secret", "labels", "{\"team\":\"edge\"}"),
    ] {
        is_noticed(
            &format!("UPDATE \"{table}\" SET {column} = '{value}'"),
            &format!("the row of {table} web"),
        );
    }
}

#[test]
fn a_master_key_whose_canary_is_changed_is_noticed_at_start() {
    is_noticed(
        "UPDATE master_key SET canary = zeroblob(length(canary))",
        "the row of master key 1 of group web (",
    );
}

#[test]
fn another_row_key_is_noticed_at_start() {
    is_noticed(
        "UPDATE system SET row_key = CAST(
            CASE substr(row_key, 1, 1) WHEN x'00' THEN x'01' ELSE x'00' END
            || substr(row_key, 2) AS BLOB)",
        another_row_key(),
    );
}

#[test]
fn a_data_key_in_place_of_the_row_key_is_noticed_at_start() {
    is_noticed(
        "UPDATE system SET
            gmk = (SELECT id FROM master_key),
            canary = (SELECT canary FROM master_key),
            row_key = (SELECT wrapped FROM wrap WHERE name = 'one')",
        another_row_key(),
    );
}

#[test]
fn a_system_row_that_names_another_token_is_noticed_at_start() {
    is_noticed(
        "UPDATE system SET token_serial = '0'",
        "the system row does not verify",
    );
}

#[test]
fn a_missing_system_row_is_noticed_at_start() {
    is_noticed("DELETE FROM system", "the database has no system row");
}

#[test]
fn a_system_row_that_does_not_parse_is_noticed_at_start() {
    is_noticed(
        "UPDATE system SET instance = x'00'",
        "a row of table system is not one of ours: instance does not parse",
    );
}

#[test]
fn another_system_gmk_is_refused_by_name() {
    let site = Site::new();
    furnish(&site).stop();
    let starts = site.entries("start").len();
    site.sqlite("UPDATE system SET gmk = (SELECT id FROM master_key)");
    let id = site.sqlite("SELECT lower(hex(gmk)) FROM system");

    // A wrong token looks the same, so it is not called tampering.
    let (status, log) = site.does_not_start();
    assert_eq!(status.code(), Some(69), "{log}");
    let said = format!("the canary of key {} does not open", id.trim());
    assert!(log.contains(&said), "{log}");
    assert_eq!(site.entries("start").len(), starts);
}

#[test]
fn a_row_that_does_not_parse_is_noticed_at_start() {
    is_noticed(
        "UPDATE secret SET type = 'nothing' WHERE name = 'one'",
        "a row of table secret is not one of ours: type does not parse",
    );
}

#[test]
fn a_number_that_does_not_fit_is_noticed_at_start() {
    is_noticed(
        "UPDATE secret SET current = -1 WHERE name = 'one'",
        "a row of table secret is not one of ours: current does not parse",
    );
}
