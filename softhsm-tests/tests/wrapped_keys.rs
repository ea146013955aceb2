//! Master keys that are kept outside the token, wrapped: P1, P5 and P8 as for those in it, and
//! that any number of groups fits a small token.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

#[path = "wrapped_keys/room.rs"]
mod room;

use faulty_pkcs11::{Act, Fault, Function};
use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};
use softhsm_tests::{
    Site,
    disk::files,
    fault::answering,
    kind::Kind,
    pair::{
        Pair, Which,
        Which::{First, Second},
    },
    text, until,
};

const CONTENT: &[u8] = b"the content of the secret";
const GROUPS: usize = 300;

/// `custodyctl`'s exit code for what may work later.
const UNAVAILABLE: Option<i32> = Some(6);

/// Whether `test` can run: of the modules that tests run with, SoftHSM alone has what it takes.
fn can_run(test: &str) -> bool {
    Kind::is_softhsm(test)
}

/// The group `web`, whose master key is outside the token, with a secret that is granted.
fn furnish(site: &Site) {
    site.ctl(&["group", "create", "web", "--keep-key=wrapped"]);
    let put = site.put("web/key", CONTENT);
    assert!(put.status.success(), "{}", text(&put));
    grant(site, "web");
}

fn grant(site: &Site, group: &str) {
    let uid = nix::unistd::getuid().to_string();
    site.ctl(&["grant", "add", "--allow-weak", group, "*", "--uid", &uid]);
}

fn is_had(site: &Site, secret: &str) {
    let fetched = site.fetch(secret);
    assert_eq!(fetched.stdout, CONTENT, "{}", text(&fetched));
}

fn is_served(site: &Site) {
    until("the secret is delivered again", || {
        (site.fetch("web/key").stdout == CONTENT).then_some(())
    });
}

fn total(site: &Site) -> u64 {
    site.intrude(&["total"]).as_u64().unwrap()
}

/// Of one master key of `web`, in hexadecimal, the root key and the blob.
fn blob(site: &Site, generation: u32) -> (String, String) {
    let of = |column| {
        let query = format!(
            r#"SELECT lower(hex({column})) FROM master_key
            WHERE "group" = 'web' AND generation = {generation}"#
        );
        site.sqlite(&query).trim().to_owned()
    };
    (of("root"), of("wrapped"))
}

#[test]
fn hundreds_of_groups_take_one_object_and_are_there_after_every_end() {
    if !can_run("hundreds_of_groups_take_one_object_and_are_there_after_every_end") {
        return;
    }
    let site = Site::new();
    let daemon = site.start();
    let before = total(&site);
    furnish(&site);
    assert_eq!(total(&site), before + 1);
    for number in 1..GROUPS {
        let group = format!("group-{number}");
        site.ctl(&["group", "create", &group, "--keep-key=wrapped"]);
    }
    let last = format!("group-{}", GROUPS - 1);
    let secret = format!("{last}/key");
    let put = site.put(&secret, CONTENT);
    assert!(put.status.success(), "{}", text(&put));
    grant(&site, &last);
    assert_eq!(total(&site), before + 1);
    is_had(&site, "web/key");

    kill(daemon.worker(), Signal::SIGKILL).unwrap();
    is_served(&site);
    is_had(&site, &secret);
    daemon.stop();
    let daemon = site.start();
    is_had(&site, "web/key");
    is_had(&site, &secret);
    daemon.kill();
    let daemon = site.start();
    is_had(&site, &secret);
    assert!(!site.log().contains("is refused"), "{}", site.log());
    assert_eq!(total(&site), before + 1);
    daemon.stop();
}

#[test]
fn the_keys_are_unwrapped_anew_when_all_sessions_die() {
    if !can_run("the_keys_are_unwrapped_anew_when_all_sessions_die") {
        return;
    }
    let site = Site::faulty("deadline = \"2s\"\n");
    let daemon = site.start();
    furnish(&site);
    for function in ["C_Decrypt", "C_DecryptInit"] {
        let before = site.counts().calls(Function::C_UnwrapKey);
        site.fault(Fault {
            function: function.to_owned(),
            act: Some(Act::CloseAllSessions),
            times: Some(1),
            ..Fault::default()
        });
        is_served(&site);
        assert_eq!(site.counts().strikes(0), 1);
        assert!(site.counts().calls(Function::C_UnwrapKey) > before);
        site.mend();
        is_had(&site, "web/key");
        let put = site.put("web/later", CONTENT);
        assert!(put.status.success(), "{}", text(&put));
        is_had(&site, "web/later");
    }
    daemon.stop_unharmed();
}

#[test]
fn a_session_that_dies_takes_no_key_with_it() {
    if !can_run("a_session_that_dies_takes_no_key_with_it") {
        return;
    }
    let site = Site::faulty("deadline = \"2s\"\n");
    let daemon = site.start();
    furnish(&site);
    for _ in 0..4 {
        site.fault(Fault {
            function: "C_DecryptInit".to_owned(),
            act: Some(Act::CloseSession),
            times: Some(1),
            ..Fault::default()
        });
        is_served(&site);
        assert_eq!(site.counts().strikes(0), 1);
    }
    assert_eq!(site.token()["worker_generation"], 1);
    daemon.stop_unharmed();
}

#[test]
fn a_key_that_is_destroyed_is_so_in_every_worker() {
    if !can_run("a_key_that_is_destroyed_is_so_in_every_worker") {
        return;
    }
    let site = Site::faulty("workers = 2\n");
    let daemon = site.start();
    until("both workers serve", || {
        (daemon.workers().len() == 2).then_some(())
    });
    furnish(&site);
    site.ctl(&["group", "rotate", "web", "--wait"]);
    let destroyed = || site.counts().calls(Function::C_DestroyObject);
    let before = destroyed();
    // One does not do it when it is asked first.
    site.fault(Fault {
        times: Some(1),
        ..answering("C_DestroyObject", "CKR_ACTION_PROHIBITED")
    });
    site.ctl(&["group", "destroy-key", "web", "1", "--now", "--yes"]);
    until("each has destroyed what it had", || {
        (destroyed() == before + 3).then_some(())
    });
    assert_eq!(site.counts().strikes(0), 1);
    is_had(&site, "web/key");
    daemon.stop_unharmed();
}

#[test]
fn a_group_moves_out_of_the_token_and_back_and_nothing_is_left_of_what_was_destroyed() {
    let name = "a_group_moves_out_of_the_token_and_back_and_nothing_is_left_of_what_was_destroyed";
    if !can_run(name) {
        return;
    }
    let site = Site::new();
    let daemon = site.start();
    site.furnish(CONTENT);
    let before = total(&site);
    assert_eq!(site.master_keys()[0]["root"], Value::Null);
    site.ctl(&["group", "rotate", "web", "--keep-key=wrapped", "--wait"]);
    is_had(&site, "web/key");
    // As the group says from then on.
    site.ctl(&["group", "rotate", "web", "--wait"]);
    is_had(&site, "web/key");
    assert_eq!(total(&site), before + 1);
    site.ctl(&["group", "destroy-key", "web", "1", "--now", "--yes"]);
    until("the key is gone from the token", || {
        (total(&site) == before).then_some(())
    });
    is_had(&site, "web/key");

    site.ctl(&["group", "rotate", "web", "--keep-key=in-token", "--wait"]);
    is_had(&site, "web/key");
    assert_eq!(total(&site), before + 1);
    let roots: Vec<_> = site
        .master_keys()
        .iter()
        .map(|key| key["root"].clone())
        .collect();
    let (root, doomed) = blob(&site, 2);
    assert_eq!(roots, [json!(null), json!(root), json!(root), json!(null)]);
    assert_eq!(doomed.len(), 80);
    site.ctl(&["group", "destroy-key", "web", "2", "--now", "--yes"]);
    until("the key is destroyed", || {
        (site.master_keys()[1]["state"] == "destroyed").then_some(())
    });
    daemon.stop();
    assert_eq!(blob(&site, 2), (root, String::new()));
    let is_in = |blob: &str| {
        let blob = hex::decode(blob).unwrap();
        let stored = files(&site.path("state"));
        let mut stored = stored.iter();
        stored.any(|(_, bytes)| bytes.windows(blob.len()).any(|part| part == blob))
    };
    assert!(is_in(&blob(&site, 3).1));
    assert!(!is_in(&doomed));

    let daemon = site.start();
    is_had(&site, "web/key");
    assert!(!site.log().contains("is refused"), "{}", site.log());
    let changes = site.entries("prepare").into_iter();
    let changes = changes.map(|entry| entry["change"].clone());
    let rotations = changes.filter(|change| change["change"] == "rotate-group");
    let keeping: Vec<_> = rotations.map(|change| change["keeping"].clone()).collect();
    assert_eq!(keeping, [json!("wrapped"), json!(null), json!("in-token")]);
    daemon.stop();
}

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

#[test]
fn a_token_that_unwraps_nothing_for_a_time_is_not_taken_for_a_bad_blob() {
    if !can_run("a_token_that_unwraps_nothing_for_a_time_is_not_taken_for_a_bad_blob") {
        return;
    }
    for code in ["CKR_GENERAL_ERROR", "CKR_DEVICE_ERROR", "CKR_HOST_MEMORY"] {
        let site = Site::faulty("longest-wait = \"200ms\"\n");
        let daemon = site.start();
        furnish(&site);
        let (root, before) = blob(&site, 1);
        let objects = total(&site);
        site.fault(answering("C_UnwrapKey", code));
        kill(daemon.worker(), Signal::SIGKILL).unwrap();
        until("it was tried", || {
            (site.counts().strikes(0) > 2).then_some(())
        });
        let fetched = site.fetch("web/key");
        assert_eq!(fetched.status.code(), UNAVAILABLE, "{}", text(&fetched));
        let log = site.log();
        assert!(!log.contains("does not unwrap it"), "{log}");
        assert!(!log.contains("does not conform"), "{log}");
        site.mend();
        is_served(&site);
        assert_eq!(blob(&site, 1), (root, before));
        assert_eq!(total(&site), objects);
        assert!(site.entries("tampering").is_empty());
        daemon.stop_unharmed();
    }
}

#[test]
fn a_blob_that_the_database_gives_away_or_exchanges_is_noticed() {
    if !can_run("a_blob_that_the_database_gives_away_or_exchanges_is_noticed") {
        return;
    }
    for change in [
        r#"UPDATE master_key SET wrapped = zeroblob(40)"#,
        r#"UPDATE master_key SET wrapped = (SELECT wrapped FROM master_key WHERE "group" = 'db')"#,
        r#"UPDATE master_key SET root = id"#,
        r#"UPDATE master_key SET root = NULL, wrapped = NULL"#,
        r#"UPDATE "group" SET keeping = 'in-token'"#,
    ] {
        let site = Site::new();
        let daemon = site.start();
        furnish(&site);
        site.ctl(&["group", "create", "db", "--keep-key=wrapped"]);
        daemon.stop();
        let key = if change.contains("keeping") {
            "name"
        } else {
            "\"group\""
        };
        site.sqlite(&format!("{change} WHERE {key} = 'web'"));
        let (status, log) = site.does_not_start();
        assert!(!status.success(), "{change}: {log}");
        assert!(
            log.contains("of group web") || log.contains("group web"),
            "{change}: {log}"
        );
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
