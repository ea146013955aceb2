//! `custodyctl secret generate` and `rotate`: what they ask for.

use client::v1;

use crate::canned::Daemon;

fn asked(args: &[&str]) -> v1::RotateSecretRequest {
    let daemon = Daemon::start();
    let output = daemon.run(args);
    assert!(output.status.success(), "{output:?}");
    daemon.asked().rotate.unwrap()
}

#[test]
fn a_first_version_is_only_made_where_there_is_none() {
    let request = asked(&["secret", "generate", "web/db", "--type", "password"]);
    let expected = v1::RotateSecretRequest {
        group: "web".into(),
        name: "db".into(),
        r#type: Some("password".into()),
        expected: Some(0),
        ..Default::default()
    };
    assert_eq!(request, expected);
}

#[test]
fn what_is_said_is_asked_for() {
    let request = asked(&[
        "secret",
        "rotate",
        "web/db",
        "--length=30",
        "--alphabet=printable",
        "--set=username=eva",
        "--expect=2",
        "--overlap=1h",
        "--keep=3",
    ]);
    let expected = v1::RotateSecretRequest {
        group: "web".into(),
        name: "db".into(),
        set: vec![v1::Property {
            name: "username".into(),
            value: "eva".into(),
        }],
        length: Some(30),
        alphabet: Some("printable".into()),
        expected: Some(2),
        overlap_seconds: Some(3600),
        keep: Some(3),
        ..Default::default()
    };
    assert_eq!(request, expected);
}
