//! P4 recorded, by either kind of journal key: a token without elliptic curves signs by RSA.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use custody::journal::{public_key::PublicKey, signing::Signing};
use faulty_pkcs11::{Delay, Fault};
use softhsm_tests::{Site, command, fault::CURVES, kind::Kind, text, until};

const CONTENT: &[u8] = b"the content of the secret";

/// A site whose token has no elliptic curves, not yet set up.
fn without_curves() -> Site {
    let site = Site::without_init();
    site.configure_faulty("");
    site.misbehave(|control| control.token.without_mechanisms = CURVES.to_vec());
    site
}

/// That, set up and with a secret, and with its daemon stopped.
fn furnished() -> Site {
    let site = without_curves();
    let output = site.init().output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert!(
        text(&output).contains("signs by rsa-pss"),
        "{}",
        text(&output)
    );
    let daemon = site.start();
    site.furnish(CONTENT);
    daemon.stop();
    site
}

fn public_key(file: &Path) -> PublicKey {
    PublicKey::from_pem(&fs::read_to_string(file).unwrap()).unwrap()
}

fn custodyd(name: &str, arguments: &[&Path]) -> Output {
    let mut custodyd = Command::new(command("custodyd"));
    custodyd
        .env_remove("NOTIFY_SOCKET")
        .arg(name)
        .args(arguments);
    custodyd.output().unwrap()
}

#[test]
fn the_journal_is_signed_by_rsa_where_the_token_has_no_curves() {
    let site = furnished();
    let key = public_key(&site.path("state/journal.pub"));
    assert_eq!(key.signing(), Signing::RsaPss);
    let checkpoints = site.entries("checkpoint");
    assert!(!checkpoints.is_empty());
    for checkpoint in checkpoints {
        // 3072 bits in hexadecimal.
        assert_eq!(checkpoint["signature"].as_str().unwrap().len(), 768);
    }
    let verified = site.verify_journal();
    assert!(verified.status.success(), "{}", text(&verified));

    // It is started again with the key as it was made, and signs on.
    let daemon = site.start();
    assert_eq!(site.fetch("web/key").stdout, CONTENT);
    daemon.stop_verified();
}

#[test]
fn a_token_has_its_time_to_make_the_keys() {
    let site = Site::without_init();
    site.configure_faulty("deadline = \"500ms\"\n");
    site.fault(Fault {
        function: "C_GenerateKeyPair".to_owned(),
        delay: Some(Delay::Fixed(1500)),
        ..Fault::default()
    });
    let output = site.init().output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn a_journal_that_is_signed_by_rsa_cannot_be_altered() {
    let site = furnished();
    let whole = site.journal_text();
    let folder = site.path("altered");
    fs::create_dir(&folder).unwrap();
    let verify = |journal: &str, key: &Path| {
        let file = folder.join("journal-00000000000000000001.jsonl");
        fs::write(file, journal).unwrap();
        let mut verify = site.custodyctl();
        verify.args(["journal", "verify"]).arg(&folder);
        verify.arg("--public-key").arg(key).output().unwrap()
    };
    let key = site.path("state/journal.pub");
    let verified = verify(&whole, &key);
    assert!(verified.status.success(), "{}", text(&verified));

    // The last entry is one that no hash after it is over.
    let last = site.journal().pop().unwrap();
    assert_eq!(last["kind"], "checkpoint");
    let signature = last["signature"].as_str().unwrap();
    let flip = |digit: &str| if digit == "0" { "1" } else { "0" };
    let bent = format!("{}{}", flip(&signature[..1]), &signature[1..]);
    let longer = format!("00{signature}");
    for (instead, what) in [
        (whole.replace("web", "wed"), "an entry"),
        (whole.replace(signature, &bent), "a signature"),
        (whole.replace(signature, &longer), "its length"),
        (whole.replace(signature, &signature[..128]), "its kind"),
    ] {
        let verified = verify(&instead, &key);
        assert_eq!(
            verified.status.code(),
            Some(8),
            "{what}: {}",
            text(&verified)
        );
    }
    // Nor does a key of the other kind, or another of this one, stand for it.
    for other in [Site::new(), furnished()] {
        let verified = verify(&whole, &other.path("state/journal.pub"));
        assert_eq!(verified.status.code(), Some(8), "{}", text(&verified));
    }
}

#[test]
fn a_signature_that_does_not_verify_is_not_written() {
    if !Kind::has(
        "a_signature_that_does_not_verify_is_not_written",
        "deliveries without C_Sign",
    ) {
        return;
    }
    for lacking in [&[][..], &CURVES] {
        let site = Site::without_init();
        site.configure_faulty("longest-wait = \"100ms\"\n[journal]\ncheckpoint-entries = 1\n");
        site.misbehave(|control| control.token.without_mechanisms = lacking.to_vec());
        let output = site.init().output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        let daemon = site.start();
        site.furnish(CONTENT);

        site.misbehave(|control| {
            control.token.without_mechanisms = lacking.to_vec();
            control.token.signs_wrongly = true;
        });
        let why = "a signature that its public key does not verify";
        until("a checkpoint is refused", || {
            site.fetch("web/key");
            let log = site.log();
            (log.contains(why) && log.contains("the journal cannot be signed")).then_some(())
        });
        let covered = |site: &Site| site.entries("checkpoint").pop().unwrap()["covers"].clone();
        let before = covered(&site);
        until("the secret is delivered", || {
            (site.fetch("web/key").stdout == CONTENT).then_some(())
        });
        assert_eq!(covered(&site), before);
        let verified = site.verify_journal();
        assert!(verified.status.success(), "{}", text(&verified));

        site.misbehave(|control| control.token.without_mechanisms = lacking.to_vec());
        until("the journal is signed again", || {
            (covered(&site) != before).then_some(())
        });
        daemon.stop_verified();
    }
}

#[test]
fn a_backup_that_is_signed_by_rsa_is_verified_drilled_and_restored() {
    let site = furnished();
    let daemon = site.start();
    let (backup, key) = (site.path("backup.tar"), site.path("journal.pub"));
    fs::copy(site.path("state/journal.pub"), &key).unwrap();
    let [backup, key] = [&backup, &key].map(|path| path.to_str().unwrap());
    site.ctl(&["backup", "save", backup, "--public-key", key]);
    site.ctl(&["backup", "verify", backup, "--public-key", key]);
    daemon.stop();

    let bytes = fs::read(backup).unwrap();
    let signature = b"manifest.sig";
    let at = bytes
        .windows(signature.len())
        .position(|part| part == signature)
        .unwrap();
    let mut altered = bytes.clone();
    // The last digit of the signature, which is in its second block.
    altered[at + 512 + 767] ^= 1;
    let other = site.path("altered.tar");
    fs::write(&other, altered).unwrap();
    let verify = [
        "backup",
        "verify",
        other.to_str().unwrap(),
        "--public-key",
        key,
    ];
    let verified = site.try_ctl(&verify);
    assert_eq!(verified.status.code(), Some(8), "{}", text(&verified));

    let configuration = site.path("custodyd.toml");
    let drill = [&configuration, Path::new("--backup"), Path::new(backup)];
    let drilled = custodyd("drill", &drill);
    assert!(drilled.status.success(), "{}", text(&drilled));

    fs::remove_dir_all(site.path("state")).unwrap();
    let restored = custodyd("restore", &[Path::new(backup), &configuration]);
    assert!(restored.status.success(), "{}", text(&restored));
    let restored = fs::read(site.path("state/journal.pub")).unwrap();
    assert_eq!(restored, fs::read(key).unwrap());
    let daemon = site.start();
    assert_eq!(site.fetch("web/key").stdout, CONTENT);
    daemon.stop_verified();
}

#[test]
fn a_token_that_signs_in_no_way_is_refused_and_keeps_no_key() {
    // RSASSA-PSS is missing, too; the keys themselves can be made.
    const PSS: u64 = 0xd;
    let site = without_curves();
    let objects = || site.intrude(&["total"]).as_u64().unwrap();
    let before = objects();
    site.misbehave(|control| {
        control.token.without_mechanisms = [&CURVES[..], &[PSS]].concat();
    });
    let output = site.init().output().unwrap();
    assert!(!output.status.success());
    let said = text(&output);
    for part in [
        "makes no key that signs the journal",
        "ecdsa-p256: C_GenerateKeyPair answered CKR_MECHANISM_INVALID",
        "rsa-pss: C_SignInit answered CKR_MECHANISM_INVALID",
    ] {
        assert!(said.contains(part), "{said}");
    }
    // What is left is the system GMK, which was made before.
    assert_eq!(objects(), before + Kind::objects_of_key());
}
