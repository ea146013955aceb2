//! Rows that are removed or older than they should be, and whole files that are, or another's.

use std::{fs, path::Path, process::Command};

use softhsm_tests::Site;

use super::{REMOVED_OR_OLDER, furnish, is_delivered, is_noticed, is_refused_at_start};

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
