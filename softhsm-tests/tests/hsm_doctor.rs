//! `hsm doctor`: what it says of tokens that are good and of such as are not, and that it
//! costs the token nothing.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

#[path = "hsm_doctor/ways.rs"]
mod ways;

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use faulty_pkcs11::{Act, Fault, PinFlag};
use serde_json::Value;
use softhsm_tests::{Site, fault::answering, kind::Kind, text};

/// `custodyd`'s exit code for a token that is not to be used.
const UNFIT: Option<i32> = Some(69);

fn site() -> Site {
    let site = Site::without_init();
    site.configure_faulty("start-deadline = \"20s\"\n");
    site
}

/// What it says, and the code that it ends with.
fn doctor(site: &Site) -> (Value, Option<i32>) {
    let mut command = site.custodyctl();
    command.args(["hsm", "doctor", "--json"]);
    let output = command.arg(site.path("custodyd.toml")).output().unwrap();
    let said = serde_json::from_slice(&output.stdout);
    let said: Value = said.unwrap_or_else(|_| panic!("{}", text(&output)));
    let refused = said["usable"] == false;
    assert_eq!(refused, output.status.code() == UNFIT, "{}", text(&output));
    (said, output.status.code())
}

/// The findings of one check: outcome and what was found.
fn of<'a>(said: &'a Value, check: &str) -> Vec<(&'a str, &'a str)> {
    let findings = said["findings"].as_array().unwrap();
    let findings = findings.iter().filter(|finding| finding["check"] == check);
    let part = |finding: &'a Value, name: &str| finding[name].as_str().unwrap();
    findings
        .map(|finding| (part(finding, "outcome"), part(finding, "found")))
        .collect()
}

/// That `check` came to `outcome`, for this reason.
fn is(said: &Value, check: &str, outcome: &str, because: &str) {
    let found = of(said, check);
    let is = |(its, why): &(&str, &str)| *its == outcome && why.contains(because);
    assert!(found.iter().any(is), "{check}: {said:#}");
}

#[test]
fn a_good_token_is_found_good_for_one_login_and_with_nothing_left_in_it() {
    let site = site();
    let objects = || site.intrude(&["total"]);
    let (before, logins) = (objects(), site.logins());
    let (said, code) = doctor(&site);
    assert_eq!(code, Some(0), "{said:#}");
    for (check, because) in [
        ("module file", "only root and we"),
        ("state directory", "for us alone"),
        ("PIN source", "mode 600"),
        ("slots", "one token"),
        ("PIN", "no wrong PIN"),
        ("login", "one try"),
        ("sessions", &format!("{} at a time", Kind::sessions() + 1)),
        ("random", "32 bytes"),
        ("keeps keys in", "cannot be read, wrapped, copied"),
        (
            Kind::wraps_by(),
            match Kind::chosen() {
                Kind::OpenCryptoki => "gives the known answer; altered data does not open",
                _ => "gives the known answer; to altered data, C_Decrypt answered CKR_",
            },
        ),
        ("attributes", "all that a master key must have"),
        (Kind::signs_by(), "verifies in software"),
    ] {
        is(&said, check, "fine", because);
    }
    let fine = ("fine", "gives the known answer; to altered data, ");
    let twins = ("fine", "gives the known answer; altered data does not open");
    let no_mechanism = ("note", "CKR_MECHANISM_INVALID");
    let no_function = ("note", "CKR_FUNCTION_NOT_SUPPORTED");
    let (profile, wrapped, [kwp, kw, both]) = match Kind::chosen() {
        Kind::SoftHsm => (
            "softhsm",
            ("fine", "by aes-kwp, and unwraps them only to what the"),
            [fine, fine, twins],
        ),
        Kind::Kryoptic => (
            "kryoptic",
            ("fine", "by aes-kw, and unwraps them only to what the"),
            [no_mechanism, fine, twins],
        ),
        Kind::Tpm2 => ("tpm2", no_function, [no_function; 3]),
        Kind::OpenCryptoki => (
            "opencryptoki",
            ("note", "CKR_ATTRIBUTE_TYPE_INVALID"),
            [no_mechanism, no_mechanism, twins],
        ),
    };
    assert_eq!(said["profile"], profile);
    for (check, (outcome, because)) in [
        ("wrapped master keys", wrapped),
        ("aes-kwp", kwp),
        ("aes-kw", kw),
        ("aes-256-cbc-hmac-sha256", both),
    ] {
        is(&said, check, outcome, because);
    }
    assert_eq!(said["token"]["serial"], site.serial);
    assert_eq!(site.logins(), logins + 1);
    assert_eq!(objects(), before);
    assert!(!site.path("state/pin-refused.attempt").exists());
}

#[test]
fn people_get_a_table_with_what_to_do() {
    if !Kind::has("people_get_a_table_with_what_to_do", "C_WrapKey") {
        return;
    }
    let site = site();
    site.misbehave(|control| control.token.lets_keys_out = true);
    let mut command = site.custodyctl();
    command
        .args(["hsm", "doctor"])
        .arg(site.path("custodyd.toml"));
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), UNFIT);
    let said = text(&output);
    for part in [
        " fine     random ",
        " refused  keeps keys in ",
        "→ use another module",
        "Not to be used as it is.",
    ] {
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn a_module_that_lets_keys_out_is_refused() {
    if !Kind::has("a_module_that_lets_keys_out_is_refused", "C_WrapKey") {
        return;
    }
    let site = site();
    site.misbehave(|control| control.token.lets_keys_out = true);
    let (said, code) = doctor(&site);
    assert_eq!(code, UNFIT);
    is(&said, "keeps keys in", "refused", "does not keep a key in");
    if Kind::chosen() == Kind::SoftHsm {
        let because = "does not keep a key in: C_WrapKey";
        is(&said, "rsa-oaep-sha1", "note", because);
    }
    // It goes on, for whoever wants to know the rest.
    is(&said, Kind::signs_by(), "fine", "verifies");
}

#[test]
fn a_module_that_makes_keys_but_none_to_try_is_refused() {
    if !Kind::has(
        "a_module_that_makes_keys_but_none_to_try_is_refused",
        "C_GenerateKey",
    ) {
        return;
    }
    let site = site();
    let mut fault = answering("C_GenerateKey", "CKR_ATTRIBUTE_VALUE_INVALID");
    (fault.first, fault.times) = (Some(1), Some(1));
    site.fault(fault);
    let (said, code) = doctor(&site);
    assert_eq!(code, UNFIT);
    let because = "no throw-away key can be made: C_GenerateKey answered CKR_";
    is(&said, "keeps keys in", "refused", because);
    // One that makes none at all keeps pairs, and keeps them in.
    site.fault(answering("C_GenerateKey", "CKR_FUNCTION_NOT_SUPPORTED"));
    let (said, code) = doctor(&site);
    assert_eq!(code, Some(0), "{said:#}");
    is(&said, "keeps keys in", "fine", "");
    is(&said, "aes-256-gcm", "note", "CKR_FUNCTION_NOT_SUPPORTED");
    is(&said, "attributes", "fine", "a new pair");
}

#[test]
fn a_module_that_hangs_or_crashes_is_a_finding_about_what_it_did_then() {
    let site = site();
    // Not the ways that take pairs, which may take longer to be made.
    site.configure_faulty("wrapping = [\"aes-256-gcm\"]\nstart-deadline = \"1s\"\n");
    for (function, check, act, said_of_it) in [
        (
            "C_Initialize",
            "module",
            Act::Hang,
            "did not return within 1 s",
        ),
        (
            "C_GetSlotList",
            "slots",
            Act::Segfault,
            "ended its process (signal: 11",
        ),
        (
            "C_GenerateRandom",
            "random",
            Act::Abort,
            "ended its process (signal: 6",
        ),
        (
            "C_Sign",
            Kind::signs_by(),
            Act::Hang,
            "did not return within 1 s",
        ),
    ] {
        site.fault(Fault {
            function: function.to_owned(),
            act: Some(act),
            ..Fault::default()
        });
        let (said, code) = doctor(&site);
        assert_eq!(code, UNFIT);
        is(&said, check, "refused", said_of_it);
    }
}

#[test]
fn no_try_of_the_pin_is_spent_where_the_flags_or_the_note_speak_against_it() {
    let site = site();
    let logins = || site.counts().calls(faulty_pkcs11::Function::C_Login);
    for (flag, because) in [
        (PinFlag::CountLow, "a wrong PIN was entered"),
        (PinFlag::FinalTry, "one more wrong PIN"),
        (PinFlag::Locked, "has locked"),
    ] {
        site.misbehave(|control| control.token.flags = vec![flag]);
        let (said, _) = doctor(&site);
        is(&said, "PIN", "refused", because);
        assert_eq!(logins(), 0);
    }
    site.mend();
    site.write_pin("wrong pin");
    let (said, _) = doctor(&site);
    is(&said, "login", "refused", "refused the PIN");
    assert_eq!(logins(), 1);
    assert!(site.path("state/pin-refused").exists());
    site.write_pin(softhsm_tests::PIN);
    // SoftHSM says COUNT_LOW from now on, which speaks against it, too.
    let (said, _) = doctor(&site);
    assert_eq!(said["usable"], false);
    assert_eq!(logins(), 1);
}

#[test]
fn a_pin_that_was_refused_earlier_is_not_tried_though_no_flag_tells() {
    let site = site();
    fs::create_dir(site.path("state")).unwrap();
    fs::set_permissions(site.path("state"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(site.path("state/pin-refused"), "").unwrap();
    let (said, _) = doctor(&site);
    is(&said, "login", "refused", "refused the PIN earlier");
    assert_eq!(site.logins(), 0);
}

#[test]
fn sessions_are_counted_with_one_to_spare() {
    let site = site();
    let wanted = usize::from(Kind::sessions());
    for (more, outcome) in [(2, "fine"), (1, "warning"), (0, "refused")] {
        site.misbehave(|control| control.token.max_sessions = Some(wanted + more));
        let (said, _) = doctor(&site);
        is(&said, "sessions", outcome, "");
    }
}

#[test]
fn a_token_whose_clock_cannot_be_read_is_named_and_not_logged_into() {
    let site = site();
    site.misbehave(|control| control.token.clock = Some("2020010203040500".to_owned()));
    let (said, _) = doctor(&site);
    is(&said, "clock", "warning", "2020-01-02T03:04:05Z");
    site.misbehave(|control| control.token.clock = Some("04:01:03".to_owned()));
    let logins = site.logins();
    let (said, code) = doctor(&site);
    assert_eq!(code, Some(69), "{said:#}");
    is(&said, "slots", "warning", "Error parsing string as integer");
    assert_eq!(site.logins(), logins);
}

#[test]
fn files_that_others_can_change_or_read_are_named() {
    let site = site();
    let open = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    open(&site.path("pin"), 0o640);
    let (said, _) = doctor(&site);
    is(&said, "PIN source", "refused", "mode 640");
    is(
        &said,
        "login",
        "refused",
        "may be read or written by others",
    );
    open(&site.path("pin"), 0o600);
    open(&site.path("state"), 0o750);
    let (said, _) = doctor(&site);
    is(&said, "state directory", "refused", "mode 750");
    let module = site.path("lax.so");
    fs::copy(softhsm_tests::module(), &module).unwrap();
    open(&module, 0o664);
    let text = fs::read_to_string(site.path("custodyd.toml")).unwrap();
    let line = text
        .lines()
        .find(|line| line.starts_with("module"))
        .unwrap();
    let text = text.replace(line, &format!("module = {module:?}"));
    fs::write(site.path("custodyd.toml"), text).unwrap();
    let (said, _) = doctor(&site);
    is(&said, "module file", "warning", "lax.so belongs to uid");
}

#[test]
fn a_token_that_is_not_there_is_told_from_those_that_are() {
    let site = site();
    site.misbehave(|control| control.token.serial = Some("0000000000000001".to_owned()));
    let (said, _) = doctor(&site);
    is(&said, "token", "refused", "0000000000000001");
}
