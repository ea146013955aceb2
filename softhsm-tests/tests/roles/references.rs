//! References from groups that an operator does not see: counted, not named.

use custody::role::Role;
use softhsm_tests::{Site, is_root, text};

use crate::{CONFLICT, DENIED, OPERATOR, assign, changes_of, ctl_as};

#[test]
fn references_from_a_group_that_an_operator_does_not_see_are_counted_and_not_named() {
    if !is_root("references_from_a_group_that_an_operator_does_not_see_are_counted_and_not_named") {
        return;
    }
    let site = Site::new();
    let _daemon = site.start();
    site.put_tls("web/key");
    site.ctl(&["group", "create", "shop"]);
    let put = ["secret", "put", "shop/front", "--type", "tls-context"];
    site.ctl(&[&put[..], &["--set", "keystore=custody:web/key"]].concat());
    assign(&site, Role::GroupAdministrator, Some("web"), OPERATOR);

    let shown = ctl_as(&site, OPERATOR, &["secret", "references", "web/key"]);
    let refused = [
        &["secret", "delete", "web/key", "--yes", "--force"][..],
        &["secret", "destroy", "web/key@1", "--yes"],
        &["secret", "disable", "web/key"],
    ]
    .map(|deed| {
        let refused = ctl_as(&site, OPERATOR, deed);
        assert_eq!(refused.status.code(), CONFLICT, "{}", text(&refused));
        refused
    });
    for output in refused.iter().chain([&shown]) {
        let told = text(output);
        assert!(
            told.contains("1 in groups that you have no role for"),
            "{told}"
        );
        assert!(!told.contains("shop") && !told.contains("front"), "{told}");
    }
    assert!(changes_of(&site, OPERATOR).is_empty());
    // Who may not see a group may not hold its secrets either.
    assign(&site, Role::Writer, Some("web"), OPERATOR);
    let put = ["secret", "put", "web/ctx", "--type", "tls-context"];
    let refers = ["--set", "keystore=custody:shop/front"];
    let refused = ctl_as(&site, OPERATOR, &[&put[..], &refers].concat());
    assert_eq!(refused.status.code(), DENIED, "{}", text(&refused));
}
