//! Lists: whole, page by page, narrowed down, and of nothing that an operator does not see.

use std::{collections::BTreeSet, fs};

use client::{Manager, v1};
use custody::role::Role;
use prost::Message;
use serde_json::{Value, json};
use softhsm_tests::{Site, is_root, load::runtime, text, world::TlsPair};

use crate::{DENIED, INVALID_ARGUMENT, OPERATOR, assign, call_as, ctl_as, manager_call};

/// Names of what a document lists.
fn names(document: &Value, list: &str) -> Vec<String> {
    let items = document[list].as_array().unwrap().iter();
    let name = |item: &Value| match item["group"].as_str() {
        Some(group) => format!("{group}/{}", item["name"].as_str().unwrap()),
        None => item["name"].as_str().unwrap().to_owned(),
    };
    items.map(name).collect()
}

fn listed(site: &Site, args: &[&str]) -> Vec<String> {
    let list = if args[0] == "group" {
        "groups"
    } else {
        "secrets"
    };
    names(&site.ctl_json(args), list)
}

fn put(site: &Site, secret: &str, more: &[&str]) {
    let generate = ["secret", "generate", secret, "--type", "password"];
    site.ctl(&[&generate[..], more].concat());
}

/// Two groups with two passwords each.
fn furnished() -> Site {
    let site = Site::new();
    let daemon = site.start();
    for (group, environment) in [("edge", "production"), ("ledger", "test")] {
        site.ctl(&["group", "create", group, "--environment", environment]);
        put(&site, &format!("{group}/api"), &["--label", "team=core"]);
        put(
            &site,
            &format!("{group}/db"),
            &["--description", "of the ledger"],
        );
    }
    daemon.stop();
    site
}

#[test]
fn what_is_looked_for_is_found_by_what_is_public() {
    let site = furnished();
    let daemon = site.start();
    let list = |more: &[&str]| listed(&site, &[&["secret", "list"], more].concat());
    assert_eq!(
        list(&[]),
        ["edge/api", "edge/db", "ledger/api", "ledger/db"]
    );
    assert_eq!(list(&["edge"]), ["edge/api", "edge/db"]);
    assert_eq!(list(&["--label=team=core"]), ["edge/api", "ledger/api"]);
    assert_eq!(
        list(&["--environment=test", "--label=!team"]),
        ["ledger/db"]
    );
    assert_eq!(
        list(&["--business-group=", "--name=D*"]),
        ["edge/db", "ledger/db"]
    );
    let search = |more: &[&str]| listed(&site, &[&["secret", "search"], more].concat());
    assert_eq!(search(&["LEDGER"]), ["edge/db", "ledger/db"]);
    assert_eq!(search(&["ledger", "--group=edge"]), ["edge/db"]);
    assert!(search(&["nothing of the kind"]).is_empty());
    assert_eq!(
        listed(&site, &["group", "list", "--name=*G*"]),
        ["edge", "ledger"]
    );
    assert_eq!(
        listed(&site, &["group", "list", "--environment=test"]),
        ["ledger"]
    );

    // What a certificate says, of the version that says it; after a restart, too.
    site.put_tls("web/tls");
    let shown = site.ctl_json(&["secret", "show", "web/tls"]);
    let properties = shown["current"]["properties"].as_array().unwrap();
    let serial = properties.iter().find(|it| it["name"] == "serial");
    let serial = serial.unwrap()["value"].as_str().unwrap();
    renew(&site, "web/tls");
    let by_serial = format!("--property=serial={serial}");
    let found = || site.ctl_json(&["secret", "list", &by_serial])["secrets"].clone();
    let before = found();
    assert_eq!(before.as_array().unwrap().len(), 1);
    assert_eq!(before[0]["found"], json!([1]));
    assert_eq!(before[0]["current"]["number"], 2);
    daemon.stop();
    let _daemon = site.start();
    assert_eq!(found(), before);
    assert_eq!(search(&[serial]), ["web/tls"]);
}

/// Writes another key pair into `secret`.
fn renew(site: &Site, secret: &str) {
    let pair = TlsPair::new();
    let [chain, key] =
        [("chain.pem", &pair.certificate), ("new.pem", &pair.key)].map(|(file, pem)| {
            let path = site.path(file);
            fs::write(&path, pem).unwrap();
            path.to_str().unwrap().to_owned()
        });
    let chain = format!("certificate-chain={chain}");
    let key = format!("private-key={key}");
    site.ctl(&["secret", "put", secret, "--type", "keystore", &chain, &key]);
}

#[test]
fn pages_hold_each_secret_once_while_others_come_and_go() {
    let site = furnished();
    let _daemon = site.start();
    runtime().block_on(async {
        let manager = site.manager().await;
        let mut request = v1::ListSecretsRequest {
            page_size: 1,
            ..Default::default()
        };
        let mut seen = Vec::new();
        for nth in 0.. {
            let page = manager.list_secrets(request.clone()).await.unwrap();
            assert!(page.secrets.len() <= 1);
            seen.extend(
                page.secrets
                    .into_iter()
                    .map(|it| format!("{}/{}", it.group, it.name)),
            );
            request.page_token = page.next_page_token;
            match nth {
                // The one at which the page ended, and one before and one after it.
                1 => {
                    site.ctl(&["secret", "delete", "edge/db", "--yes"]);
                    put(&site, "edge/aaa", &[]);
                    put(&site, "ledger/aaa", &[]);
                }
                _ if request.page_token.is_empty() => break,
                _ => {}
            }
        }
        assert_eq!(
            seen,
            [
                "edge/api",
                "edge/db",
                "ledger/aaa",
                "ledger/api",
                "ledger/db"
            ]
        );
        assert_eq!(everything(&manager, 2).await.len(), 5);
    });
}

/// All secrets, by pages of so many.
async fn everything(manager: &Manager, page_size: u32) -> BTreeSet<String> {
    let mut request = v1::ListSecretsRequest {
        page_size,
        ..Default::default()
    };
    let mut all = BTreeSet::new();
    loop {
        let page = manager.list_secrets(request.clone()).await.unwrap();
        for secret in page.secrets {
            assert!(all.insert(format!("{}/{}", secret.group, secret.name)));
        }
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return all;
        }
    }
}

#[test]
fn lists_and_their_tokens_tell_nothing_of_groups_without_a_role() {
    if !is_root("lists_and_their_tokens_tell_nothing_of_groups_without_a_role") {
        return;
    }
    let site = furnished();
    let _daemon = site.start();
    assign(&site, Role::Reader, Some("edge"), OPERATOR);
    for (args, wanted) in [
        (&["group", "list"][..], vec!["edge"]),
        (&["group", "list", "--name=ledger"], vec![]),
        (&["secret", "list"], vec!["edge/api", "edge/db"]),
        (&["secret", "list", "--environment=test"], vec![]),
        (&["secret", "search", "ledger"], vec!["edge/db"]),
    ] {
        let args = [args, &["--output=json"]].concat();
        let output = ctl_as(&site, OPERATOR, &args);
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        let list = if args[0] == "group" {
            "groups"
        } else {
            "secrets"
        };
        assert_eq!(names(&document, list), wanted, "{args:?}");
        assert_eq!(document["more"], false, "{args:?}");
    }
    let refused = ctl_as(&site, OPERATOR, &["secret", "list", "ledger"]);
    assert_eq!(refused.status.code(), DENIED, "{}", text(&refused));

    // A token that was made up, or is another list's, moves nobody over the fence.
    let page = |token: &str| {
        let request = v1::ListSecretsRequest {
            page_size: 1,
            page_token: token.into(),
            ..Default::default()
        };
        manager_call("ListSecrets", &request.encode_to_vec())
    };
    let own = runtime().block_on(async {
        let manager = site.manager().await;
        let request = v1::ListSecretsRequest {
            page_size: 3,
            ..Default::default()
        };
        manager.list_secrets(request).await.unwrap().next_page_token
    });
    let ask = |token: &str| {
        let answered = call_as(&site, OPERATOR, &[page(token)]);
        answered.answers.into_iter().next().unwrap()
    };
    let had = |token: &str| {
        let answer = ask(token);
        let bytes = hex::decode(answer["bytes"].as_str().unwrap()).unwrap();
        let page = v1::ListSecretsResponse::decode(&*bytes).unwrap();
        let names = page.secrets.into_iter().map(|it| it.name);
        (names.collect::<Vec<_>>(), page.next_page_token)
    };
    assert_eq!(had(&own), (vec![], String::new()));
    assert_eq!(ask("00")["code"], INVALID_ARGUMENT);
    let (first, token) = had("");
    assert_eq!(first, ["api"]);
    let told = hex::decode(&token).unwrap();
    assert!(!String::from_utf8_lossy(&told).contains("ledger"));
    assert_eq!(had(&token), (vec!["db".to_owned()], String::new()));
}
