//! What a secret refers to, fetched with it.

use std::fs;

use crate::canned::{CONTENT, Daemon};

fn unresolved(daemon: &Daemon) -> bool {
    daemon.asked().fetch.unwrap().unresolved
}

#[test]
fn each_part_of_a_context_is_in_a_folder_of_its_own() {
    let daemon = Daemon::with_kind("tls-context");
    let output = daemon.run(["fetch", "web/tls", "--out", "new/"]);
    assert!(output.status.success(), "{output:?}");
    assert!(!unresolved(&daemon));
    for (file, field) in [
        ("context/min-version", "min-version"),
        ("context/keystore", "keystore"),
        ("keystore/certificate-chain.pem", "certificate-chain"),
        ("keystore/private-key.pem", "private-key"),
        ("crls/crls.pem", "crls"),
    ] {
        let content = fs::read_to_string(daemon.path("new").join(file)).unwrap();
        assert_eq!(content, format!("{field}: {CONTENT}"), "{file}");
    }
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(
        told.contains("fetched web/tls@2, journal entry 17"),
        "{told}"
    );
    assert!(
        told.contains("with the keystore pki/keystore-of-web@5, journal entry 18"),
        "{told}"
    );
    assert!(!told.contains(CONTENT));
}

#[test]
fn json_tells_of_each_part_and_holds_no_content() {
    let daemon = Daemon::with_kind("tls-context");
    let output = daemon.run(["fetch", "web/tls", "--out", "new/", "--output", "json"]);
    let told = String::from_utf8(output.stdout).unwrap();
    let told = told.replace(&daemon.path("new").display().to_string(), "new");
    assert!(!told.contains(CONTENT));
    insta::assert_snapshot!("a context", told);
}

#[test]
fn what_a_secret_refers_to_is_not_asked_for_where_it_has_no_place() {
    for where_to in [
        &[][..],
        &["--out", "one.pem"],
        &["--out", "new/", "--unresolved"],
    ] {
        let daemon = Daemon::with_kind("tls-context");
        let field = ["fetch", "web/tls", "--field", "min-version"];
        let output = daemon.run(field.iter().chain(where_to));
        assert!(output.status.success(), "{output:?}");
        assert!(unresolved(&daemon), "{where_to:?}");
    }
}

#[test]
fn a_reference_says_what_to_fetch() {
    let daemon = Daemon::with_kind("pair");
    let output = daemon.run(["fetch", "custody:web/tls@previous#other"]);
    assert_eq!(output.stdout, format!("other: {CONTENT}").as_bytes());
    let asked = daemon.asked().fetch.unwrap();
    assert_eq!(
        (asked.which.as_deref(), &*asked.fields),
        (Some("previous"), &["other".to_owned()][..])
    );
}
