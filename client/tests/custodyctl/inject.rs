//! What people's own files refer to, put in place.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Output};

use tonic::Status;

use crate::{
    canned::{CONTENT, Daemon},
    terminal::at_a_terminal,
};

fn inject(daemon: &Daemon, template: &str, out: &[&str]) -> Output {
    fs::write(daemon.path("template"), template).unwrap();
    daemon.run(["inject", "--in", "template"].iter().chain(out))
}

#[test]
fn placeholders_give_way_to_content_and_all_else_stays() {
    let daemon = Daemon::with_kind("pair");
    let template = "a={{custody:web/tls#one}}\nb={{ custody:web/tls#other }} {{ .Other }}\n\
                    {{!custody:web/tls}}\n";
    let output = inject(&daemon, template, &[]);
    let expected =
        format!("a=one: {CONTENT}\nb=other: {CONTENT} {{{{ .Other }}}}\n{{{{custody:web/tls}}}}\n");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
    let asked = daemon.asked().fetch.unwrap();
    assert_eq!(
        asked.fields,
        ["one", "other"],
        "one fetch for both, and for no more"
    );
    assert!(asked.unresolved);
}

#[test]
fn a_secret_with_one_field_needs_no_name_of_it() {
    let daemon = Daemon::start();
    let output = inject(&daemon, "{{custody:web/tls@previous}}", &[]);
    assert_eq!(output.stdout, format!("password: {CONTENT}").as_bytes());
    assert_eq!(
        daemon.asked().fetch.unwrap().which.as_deref(),
        Some("previous")
    );
}

#[test]
fn the_file_is_its_owner_s_alone_and_what_is_told_holds_no_content() {
    let daemon = Daemon::start();
    let output = inject(&daemon, "x{{custody:web/tls}}", &["--out", "out"]);
    assert!(output.status.success(), "{output:?}");
    let out = daemon.path("out");
    assert_eq!(
        fs::read_to_string(&out).unwrap(),
        format!("xpassword: {CONTENT}")
    );
    assert_eq!(
        fs::metadata(&out).unwrap().permissions().mode() & 0o7777,
        0o600
    );
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(
        told.contains("fetched web/tls@2, journal entry 17"),
        "{told}"
    );
    assert!(!told.contains(CONTENT));
}

#[test]
fn what_is_wrong_is_named_by_its_place_and_nothing_is_written() {
    for (template, code, place) in [
        ("\n  {{custody:web/tls", 7, "template:2:3: "),
        (
            "{{custody:web/tls#one}}{{custody:web}}",
            7,
            "template:1:24: ",
        ),
        ("{{custody:web/tls}}", 4, "template:1:1: custody:web/tls: "),
        (
            "{{custody:web/tls#third}}",
            4,
            "template:1:1: custody:web/tls#third: ",
        ),
    ] {
        let daemon = Daemon::with_kind("pair");
        fs::write(daemon.path("out"), "before").unwrap();
        let output = inject(&daemon, template, &["--out", "out"]);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.contains(place), "{told}");
        assert!(!told.contains(CONTENT), "{told}");
        assert_eq!(fs::read_to_string(daemon.path("out")).unwrap(), "before");
    }
}

#[test]
fn a_malformed_template_is_refused_before_anything_is_fetched() {
    let daemon = Daemon::start();
    inject(&daemon, "{{custody:web/tls}} {{custody:web", &[]);
    assert!(daemon.asked().fetch.is_none());
}

#[test]
fn one_denial_leaves_the_file_as_it_was() {
    let daemon = Daemon::failing([Status::permission_denied("denied")]);
    let output = inject(&daemon, "\n{{custody:web/tls}}", &["--out", "out"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        told.contains("template:2:1: custody:web/tls: denied"),
        "{told}"
    );
    assert!(told.contains("hint: 'custodyctl whoami'"), "{told}");
    assert!(!daemon.path("out").exists());
}

#[test]
fn nothing_is_fetched_for_a_file_that_cannot_be_written() {
    let daemon = Daemon::start();
    for (out, code, says) in [
        ("missing/file", 1, "cannot write missing/file"),
        ("/dev/null", 1, "is no regular file"),
        (".", 2, "is a folder; name a file"),
    ] {
        let output = inject(&daemon, "{{custody:web/tls}}", &["--out", out]);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.contains(says), "{told}");
    }
    assert!(daemon.asked().fetch.is_none());
}

#[test]
fn content_comes_to_a_terminal_only_after_a_yes() {
    let daemon = Daemon::start();
    let template = daemon.path("template");
    fs::write(&template, "{{custody:web/tls}}").unwrap();
    let args = ["inject", "--in", template.to_str().unwrap()];
    let (code, shown) = at_a_terminal(&daemon, &args, "n");
    assert_eq!(code, Some(9), "{shown}");
    assert!(!shown.contains(CONTENT), "{shown}");
    assert!(
        daemon.asked().fetch.is_none(),
        "what is declined is not fetched"
    );
    let (code, shown) = at_a_terminal(&daemon, &args, "y");
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains(CONTENT), "{shown}");
}
