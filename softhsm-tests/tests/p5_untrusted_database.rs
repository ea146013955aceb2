//! P5: whoever can write the database can destroy data, but cannot read a secret, swap
//! two, widen a grant, or bring an old version back unnoticed.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

#[path = "p5_untrusted_database/grants.rs"]
mod grants;
#[path = "p5_untrusted_database/older.rs"]
mod older;
#[path = "p5_untrusted_database/rows.rs"]
mod rows;

use std::fs;

use nix::unistd::getuid;
use serde_json::Value;
use softhsm_tests::{Site, daemon::Daemon, text};

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
