//! What ends, with real certificates.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

#[path = "compliance/pki.rs"]
mod pki;

use serde_json::{Value, json};
use softhsm_tests::{Site, text};

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
