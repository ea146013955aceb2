//! P5: whoever can write the database can destroy data, but cannot read a secret, swap
//! two, widen a grant, or bring an old version back unnoticed.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use std::{fs, path::Path, process::Command};

use nix::unistd::getuid;
use serde_json::Value;
use softhsm_tests::{Site, daemon::Daemon, kind::Kind, text};

const ONE: &[u8] = b"content-of-one";
const TWO: &[u8] = b"content-of-two";
const THREE: &[u8] = b"content-of-three";

/// A group with three secrets, all granted to whoever runs the test.
fn furnish(site: &Site) -> Daemon<'_> {
    let daemon = site.start();
    site.ctl(&["group", "create", "web"]);
    for (secret, content) in [("web/one", ONE), ("web/two", TWO), ("web/three", THREE)] {
        let output = site.put(secret, content);
        assert!(output.status.success(), "{}", text(&output));
    }
    site.ctl(&[
        "grant",
        "add",
        "--allow-weak",
        "web",
        "*",
        "--uid",
        &getuid().to_string(),
    ]);
    daemon
}

/// Lets the secrets `one` and `two` change places in `table`.
fn swap(site: &Site, table: &str) {
    let rename = |from, to| format!("UPDATE {table} SET name = '{to}' WHERE name = '{from}';");
    let swap = [rename("one", "-"), rename("two", "one"), rename("-", "two")];
    site.sqlite(&format!("BEGIN; {} COMMIT;", swap.concat()));
}

fn is_delivered(site: &Site, secret: &str, content: &[u8]) {
    let output = site.fetch(secret);
    assert!(output.status.success(), "{secret}: {}", text(&output));
    assert_eq!(output.stdout, content);
}

/// The secret is refused as damaged, without a byte of anything, and that is on record.
fn is_refused_as_damaged(site: &Site, secret: &str, problem: &str) {
    let generation = worker_generation(site);
    let output = site.fetch(secret);
    assert_eq!(output.status.code(), Some(8), "{secret}: {}", text(&output));
    assert!(output.stdout.is_empty());
    assert!(!text(&output).contains("content-of"));

    let allowed = site.entries("allow").pop().unwrap();
    let undelivered = site.entries("undelivered").pop().unwrap();
    assert_eq!(undelivered["allowed"], allowed["seq"]);
    assert_eq!(undelivered["reason"]["cause"], "tampered", "{undelivered}");
    let said = undelivered["reason"]["problem"].as_str().unwrap();
    assert!(said.contains(problem), "{said}");
    assert_eq!(worker_generation(site), generation);
}

fn worker_generation(site: &Site) -> Value {
    let status = site.ctl(&["status", "--output", "json"]);
    let status: Value = serde_json::from_str(&status).unwrap();
    let generation = status["token"]["worker_generation"].clone();
    assert!(generation.is_u64(), "{status}");
    generation
}

/// The daemon does not start on what it finds, says `what`, and puts that on record.
fn is_refused_at_start(site: &Site, what: &str) {
    let (starts, tamperings) = (site.entries("start").len(), site.entries("tampering").len());
    let (status, log) = site.does_not_start();
    assert_eq!(status.code(), Some(65), "{log}");
    assert!(log.contains(what), "{log}");
    assert!(!log.contains("content-of"));
    // Nobody was served, and nobody is.
    assert_eq!(site.entries("start").len(), starts);
    assert_eq!(site.fetch("web/three").status.code(), Some(6));

    let recorded = site.entries("tampering");
    assert_eq!(recorded.len(), tamperings + 1);
    let recorded = recorded.last().unwrap()["what"].as_str().unwrap();
    assert!(recorded.contains(what), "{recorded}");
}

/// Changes a furnished database with `sql` while nobody looks; the start names `what`.
fn is_noticed(sql: &str, what: &str) {
    let site = Site::new();
    furnish(&site).stop();
    site.sqlite(sql);
    is_refused_at_start(&site, what);
}

/// What is said of a row key that is another. One that a pair wraps is signed, too.
fn another_row_key() -> &'static str {
    match Kind::chosen().makes_pairs() {
        true => "the token's journal key has not signed the row key",
        false => "the row key does not open under the system GMK",
    }
}

/// A copy of a file or folder of the state, as a backup would have it.
fn keep(site: &Site, name: &str) {
    all_in_one_file(site);
    copy(&site.path("state").join(name), &site.path(name));
}

/// Whoever closes the database last moves what is in its log into the file.
fn all_in_one_file(site: &Site) {
    site.sqlite("SELECT count(*) FROM head");
    assert!(!site.path("state/custody.db-wal").exists());
}

/// Puts what [`keep`] kept back.
fn put_back(site: &Site, name: &str) {
    copy(&site.path(name), &site.path("state").join(name));
}

fn copy(from: &Path, to: &Path) {
    if to.is_dir() {
        fs::remove_dir_all(to).unwrap();
    }
    let status = Command::new("cp").arg("-a").args([from, to]).status();
    assert!(status.unwrap().success());
}

const REMOVED_OR_OLDER: &str = "rows of the database were removed or replaced by older ones";

#[test]
fn no_content_is_in_the_database() {
    let site = Site::new();
    let daemon = furnish(&site);
    let dump = site.sqlite("SELECT hex(ciphertext), hex(nonce) FROM content");
    assert_eq!(dump.lines().count(), 3);
    daemon.stop();
    for file in fs::read_dir(site.path("state")).unwrap() {
        let path = file.unwrap().path();
        if path.is_file() {
            let bytes = fs::read(&path).unwrap();
            let found = bytes.windows(10).any(|part| part == b"content-of");
            assert!(!found, "{}", path.display());
        }
    }
}

#[test]
fn two_swapped_ciphertexts_are_refused_and_a_third_is_delivered() {
    let site = Site::new();
    let _daemon = furnish(&site);
    is_delivered(&site, "web/one", ONE);

    swap(&site, "content");
    is_refused_as_damaged(
        &site,
        "web/one",
        "web/one@1 is not the one that was written",
    );
    is_refused_as_damaged(
        &site,
        "web/two",
        "web/two@1 is not the one that was written",
    );
    is_delivered(&site, "web/three", THREE);

    swap(&site, "content");
    is_delivered(&site, "web/one", ONE);
}

#[test]
fn swapped_ciphertexts_are_still_refused_after_a_restart() {
    let site = Site::new();
    furnish(&site).stop();
    swap(&site, "content");
    let _daemon = site.start();
    is_refused_as_damaged(
        &site,
        "web/one",
        "web/one@1 is not the one that was written",
    );
    is_delivered(&site, "web/three", THREE);
}

#[test]
fn an_altered_ciphertext_is_refused() {
    let site = Site::new();
    let _daemon = furnish(&site);
    site.sqlite(
        "UPDATE content SET ciphertext = CAST(
            CASE substr(ciphertext, 1, 1) WHEN x'00' THEN x'01' ELSE x'00' END
            || substr(ciphertext, 2) AS BLOB)
         WHERE name = 'one'",
    );
    is_refused_as_damaged(
        &site,
        "web/one",
        "web/one@1 is not the one that was written",
    );
}

#[test]
fn an_altered_nonce_is_refused() {
    let site = Site::new();
    let _daemon = furnish(&site);
    site.sqlite("UPDATE content SET nonce = zeroblob(length(nonce)) WHERE name = 'one'");
    is_refused_as_damaged(
        &site,
        "web/one",
        "web/one@1 is not the one that was written",
    );
}

#[test]
fn a_nonce_that_is_none_is_refused_as_damage_and_not_as_something_that_passes() {
    let site = Site::new();
    let _daemon = furnish(&site);
    site.sqlite("UPDATE content SET nonce = x'00' WHERE name = 'one'");
    is_refused_as_damaged(&site, "web/one", "table content is not one of ours: nonce");
    is_delivered(&site, "web/two", TWO);
}

#[test]
fn a_ciphertext_that_is_gone_is_refused_as_damage_and_not_as_absence() {
    let site = Site::new();
    let _daemon = furnish(&site);
    site.sqlite("DELETE FROM content WHERE name = 'one'");
    is_refused_as_damaged(&site, "web/one", "web/one@1 is missing");
    is_delivered(&site, "web/two", TWO);
}

#[test]
fn two_secrets_swapped_with_all_their_rows_are_refused_by_a_running_daemon() {
    let site = Site::new();
    let _daemon = furnish(&site);
    for table in ["content", "version", "wrap"] {
        swap(&site, table);
    }
    is_refused_as_damaged(
        &site,
        "web/one",
        "web/one@1 is not the one that was written",
    );
    is_delivered(&site, "web/three", THREE);
}

#[test]
fn two_secrets_swapped_with_all_their_rows_are_noticed_at_start() {
    let site = Site::new();
    furnish(&site).stop();
    for table in ["content", "version", "wrap"] {
        swap(&site, table);
    }
    is_refused_at_start(&site, "the row of version web/one@1 does not verify");
}

#[test]
fn two_swapped_wraps_are_noticed_at_start() {
    let site = Site::new();
    furnish(&site).stop();
    swap(&site, "wrap");
    is_refused_at_start(&site, "the row of wrap of web/one@1 under");
}

#[test]
fn a_wrap_that_is_exchanged_for_another_versions_is_noticed_at_start() {
    is_noticed(
        "UPDATE wrap SET wrapped = (SELECT wrapped FROM wrap WHERE name = 'two')
         WHERE name = 'one'",
        "the row of wrap of web/one@1 under",
    );
}

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

#[test]
fn a_secret_that_is_removed_is_noticed_at_start() {
    is_noticed(
        "DELETE FROM content WHERE name = 'one'; DELETE FROM wrap WHERE name = 'one';
         DELETE FROM version WHERE name = 'one'; DELETE FROM secret WHERE name = 'one'",
        REMOVED_OR_OLDER,
    );
}

#[test]
fn a_version_without_its_secret_is_noticed_at_start() {
    is_noticed(
        "DELETE FROM secret WHERE name = 'one'",
        "the row of version web/one@1 belongs to nothing",
    );
}

#[test]
fn a_replayed_row_is_noticed_at_start_and_ignored_until_then() {
    let site = Site::new();
    let daemon = furnish(&site);
    let save = "CREATE TABLE kept AS SELECT * FROM secret WHERE name = 'one'";
    site.sqlite(save);
    assert!(site.put("web/one", b"content-of-one-anew").status.success());

    site.sqlite("INSERT OR REPLACE INTO secret SELECT * FROM kept; DROP TABLE kept");
    let current = site.sqlite("SELECT current FROM secret WHERE name = 'one'");
    assert_eq!(current, "1\n");
    is_delivered(&site, "web/one", b"content-of-one-anew");
    daemon.stop();
    is_refused_at_start(&site, REMOVED_OR_OLDER);
}

#[test]
fn a_version_that_is_taken_back_is_noticed_at_start() {
    let site = Site::new();
    let daemon = furnish(&site);
    site.sqlite("CREATE TABLE kept AS SELECT * FROM secret WHERE name = 'one'");
    assert!(site.put("web/one", b"content-of-one-anew").status.success());
    daemon.stop();
    site.sqlite(
        "INSERT OR REPLACE INTO secret SELECT * FROM kept; DROP TABLE kept;
         DELETE FROM content WHERE number = 2; DELETE FROM wrap WHERE number = 2;
         DELETE FROM version WHERE number = 2",
    );
    is_refused_at_start(&site, REMOVED_OR_OLDER);
}

#[test]
fn a_revoked_grant_that_is_put_back_is_noticed_at_start_and_ignored_until_then() {
    let site = Site::new();
    let daemon = furnish(&site);
    site.sqlite(r#"CREATE TABLE kept AS SELECT * FROM "grant""#);
    revoke(&site);
    site.sqlite(r#"INSERT INTO "grant" SELECT * FROM kept; DROP TABLE kept"#);
    assert_eq!(site.fetch("web/one").status.code(), Some(3));
    daemon.stop();
    is_refused_at_start(&site, REMOVED_OR_OLDER);
}

fn revoke(site: &Site) {
    let id = site.sqlite(r#"SELECT lower(hex(id)) FROM "grant""#);
    site.ctl(&["grant", "revoke", "--yes", id.trim()]);
}

#[test]
fn an_old_database_with_the_newer_journal_is_refused_and_brings_no_grant_back() {
    let site = Site::new();
    furnish(&site).stop();
    keep(&site, "custody.db");
    let daemon = site.start();
    revoke(&site);
    daemon.stop();
    all_in_one_file(&site);
    copy(&site.path("state/custody.db"), &site.path("true.db"));

    put_back(&site, "custody.db");
    is_refused_at_start(&site, "the database is an old one");

    copy(&site.path("true.db"), &site.path("state/custody.db"));
    let _daemon = site.start();
    assert_eq!(site.fetch("web/one").status.code(), Some(3));
}

#[test]
fn an_old_database_that_claims_to_be_new_is_refused() {
    let site = Site::new();
    furnish(&site).stop();
    keep(&site, "custody.db");
    let daemon = site.start();
    revoke(&site);
    daemon.stop();
    let newest = site.sqlite("SELECT change FROM head");

    put_back(&site, "custody.db");
    site.sqlite(&format!("UPDATE head SET change = {newest}"));
    is_refused_at_start(&site, REMOVED_OR_OLDER);
}

#[test]
fn an_old_journal_with_the_newer_database_is_refused() {
    let site = Site::new();
    furnish(&site).stop();
    keep(&site, "journal");
    let daemon = site.start();
    assert!(site.put("web/one", b"content-of-one-anew").status.success());
    daemon.stop();

    put_back(&site, "journal");
    is_refused_at_start(&site, "the journal is an old one");
}

#[test]
fn the_database_of_another_installation_is_refused() {
    let site = Site::new();
    furnish(&site).stop();
    let other = Site::new();
    furnish(&other).stop();
    all_in_one_file(&site);
    all_in_one_file(&other);
    copy(
        &other.path("state/custody.db"),
        &site.path("state/custody.db"),
    );
    is_refused_at_start(&site, "two installations");
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
