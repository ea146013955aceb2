//! NSS softokn, which lets keys out that it was told to keep: it shows that the self-test bites.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use std::{fs, path::PathBuf};

use softhsm_tests::{Site, skip::skip, text, tool};

/// What Debian and others call the token in which NSS has its keys.
const NSS: (&str, &str) = ("NSS Certificate DB", "0000000000000000");

fn module() -> Option<PathBuf> {
    let folders = [
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
        "/usr/lib64",
        "/usr/lib",
    ];
    let nss = |folder: &&str| ["", "nss/"].map(|below| format!("{folder}/{below}libsoftokn3.so"));
    let mut places = folders.iter().flat_map(nss).map(PathBuf::from);
    places.find(|place| place.is_file())
}

/// A site whose token is a database of NSS's own making. softokn wants its path in
/// `C_Initialize`, which the module in front of it says.
fn site(test: &str) -> Option<Site> {
    if !tool::has(test, &["certutil"]) {
        return None;
    }
    let Some(module) = module() else {
        skip(test, "libsoftokn3.so");
        return None;
    };
    let site = Site::without_init();
    site.bench("nss").run("certutil -N -d sql:. -f ../pin");
    let database = format!("sql:{}", site.path("nss").display());
    site.configure_faulty("");
    site.misbehave(|control| {
        control.module = module;
        control.reserved = Some(format!(
            "configdir='{database}' certPrefix='' keyPrefix='' secmod='secmod.db' flags="
        ));
    });
    let configuration = site.path("custodyd.toml");
    let text = fs::read_to_string(&configuration).unwrap();
    let text = text
        .replace(
            &format!("{:?}", softhsm_tests::LABEL),
            &format!("{:?}", NSS.0),
        )
        .replace(&format!("{:?}", site.serial), &format!("{:?}", NSS.1));
    fs::write(&configuration, text).unwrap();
    Some(site)
}

#[test]
fn nss_is_refused_by_the_doctor_for_what_it_lets_out() {
    let Some(site) = site("nss_is_refused_by_the_doctor") else {
        return;
    };
    let mut doctor = site.custodyctl();
    doctor
        .args(["hsm", "doctor"])
        .arg(site.path("custodyd.toml"));
    let output = doctor.output().unwrap();
    assert_eq!(output.status.code(), Some(69));
    let said = text(&output);
    for part in [
        "profile nss",
        "logged in, with one try",
        "refused  keeps keys in",
        "C_WrapKey wraps a key that is not extractable",
        "C_CopyObject makes an extractable copy",
        "CKA_LOCAL is false",
    ] {
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn nss_is_refused_before_a_key_is_made_in_it() {
    let Some(site) = site("nss_is_refused_before_a_key_is_made_in_it") else {
        return;
    };
    let output = site.init().output().unwrap();
    assert_eq!(output.status.code(), Some(69));
    assert!(
        text(&output).contains("does not keep a key in"),
        "{}",
        text(&output)
    );
    assert!(!site.path("state/custody.db").exists());
}
