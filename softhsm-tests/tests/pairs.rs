//! Master keys that are pairs: a group lives with them as with others, and what anybody can wrap
//! under a public half is of no use to them.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use aws_lc_rs::{
    digest,
    rsa::{
        OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepAlgorithm, OaepPublicEncryptingKey,
        PublicEncryptingKey, PublicKeyComponents,
    },
};
use custody::{
    envelope::Context,
    name::{InstanceId, KeyId},
};
use softhsm_tests::{
    Site,
    fault::answering,
    kind::Kind,
    pair::{Pair, Which::First},
    text, until,
};

const CONTENT: &[u8] = b"content-of-key";

/// How long a signature of the journal key is.
fn signature_length() -> usize {
    match Kind::signs_by() {
        "rsa-pss" => 384,
        _ => 64,
    }
}

/// The way to wrap that the token has: SoftHSM has no other hash.
fn way() -> (&'static str, &'static OaepAlgorithm) {
    match Kind::chosen() {
        Kind::SoftHsm => ("rsa-oaep-sha1", &OAEP_SHA1_MGF1SHA1),
        Kind::Kryoptic | Kind::Tpm2 | Kind::OpenCryptoki => {
            ("rsa-oaep-sha256", &OAEP_SHA256_MGF1SHA256)
        }
    }
}

const PAIRS: &str = "wrapping = [\"rsa-oaep-sha256\", \"rsa-oaep-sha1\"]\ndeadline = \"60s\"\n";

/// An installation all of whose keys that wrap are pairs.
fn site() -> Site {
    let site = Site::without_init();
    site.configure(PAIRS);
    let output = site.init().output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert!(text(&output).contains("RSA, CKA_ID"), "{}", text(&output));
    site
}

fn total(site: &Site) -> u64 {
    site.intrude(&["total"]).as_u64().unwrap()
}

#[test]
fn a_group_lives_with_pairs_and_both_halves_of_a_former_one_are_destroyed() {
    let site = site();
    let daemon = site.start();
    site.furnish(CONTENT);
    assert_eq!(site.master_keys()[0]["wrapping"], way().0);
    assert_eq!(site.fetch("web/key").stdout, CONTENT);
    // The system's two pairs and the group's.
    assert_eq!(total(&site), 6);
    let first = site.gmk("web");
    site.ctl(&["group", "rotate", "web", "--wait"]);
    assert_eq!(total(&site), 8);
    site.ctl(&["group", "destroy-key", "web", "1", "--yes", "--now"]);
    until("both halves are gone", || (total(&site) == 6).then_some(()));
    assert_eq!(site.intrude(&["count", &first]), 0);
    assert_eq!(site.fetch("web/key").stdout, CONTENT);
    daemon.stop_unharmed();

    let daemon = site.start();
    assert_eq!(site.fetch("web/key").stdout, CONTENT);
    let wrapped = site.try_ctl(&["group", "create", "other", "--keep-key=wrapped"]);
    let said = text(&wrapped);
    assert!(said.contains("no root key wraps a pair"), "{said}");
    assert_eq!(total(&site), 6);
    daemon.stop_verified();
}

#[test]
fn a_token_that_opens_nothing_for_a_time_is_waited_for() {
    let site = Site::without_init();
    site.configure_faulty(PAIRS);
    let output = site.init().output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let daemon = site.start();
    site.furnish(CONTENT);
    daemon.stop();
    // Some answer so to altered data, too.
    site.fault(answering("C_DecryptInit", "CKR_DEVICE_ERROR"));
    let daemon = site.launch(site.custodyd("run"));
    until("the daemon waits", || {
        site.log().contains("not usable yet").then_some(())
    });
    site.mend();
    until("the secret is delivered", || {
        (site.fetch("web/key").stdout == CONTENT).then_some(())
    });
    assert!(!site.log().contains("does not conform"), "{}", site.log());
    daemon.stop_verified();
}

#[test]
fn a_row_key_that_somebody_else_wrapped_is_noticed_at_start() {
    let site = site();
    let daemon = site.start();
    site.furnish(CONTENT);
    daemon.stop();
    let stored = site.sqlite("SELECT lower(hex(row_key)) FROM system");
    let stored = hex::decode(stored.trim()).unwrap();
    let signature = &stored[stored.len() - signature_length()..];
    let wrapped = wrapped_by_anybody(&site, &[7; 32]);
    assert_eq!(wrapped.len() + signature.len(), stored.len());
    let with = |row_key: &[u8]| {
        let row_key = hex::encode(row_key);
        site.sqlite(&format!("UPDATE system SET row_key = x'{row_key}'"));
    };
    for forged in [&wrapped[..], &[&wrapped[..], signature].concat()] {
        with(forged);
        let (status, log) = site.does_not_start();
        assert_eq!(status.code(), Some(65), "{log}");
        let what = "the token's journal key has not signed the row key";
        assert!(log.contains(what), "{log}");
        let recorded = site.entries("tampering").pop().unwrap();
        assert_eq!(recorded["what"], what);
    }
    with(&stored);
    let daemon = site.start();
    assert_eq!(site.fetch("web/key").stdout, CONTENT);
    daemon.stop_verified();
}

#[test]
fn a_second_token_signs_its_own_wrap_of_the_row_key() {
    let pair = Pair::new(PAIRS);
    let site = &pair.site;
    let daemon = site.start();
    site.furnish(CONTENT);
    until("both tokens have keys of the installation", || {
        let count = site.sqlite("SELECT count(*) FROM trustee");
        (count.trim() == "1").then_some(())
    });
    until("both tokens have the content's data key", || {
        let wraps = site.sqlite("SELECT count(*) FROM wrap");
        (wraps.trim() == "2").then_some(())
    });
    daemon.stop();
    pair.take_away(First);
    let daemon = site.start();
    assert_eq!(site.fetch("web/key").stdout, CONTENT);
    daemon.stop();
    // With the other's signature, as far as anybody can tell without the row key.
    site.sqlite(
        "UPDATE trustee SET row_key = CAST(
            substr(row_key, 1, length(row_key) - 64) ||
            (SELECT substr(row_key, length(row_key) - 63) FROM system) AS BLOB)",
    );
    let (status, log) = site.does_not_start();
    assert_eq!(status.code(), Some(65), "{log}");
    assert!(log.contains("has not signed the row key"), "{log}");
}

#[test]
fn a_drill_opens_what_pairs_wrapped_and_needs_the_key_that_signed() {
    let site = site();
    let daemon = site.start();
    site.furnish(CONTENT);
    let backup = site.path("backup");
    let public = site.path("state/journal.pub");
    let [backup, public] = [&backup, &public].map(|path| path.to_str().unwrap());
    site.ctl(&["backup", "save", backup, "--public-key", public]);
    daemon.stop();
    let drill = || {
        let mut drill = site.custodyd("drill");
        let output = drill.args(["--backup", backup, "--json"]).output().unwrap();
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        (output.status.code(), report, text(&output))
    };
    let (code, report, said) = drill();
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(report["groups"].as_array().map(Vec::len), Some(1), "{said}");
    let journal = site.sqlite("SELECT lower(hex(journal_key)) FROM system");
    site.intrude(&["destroy", journal.trim()]);
    let (code, report, said) = drill();
    assert_eq!(code, Some(10), "{said}");
    assert_eq!(report["groups"].as_array().map(Vec::len), Some(0), "{said}");
}

/// `row_key` as it would be wrapped by whoever has read the public half of the system GMK.
fn wrapped_by_anybody(site: &Site, row_key: &[u8; 32]) -> Vec<u8> {
    let gmk = site.system_gmk();
    let modulus = site.intrude(&["modulus", &gmk]);
    let modulus = hex::decode(modulus.as_str().unwrap()).unwrap();
    let gmk = KeyId::from_bytes(&hex::decode(gmk).unwrap()).unwrap();
    let instance = site.sqlite("SELECT lower(hex(instance)) FROM system");
    let instance = InstanceId::from_bytes(&hex::decode(instance.trim()).unwrap()).unwrap();
    let context = Context::RowKey {
        instance: &instance,
        gmk: &gmk,
    };
    let bound = digest::digest(&digest::SHA256, &context.encode());
    let plaintext = [&row_key[..], bound.as_ref()].concat();
    let components = PublicKeyComponents {
        n: &modulus[..],
        e: &[1, 0, 1],
    };
    let key: PublicEncryptingKey = components.try_into().unwrap();
    let key = OaepPublicEncryptingKey::new(key).unwrap();
    let mut blob = vec![0; key.ciphertext_size()];
    key.encrypt(way().1, &plaintext, &mut blob, None).unwrap();
    blob
}
