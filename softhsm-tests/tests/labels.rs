//! What is said about groups and secrets, end to end: set, changed, kept, required.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use serde_json::{Value, json};
use softhsm_tests::{LABEL, Site, text};

fn put(site: &Site, content: &str, more: &[&str]) -> std::process::Output {
    let file = site.path("content");
    std::fs::write(&file, content).unwrap();
    let put = ["secret", "put", "web/key", "--type", "blob"];
    let file = file.to_str().unwrap();
    site.try_ctl(&[&put[..], more, &[file]].concat())
}

fn said(shown: &Value) -> Value {
    let said = ["business_group", "environment", "description", "labels"];
    let said = said.into_iter().filter(|name| shown.get(name).is_some());
    said.map(|name| (name.to_owned(), shown[name].clone()))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn shown(site: &Site) -> [Value; 2] {
    let group = site.ctl_json(&["group", "show", "web"]);
    let secret = site.ctl_json(&["secret", "show", "web/key"]);
    assert_eq!(secret["current"]["generation"], 1);
    [said(&group), said(&secret)]
}

#[test]
fn what_is_said_is_set_changed_recorded_and_survives_a_crash() {
    let site = Site::new();
    let daemon = site.start();
    let create = "group create web --business-group payments --environment test \
                  --label team=edge --label tier=1";
    site.ctl(&create.split(' ').collect::<Vec<_>>());
    let output = put(
        &site,
        "one",
        &["--description", "a key", "--label", "owner=ann"],
    );
    assert!(output.status.success(), "{}", text(&output));
    let update = "group update web --environment production --label team=core --remove-label tier";
    site.ctl(&update.split(' ').collect::<Vec<_>>());
    let update = "secret update web/key --description= --label use=tls --remove-label owner";
    site.ctl(&update.split(' ').collect::<Vec<_>>());
    let expected = [
        json!({"business_group": "payments", "environment": "production", "description": "",
               "labels": {"team": "core"}}),
        json!({"description": "", "labels": {"use": "tls"}}),
    ];
    assert_eq!(shown(&site), expected);
    daemon.kill();
    let _daemon = site.start();
    assert_eq!(shown(&site), expected);

    let changes: Vec<_> = site
        .entries("prepare")
        .into_iter()
        .map(|entry| entry["change"].clone())
        .filter(|change| change["change"] != "init")
        .collect();
    let keys = json!([site.gmk("web")]);
    let token = json!({"label": LABEL, "serial": site.serial});
    let holders = json!({"tokens": [token], "writes": "require-all"});
    assert_eq!(
        changes,
        [
            json!({"change": "create-group", "group": "web", "master_keys": keys, "holders": holders,
                   "keeping": "in-token",
                   "business_group": "payments", "environment": "test",
                   "labels": {"team": "edge", "tier": "1"}}),
            json!({"change": "put-secret", "group": "web", "secret": "key", "version": 1,
                   "type": "blob", "master_keys": keys, "description": "a key",
                   "labels": {"owner": "ann"}}),
            json!({"change": "update-group", "group": "web", "environment": "production",
                   "labels": {"team": "core"}, "removed_labels": ["tier"]}),
            json!({"change": "update-secret", "group": "web", "secret": "key",
                   "description": "", "labels": {"use": "tls"}, "removed_labels": ["owner"]}),
        ]
    );
}

#[test]
fn a_put_repeats_what_is_said_and_says_nothing_else() {
    let site = Site::new();
    let _daemon = site.start();
    site.ctl(&["group", "create", "web"]);
    let labels = ["--label", "team=edge", "--label", "tier=1"];
    assert!(put(&site, "one", &labels).status.success());
    assert!(put(&site, "two", &["--label", "tier=1"]).status.success());
    let changes = site.entries("prepare").len();
    // Neither with other content nor with the same.
    for content in ["three", "two"] {
        for other in [
            &["--label", "team=core"][..],
            &["--label", "new=1"],
            &["--description", "a key"],
        ] {
            let output = put(&site, content, other);
            assert_eq!(output.status.code(), Some(5), "{}", text(&output));
            assert!(
                text(&output).contains("an update does"),
                "{}",
                text(&output)
            );
        }
    }
    assert_eq!(site.entries("prepare").len(), changes);
    let [_, secret] = shown(&site);
    assert_eq!(secret["labels"], json!({"team": "edge", "tier": "1"}));
}

fn findings(site: &Site) -> Value {
    let output = site.try_ctl(&["compliance", "--output=json"]);
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    found["findings"].clone()
}

#[test]
fn a_required_label_is_found_missing_and_enforced() {
    let site = Site::new();
    let _daemon = site.start();
    site.ctl(&["group", "create", "web"]);
    assert!(put(&site, "one", &[]).status.success());
    assert!(put(&site, "two", &["--pending"]).status.success());
    let rules = site.path("rules.toml");
    std::fs::write(&rules, "mode = \"enforce\"\nrequired-labels = [\"team\"]\n").unwrap();
    let set = site.try_ctl(&["group", "rules", "web", rules.to_str().unwrap()]);
    assert_eq!(set.status.code(), Some(10), "{}", text(&set));
    // Once for the secret, though two versions are in use.
    let found = findings(&site);
    assert_eq!(found.as_array().unwrap().len(), 1, "{found}");
    assert_eq!(found[0]["code"], "label");
    assert_eq!(found[0]["problem"], "it has no label team");

    let changes = site.entries("prepare").len();
    let refused = put(&site, "three", &[]);
    assert_eq!(refused.status.code(), Some(5));
    assert!(text(&refused).contains("it has no label team; label it"));
    assert_eq!(site.entries("prepare").len(), changes);

    site.ctl(&["secret", "update", "web/key", "--label=team=edge"]);
    assert_eq!(findings(&site), json!([]));
    assert!(put(&site, "three", &[]).status.success());
    let changes = site.entries("prepare").len();
    let refused = site.try_ctl(&["secret", "update", "web/key", "--remove-label=team"]);
    assert_eq!(refused.status.code(), Some(5));
    assert!(
        text(&refused).contains("it has no label team; label it"),
        "{}",
        text(&refused)
    );
    assert_eq!(site.entries("prepare").len(), changes);
    let [_, secret] = shown(&site);
    assert_eq!(secret["labels"], json!({"team": "edge"}));
}

#[test]
fn what_is_made_here_is_labelled_as_rules_want_it() {
    let site = Site::new();
    let _daemon = site.start();
    site.ctl(&["group", "create", "web"]);
    let rules = site.path("rules.toml");
    std::fs::write(&rules, "mode = \"enforce\"\nrequired-labels = [\"team\"]\n").unwrap();
    site.ctl(&["group", "rules", "web", rules.to_str().unwrap()]);
    let csr = site.path("tls.csr");
    let write_csr = format!("--csr={}", csr.display());
    for made in [
        &["secret", "generate", "web/db", "--type=password"][..],
        &[
            "secret",
            "rotate",
            "web/tls",
            "--subject=CN=a.example",
            &write_csr,
        ],
    ] {
        let changes = site.entries("prepare").len();
        let refused = site.try_ctl(made);
        assert_eq!(refused.status.code(), Some(5), "{}", text(&refused));
        assert!(text(&refused).contains("it has no label team"));
        assert_eq!(site.entries("prepare").len(), changes);
        assert!(!csr.exists());

        site.ctl(&[made, &["--label=team=edge", "--description=for a test"]].concat());
        let secret = site.ctl_json(&["secret", "show", made[2]]);
        assert_eq!(secret["labels"], json!({"team": "edge"}));
        assert_eq!(secret["description"], "for a test");
    }
    assert!(csr.exists());

    // A later version says nothing else about it.
    let changes = site.entries("prepare").len();
    let refused = site.try_ctl(&["secret", "rotate", "web/db", "--label=team=core"]);
    assert_eq!(refused.status.code(), Some(5), "{}", text(&refused));
    assert_eq!(site.entries("prepare").len(), changes);
    site.ctl(&["secret", "rotate", "web/db"]);
    let secret = site.ctl_json(&["secret", "show", "web/db"]);
    assert_eq!(secret["labels"], json!({"team": "edge"}));
}
