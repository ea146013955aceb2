//! What is a selector, and what is none.

use proptest::prelude::*;

use super::{written::Written, *};

const SHA256: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

#[test]
fn selectors_survive_their_text() {
    for text in [
        "unix:uid:0",
        "unix:gid:4294967294",
        "unix:supplementary_gid:7",
        "systemd:id:foo@a\\x2db.service",
        "systemd:fragment_path:/usr/lib/systemd/system/nginx.service",
        "systemd:invocation_id:0123456789abcdef0123456789abcdef",
        "systemd:user_unit:a.service",
        &format!("container:id:{SHA256}"),
        "k8s:pod-uid:2c48913c-b29f-11e7-9350-020968147796",
        "unix:path:/usr/sbin/nginx",
        "unix:path:/opt/a:b (deleted)",
        &format!("unix:sha256:{SHA256}"),
        &format!("unix:verity:sha256:{SHA256}"),
        &format!("unix:verity:sha512:{SHA256}{SHA256}"),
        "namespace:mnt:host",
        "namespace:user:host",
        "namespace:pid:host",
        "lsm:label:system_u:system_r:httpd_t:s0",
        "process:traced:no",
    ] {
        assert_eq!(text.parse::<Selector>().unwrap().to_string(), text);
        assert!(matches!(text.parse(), Ok(Written::Selector(_))));
    }
}

#[test]
fn what_is_no_selector_is_refused() {
    for text in [
        "",
        "uid:1",
        "unix:uid:",
        "unix:uid:-1",
        "unix:uid:+1",
        "unix:uid:4294967295",
        "unix:uid:1 ",
        "unix:user:www-data",
        "systemd:id:nginx",
        "systemd:id:a.slice",
        "systemd:invocation_id:0123",
        "systemd:fragment_path:nginx.service",
        "container:id:0123456789ab",
        "k8s:pod-uid:2c48913c_b29f_11e7_9350_020968147796",
        "k8s:pod-uid:2C48913C-b29f-11e7-9350-020968147796",
        "unix:path:nginx",
        "unix:path:/",
        "unix:path:/usr/../bin/x",
        "unix:path:/usr//bin",
        "unix:path:/a\nb",
        "unix:sha256:00",
        &format!("unix:sha256:{}", SHA256.to_uppercase()),
        &format!("unix:verity:{SHA256}"),
        &format!("unix:verity:sha512:{SHA256}"),
        "namespace:net:host",
        "namespace:mnt:guest",
        "lsm:label:",
        "process:traced:yes",
    ] {
        assert!(text.parse::<Selector>().is_err(), "{text:?}");
    }
}

#[test]
fn a_label_that_all_have_whom_nothing_confines_tells_nobody_from_others() {
    let identifies = |label: &str| Selector::Label(label.to_owned()).identifies();
    for free in [
        "unconfined",
        "nginx (complain)",
        "nginx (unconfined)",
        "nginx//&unconfined (enforce)",
        "unconfined_u:unconfined_r:unconfined_t:s0-s0:c0.c1023",
        "system_u:system_r:unconfined_service_t:s0",
        "_",
    ] {
        assert!(!identifies(free), "{free}");
    }
    for confined in [
        "nginx (enforce)",
        "/usr/sbin/nginx (enforce)",
        "system_u:system_r:httpd_t:s0",
        "Web",
    ] {
        assert!(identifies(confined), "{confined}");
    }
}

#[test]
fn names_stand_for_numbers_to_be_looked_up() {
    assert_eq!(
        "unix:user:www-data".parse(),
        Ok(Written::User("www-data".into()))
    );
    assert_eq!("unix:group:a.b".parse(), Ok(Written::Group("a.b".into())));
    assert_eq!(
        "unix:supplementary_group:ssl-cert".parse(),
        Ok(Written::SupplementaryGroup("ssl-cert".into()))
    );
    for text in [
        "unix:user:",
        "unix:group:a b",
        "unix:user:a:b",
        "unix:nobody:x",
    ] {
        assert!(text.parse::<Written>().is_err(), "{text:?}");
    }
}

proptest! {
    #[test]
    fn parsing_never_panics_and_is_undone_by_printing(text in "\\PC{0,60}") {
        if let Ok(selector) = text.parse::<Selector>() {
            prop_assert_eq!(selector.to_string().parse::<Selector>(), Ok(selector));
        }
    }

    #[test]
    fn near_selectors_never_panic_either(
        kind in "(unix|systemd|k8s|container|lsm|namespace|process):[a-z_-]{2,15}:",
        value in "\\PC{0,40}",
    ) {
        let text = format!("{kind}{value}");
        if let Ok(selector) = text.parse::<Selector>() {
            prop_assert_eq!(selector.to_string().parse::<Selector>(), Ok(selector));
        }
        drop(text.parse::<Written>());
    }
}
