//! Where content goes, and where it does not.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Output, Stdio},
};

use tonic::Status;

use crate::canned::{CONTENT, Daemon};

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn put(daemon: &Daemon, args: &[&str], input: &[u8]) -> Output {
    let mut child = daemon
        .command()
        .args(["secret", "put", "web/tls"])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Fails when the command refuses before it reads.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

#[test]
fn a_pipe_gets_the_bytes_and_nothing_else() {
    let daemon = Daemon::start();
    let output = daemon.run(["fetch", "web/tls@1"]);
    assert_eq!(output.stdout, format!("password: {CONTENT}").as_bytes());
    assert!(output.stderr.is_empty());
}

#[test]
fn a_keystore_is_the_chain_and_then_the_key() {
    let daemon = Daemon::with_kind("keystore");
    let output = daemon.run(["fetch", "web/tls"]);
    let expected = format!("certificate-chain: {CONTENT}\nprivate-key: {CONTENT}\n");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
}

#[test]
fn one_field_can_be_chosen() {
    let daemon = Daemon::with_kind("keystore");
    let output = daemon.run(["fetch", "web/tls", "--field", "private-key"]);
    assert_eq!(output.stdout, format!("private-key: {CONTENT}").as_bytes());
    let asked = daemon.asked().fetch.unwrap().fields;
    assert_eq!(asked, ["private-key"], "the rest must not leave custodyd");
    let output = daemon.run(["fetch", "web/tls", "--field", "password"]);
    assert_eq!(output.status.code(), Some(4));
    assert!(output.stdout.is_empty());
}

#[test]
fn several_fields_can_be_chosen_and_each_must_come() {
    let daemon = Daemon::with_kind("pair");
    let both = ["--field=other", "--field=one", "--out=new/"];
    let output = daemon.run(["fetch", "web/tls"].iter().chain(&both));
    assert!(output.status.success());
    assert_eq!(daemon.asked().fetch.unwrap().fields, ["other", "one"]);
    assert_eq!(names(&daemon.path("new")), ["one", "other"]);

    let one_too_many = ["--field=one", "--field=third", "--out=newer/"];
    let output = daemon.run(["fetch", "web/tls"].iter().chain(&one_too_many));
    assert_eq!(output.status.code(), Some(4));
    assert!(!daemon.path("newer").exists());
}

#[test]
fn fields_without_a_common_format_are_not_mixed() {
    let daemon = Daemon::with_kind("pair");
    let output = daemon.run(["fetch", "web/tls"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
}

#[test]
fn a_folder_gets_a_private_file_for_each_field() {
    let daemon = Daemon::with_kind("keystore");
    let output = daemon.run(["fetch", "web/tls", "--out", "new/"]);
    assert!(output.status.success());
    let folder = daemon.path("new");
    assert_eq!(names(&folder), ["certificate-chain.pem", "private-key.pem"]);
    assert_eq!(mode(&folder), 0o700);
    for name in names(&folder) {
        assert_eq!(mode(&folder.join(&name)), 0o600, "{name}");
    }
    let key = fs::read_to_string(folder.join("private-key.pem")).unwrap();
    assert_eq!(key, format!("private-key: {CONTENT}"));
}

#[test]
fn a_file_that_others_could_read_is_private_afterwards() {
    let daemon = Daemon::start();
    let file = daemon.path("password");
    fs::write(&file, "old").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(
        daemon
            .run(["fetch", "web/tls", "--out", "password"])
            .status
            .success()
    );
    assert_eq!(mode(&file), 0o600);
    let content = fs::read_to_string(&file).unwrap();
    assert_eq!(content, format!("password: {CONTENT}"));
}

#[test]
fn a_fetch_that_fails_leaves_the_old_file() {
    let daemon = Daemon::failing([Status::data_loss("the content fails its check")]);
    let folder = daemon.path("out");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("password"), "old").unwrap();
    let output = daemon.run(["fetch", "web/tls", "--out", "out/password"]);
    assert_eq!(output.status.code(), Some(8));
    assert_eq!(names(&folder), ["password"]);
    assert_eq!(fs::read(folder.join("password")).unwrap(), b"old");
}

#[test]
fn a_place_that_cannot_be_written_is_found_before_the_fetch() {
    let daemon = Daemon::start();
    for out in ["missing/file", "missing/folder/"] {
        let output = daemon.run(["fetch", "web/tls", "--out", out]);
        assert_eq!(output.status.code(), Some(1), "{out}");
    }
    assert!(daemon.calls().is_empty());
}

#[test]
fn a_name_that_cannot_be_replaced_leaves_no_file_behind() {
    let daemon = Daemon::with_kind("keystore");
    let folder = daemon.path("out");
    fs::create_dir_all(folder.join("certificate-chain.pem/busy")).unwrap();
    let output = daemon.run(["fetch", "web/tls", "--out", "out"]);
    assert_eq!(output.status.code(), Some(1));
    let left = names(&folder);
    assert!(
        !left.iter().any(|name| name.starts_with(".custodyctl")),
        "{left:?}"
    );
}

#[test]
fn json_tells_of_a_release_and_holds_no_content() {
    let daemon = Daemon::with_kind("keystore");
    let output = daemon.run(["fetch", "web/tls", "--out", "new/", "-o", "json"]);
    let json = String::from_utf8(output.stdout).unwrap();
    assert!(!json.contains("horse") && !json.contains("aG9yc2"));
    insta::assert_snapshot!(json);
}

#[test]
fn a_folder_gets_the_variables_of_a_key_value_under_their_names() {
    let daemon = Daemon::with_kind("key-value");
    let output = daemon.run(["fetch", "web/tls", "--out", "new/"]);
    assert!(output.status.success());
    assert_eq!(names(&daemon.path("new")), ["DB_PASSWORD", "tls.key"]);
}

#[test]
fn a_field_that_cannot_name_a_file_is_refused_before_it_is_asked_for() {
    let daemon = Daemon::with_kind("hidden");
    for field in [".bashrc", "../x", "a/b"] {
        let output = daemon.run(["fetch", "web/tls", "--out", "new/", "--field", field]);
        assert_eq!(output.status.code(), Some(2), "{field}");
    }
    assert!(daemon.calls().is_empty());
    // One that was not named comes as a surprise, and still names no file.
    let output = daemon.run(["fetch", "web/tls", "--out", "new/"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(!daemon.path("new").exists());
    let output = daemon.run(["fetch", "web/tls", "--out", "file", "--field", ".bashrc"]);
    assert!(output.status.success());
}

#[test]
fn a_format_is_asked_for_and_its_documents_are_written_under_their_names() {
    let daemon = Daemon::with_kind("keystore");
    let output = daemon.run(["fetch", "web/tls", "--format", "pkcs12", "--out", "new/"]);
    assert!(output.status.success());
    let asked = daemon.asked().fetch.unwrap();
    assert_eq!(asked.format.as_deref(), Some("pkcs12"));
    assert_eq!(asked.password, None);
    let folder = daemon.path("new");
    assert_eq!(names(&folder), ["keystore.p12", "password"]);
    for name in names(&folder) {
        assert_eq!(mode(&folder.join(&name)), 0o600, "{name}");
    }
}

#[test]
fn the_password_of_a_key_store_comes_from_a_file_and_not_from_the_command_line() {
    let daemon = Daemon::with_kind("keystore");
    fs::write(daemon.path("pw"), "changeit\n").unwrap();
    let fetch = ["fetch", "web/tls", "--format=pkcs12", "--out=store.p12"];
    let output = daemon.run(fetch.iter().chain(&["--password-file=pw"]));
    assert!(output.status.success());
    let asked = daemon.asked().fetch.unwrap();
    assert_eq!(asked.password.unwrap().value, "changeit");
    assert_eq!(mode(&daemon.path("store.p12")), 0o600);

    fs::write(daemon.path("short"), "short").unwrap();
    fs::write(daemon.path("binary"), b"\xff\xff\xff\xff\xff\xff").unwrap();
    let calls = daemon.calls().len();
    for (more, code) in [
        (&["--password-file=short"][..], 7),
        (&["--password-file=binary"], 7),
        (&["--password-file=missing"], 7),
        // The password that is made would be a second file.
        (&[], 2),
    ] {
        let output = daemon.run(fetch.iter().chain(more));
        assert_eq!(output.status.code(), Some(code), "{more:?}");
    }
    for words in [
        &["--password-file=pw"][..],
        &["--format=json", "--password-file=pw"],
        &["--format=pfx"],
    ] {
        let output = daemon.run(["fetch", "web/tls"].iter().chain(words));
        assert!(!output.status.success(), "{words:?}");
    }
    assert_eq!(daemon.calls().len(), calls, "nothing of it is on record");
}

#[test]
fn pem_for_one_file_is_a_bundle() {
    let daemon = Daemon::with_kind("keystore");
    let output = daemon.run(["fetch", "web/tls", "--format=pem"]);
    assert_eq!(output.stdout, format!("bundle.pem: {CONTENT}").as_bytes());
    let asked = || daemon.asked().fetch.unwrap().format.unwrap();
    assert_eq!(asked(), "pem-bundle");
    let output = daemon.run(["fetch", "web/tls", "--format=pem", "--out=new/"]);
    assert!(output.status.success());
    assert_eq!(asked(), "pem");
    let files = ["certificate-chain.pem", "private-key.pem"];
    assert_eq!(names(&daemon.path("new")), files);
}

#[test]
fn one_newline_is_taken_from_a_password() {
    for (input, length) in [("hunter2", 7), ("hunter2\n", 7), ("hunter2\n\n", 8)] {
        let daemon = Daemon::start();
        assert!(
            put(&daemon, &["--type=password"], input.as_bytes())
                .status
                .success()
        );
        assert_eq!(daemon.put(), [("password".into(), length)], "{input:?}");
    }
}

#[test]
fn a_blob_is_stored_as_it_is() {
    let daemon = Daemon::start();
    assert!(
        put(&daemon, &["--type=blob", "-"], b"\n\0\n")
            .status
            .success()
    );
    assert_eq!(daemon.put(), [("content".into(), 3)]);
}

#[test]
fn fields_come_from_their_files() {
    let daemon = Daemon::start();
    fs::write(daemon.path("tls.key"), "four").unwrap();
    let args = [
        "--type=keystore",
        "certificate-chain=-",
        "private-key=tls.key",
    ];
    assert!(put(&daemon, &args, b"chain").status.success());
    let expected = [("certificate-chain".into(), 5), ("private-key".into(), 4)];
    assert_eq!(daemon.put(), expected);
}

#[test]
fn content_over_the_limit_is_refused_here() {
    let daemon = Daemon::start();
    let output = put(&daemon, &["--type=blob"], &vec![7; (1 << 20) + 1]);
    assert_eq!(output.status.code(), Some(7));
    assert!(daemon.calls().is_empty());
    assert!(
        put(&daemon, &["--type=blob"], &vec![7; 1 << 20])
            .status
            .success()
    );
}
