//! `custodyctl compliance` and `custodyctl group rules`.

use tonic::Status;

use crate::canned::Daemon;

const RULES: &str = r#"
# What we want of keys.
mode = "enforce"
min-rsa-bits = 3072
key-algorithms = ["rsa", "ec"]
max-validity-days = 398
"#;

fn file(daemon: &Daemon, text: &str) {
    std::fs::write(daemon.path("rules.toml"), text).unwrap();
}

#[test]
fn findings_are_listed_and_told_by_the_exit_code() {
    let daemon = Daemon::start();
    for format in ["table", "json"] {
        let output = daemon.run(["compliance", "web", "--output", format]);
        assert_eq!(output.status.code(), Some(10));
        assert_eq!(
            String::from_utf8(output.stderr).unwrap(),
            "custodyctl: findings: 2, and those of 2 more secrets\n"
        );
        let shown = String::from_utf8(output.stdout).unwrap();
        insta::assert_snapshot!(format!("findings {format}"), shown);
    }
    daemon.clean_up();
    let output = daemon.run(["compliance"]);
    assert!(output.status.success());
    assert!(output.stdout.is_empty());
}

#[test]
fn rules_that_are_shown_can_be_given_back() {
    let daemon = Daemon::start();
    let output = daemon.run(["group", "rules", "web"]);
    assert!(output.status.success());
    assert_eq!(daemon.calls(), ["get_group"]);
    let shown = String::from_utf8(output.stdout).unwrap();
    insta::assert_snapshot!("rules", shown);
    file(&daemon, &shown);
    daemon.clean_up();
    let output = daemon.run(["group", "rules", "web", "rules.toml"]);
    assert!(output.status.success());
    let given = daemon.asked().rules.unwrap().rules.unwrap();
    assert_eq!(given.mode, "enforce");
    assert_eq!(given.min_rsa_bits, Some(3072));
    assert_eq!(given.key_algorithms, ["rsa", "ec"]);
    assert_eq!(given.min_tls_version.as_deref(), Some("TLSv1.3"));
}

#[test]
fn what_would_fall_foul_is_shown_before_rules_are_set() {
    let daemon = Daemon::start();
    file(&daemon, RULES);
    let output = daemon.run(["group", "rules", "web", "rules.toml", "--dry-run"]);
    assert_eq!(output.status.code(), Some(10));
    let asked = daemon.asked().rules.unwrap();
    assert!(asked.dry_run);
    assert_eq!(asked.rules.unwrap().max_validity_days, Some(398));

    daemon.clean_up();
    let output = daemon.run(["group", "rules", "web", "--clear"]);
    assert!(output.status.success());
    let asked = daemon.asked().rules.unwrap();
    assert!(asked.rules.is_none() && !asked.dry_run);
}

#[test]
fn a_file_that_holds_no_rules_is_refused_and_nothing_is_set() {
    let daemon = Daemon::start();
    for (wrong, named) in [
        ("min-rsa-bit = 1", "min-rsa-bit"),
        ("mode = \"ignore\"", "ignore"),
        ("max-age-days = 0", "zero"),
    ] {
        file(&daemon, wrong);
        let output = daemon.run(["group", "rules", "web", "rules.toml"]);
        assert_eq!(output.status.code(), Some(7), "{wrong}");
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.contains(named), "{told}");
    }
    assert_eq!(daemon.calls(), [""; 0]);
}

#[test]
fn what_rules_refuse_is_told_with_each_finding() {
    let refusal = "the rules of group web refuse version web/tls@3:\n\
                   key-size: a key is RSA 2048, below 3072 bits; replace it by one of 3072 bits or more\n\
                   ended: its chain-not-after is over; replace it by one that is valid";
    for arguments in [
        &["secret", "activate", "web/tls"][..],
        &["secret", "enable", "web/tls@3"],
    ] {
        let daemon = Daemon::failing([Status::failed_precondition(refusal)]);
        let output = daemon.run(arguments);
        assert_eq!(output.status.code(), Some(5));
        assert!(output.stdout.is_empty());
        insta::assert_snapshot!(
            "refused by rules",
            String::from_utf8(output.stderr).unwrap()
        );
    }
}
