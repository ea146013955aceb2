//! What is brought in from files, shown before and told afterwards.

mod hostile;

use std::{
    fs,
    process::Output,
    time::{Duration, Instant},
};

use serde_json::Value;
use tonic::Status;

use crate::{
    canned::{CONTENT, Daemon},
    failing::unavailable_for,
    terminal::at_a_terminal,
};

const KEY: &str = include_str!("../../../custody/src/secret/key/samples/p256-pkcs8.pem");

/// openssl pkcs8 -topk8 -passout pass:hunter2
const ENCRYPTED: &str = "\
-----BEGIN ENCRYPTED PRIVATE KEY-----
MIGbMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAh42Ip8Pev5tgICCAAw
DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEKG+znK+CCxDTYtikI28CkUEQDEV
6HT9JJzueI6fll2K7GnVwtBPC/Wh6UYKTGk9l6+m/4SnkGQ1N3IAIzWEtsPiTRur
zGWOHNB5HavSnel5+MM=
-----END ENCRYPTED PRIVATE KEY-----
";

/// Another, under "swordfish".
const ENCRYPTED_OTHERWISE: &str = "\
-----BEGIN ENCRYPTED PRIVATE KEY-----
MIGbMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAiKEeu1va3l9gICCAAw
DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEI+CIu5cs7i+3OHeSkYHHcwEQHfV
ZGTrUaJY2VGEsHPyGaJfQf5cO7zH9IcpcfwH6QVtE2LwBMcta1S0L20xHKy+2COM
81Qbm22Jb63GtGkWJUI=
-----END ENCRYPTED PRIVATE KEY-----
";

/// A manifest of two Secrets.
fn secrets() -> String {
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: db, namespace: prod}}\n\
         type: kubernetes.io/basic-auth\nstringData: {{username: joe, password: {CONTENT}}}\n\
         ---\napiVersion: v1\nkind: Secret\nmetadata: {{name: registry}}\n\
         type: kubernetes.io/dockerconfigjson\nstringData: {{.dockerconfigjson: '{CONTENT}'}}\n"
    )
}

/// The same with something else between them.
fn manifest() -> String {
    let canary = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: canary}\n---\n";
    secrets().replacen("---\n", canary, 1)
}

/// A custodyd, and in its folder "in" files of every form that needs no certificate.
fn furnished() -> Daemon {
    let daemon = Daemon::start();
    for (name, content) in [
        ("app.env", format!("A={CONTENT}\nB='two'\n")),
        ("bad.env", format!("A={CONTENT} $x\n")),
        ("key.pem", format!("{KEY}{CONTENT}\n")),
        ("notes.txt", CONTENT.to_owned()),
        ("twice/a b.env", "A=1".to_owned()),
        ("twice/a-b.env", "A=1".to_owned()),
        ("k8s.yaml", manifest()),
        ("locked.key", ENCRYPTED.to_owned()),
        (
            "public.pem",
            "-----BEGIN PUBLIC KEY-----\nMAA=\n-----END PUBLIC KEY-----\n".to_owned(),
        ),
    ] {
        let path = daemon.path("in").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    daemon
}

/// `custodyctl import in --group web` and more.
fn import(daemon: &Daemon, more: &[&str]) -> Output {
    daemon.run(["import", "in", "--group=web"].iter().chain(more))
}

fn text(output: &Output) -> String {
    let all = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8(all).unwrap()
}

fn report(daemon: &Daemon) -> Value {
    serde_json::from_slice(&fs::read(daemon.path("report.json")).unwrap()).unwrap()
}

/// Name and outcome of each secret of a report.
fn outcomes(report: &Value) -> Vec<(String, String)> {
    let secrets = report["secrets"].as_array().unwrap();
    let text = |secret: &Value, key: &str| secret[key].as_str().unwrap().to_owned();
    secrets
        .iter()
        .map(|secret| (text(secret, "name"), text(secret, "outcome")))
        .collect()
}

const INCOMPLETE: Option<i32> = Some(11);

#[test]
fn a_dry_run_shows_what_would_be_stored_and_asks_nobody() {
    let daemon = furnished();
    let output = import(&daemon, &["--dry-run", "--report=report.json"]);
    assert_eq!(output.status.code(), INCOMPLETE, "{}", text(&output));
    assert_eq!(daemon.calls(), [""; 0]);
    insta::assert_snapshot!(text(&output));
    let written = fs::read_to_string(daemon.path("report.json")).unwrap();
    for shown in [&text(&output), &written] {
        assert!(
            !shown.contains(CONTENT) && !shown.contains("two"),
            "{shown}"
        );
        assert!(!shown.contains(KEY.lines().nth(1).unwrap()), "{shown}");
    }
    assert_eq!(report(&daemon)["dry_run"], true);

    let gone = daemon
        .command()
        .env("CUSTODY_MANAGER", "/nowhere")
        .args(["import", "in/app.env"])
        .args(["--group=web", "--dry-run"])
        .output()
        .unwrap();
    assert!(
        gone.status.success(),
        "a dry run needs no custodyd: {}",
        text(&gone)
    );
}

#[test]
fn a_report_tells_of_each_secret_what_became_of_it() {
    let daemon = furnished();
    daemon.fail([
        Status::invalid_argument("what is wrong"),
        Status::failed_precondition("the current version is 2, not 0"),
        // the secret is looked up, and found
    ]);
    let output = import(&daemon, &["--yes", "--report=report.json"]);
    assert_eq!(output.status.code(), INCOMPLETE, "{}", text(&output));
    let told = fs::read_to_string(daemon.path("report.json")).unwrap();
    assert!(!told.contains(CONTENT));
    insta::assert_snapshot!(format!("{}\n{told}", text(&output)));
}

#[test]
fn what_would_befall_all_others_ends_an_import_which_says_how_far_it_came() {
    for (status, code) in [
        (Status::permission_denied("takes writer"), 3),
        (Status::not_found("there is no group web"), 4),
        (Status::internal("internal error"), 1),
    ] {
        let daemon = furnished();
        daemon.fail([status]);
        let output = import(&daemon, &["--yes", "--report=report.json"]);
        assert_eq!(output.status.code(), Some(code), "{}", text(&output));
        assert_eq!(daemon.calls(), ["put_secret"]);
        let fates = outcomes(&report(&daemon));
        assert_eq!(fates[0].1, "unknown");
        assert!(
            fates[1..].iter().all(|(_, fate)| fate == "not-reached"),
            "{fates:?}"
        );
        assert_eq!(report(&daemon)["removable"], Value::Array(Vec::new()));
    }
}

#[test]
fn an_import_waits_for_custodyd_and_writes_nothing_over() {
    let daemon = furnished();
    let delay = Duration::from_millis(300);
    daemon.fail([
        unavailable_for(delay),
        Status::unavailable("the token is starting"),
        unavailable_for(delay),
    ]);
    let start = Instant::now();
    let output = import(&daemon, &["--yes", "--report=report.json"]);
    assert_eq!(output.status.code(), INCOMPLETE, "{}", text(&output));
    assert!(start.elapsed() >= 2 * delay);
    let puts = daemon.asked().puts;
    assert!(
        puts.iter().all(|(_, expected)| *expected == Some(0)),
        "{puts:?}"
    );
    assert_eq!(
        puts[..4]
            .iter()
            .filter(|(name, _)| *name == puts[0].0)
            .count(),
        4
    );
    assert!(
        outcomes(&report(&daemon))
            .iter()
            .all(|(_, fate)| fate == "written")
    );
    // The manifest holds something that is no secret, too.
    let removable = &report(&daemon)["removable"];
    assert_eq!(*removable, serde_json::json!(["in/app.env", "in/key.pem"]));
}

#[test]
fn a_secret_that_is_there_is_left_or_written_over_or_ends_the_import_as_told() {
    let conflict = || Status::failed_precondition("the current version is 2, not 0");
    for (way, code, calls, first, second) in [
        ("skip", INCOMPLETE, 2, "exists", "written"),
        ("new-version", INCOMPLETE, 3, "written", "written"),
        ("fail", Some(5), 2, "exists", "not-reached"),
    ] {
        let daemon = furnished();
        daemon.fail([conflict()]);
        let output = import(
            &daemon,
            &["--yes", "--report=report.json", "--on-conflict", way],
        );
        assert_eq!(output.status.code(), code, "{way}: {}", text(&output));
        let fates = outcomes(&report(&daemon));
        assert_eq!((&*fates[0].1, &*fates[1].1), (first, second), "{way}");
        let expected = ["put_secret", "get_secret", "put_secret"];
        assert_eq!(daemon.calls()[..calls], expected[..calls], "{way}");
        let puts = daemon.asked().puts;
        let over = puts.iter().filter(|(_, expected)| *expected == Some(2));
        assert_eq!(over.count(), usize::from(way == "new-version"), "{puts:?}");
    }
}

#[test]
fn a_file_of_which_something_is_not_stored_is_not_to_be_removed() {
    let refused = Status::failed_precondition("the group takes none");
    let calls: [&[Status]; 3] = [
        &[Status::invalid_argument("what is wrong")],
        // The secret is looked up, and not found: it is the group that is in the way.
        &[
            refused.clone(),
            Status::not_found("there is no such secret"),
        ],
        &[],
    ];
    for failures in calls {
        let daemon = Daemon::failing(failures.iter().cloned());
        fs::create_dir(daemon.path("in")).unwrap();
        fs::write(daemon.path("in/k8s.yaml"), secrets()).unwrap();
        let output = import(&daemon, &["--yes", "--report=report.json"]);
        let fates = outcomes(&report(&daemon));
        let (first, code, removable) = match failures {
            [] => ("written", Some(0), &["in/k8s.yaml"][..]),
            _ => ("refused", INCOMPLETE, &[][..]),
        };
        assert_eq!(output.status.code(), code, "{}", text(&output));
        assert_eq!((&*fates[0].1, &*fates[1].1), (first, "written"));
        assert_eq!(report(&daemon)["removable"], serde_json::json!(removable));
    }
}

#[test]
fn nothing_is_stored_before_a_person_has_seen_the_plan_and_said_yes() {
    let daemon = furnished();
    let output = import(&daemon, &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output).contains("--dry-run shows"),
        "{}",
        text(&output)
    );
    let path = daemon.path("in/app.env");
    let args = ["import", path.to_str().unwrap(), "--group=web"];
    let (code, shown) = at_a_terminal(&daemon, &args, "n");
    assert_eq!(code, Some(9), "{shown}");
    assert!(
        shown.contains("web/app") && shown.contains("store 1 secrets in web? [y/N]"),
        "{shown}"
    );
    assert_eq!(daemon.calls(), [""; 0]);
    let (code, shown) = at_a_terminal(&daemon, &args, "y");
    assert_eq!(code, Some(0), "{shown}");
    assert!(
        shown.contains("written, version 2") && !shown.contains(CONTENT),
        "{shown}"
    );
    assert_eq!(
        daemon.put(),
        [("A".to_owned(), CONTENT.len()), ("B".to_owned(), 3)]
    );
}

#[test]
fn a_passphrase_comes_from_a_file_or_is_typed_and_opens_what_it_fits() {
    let daemon = furnished();
    fs::write(daemon.path("wrong"), "other\n").unwrap();
    fs::write(daemon.path("right"), "hunter2\n").unwrap();
    let path = daemon.path("in/locked.key");
    let locked = path.to_str().unwrap();
    let dry = ["import", locked, "--group=web", "--dry-run"];
    for (more, code) in [
        (&[][..], INCOMPLETE),
        (&["--passphrase-file=wrong"], INCOMPLETE),
        (
            &["--passphrase-file=wrong", "--passphrase-file=right"],
            Some(0),
        ),
    ] {
        let output = daemon.run(dry.iter().chain(more));
        assert_eq!(output.status.code(), code, "{more:?}: {}", text(&output));
        let shown = text(&output);
        assert_eq!(shown.contains("Ed25519"), code == Some(0), "{shown}");
        assert_eq!(
            shown.contains("give it with --passphrase-file"),
            code != Some(0),
            "{shown}"
        );
    }
    // Where one opens more than those before and after it, what it opened counts.
    fs::write(&path, [ENCRYPTED, ENCRYPTED_OTHERWISE].concat()).unwrap();
    let right = ["--passphrase-file=right", "--passphrase-file=wrong"];
    let shown = text(&daemon.run(dry.iter().chain(&right)));
    assert!(shown.contains("Ed25519"), "{shown}");
    assert!(shown.contains("give it with --passphrase-file"), "{shown}");
    fs::write(&path, ENCRYPTED).unwrap();
    let (code, shown) = at_a_terminal(&daemon, &dry, "other\nhunter2");
    assert_eq!(code, Some(0), "{shown}");
    // What was typed ahead is shown before the first question.
    let (_, asked) = shown.split_once("passphrase of").unwrap();
    assert!(!asked.contains("hunter2"), "{shown}");
    let (code, shown) = at_a_terminal(&daemon, &dry, "");
    assert_eq!(code, INCOMPLETE, "{shown}");
}

#[test]
fn standard_input_is_imported_too() {
    let daemon = Daemon::start();
    // All of it is taken, and yet there is no file to remove.
    fs::write(daemon.path("k8s.yaml"), secrets()).unwrap();
    let manifest = fs::File::open(daemon.path("k8s.yaml")).unwrap();
    let output = daemon
        .command()
        .args(["import", "-", "--group=web", "--prefix=old-", "--yes"])
        .stdin(manifest)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let names: Vec<_> = daemon
        .asked()
        .puts
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names, ["old-db", "old-registry"]);
    assert!(
        !text(&output).contains("to be removed"),
        "{}",
        text(&output)
    );
}

#[test]
fn variables_and_manifests_may_have_keys_in_them() {
    let daemon = Daemon::start();
    fs::create_dir(daemon.path("in")).unwrap();
    fs::write(daemon.path("in/app.env"), format!("KEY='{KEY}'\n")).unwrap();
    let indented = KEY.replace('\n', "\n    ");
    let manifest =
        "apiVersion: v1\nkind: Secret\nmetadata: {name: pem}\nstringData:\n  key: |\n    ";
    fs::write(daemon.path("in/a.yaml"), format!("{manifest}{indented}\n")).unwrap();
    let output = import(&daemon, &["--yes", "--report=report.json"]);
    assert!(output.status.success(), "{}", text(&output));
    let report = report(&daemon);
    let types = report["secrets"].as_array().unwrap().iter();
    let types: Vec<_> = types
        .map(|secret| secret["type"].as_str().unwrap())
        .collect();
    assert_eq!(types, ["key-value", "key-value"]);
}
