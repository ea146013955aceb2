//! Lists: what they are narrowed down by, and how much of them is shown.

use client::v1;

use crate::canned::Daemon;

#[test]
fn every_filter_reaches_custodyd() {
    let daemon = Daemon::start();
    let output = daemon.run([
        "secret",
        "list",
        "web",
        "--name=tls*",
        "--type=keystore",
        "--label=team!=edge",
        "--label=!old",
        "--property=issuer=*Example CA=1*",
        "--business-group=",
        "--environment=production",
    ]);
    assert!(output.status.success());
    let asked = daemon.asked().list_secrets.unwrap();
    let wanted = v1::ListSecretsRequest {
        group: Some("web".into()),
        page_size: 1000,
        page_token: String::new(),
        name: Some("tls*".into()),
        r#type: Some("keystore".into()),
        labels: vec!["team!=edge".into(), "!old".into()],
        business_group: Some(String::new()),
        environment: Some("production".into()),
        properties: vec![v1::Property {
            name: "issuer".into(),
            value: "*Example CA=1*".into(),
        }],
        text: None,
    };
    assert_eq!(asked, wanted);

    let args = ["secret", "search", "0a:1b", "--group=web"];
    assert!(daemon.run(args).status.success());
    let asked = daemon.asked().list_secrets.unwrap();
    assert_eq!(asked.text.as_deref(), Some("0a:1b"));
    assert_eq!(asked.group.as_deref(), Some("web"));

    let args = [
        "group",
        "list",
        "--name=w*",
        "--label=team",
        "--environment=test",
    ];
    assert!(daemon.run(args).status.success());
    let wanted = v1::ListGroupsRequest {
        page_size: 1000,
        name: Some("w*".into()),
        environment: Some("test".into()),
        labels: vec!["team".into()],
        ..Default::default()
    };
    assert_eq!(daemon.asked().list_groups, Some(wanted));
}

#[test]
fn a_filter_that_is_none_is_refused_before_anybody_is_asked() {
    let daemon = Daemon::start();
    for filter in [
        "--label=team edge",
        "--property=issuer",
        "--type=no-such",
        "--limit=0",
    ] {
        let output = daemon.run(["secret", "list", filter]);
        assert_eq!(output.status.code(), Some(2), "{filter}");
    }
    assert!(daemon.calls().is_empty());
}

#[test]
fn lists_are_read_to_their_end_page_by_page() {
    let daemon = Daemon::start();
    daemon.hold(2001);
    let document = listed(&daemon, &[]);
    assert_eq!(document["secrets"].as_array().unwrap().len(), 2001);
    assert_eq!(document["more"], false);
    assert_eq!(daemon.calls(), ["list_secrets"; 3]);
}

#[test]
fn a_limit_is_kept_and_said_when_there_is_more() {
    let daemon = Daemon::start();
    daemon.hold(1002);
    for (limit, more) in [(3, true), (1001, true), (1002, false), (5000, false)] {
        let document = listed(&daemon, &[&format!("--limit={limit}")]);
        let shown = document["secrets"].as_array().unwrap().len();
        assert_eq!(shown, limit.min(1002), "--limit={limit}");
        assert_eq!(document["more"], more, "--limit={limit}");
    }
    let output = daemon.run(["secret", "list", "--limit=3"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("--limit"), "{stderr}");
}

fn listed(daemon: &Daemon, more: &[&str]) -> serde_json::Value {
    let args = ["secret", "list", "--output=json"];
    let output = daemon.run(args.iter().chain(more).copied());
    serde_json::from_slice(&output.stdout).unwrap()
}
