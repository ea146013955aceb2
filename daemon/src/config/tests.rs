//! What a configuration may say.

use std::{io::Write as _, os::unix::fs::PermissionsExt as _};

use super::*;
use crate::attest::Tracers;

const FINE: &str = r#"
    state-directory = "/s"
    [listen]
    manager = "/m"
    provider = "/p"
    [token]
    module = "/x.so"
    label = "l"
    serial = "1"
    pin = { credential = "pin" }
"#;

fn written(text: &str) -> Result<Config, Error> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    read(file.path())
}

#[test]
fn a_short_file_is_enough() {
    let config = written(FINE).unwrap();
    assert_eq!(config.segment_size, 64 << 20);
    assert_eq!(config.tokens[0].deadline, Duration::from_secs(5));
    assert_eq!(config.live.workers[0].wrappings, Wrapping::ALL);
    assert_eq!(config.attestation.senders, Senders::Checked);
    assert_eq!(config.attestation.attestor.tracers, Tracers::Refused);
}

#[test]
fn there_may_be_several_tokens_with_a_latch_each() {
    let other =
        "\n[[token]]\nmodule = \"/y.so\"\nlabel = \"l\"\nserial = \"2\"\npin = \"prompt\"\n";
    let several = FINE.replace("[token]", "[[token]]") + other;
    let config = written(&several).unwrap();
    let settings: Vec<_> = config.workers().collect();
    let serials = settings.iter().map(|settings| settings.token.serial());
    assert_eq!(Vec::from_iter(serials), ["1", "2"]);
    assert_eq!(settings[0].pin_latch, Path::new("/s/pin-refused"));
    assert_ne!(settings[1].pin_latch, settings[0].pin_latch);
    assert_eq!(config.needs_restart(&written(&several).unwrap()), None);
    let sessions = several.replace("serial = \"2\"", "serial = \"2\"\nsessions = 3");
    let setting = config.needs_restart(&written(&sessions).unwrap());
    assert_eq!(setting, Some("token.sessions"));

    for (wrong, named) in [
        (
            several.replace("serial = \"2\"", "serial = \"1\""),
            "two tokens",
        ),
        (several.replace("serial = \"2\"", ""), "label and serial"),
        (several.replace("/y.so", "y.so"), "token.module"),
        (several.replace("prompt", "1234"), "token.pin"),
        (
            format!("token = []\n{}", FINE.split("[token]").next().unwrap()),
            "or several [[token]]",
        ),
    ] {
        let error = written(&wrong).unwrap_err().to_string();
        assert!(error.contains(named), "{error}");
    }
}

#[test]
fn what_is_wrong_is_named() {
    for (from, to, named) in [
        ("\"/s\"", "\"s\"", "state-directory"),
        ("\"/p\"", "\"/m\"", "different sockets"),
        (
            "[token]",
            "[metrics]\nsocket = \"/p\"\n[token]",
            "different sockets",
        ),
        (
            "[token]",
            "[metrics]\nsocket = \"p\"\n[token]",
            "metrics.socket",
        ),
        ("[token]", "[operators]\nuids = [0]\n[token]", "operators"),
        ("serial = \"1\"", "", "label and serial"),
        ("{ credential = \"pin\" }", "\"1234\"", "token.pin"),
        (
            "label",
            "next-pin = { credential = \"pin\" }\nlabel",
            "token.next-pin",
        ),
        ("label", "next-pin = \"prompt\"\nlabel", "token.next-pin"),
        ("label", "sessions = 0\nlabel", "sessions"),
        ("label", "deadline = \"0s\"\nlabel", "token.deadline"),
        ("label", "wrapping = [\"rot13\"]\nlabel", "rot13"),
        ("label", "profile = \"hsm\"\nlabel", "token.profile"),
        (
            "label",
            "ckr-overrides = { CKR_PIN_INCORRECT = \"device\" }\nlabel",
            "CKR_PIN_INCORRECT is of class authentication",
        ),
        (
            "[token]",
            "[limits]\nconnections-per-uid = 0\n[token]",
            "limits.connections-per-uid",
        ),
        ("[token]", "[limits]\nburst = 0\n[token]", "limits.burst"),
        (
            "[token]",
            "[limits]\nrewrap-share = 0\n[token]",
            "limits.rewrap-share",
        ),
        (
            "[token]",
            "[limits]\nrewrap-share = 101\n[token]",
            "limits.rewrap-share",
        ),
        (
            "[token]",
            "[limits]\nkey-invocations = 4294967297\n[token]",
            "limits.key-invocations",
        ),
        (
            "[token]",
            "[limits]\nkey-invocations = 2047\n[token]",
            "limits.key-invocations",
        ),
        (
            "[token]",
            "[limits]\nhandshake = \"0s\"\n[token]",
            "limits.handshake",
        ),
        (
            "[token]",
            "[attestation]\nlenient = true\n[token]",
            "lenient",
        ),
        (
            "[token]",
            "[attestation]\nrecheck = \"0s\"\n[token]",
            "attestation.recheck",
        ),
        (
            "[token]",
            "[journal]\nsegment-size = \"1\"\n[token]",
            "segment-size",
        ),
    ] {
        let error = written(&FINE.replace(from, to)).unwrap_err().to_string();
        assert!(error.contains(named), "{error}");
    }
}

#[test]
fn a_pin_in_the_file_is_not_repeated_in_the_error() {
    let error = written(&FINE.replace("{ credential = \"pin\" }", "\"5ecret\""));
    assert!(!error.unwrap_err().to_string().contains("5ecret"));
}

#[test]
fn a_file_that_others_may_write_is_refused() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(FINE.as_bytes()).unwrap();
    let lax = std::fs::Permissions::from_mode(0o620);
    file.as_file().set_permissions(lax).unwrap();
    assert!(read(file.path()).unwrap_err().to_string().contains("chmod"));
}

#[test]
fn what_needs_a_restart_is_told_from_what_does_not() {
    let running = written(FINE).unwrap();
    for (from, to) in [
        ("uids = [0]", "uids = [0, 5]"),
        ("[token]", "[limits]\nconnections = 5\nburst = 5\n[token]"),
        (
            "[token]",
            "[token]\nworker-age = \"1h\"\nstart-deadline = \"5s\"\nunwrapped-keys = 5",
        ),
        ("credential = \"pin\"", "file = \"/q\""),
        ("label", "next-pin = { file = \"/q\" }\nlabel"),
    ] {
        let other = written(&FINE.replace(from, to)).unwrap();
        assert_eq!(running.needs_restart(&other), None);
    }
    for (from, to, named) in [
        ("\"/s\"", "\"/t\"", "state-directory"),
        (
            "serial = \"1\"",
            "serial = \"2\"",
            "token.label, token.serial or token.uri",
        ),
        ("[token]", "[token]\nworkers = 3", "token.workers"),
        ("{ credential = \"pin\" }", "\"prompt\"", "token.pin"),
        ("\"/m\"", "\"/n\"", "listen"),
        ("\"/s\"", "\"/s\"\nreads = \"balanced\"", "reads"),
        (
            "[token]",
            "[attestation]\nstrict = false\n[token]",
            "attestation",
        ),
    ] {
        let other = written(&FINE.replace(from, to)).unwrap();
        assert_eq!(running.needs_restart(&other), Some(named));
    }
}
