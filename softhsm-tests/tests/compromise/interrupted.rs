//! A renewal that is killed, cut off from its token, or cannot be made.

use softhsm_tests::{
    Site,
    fault::answering,
    load::{random_time, rounds},
    many::limits,
    text, until,
};

use crate::{CONFLICT, all_is_other, is_over, left, stored};

#[test]
fn a_renewal_that_is_killed_goes_on_where_it_was() {
    const SECRETS: usize = 200;
    let site = Site::moving(10);
    let mut daemon = site.start();
    site.furnish_many(SECRETS);
    let then = stored(&site);
    site.ctl(&["group", "rotate", "web", "--compromised"]);
    for _ in 0..rounds(3) {
        let before = left(&site).0;
        until("something is renewed", || {
            let (renewals, is_over) = left(&site);
            (renewals < before || is_over).then_some(())
        });
        std::thread::sleep(random_time(0, 30));
        daemon.kill();
        daemon = site.start();
    }
    let early = site.try_ctl(&["group", "destroy-key", "web", "1", "--yes", "--now"]);
    assert_eq!(early.status.code(), CONFLICT, "{}", text(&early));
    assert!(text(&early).contains("are renewed"), "{}", text(&early));
    daemon.kill();
    site.configure(&limits(100));
    let daemon = site.start();
    is_over(&site);
    site.all_open(SECRETS);
    all_is_other(&site, &then);
    assert_eq!(site.times_changed("renew").len(), SECRETS + 1);
    daemon.stop_verified();
}

#[test]
fn an_outage_interrupts_a_renewal_and_loses_nothing() {
    const SECRETS: usize = 40;
    let site = Site::faulty(&limits(5));
    let daemon = site.start();
    site.furnish_many(SECRETS);
    let then = stored(&site);
    site.ctl(&["group", "rotate", "web", "--compromised"]);
    site.fault(answering("C_DecryptInit", "CKR_DEVICE_ERROR"));
    until("the work is interrupted", || {
        site.log().contains("is interrupted").then_some(())
    });
    let (renewals, is_over_already) = left(&site);
    assert!(renewals > 0 && !is_over_already, "{renewals}");
    site.mend();
    is_over(&site);
    site.all_open(SECRETS);
    all_is_other(&site, &then);
    daemon.stop_verified();
}

#[test]
fn content_that_was_tampered_with_is_not_renewed_and_keeps_the_key() {
    let site = Site::moving(1);
    let daemon = site.start();
    site.furnish_many(30);
    let then = stored(&site);
    site.ctl(&["group", "rotate", "web", "--compromised"]);
    daemon.kill();
    let is_left = stored(&site)["web/s9@1"] == then["web/s9@1"];
    assert!(is_left, "the last of all is renewed last");
    site.sqlite("UPDATE content SET ciphertext = zeroblob(30) WHERE name = 's9'");
    site.configure(&limits(100));
    let daemon = site.start();
    until("all others are renewed", || {
        (left(&site) == (1, false)).then_some(())
    });
    until("it is told", || {
        site.log()
            .contains("content cannot be renewed")
            .then_some(())
    });
    assert_eq!(stored(&site)["web/s9@1"].ciphertext, vec![0; 30]);
    let refused = site.try_ctl(&["group", "destroy-key", "web", "1", "--yes", "--now"]);
    assert_eq!(refused.status.code(), CONFLICT, "{}", text(&refused));
    assert_eq!(site.times_changed("renew").len(), 30);
    site.all_open(9);
    daemon.stop_verified();
}
