//! Root keys: what they let nobody have, how they wrap, and that there is one in each token.

use faulty_pkcs11::Fault;
use serde_json::{Value, json};
use softhsm_tests::{
    Site,
    fault::answering,
    kind::Kind,
    pair::{
        Pair, Which,
        Which::{First, Second},
    },
    text, until,
};

use super::{blob, can_run, furnish, is_had, total};

const KW: u64 = 0x2109;
const KWP: u64 = 0x210a;

#[test]
fn whoever_has_the_pin_and_the_database_does_not_get_the_key_out() {
    if !can_run("whoever_has_the_pin_and_the_database_does_not_get_the_key_out") {
        return;
    }
    let site = Site::new();
    let _daemon = site.start();
    furnish(&site);
    // Nothing of it is in the token for others to see.
    assert_eq!(site.intrude(&["count", &site.gmk("web")]), 0);
    let (root, blob) = blob(&site, 1);
    let found = site.intrude(&["look", &root]);
    for (name, value) in [
        ("Modifiable", false),
        ("Sensitive", true),
        ("AlwaysSensitive", true),
        ("Extractable", false),
        ("NeverExtractable", true),
        ("Local", true),
        ("Wrap", true),
        ("Unwrap", true),
        ("Encrypt", false),
        ("Decrypt", false),
        ("Sign", false),
        ("Verify", false),
        ("Derive", false),
    ] {
        assert_eq!(found[name], value, "{name}");
    }
    assert_eq!(site.intrude(&["read", &root]), Value::Null);
    for (mechanism, outcome) in site.intrude(&["wrap", &root]).as_object().unwrap() {
        assert_eq!(outcome, "KeyUnextractable", "{mechanism}");
    }
    assert_eq!(site.intrude(&["unwrap", &root, &blob]), json!([]));
    is_had(&site, "web/key");
}

#[test]
fn a_token_that_cannot_keep_to_it_is_left_as_it_was() {
    if !can_run("a_token_that_cannot_keep_to_it_is_left_as_it_was") {
        return;
    }
    for (function, code, first, why) in [
        ("C_WrapKey", "CKR_MECHANISM_INVALID", 1, "aes-kwp"),
        ("C_UnwrapKey", "CKR_FUNCTION_NOT_SUPPORTED", 1, "aes-kwp"),
        // After it was found that it wraps data keys so.
        (
            "C_UnwrapKey",
            "CKR_MECHANISM_INVALID",
            5,
            "wrap and unwrap a key",
        ),
        (
            "C_UnwrapKey",
            "CKR_TEMPLATE_INCONSISTENT",
            5,
            "INCONSISTENT",
        ),
    ] {
        let site = Site::faulty("");
        let daemon = site.start();
        let before = total(&site);
        site.fault(Fault {
            first: Some(first),
            ..answering(function, code)
        });
        let created = site.try_ctl(&["group", "create", "web", "--keep-key=wrapped"]);
        assert!(!created.status.success(), "{function}");
        assert!(text(&created).contains(why), "{}", text(&created));
        assert_eq!(total(&site), before);
        site.ctl(&["group", "create", "web"]);
        assert_eq!(total(&site), before + 1);
        assert_eq!(site.token()["worker_generation"], 1);
        daemon.stop_unharmed();
    }
}

#[test]
fn a_key_is_unwrapped_as_it_was_wrapped_whatever_else_the_token_has_come_to_do() {
    if !Kind::is_softhsm(
        "a_key_is_unwrapped_as_it_was_wrapped_whatever_else_the_token_has_come_to_do",
    ) {
        return;
    }
    let site = Site::faulty("");
    let without = |mechanism| {
        site.misbehave(|control| control.token.without_mechanisms = vec![mechanism]);
    };
    let by = || site.sqlite("SELECT root_wrapping FROM master_key ORDER BY \"group\" DESC");
    without(KWP);
    let daemon = site.start();
    furnish(&site);
    is_had(&site, "web/key");
    daemon.stop();
    assert_eq!(by().trim(), "aes-kw");

    site.mend();
    let daemon = site.start();
    is_had(&site, "web/key");
    let before = total(&site);
    site.ctl(&["group", "create", "db", "--keep-key=wrapped"]);
    // By the same root key.
    assert_eq!(total(&site), before);
    daemon.stop();
    assert_eq!(by(), "aes-kw\naes-kwp\n");
    let (root, blob) = blob(&site, 1);
    assert_eq!(site.intrude(&["unwrap", &root, &blob]), json!([]));

    without(KW);
    let daemon = site.start();
    let refused = site.fetch("web/key");
    assert!(!refused.status.success());
    assert!(refused.stdout.is_empty());
    site.ctl(&["group", "create", "other", "--keep-key=wrapped"]);
    daemon.stop();
    site.mend();
    let daemon = site.start();
    is_had(&site, "web/key");
    daemon.stop();
}

#[test]
fn a_root_key_that_lets_out_what_it_unwraps_is_refused() {
    if !can_run("a_root_key_that_lets_out_what_it_unwraps_is_refused") {
        return;
    }
    for (flaw, why) in [
        ("wraps", "CKA_ENCRYPT is true, not false"),
        ("root-of-anything", "it unwraps keys to what has"),
    ] {
        let site = Site::new();
        let daemon = site.start();
        furnish(&site);
        let (root, _) = blob(&site, 1);
        daemon.stop();
        site.replace_key(&root, "custodyd root", flaw);
        let _daemon = site.start();
        let keys = site.master_keys();
        let refused = keys[0]["refused"].as_str().unwrap();
        assert!(
            refused.contains(&root) && refused.contains(why),
            "{refused}"
        );
        let fetched = site.fetch("web/key");
        assert!(fetched.stdout.is_empty(), "{}", text(&fetched));
        // No other is made in its place.
        let created = site.try_ctl(&["group", "create", "more", "--keep-key=wrapped"]);
        assert!(!created.status.success());
        assert!(!site.ctl(&["group", "list"]).contains("more"));
        assert_eq!(site.intrude(&["count", &root]), 1);
        // A group that needs none is not affected.
        site.ctl(&["group", "create", "other"]);
    }
}

fn until_serving(pair: &Pair, which: Which) {
    until("the token serves", || {
        (pair.token(which)["state"] == "serving").then_some(())
    });
}

#[test]
fn what_came_to_nothing_leaves_one_root_key_and_no_more() {
    if !can_run("what_came_to_nothing_leaves_one_root_key_and_no_more") {
        return;
    }
    let pair = Pair::new("deadline = \"1s\"\nlongest-wait = \"200ms\"\n");
    let daemon = pair.site.start();
    until_serving(&pair, Second);
    let objects = || [First, Second].map(|which| pair.objects(which));
    let [first, second] = objects();
    // The second is asked before the first, which seems to be well.
    pair.fault(First, answering("C_GenerateKey", "CKR_FUNCTION_FAILED"));
    for _ in 0..3 {
        let created = pair
            .site
            .try_ctl(&["group", "create", "web", "--keep-key=wrapped"]);
        assert!(!created.status.success());
        assert_eq!(objects(), [first, second + 1]);
    }
    pair.mend(First);
    furnish(&pair.site);
    is_had(&pair.site, "web/key");
    assert_eq!(objects(), [first + 1, second + 1]);
    daemon.stop_unharmed();
}

#[test]
fn each_of_two_tokens_has_a_root_key_of_its_own() {
    if !can_run("each_of_two_tokens_has_a_root_key_of_its_own") {
        return;
    }
    let quick = "deadline = \"1s\"\nlongest-wait = \"200ms\"\ncanary-interval = \"500ms\"\n";
    let pair = Pair::new(quick);
    let daemon = pair.site.start();
    until_serving(&pair, Second);
    furnish(&pair.site);
    assert_eq!(pair.wraps("web"), [Some(1), Some(1)]);
    let keys = pair.site.master_keys();
    assert!(keys.iter().all(|key| key["root"].is_string()));
    assert_ne!(keys[0]["root"], keys[1]["root"]);
    for away in [First, Second] {
        pair.take_away(away);
        is_had(&pair.site, "web/key");
        pair.mend(away);
        until_serving(&pair, away);
        is_had(&pair.site, "web/key");
    }
    daemon.stop_unharmed();
}
