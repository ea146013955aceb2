//! Tokens that have keys of the installation: any of them will do, and one that is lost is given up.

use std::{
    fs,
    process::{Command, Output},
};

use faulty_pkcs11::Function;
use serde_json::json;
use softhsm_tests::{
    Site, command,
    fault::{CURVES, answering},
    pair::{
        OTHER, Pair,
        Which::{self, First, Second},
    },
    text, until,
};

use super::{CONTENT, QUICK, UNAVAILABLE, any_will_do, is_had, until_is};

/// Waits until the second token has keys of the installation.
fn until_both_are_trusted(pair: &Pair) {
    until("both tokens have keys of the installation", || {
        let count = pair.site.sqlite("SELECT count(*) FROM trustee");
        (count.trim() == "1").then_some(())
    });
}

fn is_whole(site: &Site) {
    let verified = site.verify_journal();
    assert!(verified.status.success(), "{}", text(&verified));
}

#[test]
fn the_daemon_starts_and_signs_while_either_token_is_there() {
    let pair = Pair::new(QUICK);
    let daemon = pair.site.start();
    pair.site.furnish(CONTENT);
    until_both_are_trusted(&pair);
    daemon.stop();
    for away in [First, Second] {
        pair.take_away(away);
        let daemon = pair.site.start();
        is_had(&pair.site, "web/key", CONTENT);
        until_is(&pair, away, "away");
        let signed = pair.site.entries("checkpoint").len();
        daemon.stop();
        // The last entries are signed by the one that is there.
        assert!(pair.site.entries("checkpoint").len() > signed);
        let last = pair.site.journal().pop().unwrap();
        assert_eq!(last["kind"], "checkpoint");
        is_whole(&pair.site);
        pair.mend(away);
    }
    // Without either nobody is served, and no state is lost.
    pair.take_away(First);
    pair.take_away(Second);
    let daemon = pair.site.launch(pair.site.custodyd("run"));
    until("a token is waited for", || {
        (pair.site.fetch("web/key").status.code() == UNAVAILABLE).then_some(())
    });
    pair.mend(Second);
    until("it is served", || {
        let fetched = pair.site.fetch("web/key");
        (fetched.stdout == CONTENT).then_some(())
    });
    daemon.stop();
    is_whole(&pair.site);
}

#[test]
fn tokens_that_sign_in_different_ways_vouch_for_each_other() {
    // RSA keys take their time on a busy machine.
    const PATIENT: &str = "deadline = \"30s\"\nlongest-wait = \"200ms\"\n";
    // In hexadecimal.
    const OF_ECDSA: usize = 128;
    const OF_RSA: usize = 768;
    for plain in [First, Second] {
        let without_curves = |pair: &Pair| {
            pair.misbehave(plain, |control| {
                control.token.without_mechanisms = CURVES.to_vec();
            });
        };
        let pair = Pair::after(PATIENT, without_curves);
        let daemon = pair.site.start();
        pair.site.furnish(CONTENT);
        until_both_are_trusted(&pair);
        daemon.stop();
        is_whole(&pair.site);
        let voucher = pair.site.entries("journal-key").pop().unwrap();
        let of = |which: Which| if which == plain { OF_RSA } else { OF_ECDSA };
        assert_eq!(voucher["voucher"].as_str().unwrap().len(), of(First));
        for away in [First, Second] {
            pair.mend(First);
            pair.mend(Second);
            without_curves(&pair);
            pair.take_away(away);
            let daemon = pair.site.start();
            is_had(&pair.site, "web/key", CONTENT);
            daemon.stop();
            let last = pair.site.journal().pop().unwrap();
            assert_eq!(last["kind"], "checkpoint");
            let signature = last["signature"].as_str().unwrap();
            assert_eq!(signature.len(), of(away.other()), "{plain:?} {away:?}");
            is_whole(&pair.site);
        }
    }
}

#[test]
fn a_token_that_is_lost_for_good_is_given_up_and_its_successor_takes_its_place() {
    let pair = Pair::new(QUICK);
    let daemon = pair.site.start();
    pair.site.furnish(CONTENT);
    until_both_are_trusted(&pair);
    pair.take_away(First);
    let lost = |more: &[&str]| {
        let lost = [&["hsm", "lost", "test", "--yes", "--output", "json"], more].concat();
        pair.site.try_ctl(&lost)
    };
    let given_up = lost(&[]);
    assert!(given_up.status.success(), "{}", text(&given_up));
    let told: serde_json::Value = serde_json::from_slice(&given_up.stdout).unwrap();
    assert_eq!(told["master_keys"], 1);
    assert_eq!(told["wraps"], 1);
    assert_eq!(told["lost"], json!([]));
    assert_eq!(pair.wraps("web"), [None, Some(1)]);
    assert_eq!(lost(&[]).status.code(), Some(4), "it was given up before");
    is_had(&pair.site, "web/key", CONTENT);
    let put = pair.site.put("web/key", b"another");
    assert!(put.status.success(), "{}", text(&put));
    daemon.stop();
    is_whole(&pair.site);

    // Even when it turns up again it is not used: someone may have it.
    pair.mend(First);
    let asked = || {
        let counts = pair.counts(First);
        [
            Function::C_Login,
            Function::C_Encrypt,
            Function::C_Decrypt,
            Function::C_Sign,
            Function::C_GenerateKey,
        ]
        .map(|function| counts.calls(function))
    };
    let before = asked();
    let daemon = pair.site.start();
    is_had(&pair.site, "web/key", b"another");
    until("it is known as given up", || {
        let problem = pair.token(First)["problem"].clone();
        problem.as_str()?.contains("given up").then_some(())
    });
    let held = ["group", "hold", "web", "--token=test"];
    let refused = pair.site.try_ctl(&held);
    assert_eq!(refused.status.code(), Some(7), "{}", text(&refused));
    assert!(text(&refused).contains("given up"), "{}", text(&refused));
    pair.site.ctl(&["group", "create", "later"]);
    let put = pair.site.put("web/later", b"later");
    assert!(put.status.success(), "{}", text(&put));
    assert_eq!(pair.wraps("web"), [None, Some(3)]);
    assert_eq!(asked(), before);
    // The last one is not given up.
    let last = pair.site.try_ctl(&["hsm", "lost", OTHER, "--yes"]);
    assert_eq!(last.status.code(), Some(5), "{}", text(&last));
    is_had(&pair.site, "web/key", b"another");
    daemon.stop();
    is_whole(&pair.site);
}

#[test]
fn what_only_a_lost_token_had_is_named_and_given_up_only_if_that_is_said() {
    let pair = Pair::new(QUICK);
    let daemon = pair.site.start();
    pair.site.furnish(CONTENT);
    until_both_are_trusted(&pair);
    any_will_do(&pair.site);
    pair.take_away(Second);
    let put = pair.site.put("web/late", b"late");
    assert!(put.status.success(), "{}", text(&put));
    let lost = ["hsm", "lost", "test", "--yes"];
    for accept in [&[][..], &["--accept-loss=2"]] {
        let refused = pair.site.try_ctl(&[&lost[..], accept].concat());
        let said = text(&refused);
        assert_eq!(refused.status.code(), Some(5), "{said}");
        assert!(
            said.contains("web/late@1") && said.contains("--accept-loss 1"),
            "{said}"
        );
    }
    is_had(&pair.site, "web/late", b"late");
    pair.mend(Second);
    pair.take_away(First);
    let given_up = pair
        .site
        .try_ctl(&[&lost[..], &["--accept-loss=1"]].concat());
    assert!(given_up.status.success(), "{}", text(&given_up));
    assert!(text(&given_up).contains("web/late@1"));
    is_had(&pair.site, "web/key", CONTENT);
    let gone = pair.site.fetch("web/late");
    assert!(!gone.status.success() && gone.stdout.is_empty());
    let put = pair.site.put("web/late", b"anew");
    assert!(put.status.success(), "{}", text(&put));
    is_had(&pair.site, "web/late", b"anew");
    daemon.stop();
    is_whole(&pair.site);
}

#[test]
fn a_token_that_was_given_up_cannot_be_put_back_in_the_database() {
    let pair = Pair::new(QUICK);
    let daemon = pair.site.start();
    until_both_are_trusted(&pair);
    pair.site.ctl(&["hsm", "lost", OTHER, "--yes"]);
    daemon.stop();
    pair.site.sqlite("UPDATE trustee SET lost = NULL");
    let (status, log) = pair.site.does_not_start();
    assert_eq!(status.code(), Some(65), "{log}");
    assert!(log.contains("the row of token other"), "{log}");
}

/// `custodyd COMMAND` with the backup and the configuration.
fn with_backup(name: &str, more: &[&str]) -> Output {
    let mut custodyd = Command::new(command("custodyd"));
    custodyd.env_remove("NOTIFY_SOCKET").arg(name).args(more);
    custodyd.output().unwrap()
}

#[test]
fn a_backup_is_taken_drilled_and_restored_with_the_token_that_is_left() {
    let pair = Pair::new(QUICK);
    let daemon = pair.site.start();
    pair.site.furnish(CONTENT);
    until_both_are_trusted(&pair);
    pair.take_away(First);
    let backup = pair.site.path("backup.tar");
    let backup = backup.to_str().unwrap();
    pair.site.ctl(&["backup", "save", backup]);
    let key = pair.site.path("journal.pub");
    fs::copy(pair.site.path("state/journal.pub"), &key).unwrap();
    let verify = ["backup", "verify", backup, "--public-key"];
    pair.site
        .ctl(&[&verify[..], &[key.to_str().unwrap()]].concat());
    daemon.stop();

    let configuration = pair.site.path("custodyd.toml");
    let configuration = configuration.to_str().unwrap();
    let token = format!("pkcs11:token={OTHER};serial={}", pair.serial(Second));
    let drill = [configuration, "--backup", backup, "--token", &token];
    let drilled = with_backup("drill", &drill);
    assert!(drilled.status.success(), "{}", text(&drilled));

    fs::remove_dir_all(pair.site.path("state")).unwrap();
    let restored = with_backup("restore", &[backup, configuration]);
    assert!(restored.status.success(), "{}", text(&restored));
    let daemon = pair.site.start();
    is_had(&pair.site, "web/key", CONTENT);
    daemon.stop();
    is_whole(&pair.site);
    // The other one alone does it, too.
    pair.mend(First);
    pair.take_away(Second);
    let daemon = pair.site.start();
    is_had(&pair.site, "web/key", CONTENT);
    daemon.stop();
}

#[test]
fn a_drill_tries_what_the_token_has_and_tells_what_it_lacks() {
    let pair = Pair::new(QUICK);
    let daemon = pair.site.start();
    pair.site.furnish(CONTENT);
    until_both_are_trusted(&pair);
    any_will_do(&pair.site);
    pair.take_away(Second);
    let put = pair.site.put("web/late", b"late");
    assert!(put.status.success(), "{}", text(&put));
    let backup = pair.site.path("backup.tar");
    let backup = backup.to_str().unwrap();
    pair.site.ctl(&["backup", "save", backup]);
    daemon.stop();
    pair.mend(Second);

    let configuration = pair.site.path("custodyd.toml");
    let configuration = configuration.to_str().unwrap();
    let token = format!("pkcs11:token={OTHER};serial={}", pair.serial(Second));
    let drill = ["--json", "--backup", backup, "--token", &token];
    let drilled = with_backup("drill", &[&[configuration], &drill[..]].concat());
    assert_eq!(drilled.status.code(), Some(10), "{}", text(&drilled));
    let told: serde_json::Value = serde_json::from_slice(&drilled.stdout).unwrap();
    let web = &told["groups"][0];
    assert_eq!((&web["versions"], &web["open"]), (&json!(2), &json!(1)));
    let lost = json!({
        "secret": "late",
        "version": 1,
        "current": true,
        "problem": "its data key is wrapped by no key of this token",
    });
    assert_eq!(web["lost"], json!([lost]));
}

#[test]
fn a_token_that_cannot_have_all_keys_yet_is_not_filled_with_those_it_can() {
    let pair = Pair::new(QUICK);
    let before = pair.objects(Second);
    pair.fault(
        Second,
        answering("C_GenerateKeyPair", "CKR_FUNCTION_FAILED"),
    );
    let daemon = pair.site.start();
    until("it was tried again and again", || {
        (pair.counts(Second).strikes(0) >= 3).then_some(())
    });
    assert_eq!(pair.objects(Second), before + 1);
    assert!(pair.site.entries("journal-key").is_empty());
    pair.mend(Second);
    until_both_are_trusted(&pair);
    // The system GMK, and both halves of a journal key.
    assert_eq!(pair.objects(Second), before + 3);
    daemon.stop();
    is_whole(&pair.site);
}
