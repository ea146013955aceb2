//! A change that is cut off, and the one login that finds out which PIN the token has.

use std::fs;

use faulty_pkcs11::{Act, Fault};
use nix::sys::signal::{Signal, kill};
use softhsm_tests::{Site, fault::answering, text, until};

use super::{
    NEXT_PIN, REFUSED, UNFIT, change, changes, is_shown, is_well, kill_worker, latched,
    logs_in_and_is_well, site, start_is_refused, start_staged,
};

fn nobody_knows_what_became_of_a_change(site: &Site) {
    let unknown = change(site);
    assert_eq!(unknown.status.code(), UNFIT);
    let said = text(&unknown);
    assert!(said.contains("is not known"), "{said}");
}

#[test]
fn a_change_that_is_cut_off_before_the_token_acts_costs_one_try() {
    let site = site();
    let daemon = start_staged(&site);
    site.fault(Fault {
        function: "C_SetPIN".to_owned(),
        act: Some(Act::Abort),
        ..Fault::default()
    });
    nobody_knows_what_became_of_a_change(&site);
    assert_eq!(latched(&site), None);

    site.mend();
    let logins = site.logins();
    kill(daemon.worker(), Signal::SIGKILL).unwrap();
    until("the next PIN was refused", || {
        let state = &site.token()["workers"][0]["state"];
        (state == "failed").then_some(())
    });
    assert_eq!(site.logins(), logins + 1);
    let note = latched(&site).unwrap();
    assert!(note.contains("has the one that it had"), "{note}");
    daemon.stop();
    start_is_refused(&site);
    assert_eq!(change(&site).status.code(), UNFIT);
    assert_eq!(site.logins(), logins + 1);

    // SoftHSM has noted that a wrong PIN was entered, as the operator may have seen.
    fs::remove_file(site.path("state/pin-refused")).unwrap();
    let daemon = site.start();
    assert_eq!(site.logins(), logins + 2);
    is_well(&site);
    assert!(change(&site).status.success());
    logs_in_and_is_well(&site, daemon);
}

#[test]
fn a_change_that_is_cut_off_after_the_token_acted_costs_none() {
    let site = site();
    let daemon = start_staged(&site);
    site.fault(Fault {
        after: true,
        ..answering("C_SetPIN", "CKR_DEVICE_ERROR")
    });
    nobody_knows_what_became_of_a_change(&site);
    is_shown(&site, "begun", "the next login tries it");
    daemon.kill();

    site.mend();
    let logins = site.logins();
    let daemon = site.start();
    assert_eq!(site.logins(), logins + 1);
    is_well(&site);
    kill_worker(&site, &daemon);
    assert_eq!(site.logins(), logins + 2);
    is_well(&site);
    assert!(change(&site).status.success());
    assert_eq!(changes(&site), 1);
    daemon.stop();
}

#[test]
fn a_try_in_doubt_that_is_cut_off_is_not_followed_by_another() {
    let site = site();
    let daemon = start_staged(&site);
    site.fault(Fault {
        after: true,
        ..answering("C_SetPIN", "CKR_DEVICE_ERROR")
    });
    assert_eq!(change(&site).status.code(), UNFIT);
    daemon.kill();
    site.fault(Fault {
        function: "C_Login".to_owned(),
        act: Some(Act::Abort),
        ..Fault::default()
    });
    let logins = site.logins();
    for expected in [UNFIT, REFUSED] {
        let mut start = site.custodyd("run");
        let start = start.arg("--no-wait").output().unwrap();
        assert_eq!(start.status.code(), expected, "{}", text(&start));
        assert_eq!(site.logins(), logins + 1);
    }
    let note = latched(&site).unwrap();
    assert!(note.contains("is not known"), "{note}");
    start_is_refused(&site);

    // As the note says.
    site.write_pin(NEXT_PIN);
    site.configure_faulty("");
    fs::remove_file(site.path("state/pin-refused")).unwrap();
    let daemon = site.start();
    assert_eq!(site.logins(), logins + 2);
    is_well(&site);
    daemon.stop();
}
