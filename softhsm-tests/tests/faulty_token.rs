//! P8 recovering, with a token that misbehaves on command: what is true while it does, and
//! that nothing is left of it afterwards, without a restart of the daemon.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

#[path = "faulty_token/under_load.rs"]
mod under_load;
#[path = "faulty_token/ways.rs"]
mod ways;

use faulty_pkcs11::{Code, Control, Fault, Function, PinFlag};
use nix::sys::signal::{Signal, kill};
use serde_json::Value;
use softhsm_tests::{Site, daemon::Daemon, fault::answering, kind::Kind, text, until};

const CONTENT: &[u8] = b"the content of the secret";

/// `custodyctl`'s exit code for what may work later.
const UNAVAILABLE: Option<i32> = Some(6);

fn site() -> Site {
    Site::faulty("deadline = \"2s\"\n")
}

/// What it says when it does not start.
fn refusal_to_start(site: &Site) -> String {
    let (status, log) = site.refused_start();
    assert!(!status.success());
    log
}

fn is_served(site: &Site) {
    until("the secret is delivered again", || {
        (site.fetch("web/key").stdout == CONTENT).then_some(())
    });
}

/// Everything works, and nothing is left of what was.
fn all_is_well(site: &Site, daemon: Daemon<'_>) {
    is_served(site);
    let put = site.put("web/later", b"written later");
    assert!(put.status.success(), "{}", text(&put));
    assert_eq!(site.fetch("web/later").stdout, b"written later");
    assert_eq!(site.token()["state"], "serving");
    assert!(!site.path("state/pin-refused").exists());
    daemon.stop_unharmed();
}

#[test]
fn a_token_that_behaves_is_used_through_the_module_that_can_misbehave() {
    let site = site();
    let daemon = site.start();
    site.furnish(CONTENT);
    let before = site.counts().calls(Function::C_Decrypt);
    assert_eq!(site.fetch("web/key").stdout, CONTENT);
    assert!(site.counts().calls(Function::C_Decrypt) > before);
    assert_eq!(site.logins(), 2, "one for the set-up, one for the daemon");
    all_is_well(&site, daemon);
}

#[test]
fn a_journal_key_that_no_longer_signs_is_found_anew() {
    let site = site();
    site.configure_faulty("longest-wait = \"100ms\"\n[journal]\ncheckpoint-entries = 1\n");
    let daemon = site.start();
    site.furnish(CONTENT);
    // As Kryoptic answers for a key that is gone.
    site.fault(Fault {
        times: Some(1),
        ..answering("C_SignInit", "CKR_GENERAL_ERROR")
    });
    is_served(&site);
    until("another worker signs", || {
        let status = site.ctl_json(&["status"]);
        let signed = status["journal"]["checkpoint"].as_u64();
        let newest = status["journal"]["sequence"].as_u64();
        let is_another = status["token"]["worker_generation"].as_u64() > Some(1);
        (is_another && signed.unwrap_or(0) + 10 > newest.unwrap()).then_some(())
    });
    assert_eq!(site.counts().strikes(0), 1);
    site.mend();
    all_is_well(&site, daemon);
}

#[test]
fn that_the_journal_cannot_be_signed_is_said_once() {
    if !Kind::has(
        "that_the_journal_cannot_be_signed_is_said_once",
        "deliveries without C_Sign",
    ) {
        return;
    }
    let site = site();
    site.configure_faulty("[journal]\ncheckpoint-entries = 1\n");
    let daemon = site.start();
    site.furnish(CONTENT);
    site.fault(answering("C_Sign", "CKR_KEY_FUNCTION_NOT_PERMITTED"));
    until("it was tried again", || {
        is_served(&site);
        (site.counts().strikes(0) >= 3).then_some(())
    });
    site.mend();
    let said = |what| site.log().matches(what).count();
    until("it is signed again", || {
        is_served(&site);
        (said("the journal is signed again") > 0).then_some(())
    });
    assert_eq!(said("the journal cannot be signed"), 1, "{}", site.log());
    all_is_well(&site, daemon);
}

/// What a worker that starts while the token misbehaves makes of a key is not for good.
fn keys_are_out_of_use(misbehave: impl FnOnce(&mut Control), why: &str) {
    let site = site();
    let daemon = site.start();
    site.furnish(CONTENT);
    let versions = site.sqlite("SELECT count(*) FROM version");
    site.misbehave(misbehave);
    kill(daemon.worker(), Signal::SIGKILL).unwrap();
    let group = until("the group's key is out of use", || {
        let group = site.ctl_json(&["group", "show", "web"]);
        group["master_keys"][0]["refused"]
            .is_string()
            .then_some(group)
    });
    let refused = group["master_keys"][0]["refused"].as_str().unwrap();
    assert!(refused.contains(why), "{refused}");
    let output = site.fetch("web/key");
    assert_ne!(output.status.code(), Some(0));
    assert!(output.stdout.is_empty(), "{}", text(&output));
    // Nothing is taken for absent, and no key is made in place of another.
    assert_eq!(site.sqlite("SELECT count(*) FROM version"), versions);
    assert_eq!(group["master_keys"].as_array().unwrap().len(), 1);

    let worker = daemon.worker();
    site.mend();
    all_is_well_again(&site, daemon, worker);
}

fn all_is_well_again(site: &Site, daemon: Daemon<'_>, worker: nix::unistd::Pid) {
    is_served(site);
    assert_eq!(daemon.worker(), worker, "it took another worker");
    all_is_well(site, daemon);
}

#[test]
fn a_key_that_is_not_found_for_a_time_is_not_taken_for_absent() {
    keys_are_out_of_use(
        |control| control.token.loses_objects = true,
        "is not in the token",
    );
}

#[test]
fn a_key_that_is_found_twice_for_a_time_is_not_chosen() {
    keys_are_out_of_use(
        |control| control.token.duplicates = true,
        "2 objects have the identifier",
    );
}

#[test]
fn a_key_that_cannot_be_looked_at_for_a_time_is_loaded_later() {
    keys_are_out_of_use(
        |control| {
            let fault = answering("C_GetAttributeValue", "CKR_DEVICE_MEMORY");
            control.faults.push(fault);
        },
        "CKR_DEVICE_MEMORY",
    );
}

#[test]
fn handles_that_come_to_mean_other_keys_give_no_content_under_a_wrong_key() {
    let site = site();
    let daemon = site.start();
    site.furnish(CONTENT);
    site.ctl(&["group", "create", "other"]);
    // Only keys that were found are mixed up, not those that were made.
    kill(daemon.worker(), Signal::SIGKILL).unwrap();
    is_served(&site);
    site.misbehave(|control| control.token.mixes_up_keys = true);
    let output = site.fetch("web/key");
    assert_eq!(output.status.code(), UNAVAILABLE, "{}", text(&output));
    assert!(output.stdout.is_empty());
    let put = site.put("web/key", b"under a wrong key");
    assert_eq!(put.status.code(), UNAVAILABLE, "{}", text(&put));
    site.mend();
    is_served(&site);
    assert_eq!(site.ctl_json(&["secret", "show", "web/key"])["versions"], 1);
    all_is_well(&site, daemon);
}

#[test]
fn slots_may_have_other_numbers_in_the_next_worker() {
    let site = site();
    let daemon = site.start();
    site.furnish(CONTENT);
    site.misbehave(|control| control.token.slot_shift = 7);
    kill(daemon.worker(), Signal::SIGKILL).unwrap();
    is_served(&site);
    site.mend();
    kill(daemon.worker(), Signal::SIGKILL).unwrap();
    all_is_well(&site, daemon);
}

#[test]
fn no_login_is_tried_that_the_flags_of_the_pin_speak_against() {
    for (flag, said) in [
        (PinFlag::FinalTry, "one more try"),
        (PinFlag::Locked, "has locked the user PIN"),
    ] {
        let site = site();
        site.misbehave(|control| control.token.flags = vec![flag]);
        let before = site.logins();
        let log = refusal_to_start(&site);
        assert!(log.contains(said), "{log}");
        assert_eq!(site.logins(), before);
        site.mend();
        site.start().stop();
    }
}

#[test]
fn another_token_of_the_same_label_is_not_logged_into() {
    let site = site();
    site.misbehave(|control| control.token.serial = Some("0000000000000001".to_owned()));
    let before = site.logins();
    let log = refusal_to_start(&site);
    assert!(
        log.contains("no token is") && log.contains(&site.serial),
        "{log}"
    );
    assert_eq!(site.logins(), before);
}

#[test]
fn a_module_that_lets_keys_out_is_refused() {
    if !Kind::has("a_module_that_lets_keys_out_is_refused", "C_WrapKey") {
        return;
    }
    let site = site();
    site.misbehave(|control| control.token.lets_keys_out = true);
    let log = refusal_to_start(&site);
    assert!(log.contains("does not keep a key in"), "{log}");
}

#[test]
fn a_token_with_too_few_sessions_is_refused_by_name() {
    let site = site();
    site.misbehave(|control| control.token.max_sessions = Some(1));
    let log = refusal_to_start(&site);
    assert!(log.contains("CKR_SESSION_COUNT"), "{log}");
}

/// When a canary was tried last.
fn canary(of: &Value) -> jiff::Timestamp {
    of["canary"].as_str().unwrap().parse().unwrap()
}

#[test]
fn a_token_that_dies_unused_is_found_out_and_that_it_is_back_too() {
    let site = site();
    site.configure_faulty("longest-wait = \"100ms\"\ncanary-interval = \"50ms\"\n");
    let daemon = site.start();
    site.furnish(CONTENT);
    let first = canary(&site.token());
    until("a canary opens without a request", || {
        (canary(&site.token()) > first).then_some(())
    });
    let group = site.ctl_json(&["group", "show", "web"]);
    let of_key = canary(&group["master_keys"][0]);
    until("the key's canary opens without a request", || {
        let group = site.ctl_json(&["group", "show", "web"]);
        (canary(&group["master_keys"][0]) > of_key).then_some(())
    });

    site.fault(answering("C_DecryptInit", "CKR_DEVICE_REMOVED"));
    until("nobody asked, and yet it is known", || {
        (site.token()["state"] != "serving").then_some(())
    });
    site.mend();
    until("nobody asked, and yet it is back", || {
        let token = site.token();
        (token["state"] == "serving" && token["canary_problem"].is_null()).then_some(())
    });
    assert!(site.entries("allow").is_empty());
    all_is_well(&site, daemon);
}

#[test]
fn no_answer_to_a_login_costs_a_second_attempt() {
    let site = site();
    for (name, code) in faulty_pkcs11::code::CODES {
        if ["CKR_OK", "CKR_USER_ALREADY_LOGGED_IN"].contains(name) {
            continue;
        }
        site.fault(Fault {
            function: "C_Login".to_owned(),
            answer: Some(Code(code.0)),
            ..Fault::default()
        });
        let before = site.logins();
        let log = refusal_to_start(&site);
        assert_eq!(site.logins(), before + 1, "{name}: {log}");
        // What may have cost a try is not tried again, whatever the token would say now.
        site.mend();
        if site.path("state/pin-refused").exists() {
            let log = refusal_to_start(&site);
            assert_eq!(site.logins(), before + 1, "{name}: {log}");
            std::fs::remove_file(site.path("state/pin-refused")).unwrap();
        }
    }
    site.start().stop();
}
