//! Keys that are kept outside, of which no more are unwrapped at a time than the token has room for.

use faulty_pkcs11::{Fault, Function};
use softhsm_tests::{Site, fault::answering, text};

use super::{CONTENT, UNAVAILABLE, can_run, furnish, grant, is_had, is_served};

#[test]
fn no_more_keys_are_unwrapped_at_a_time_than_may_be() {
    const GROUPS: u64 = 10;
    if !can_run("no_more_keys_are_unwrapped_at_a_time_than_may_be") {
        return;
    }
    for (room, comes_back) in [(3, true), (10, false)] {
        let site = Site::faulty(&format!(
            "unwrapped-keys = {room}\ncanary-interval = \"1h\"\n"
        ));
        let mut daemon = site.start();
        furnish(&site);
        let names: Vec<_> = (1..GROUPS)
            .map(|number| format!("group-{number}"))
            .collect();
        for group in &names {
            site.ctl(&["group", "create", group, "--keep-key=wrapped"]);
            let put = site.put(&format!("{group}/key"), CONTENT);
            assert!(put.status.success(), "{}", text(&put));
            grant(&site, group);
        }
        let all_are_had = || {
            is_had(&site, "web/key");
            names
                .iter()
                .for_each(|group| is_had(&site, &format!("{group}/key")));
        };
        let calls = |function| site.counts().calls(function);
        all_are_had();
        for _ in 0..2 {
            let unwrapped = calls(Function::C_UnwrapKey);
            let destroyed = calls(Function::C_DestroyObject);
            all_are_had();
            let unwrapped = calls(Function::C_UnwrapKey) - unwrapped;
            let destroyed = calls(Function::C_DestroyObject) - destroyed;
            let expected = if comes_back { GROUPS } else { 0 };
            assert_eq!([unwrapped, destroyed], [expected; 2], "room for {room}");
            // The one that was used last is there.
            let last = format!("{}/key", names.last().unwrap());
            let unwrapped = calls(Function::C_UnwrapKey);
            is_had(&site, &last);
            assert_eq!(calls(Function::C_UnwrapKey), unwrapped);
            daemon.stop();
            daemon = site.start();
            all_are_had();
        }
        // What is destroyed does not come back.
        site.ctl(&["group", "rotate", "web", "--wait"]);
        site.ctl(&["group", "destroy-key", "web", "1", "--now", "--yes"]);
        all_are_had();
        daemon.stop();
    }
}

#[test]
fn a_key_that_cannot_be_unwrapped_for_a_time_comes_back_later() {
    if !can_run("a_key_that_cannot_be_unwrapped_for_a_time_comes_back_later") {
        return;
    }
    for code in ["CKR_HOST_MEMORY", "CKR_GENERAL_ERROR", "CKR_DEVICE_ERROR"] {
        let site = Site::faulty("unwrapped-keys = 1\nsessions = 1\nlongest-wait = \"200ms\"\n");
        let daemon = site.start();
        furnish(&site);
        // This has the key of the other put back.
        site.ctl(&["group", "create", "other", "--keep-key=wrapped"]);
        assert!(site.put("other/key", CONTENT).status.success());
        grant(&site, "other");
        site.fault(answering("C_UnwrapKey", code));
        let fetched = site.fetch("web/key");
        assert_eq!(fetched.status.code(), UNAVAILABLE, "{}", text(&fetched));
        assert!(site.counts().strikes(0) > 0);
        site.mend();
        is_served(&site);

        // Once is no reason to refuse anybody who tries again.
        is_had(&site, "other/key");
        site.fault(Fault {
            times: Some(1),
            ..answering("C_UnwrapKey", code)
        });
        is_had(&site, "web/key");
        assert_eq!(site.counts().strikes(0), 1);
        assert!(site.entries("tampering").is_empty());
        daemon.stop_unharmed();
    }
}
