//! What ends, and what the rules of groups say, with real certificates.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

#[path = "compliance/pki.rs"]
mod pki;

use std::{collections::BTreeSet, process::Output};

use nix::unistd::getuid;
use serde_json::{Value, json};
use softhsm_tests::{Site, text, until};

use pki::{authority, crl, leaf};

/// Stores `content` as a new version of the secret `web/NAME`, from files named for its fields.
fn put(site: &Site, name: &str, kind: &str, fields: &[(&str, &str)], more: &[&str]) {
    let secret = format!("web/{name}");
    let mut arguments = vec!["secret".to_owned(), "put".into(), secret];
    arguments.extend(["--type".into(), kind.into()]);
    for (field, value) in fields {
        let path = site.path(&format!("{name}-{field}"));
        std::fs::write(&path, value).unwrap();
        arguments.push(format!("{field}={}", path.display()));
    }
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    site.ctl(&[&arguments, more].concat());
}

/// What `custodyctl expiring` finds; its exit code says whether that is nothing.
fn expiring(site: &Site, more: &[&str]) -> Vec<Value> {
    let output = site.try_ctl(&[&["expiring", "--output=json"], more].concat());
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let found = found["expiring"].as_array().unwrap().clone();
    let code = if found.is_empty() { 0 } else { 10 };
    assert_eq!(output.status.code(), Some(code), "{}", text(&output));
    found
}

#[test]
fn what_ends_is_found_by_what_is_published_of_it() {
    let site = Site::new();
    let daemon = site.start();
    site.ctl(&["group", "create", "web"]);
    site.ctl(&["group", "create", "other"]);

    let root = authority("root", 2300, None);
    let intermediate = authority("intermediate", 2100, Some(&root));
    // The leaf outlives what issued it.
    let (certificate, key) = leaf(&intermediate, 2200);
    let chain = certificate + &intermediate.pem();
    let fields = [("certificate-chain", &*chain), ("private-key", &key)];
    put(&site, "tls", "keystore", &fields, &[]);
    let (old, _) = leaf(&root, 2020);
    put(&site, "old", "certificate", &[("certificate", &old)], &[]);
    let list = crl(&root, 2150);
    let fields = [("crls", &*list), ("issuers", &root.pem())];
    put(&site, "revoked", "crl-distributor", &fields, &[]);
    let far = authority("far", 4000, None).pem();
    put(
        &site,
        "trusted",
        "truststore",
        &[("certificates", &far)],
        &[],
    );
    put(&site, "pass", "password", &[("password", "first")], &[]);
    let second = [("password", "second")];
    put(&site, "pass", "password", &second, &["--overlap", "1h"]);

    let look = |site: &Site| {
        let found = expiring(site, &["web", "--within=400y"]);
        let seen = found.iter().map(|one| {
            json!([
                one["name"],
                one["version"],
                one["property"],
                one["ended"],
                one["ends"].as_str().unwrap().get(..4)
            ])
        });
        seen.collect::<Vec<_>>()
    };
    let found = look(&site);
    let year = found[1][4].clone();
    let expected = [
        json!(["old", 1, "chain-not-after", true, "2020"]),
        json!(["pass", 1, null, false, year]),
        json!(["tls", 1, "chain-not-after", false, "2100"]),
        json!(["revoked", 1, "next-update", false, "2150"]),
    ];
    assert_eq!(found, expected);
    // A soonest end is found without those that come later.
    let soon = expiring(&site, &["--within=2h"]);
    assert_eq!(soon.len(), 2);
    assert_eq!(soon[1]["part"], Value::Null);
    assert_eq!(
        expiring(&site, &["other", "--within=400y"]),
        [Value::Null; 0]
    );

    // It is the same after a restart, and follows what becomes of a secret.
    daemon.kill();
    let _daemon = site.start();
    assert_eq!(look(&site), expected);
    let (renewed, _) = leaf(&root, 2120);
    put(
        &site,
        "old",
        "certificate",
        &[("certificate", &renewed)],
        &[],
    );
    site.ctl(&["secret", "delete", "web/tls", "--yes"]);
    let after = look(&site);
    let names: Vec<_> = after.iter().map(|one| &one[0]).collect();
    assert_eq!(names, ["pass", "old", "revoked"]);
}

fn set_rules(site: &Site, rules: &str, more: &[&str]) -> (Option<i32>, Vec<String>) {
    let file = site.path("rules.toml");
    std::fs::write(&file, rules).unwrap();
    let file = file.to_str().unwrap();
    let set = ["group", "rules", "web", file, "--output=json"];
    let output = site.try_ctl(&[&set, more].concat());
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    (output.status.code(), codes(&found))
}

fn codes(found: &Value) -> Vec<String> {
    let findings = found["findings"].as_array().unwrap().iter();
    findings
        .map(|one| format!("{} {}", text_of(&one["name"]), text_of(&one["code"])))
        .collect()
}

fn text_of(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// What `custodyctl compliance` finds in the group `web`.
fn findings(site: &Site) -> Vec<String> {
    let output = site.try_ctl(&["compliance", "web", "--output=json"]);
    let found = codes(&serde_json::from_slice(&output.stdout).unwrap());
    let code = if found.is_empty() { 0 } else { 10 };
    assert_eq!(output.status.code(), Some(code), "{}", text(&output));
    found
}

/// Waits until what the journal says was found, and is not gone, is `expected`.
fn on_record(site: &Site, expected: &[String]) {
    let expected = BTreeSet::from_iter(expected.iter().cloned());
    let mut recorded = BTreeSet::new();
    until(&format!("{expected:?} is on record"), || {
        recorded.clear();
        for entry in site.entries("findings") {
            for shift in entry["secrets"].as_array().unwrap() {
                let codes = |which: &str| {
                    let codes = shift[which].as_array().into_iter().flatten();
                    let code =
                        |code: &Value| format!("{} {}", text_of(&shift["secret"]), text_of(code));
                    codes.map(code).collect::<BTreeSet<_>>()
                };
                recorded.extend(codes("found"));
                recorded.retain(|one| !codes("gone").contains(one));
            }
        }
        (recorded == expected).then_some(())
    });
}

fn try_put_certificate(site: &Site, name: &str, certificate: &str, more: &[&str]) -> Output {
    let path = site.path("certificate.pem");
    std::fs::write(&path, certificate).unwrap();
    let secret = format!("web/{name}");
    let path = path.to_str().unwrap();
    let put = ["secret", "put", &secret, "--type=certificate", path];
    site.try_ctl(&[&put, more].concat())
}

const RULES: &str = "key-algorithms = [\"rsa\"]\nmax-validity-days = 40000\nmax-age-days = 3650\n";

#[test]
fn what_falls_foul_of_rules_is_listed_and_goes_on_record() {
    let site = Site::new();
    let daemon = site.start();
    site.ctl(&["group", "create", "web"]);
    let root = authority("root", 2300, None);
    let (short, _) = leaf(&root, 2100);
    let (long, _) = leaf(&root, 2200);
    for (name, certificate) in [("short", &short), ("long", &long)] {
        put(
            &site,
            name,
            "certificate",
            &[("certificate", certificate)],
            &[],
        );
    }
    assert_eq!(findings(&site), [""; 0]);

    // A dry run tells, and changes nothing.
    let both = ["long key-algorithm", "long validity", "short key-algorithm"];
    let both = both.map(str::to_owned);
    let changes = site.entries("prepare").len();
    assert_eq!(
        set_rules(&site, RULES, &["--dry-run"]),
        (Some(10), both.to_vec())
    );
    assert_eq!(site.entries("prepare").len(), changes);
    assert_eq!(findings(&site), [""; 0]);

    assert_eq!(set_rules(&site, RULES, &[]), (Some(10), both.to_vec()));
    assert_eq!(findings(&site), both);
    on_record(&site, &both);
    let shown: Value = site.ctl_json(&["group", "rules", "web"]);
    assert_eq!(shown["rules"]["max_validity_days"], 40000);
    assert_eq!(site.ctl_json(&["status"])["findings"], 3);

    // In report mode it is let in, and is listed from then on.
    put(
        &site,
        "other",
        "certificate",
        &[("certificate", &long)],
        &[],
    );
    let three = findings(&site);
    assert_eq!(three.len(), 5);
    on_record(&site, &three);
    site.ctl(&["secret", "delete", "web/other", "--yes"]);
    assert_eq!(findings(&site), both);
    on_record(&site, &both);
    daemon.kill();
    let _daemon = site.start();
    assert_eq!(findings(&site), both);

    let rules = "key-algorithms = [\"ec\"]\n";
    assert_eq!(set_rules(&site, rules, &[]), (Some(0), Vec::new()));
    on_record(&site, &[]);
    site.ctl(&["group", "rules", "web", "--clear"]);
    let shown: Value = site.ctl_json(&["group", "rules", "web"]);
    assert!(shown["rules"].is_null());
}

/// Cuts the journal before its last entry of findings, as if the daemon had been killed there.
fn lose_last_findings(site: &Site) {
    let folder = site.path("state/journal");
    let segments = std::fs::read_dir(folder).unwrap();
    let last = segments.map(|entry| entry.unwrap().path()).max().unwrap();
    let text = std::fs::read_to_string(&last).unwrap();
    let lost = site.entries("findings").pop().unwrap();
    let is_lost = |line: &&str| {
        let entry: Value = serde_json::from_str(line).unwrap();
        assert!(entry["seq"].as_u64() < lost["seq"].as_u64() || entry["kind"] != "prepare");
        entry["seq"].as_u64() >= lost["seq"].as_u64()
    };
    let kept = text.split_inclusive('\n').filter(|line| !is_lost(line));
    std::fs::write(&last, kept.collect::<String>()).unwrap();
}

#[test]
fn what_a_killed_daemon_found_goes_on_record_at_the_next_start() {
    let site = Site::new();
    let daemon = site.start();
    site.ctl(&["group", "create", "web"]);
    let root = authority("root", 2300, None);
    let (long, _) = leaf(&root, 2200);
    let put_long = |name| {
        let fields = [("certificate", &*long)];
        put(&site, name, "certificate", &fields, &[]);
    };
    put_long("kept");
    set_rules(&site, RULES, &[]);
    let kept = ["kept key-algorithm", "kept validity"].map(str::to_owned);
    on_record(&site, &kept);
    // From here on a start reads what was drawn from the journal.
    daemon.stop();
    let daemon = site.start();

    put_long("lost");
    let both = findings(&site);
    assert_eq!(both.len(), 4);
    on_record(&site, &both);
    daemon.kill();
    lose_last_findings(&site);
    let daemon = site.start();
    on_record(&site, &both);

    site.ctl(&["secret", "delete", "web/lost", "--yes"]);
    on_record(&site, &kept);
    daemon.kill();
    lose_last_findings(&site);
    let daemon = site.start();
    on_record(&site, &kept);
    daemon.stop_verified();

    // What is on record is not told again, by whatever start.
    let entries = site.entries("findings").len();
    site.start().stop();
    std::fs::remove_file(site.path("state/usage.json")).unwrap();
    let daemon = site.start();
    put_long("third");
    on_record(&site, &findings(&site));
    assert_eq!(site.entries("findings").len(), entries + 1);
    daemon.stop_verified();
}

#[test]
fn enforced_rules_let_nothing_in_and_take_nothing_away() {
    let site = Site::new();
    let _daemon = site.start();
    site.ctl(&["group", "create", "web"]);
    let root = authority("root", 2300, None);
    let (long, _) = leaf(&root, 2200);
    put(&site, "tls", "certificate", &[("certificate", &long)], &[]);
    put(
        &site,
        "tls",
        "certificate",
        &[("certificate", &long)],
        &["--pending", "--even-if-same"],
    );
    put(&site, "off", "certificate", &[("certificate", &long)], &[]);
    site.ctl(&["secret", "disable", "web/off@1"]);
    let rules = format!("mode = \"enforce\"\n{RULES}");
    set_rules(&site, &rules, &[]);

    let changes = site.entries("prepare").len();
    let rows = || site.sqlite("SELECT count(*) FROM version; SELECT count(*) FROM content");
    let before = rows();
    let (other, _) = leaf(&root, 2190);
    for output in [
        try_put_certificate(&site, "tls", &other, &[]),
        try_put_certificate(&site, "new", &other, &[]),
        try_put_certificate(&site, "new", &other, &["--pending"]),
        site.try_ctl(&["secret", "activate", "web/tls@pending"]),
        site.try_ctl(&["secret", "enable", "web/off@1"]),
    ] {
        assert_eq!(output.status.code(), Some(5), "{}", text(&output));
        let told = text(&output);
        assert!(
            told.contains("the rules of group web refuse version web/"),
            "{told}"
        );
        for finding in [
            "key-algorithm: a key is EC 256, and may be rsa; replace it by one that is rsa",
            "have it issued for 40000 days at most",
        ] {
            assert!(told.contains(finding), "{told}");
        }
    }
    assert_eq!(site.entries("prepare").len(), changes);
    assert_eq!(rows(), before);

    // What was there is delivered as before, and what complies is let in.
    site.ctl(&[
        "grant",
        "add",
        "--allow-weak",
        "web",
        "*",
        "--uid",
        &getuid().to_string(),
    ]);
    assert!(site.fetch("web/tls").status.success());
    set_rules(&site, "mode = \"enforce\"\nmin-ec-bits = 256\n", &[]);
    assert!(
        try_put_certificate(&site, "tls", &other, &[])
            .status
            .success()
    );
    site.ctl(&["secret", "activate", "web/tls@pending"]);
    site.ctl(&["secret", "enable", "web/off@1"]);
}
