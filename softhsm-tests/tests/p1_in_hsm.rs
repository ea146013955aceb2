//! P1: a GMK is made in the HSM, never leaves it, has one use, and is checked at every
//! start.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use faulty_pkcs11::Fault;
use nix::unistd::getuid;
use serde_json::{Value, json};
use softhsm_tests::{LABEL, Site, daemon::Daemon, fault::answering, kind::Kind, text, until};

/// `custodyctl`'s exit code: a key that is refused is tried again and may be mended.
const UNAVAILABLE: Option<i32> = Some(6);

const WEB: &[u8] = b"content-of-web";
const DB: &[u8] = b"content-of-db";

/// Two groups with a secret each, both granted to whoever runs the test.
fn furnish(site: &Site) -> Daemon<'_> {
    let daemon = site.start();
    for (group, content) in [("web", WEB), ("db", DB)] {
        site.ctl(&["group", "create", group]);
        let output = site.put(&format!("{group}/key"), content);
        assert!(output.status.success(), "{}", text(&output));
        site.ctl(&[
            "grant",
            "add",
            "--allow-weak",
            group,
            "*",
            "--uid",
            &getuid().to_string(),
        ]);
    }
    daemon
}

/// A key of a conforming kind, in every respect.
fn conforming(id: &str) -> Value {
    if Kind::chosen().makes_pairs() {
        let mut pair = json!({
            "Class": "CKO_PRIVATE_KEY", "KeyType": "CKK_RSA", "Id": id,
            "Token": true, "Private": true, "Modifiable": false,
            "Sensitive": true, "AlwaysSensitive": true,
            "Extractable": false, "NeverExtractable": true,
            "Local": true,
            "Decrypt": true, "Unwrap": false, "Sign": false, "Derive": false,
        });
        if Kind::chosen() == Kind::Tpm2 {
            // It says that what decrypts verifies, which the TPM does not do with a private key.
            (pair["Encrypt"], pair["Verify"]) = (json!(false), json!(true));
        }
        return pair;
    }
    json!({
        "Class": "CKO_SECRET_KEY", "KeyType": "CKK_AES", "ValueLen": 32, "Id": id,
        "Token": true, "Private": true, "Modifiable": false,
        "Sensitive": true, "AlwaysSensitive": true,
        "Extractable": false, "NeverExtractable": true,
        "Local": true,
        "Encrypt": true, "Decrypt": true,
        "Wrap": false, "Unwrap": false, "Sign": false, "Verify": false, "Derive": false,
    })
}

#[test]
fn every_gmk_is_made_in_the_token_for_one_use_and_cannot_be_read() {
    let site = Site::new();
    let _daemon = furnish(&site);
    let ids = [site.system_gmk(), site.gmk("web"), site.gmk("db")];
    for id in &ids {
        assert_eq!(id.len(), 32);
        let mut found = site.intrude(&["look", id]);
        for name in ["Class", "KeyType"] {
            let text = found[name].as_str().unwrap().to_owned();
            found[name] = json!(text.split([' ', '(']).next().unwrap());
        }
        assert_eq!(found, conforming(id));
        assert_eq!(site.intrude(&["read", id]), Value::Null);
    }
    assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2]);
}

#[test]
fn no_key_can_be_changed_because_the_token_lacked_memory_for_a_moment() {
    let test = "no_key_can_be_changed_because_the_token_lacked_memory_for_a_moment";
    if !Kind::has(test, "AES keys") {
        return;
    }
    for code in ["CKR_DEVICE_MEMORY", "CKR_HOST_MEMORY"] {
        let site = Site::without_init();
        site.configure_faulty("");
        let lacks_memory_once = |function| {
            site.fault(Fault {
                times: Some(1),
                ..answering(function, code)
            });
        };
        lacks_memory_once("C_GenerateKeyPair");
        let output = site.init().output().unwrap();
        assert!(output.status.success(), "{code}: {}", text(&output));
        assert_eq!(site.counts().strikes(0), 1);
        let _daemon = site.start();
        lacks_memory_once("C_GenerateKey");
        until("the group is made", || {
            let made = site.try_ctl(&["group", "create", "web"]);
            made.status.success().then_some(())
        });
        assert_eq!(site.counts().strikes(0), 1);
        for id in [site.journal_key(), site.gmk("web")] {
            let found = site.intrude(&["look", &id]);
            assert_eq!(found["Modifiable"], false, "{code}: {found}");
        }
    }
}

#[test]
fn no_gmk_is_wrapped_by_another_key() {
    if !Kind::has("no_gmk_is_wrapped_by_another_key", "C_WrapKey") {
        return;
    }
    let site = Site::new();
    let _daemon = furnish(&site);
    for id in [site.system_gmk(), site.gmk("web")] {
        let came = site.intrude(&["wrap", &id]);
        assert_ne!(came, json!({}), "nothing wraps at all");
        for (mechanism, outcome) in came.as_object().unwrap() {
            assert_eq!(outcome, "KeyUnextractable", "{mechanism}");
        }
    }
}

/// The daemon starts, refuses the master key of `web` because of `why`, and serves all
/// else.
fn refuses_only_web(site: &Site, why: &str) {
    let id = site.gmk("web");
    let _daemon = site.start();
    let log = site.log();
    let refused = log.lines().find(|line| line.contains("is refused"));
    let refused = refused.unwrap_or_else(|| panic!("no key is refused: {log}"));
    assert!(refused.contains(&id) && refused.contains(why), "{refused}");

    let output = site.fetch("web/key");
    assert_eq!(output.status.code(), UNAVAILABLE, "{}", text(&output));
    assert!(output.stdout.is_empty());
    let allowed = site.entries("allow").pop().unwrap();
    let undelivered = site.entries("undelivered").pop().unwrap();
    assert_eq!(undelivered["allowed"], allowed["seq"]);
    assert_eq!(undelivered["reason"]["cause"], "token");
    // What is refused protects nothing either.
    assert_eq!(site.put("web/new", b"new").status.code(), UNAVAILABLE);
    let versions = site.sqlite("SELECT count(*) FROM version");
    assert_eq!(versions, "2\n");

    let output = site.fetch("db/key");
    assert_eq!(output.stdout, DB, "{}", text(&output));
    let shown = site.ctl(&["group", "show", "web", "--output", "json"]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let said = shown["master_keys"][0]["refused"].as_str().unwrap();
    assert!(said.contains(&id) && said.contains(why), "{said}");
}

fn a_flaw_is_refused(flaw: &str, why: &str) {
    let site = Site::new();
    furnish(&site).stop();
    site.replace_key(&site.gmk("web"), "custodyd web 1", flaw);
    refuses_only_web(&site, why);
}

#[test]
fn an_extractable_group_key_is_refused_by_name_and_no_other() {
    a_flaw_is_refused("extractable", "CKA_EXTRACTABLE is true, not false");
}

#[test]
fn a_group_key_that_can_be_read_is_refused() {
    a_flaw_is_refused("not-sensitive", "CKA_SENSITIVE is false, not true");
}

#[test]
fn a_group_key_that_can_wrap_is_refused() {
    if !Kind::has("a_group_key_that_can_wrap_is_refused", "C_WrapKey") {
        return;
    }
    // The half of a pair that wraps is the public one, which is nobody's secret.
    let why = if Kind::chosen().makes_pairs() {
        "CKA_UNWRAP is true, not false"
    } else {
        "CKA_WRAP is true, not false"
    };
    a_flaw_is_refused("wraps", why);
}

#[test]
fn a_group_key_that_can_sign_is_refused() {
    a_flaw_is_refused("signs", "CKA_SIGN is true, not false");
}

#[test]
fn a_group_key_that_came_from_outside_is_refused() {
    if !Kind::has(
        "a_group_key_that_came_from_outside_is_refused",
        "master keys that are no pairs",
    ) {
        return;
    }
    let why = match Kind::chosen() {
        // It does not say how long an imported key is, either.
        Kind::OpenCryptoki => "CKA_VALUE_LEN has no answer",
        _ => "is false, not true",
    };
    a_flaw_is_refused("imported", why);
}

#[test]
fn a_shorter_group_key_is_refused() {
    if !Kind::has(
        "a_shorter_group_key_is_refused",
        "master keys that are no pairs",
    ) {
        return;
    }
    a_flaw_is_refused("short", "CKA_VALUE_LEN is 16, not 32");
}

#[test]
fn another_conforming_key_of_the_same_name_is_refused_by_the_canary() {
    a_flaw_is_refused("none", "does not open");
}

#[test]
fn two_keys_of_one_identifier_are_refused_and_neither_is_chosen() {
    let site = Site::new();
    furnish(&site).stop();
    site.forge_key(&site.gmk("web"), "custodyd web 1", "none");
    refuses_only_web(&site, "2 objects have the identifier");
}

#[test]
fn a_missing_group_key_is_refused_and_its_rows_are_kept() {
    let site = Site::new();
    furnish(&site).stop();
    site.intrude(&["destroy", &site.gmk("web")]);
    refuses_only_web(&site, "is not in the token");
    assert_eq!(site.sqlite("SELECT count(*) FROM wrap"), "2\n");
}

/// The daemon does not start, and says that it is for the system GMK, and why.
fn system_gmk_is_refused(site: &Site, why: &str) {
    let id = site.system_gmk();
    let starts = site.entries("start").len();
    let (status, log) = site.does_not_start();
    assert_eq!(status.code(), Some(69), "{log}");
    assert!(log.contains(&id) && log.contains(why), "{log}");
    assert_eq!(site.entries("start").len(), starts);
}

#[test]
fn without_the_system_gmk_the_daemon_does_not_start() {
    let site = Site::new();
    site.intrude(&["destroy", &site.system_gmk()]);
    system_gmk_is_refused(&site, "is not in the token");
}

#[test]
fn with_two_system_gmks_the_daemon_does_not_start() {
    let site = Site::new();
    site.forge_key(&site.system_gmk(), "custodyd system", "none");
    system_gmk_is_refused(&site, "2 objects have the identifier");
}

#[test]
fn with_an_extractable_system_gmk_the_daemon_does_not_start() {
    let site = Site::new();
    site.replace_key(&site.system_gmk(), "custodyd system", "extractable");
    system_gmk_is_refused(&site, "CKA_EXTRACTABLE is true, not false");
}

#[test]
fn with_another_system_gmk_the_daemon_does_not_start() {
    let site = Site::new();
    site.replace_key(&site.system_gmk(), "custodyd system", "none");
    system_gmk_is_refused(&site, "does not open");
}

#[test]
fn a_token_of_the_same_label_is_not_taken_for_the_one_that_is_gone() {
    if !Kind::is_softhsm("a_token_of_the_same_label_is_not_taken_for_the_one_that_is_gone") {
        return;
    }
    let site = Site::new();
    furnish(&site).stop();
    let other = site.init_token(LABEL);
    site.remove_token(&site.serial);
    let starts = site.entries("start").len();

    let (status, log) = site.does_not_start();
    assert_eq!(status.code(), Some(69), "{log}");
    assert!(log.contains("no token is"), "{log}");
    assert!(log.contains(&site.serial), "{log}");
    let candidate = format!("label {LABEL:?}, serial {other:?}");
    assert!(log.contains(&candidate), "{log}");
    assert_eq!(site.entries("start").len(), starts);
}

#[test]
fn of_two_tokens_of_one_label_the_one_of_the_serial_number_is_taken() {
    if !Kind::has(
        "of_two_tokens_of_one_label_the_one_of_the_serial_number_is_taken",
        "tokens that differ in their serial numbers",
    ) {
        return;
    }
    let site = Site::new();
    furnish(&site).stop();
    site.init_token(LABEL);
    let _daemon = site.start();
    let status = site.ctl(&["status", "--output", "json"]);
    let status: Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["token"]["serial"], *site.serial);
    assert_eq!(site.fetch("web/key").stdout, WEB);
}
