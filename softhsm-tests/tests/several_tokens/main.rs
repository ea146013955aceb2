//! P8 recovering, with two tokens: what both hold is delivered while either is there, and what one
//! of them missed it gets when it is back.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use client::Provider;
use faulty_pkcs11::Function;
use serde_json::json;
use softhsm_tests::{
    Site,
    load::{fetch, random_time, rounds},
    many::{content, limits, name, nobody_notices},
    pair::{
        OTHER, Pair,
        Which::{self, First, Second},
    },
    text, until,
};

mod reads;
mod trustees;

const CONTENT: &[u8] = b"the content of the secret";

/// So that what goes wrong is noticed in a moment.
const QUICK: &str = "deadline = \"1s\"\nlongest-wait = \"200ms\"\ncanary-interval = \"500ms\"\n";

/// `custodyctl`'s exit code for what may work later.
const UNAVAILABLE: Option<i32> = Some(6);

/// Waits until a token does as `state` says.
fn until_is(pair: &Pair, which: Which, state: &str) {
    until(&format!("{which:?} is {state}"), || {
        (pair.token(which)["state"] == state).then_some(())
    });
}

/// Waits until no token lacks anything of the group `web`.
fn until_settled(pair: &Pair) {
    until("no token lacks anything", || {
        let group = pair.site.ctl_json(&["group", "show", "web"]);
        let mut holders = group["holders"].as_array().unwrap().iter();
        holders.all(|holder| holder["lacks"] == 0).then_some(())
    });
}

fn is_had(site: &Site, secret: &str, content: &[u8]) {
    let fetched = site.fetch(secret);
    assert!(fetched.status.success(), "{}", text(&fetched));
    assert_eq!(fetched.stdout, content);
}

/// One of the tokens is enough for a write to `web`.
fn any_will_do(site: &Site) {
    site.ctl(&["group", "hold", "web", "--writes=any-then-repair"]);
}

#[test]
fn what_two_tokens_hold_is_delivered_by_either_while_the_other_is_away() {
    let pair = Pair::new(QUICK);
    let daemon = pair.site.start();
    pair.site.furnish(CONTENT);
    assert_eq!(pair.wraps("web"), [Some(1), Some(1)]);
    for away in [First, Second] {
        pair.take_away(away);
        // Whoever comes first finds it out, and is served all the same.
        for _ in 0..3 {
            is_had(&pair.site, "web/key", CONTENT);
        }
        until_is(&pair, away, "failed");
        let decrypted = pair.counts(away.other()).calls(Function::C_Decrypt);
        is_had(&pair.site, "web/key", CONTENT);
        let after = pair.counts(away.other()).calls(Function::C_Decrypt);
        assert!(after > decrypted);
        let status = pair.site.try_ctl(&["hsm", "status"]);
        assert_eq!(status.status.code(), Some(10), "{}", text(&status));
        pair.mend(away);
        until_is(&pair, away, "serving");
    }
    assert!(pair.site.entries("undelivered").is_empty());
    // Each change of each token is on record once.
    let on_record: Vec<_> = pair
        .site
        .entries("token")
        .iter()
        .map(|entry| (entry["token_serial"].clone(), entry["state"].clone()))
        .collect();
    let expected = [First, Second]
        .map(|which| ["failed", "serving"].map(|state| (json!(pair.serial(which)), json!(state))));
    assert_eq!(on_record, expected.concat());
    daemon.stop_unharmed();
}

#[test]
fn nothing_is_written_with_fewer_tokens_than_the_group_wants() {
    let pair = Pair::new(QUICK);
    let daemon = pair.site.start();
    pair.site.furnish(CONTENT);
    pair.take_away(Second);
    until_is(&pair, Second, "failed");
    let objects = [First, Second].map(|which| pair.objects(which));
    let before = pair.site.ctl(&["secret", "versions", "web/key"]);
    let refused = pair.site.put("web/key", b"another");
    assert_eq!(refused.status.code(), UNAVAILABLE, "{}", text(&refused));
    assert_eq!(pair.site.ctl(&["secret", "versions", "web/key"]), before);
    let refused = pair.site.try_ctl(&["group", "rotate", "web"]);
    assert_eq!(refused.status.code(), UNAVAILABLE, "{}", text(&refused));
    let refused = pair.site.try_ctl(&["group", "create", "other"]);
    assert_eq!(refused.status.code(), UNAVAILABLE, "{}", text(&refused));
    let group = pair.site.ctl_json(&["group", "show", "web"]);
    assert_eq!(group["master_keys"].as_array().unwrap().len(), 2);
    assert!(!pair.site.ctl(&["group", "list"]).contains("other"));
    // No key was made for nothing.
    assert_eq!([First, Second].map(|which| pair.objects(which)), objects);
    // What is written already is delivered meanwhile.
    is_had(&pair.site, "web/key", CONTENT);
    pair.mend(Second);
    until_is(&pair, Second, "serving");
    let put = pair.site.put("web/key", b"another");
    assert!(put.status.success(), "{}", text(&put));
    assert_eq!(pair.wraps("web"), [Some(2), Some(2)]);
    daemon.stop_unharmed();
}

#[test]
fn what_a_token_missed_it_gets_when_it_is_back() {
    let pair = Pair::new(QUICK);
    let daemon = pair.site.start();
    pair.site.furnish(CONTENT);
    any_will_do(&pair.site);
    for (away, content) in [(Second, "missed by two"), (First, "missed by one")] {
        pair.take_away(away);
        let secret = format!("web/{}", content.replace(' ', "-"));
        let put = pair.site.put(&secret, content.as_bytes());
        assert!(put.status.success(), "{}", text(&put));
        is_had(&pair.site, &secret, content.as_bytes());
        let [one, two] = pair.wraps("web");
        assert_ne!(one, two);
        pair.mend(away);
        until_settled(&pair);
        pair.take_away(away.other());
        is_had(&pair.site, &secret, content.as_bytes());
        pair.mend(away.other());
        until_is(&pair, away.other(), "serving");
    }
    assert_eq!(pair.wraps("web"), [Some(3), Some(3)]);
    daemon.stop_unharmed();
}

#[test]
fn who_waits_for_a_token_that_is_away_is_told_so_in_the_end() {
    let pair = Pair::new(QUICK);
    let daemon = pair.site.start();
    pair.site.furnish(CONTENT);
    any_will_do(&pair.site);
    pair.take_away(Second);
    let rotated = pair.site.try_ctl(&["group", "rotate", "web", "--wait"]);
    assert_eq!(rotated.status.code(), Some(11), "{}", text(&rotated));
    let said = String::from_utf8(rotated.stderr).unwrap();
    let missing = format!("token {OTHER} ({})", pair.serial(Second));
    assert!(
        said.contains(&missing) && said.contains("CKR_DEVICE_REMOVED"),
        "{said}"
    );
    // What could be done is, and shown.
    assert!(String::from_utf8(rotated.stdout).unwrap().contains("web"));
    assert_eq!(pair.wraps("web"), [Some(1), None]);
    pair.mend(Second);
    let waited = pair.site.try_ctl(&["group", "rotate", "web", "--wait"]);
    assert!(waited.status.success(), "{}", text(&waited));
    assert_eq!(pair.wraps("web"), [Some(1), Some(1)]);
    daemon.stop();
}

#[test]
fn a_rotation_reaches_a_token_that_was_away() {
    let pair = Pair::new(QUICK);
    let daemon = pair.site.start();
    pair.site.furnish(CONTENT);
    any_will_do(&pair.site);
    pair.take_away(Second);
    pair.site.ctl(&["group", "rotate", "web"]);
    assert_eq!(pair.wraps("web")[1], None);
    until("the first is through", || {
        (pair.wraps("web")[0] == Some(1)).then_some(())
    });
    let destroyed = ["group", "destroy-key", "web", "1", "--now", "--yes"];
    let refused = pair.site.try_ctl(&destroyed);
    assert_eq!(refused.status.code(), Some(5), "{}", text(&refused));
    pair.mend(Second);
    pair.site.ctl(&["group", "rotate", "web", "--wait"]);
    assert_eq!(pair.wraps("web"), [Some(1), Some(1)]);
    // The old generation goes from both tokens, or from the one that has it.
    let keys = pair.site.master_keys().into_iter();
    let old: Vec<_> = keys.filter(|key| key["generation"] == 1).collect();
    let is_in_its_token = |key: &serde_json::Value| {
        let is_first = key["token_serial"] == pair.serial(First);
        let which = if is_first { First } else { Second };
        pair.intrude(which, &["count", key["id"].as_str().unwrap()]) == 1
    };
    assert!(old.len() == 2 && old.iter().all(is_in_its_token), "{old:?}");
    pair.site.ctl(&destroyed);
    until("both tokens have lost it", || {
        (!old.iter().any(is_in_its_token)).then_some(())
    });
    for away in [First, Second] {
        pair.take_away(away);
        is_had(&pair.site, "web/key", CONTENT);
        pair.mend(away);
        until_is(&pair, away, "serving");
    }
    daemon.stop_unharmed();
}

#[test]
fn a_group_moves_from_one_token_to_another_and_nobody_notices() {
    const SECRETS: usize = 200;
    let pair = Pair::new(QUICK);
    let daemon = pair.site.start();
    pair.site.furnish(CONTENT);
    pair.site
        .ctl(&["group", "hold", "web", "--token=test", "--wait"]);
    assert_eq!(pair.wraps("web"), [Some(1), None]);
    pair.site.put_many(SECRETS, content);
    let all = SECRETS as u64 + 1;
    let fetches = |provider: Provider, _, caller, made| async move {
        let number = (caller + made) % SECRETS;
        let (found, _) = fetch(&provider, &name(number)).await.unwrap();
        assert_eq!(found, content(number));
    };
    nobody_notices(&pair.site, 2, fetches, || {
        let both = ["group", "hold", "web", "--token=test", "--token=other"];
        pair.site.ctl(&[&both[..], &["--wait"]].concat());
        assert_eq!(pair.wraps("web"), [Some(all), Some(all)]);
        pair.site
            .ctl(&["group", "hold", "web", "--token=other", "--wait"]);
        assert_eq!(pair.wraps("web"), [None, Some(all)]);
    });
    let group = pair.site.ctl_json(&["group", "show", "web"]);
    let keys = group["master_keys"].as_array().unwrap().iter();
    let left: Vec<_> = keys
        .filter(|key| key["token_label"] == "test")
        .map(|key| (key["state"].clone(), key["wraps"].clone()))
        .collect();
    assert_eq!(left, [(json!("deactivated"), json!(0))]);
    // What the group has is in the other token, and nowhere else.
    pair.take_away(First);
    for nth in 0..3 {
        is_had(&pair.site, &format!("web/{}", name(nth)), &content(nth));
    }
    daemon.stop_unharmed();
}

#[test]
fn a_token_is_filled_to_the_end_whenever_the_daemon_is_killed() {
    // As many as are moved by one change.
    const BATCH: usize = 64;
    let kills = rounds(2);
    let secrets = BATCH * (kills + 1);
    let all = secrets as u64;
    let pair = Pair::new(&format!("{QUICK}{}", limits(10)));
    let mut daemon = pair.site.start();
    pair.site.ctl(&["group", "create", "web", "--token=test"]);
    pair.site.put_many(secrets, content);
    assert_eq!(pair.wraps("web"), [Some(all), None]);
    pair.site
        .ctl(&["group", "hold", "web", "--token=test", "--token=other"]);
    let filled = || pair.wraps("web")[1].unwrap_or(0);
    let mut before = 0;
    for _ in 0..kills {
        until("more of it is filled", || (filled() > before).then_some(()));
        std::thread::sleep(random_time(0, 50));
        before = filled();
        daemon.kill();
        daemon = pair.site.start();
        // It goes on from there.
        let left = filled();
        assert!(left >= before && left < all, "{before} {left}");
    }
    daemon.stop();
    pair.configure(QUICK);
    let daemon = pair.site.start();
    until_settled(&pair);
    assert_eq!(pair.wraps("web"), [Some(all), Some(all)]);
    assert!(pair.site.entries("tampering").is_empty());
    daemon.stop();
}

#[test]
fn a_token_that_is_away_at_the_start_holds_up_nobody_and_is_noticed_when_it_comes() {
    let pair = Pair::new(QUICK);
    let daemon = pair.site.start();
    pair.site.furnish(CONTENT);
    daemon.stop();
    pair.take_away(Second);
    let daemon = pair.site.start();
    until_is(&pair, Second, "away");
    is_had(&pair.site, "web/key", CONTENT);
    let told = text(&pair.site.try_ctl(&["status"]));
    assert!(told.contains("CKR_DEVICE_REMOVED"), "{told}");
    let refused = pair.site.put("web/key", b"another");
    assert_eq!(refused.status.code(), UNAVAILABLE);
    assert!(text(&refused).contains(OTHER), "{}", text(&refused));
    pair.mend(Second);
    until_is(&pair, Second, "serving");
    let put = pair.site.put("web/key", b"another");
    assert!(put.status.success(), "{}", text(&put));
    pair.take_away(First);
    is_had(&pair.site, "web/key", b"another");
    daemon.stop();
}

#[test]
fn tokens_are_named_by_label_or_serial_and_others_are_refused() {
    let pair = Pair::new("");
    let daemon = pair.site.start();
    let serial = pair.serial(Second).to_owned();
    pair.site
        .ctl(&["group", "create", "web", "--token", &serial]);
    let group = pair.site.ctl_json(&["group", "show", "web"]);
    let holder = json!({"label": OTHER, "serial": serial, "problem": null, "lacks": 0});
    assert_eq!(group["holders"], json!([holder]));
    for command in ["create", "hold"] {
        let refused = pair
            .site
            .try_ctl(&["group", command, "web2", "--token=neither"]);
        let said = text(&refused);
        assert!(!refused.status.success());
        assert!(
            said.contains(OTHER) || said.contains("no group web2"),
            "{said}"
        );
    }
    let refused = pair
        .site
        .try_ctl(&["group", "hold", "web", "--token=neither"]);
    let said = text(&refused);
    assert!(said.contains(OTHER) && said.contains("test"), "{said}");
    assert_eq!(pair.site.ctl_json(&["group", "show", "web"]), group);
    assert_eq!(
        pair.site.ctl_json(&["group", "list"])["groups"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    daemon.stop();
}

#[test]
fn what_is_renewed_while_a_token_is_away_it_gets_when_it_is_back() {
    let pair = Pair::new(QUICK);
    let daemon = pair.site.start();
    pair.site.furnish(CONTENT);
    any_will_do(&pair.site);
    let sealed = || pair.site.sqlite("SELECT hex(ciphertext) FROM content");
    let wraps = || pair.site.sqlite("SELECT count(*) FROM wrap");
    let before = sealed();
    pair.take_away(Second);
    pair.site.ctl(&["group", "rotate", "web", "--compromised"]);
    // Nothing is left that opens the former content, in either token.
    until("the content is sealed anew", || {
        (sealed() != before && wraps().trim() == "1").then_some(())
    });
    is_had(&pair.site, "web/key", CONTENT);
    pair.mend(Second);
    until_settled(&pair);
    assert_eq!(pair.wraps("web"), [Some(1), Some(1)]);
    pair.take_away(First);
    is_had(&pair.site, "web/key", CONTENT);
    daemon.stop_unharmed();
}
