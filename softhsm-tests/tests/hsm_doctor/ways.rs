//! What it says of each way to wrap and to sign.

use faulty_pkcs11::GcmNonce;
use softhsm_tests::{
    fault::{CURVES, answering},
    kind::Kind,
};

use super::{UNFIT, doctor, is, site};

#[test]
fn ways_to_wrap_that_do_not_work_are_named_and_none_at_all_is_refused() {
    if !Kind::is_softhsm("ways_to_wrap_that_do_not_work_are_named_and_none_at_all_is_refused") {
        return;
    }
    let site = site();
    for (nonce, because) in [
        (GcmNonce::WrittenBack, "gives the known answer; "),
        (
            GcmNonce::WrittenBackToZeros,
            "the token makes the nonces itself and writes them back",
        ),
        (
            GcmNonce::Appended,
            "the token makes the nonces itself and appends them",
        ),
        (GcmNonce::AppendedLong, "no known answer could be had"),
    ] {
        site.misbehave(|control| control.token.gcm_nonce = nonce);
        let (said, _) = doctor(&site);
        is(&said, "aes-256-gcm", "fine", because);
    }
    site.misbehave(|control| control.token.gcm_nonce = GcmNonce::Repeated);
    let (said, _) = doctor(&site);
    is(&said, "aes-256-gcm", "note", "the same nonce twice");
    site.misbehave(|control| control.token.gcm_nonce = GcmNonce::Kept);
    let (said, code) = doctor(&site);
    assert_eq!(code, Some(0), "{said:#}");
    is(&said, "aes-256-gcm", "note", "");
    is(&said, "aes-kwp", "fine", "gives the known answer");
    site.misbehave(|control| control.token.without_mechanisms = vec![0x1087, 0x210a, 0x2109]);
    let (said, code) = doctor(&site);
    assert_eq!(code, Some(0), "{said:#}");
    is(&said, "attributes", "fine", "two new keys have all");
    site.misbehave(|control| {
        control.token.without_mechanisms = vec![0x1087, 0x210a, 0x2109, 0x1082];
    });
    let (said, code) = doctor(&site);
    assert_eq!(code, Some(0), "{said:#}");
    is(&said, "aes-kwp", "note", "CKR_MECHANISM_INVALID");
    is(&said, "aes-kw", "note", "CKR_MECHANISM_INVALID");
    is(&said, "rsa-oaep-sha256", "note", "CKR_ARGUMENTS_BAD");
    is(
        &said,
        "rsa-oaep-sha1",
        "fine",
        "gives the known answer; to altered data, C_Decrypt answered CKR_GENERAL_ERROR",
    );
    is(&said, "attributes", "fine", "a new pair has all");
    site.misbehave(|control| {
        control.token.without_mechanisms = vec![0x1087, 0x210a, 0x2109, 0x1082, 0x9];
    });
    let (said, _) = doctor(&site);
    is(&said, "wrapping", "refused", "none of the ways");
}

#[test]
fn ways_to_sign_that_do_not_work_are_named_and_none_at_all_is_refused() {
    const PSS: u64 = 0xd;
    let site = site();
    site.misbehave(|control| control.token.without_mechanisms = CURVES.to_vec());
    let (said, code) = doctor(&site);
    assert_eq!(code, Some(0), "{said:#}");
    is(&said, "ecdsa-p256", "note", "CKR_MECHANISM_INVALID");
    is(&said, "rsa-pss", "fine", "verifies in software");
    site.misbehave(|control| {
        control.token.without_mechanisms = [&CURVES[..], &[PSS]].concat();
    });
    let (said, code) = doctor(&site);
    assert_eq!(code, UNFIT);
    is(&said, "rsa-pss", "note", "CKR_MECHANISM_INVALID");
    is(&said, "signing", "refused", "none of the ways");
}

#[test]
fn what_is_answered_to_altered_data_must_be_put_to_the_canary() {
    if !Kind::has(
        "what_is_answered_to_altered_data_must_be_put_to_the_canary",
        "codes for altered data",
    ) {
        return;
    }
    let site = site();
    // Two calls open what the token wrapped itself, and two more try what was altered.
    let mut fault = answering("C_Decrypt", "CKR_FUNCTION_REJECTED");
    (fault.first, fault.times, fault.after) = (Some(4), Some(1), true);
    site.fault(fault);
    let (said, _) = doctor(&site);
    is(
        &said,
        Kind::wraps_by(),
        "warning",
        "CKR_FUNCTION_REJECTED to altered data",
    );
}

#[test]
fn a_token_without_imports_is_taken_at_its_round_trips() {
    if !Kind::has(
        "a_token_without_imports_is_taken_at_its_round_trips",
        "aes-256-gcm",
    ) {
        return;
    }
    let site = site();
    site.fault(answering("C_CreateObject", "CKR_ACTION_PROHIBITED"));
    let (said, _) = doctor(&site);
    is(&said, "aes-256-gcm", "fine", "no known answer could be had");
}
