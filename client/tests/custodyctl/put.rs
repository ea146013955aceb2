//! How content is given: files, variables, and what is public on the command line.

use std::{fs, process::Output};

use custody::secret::Kind;

use crate::canned::{CONTENT, Daemon};

fn with_files(files: &[(&str, &str)]) -> Daemon {
    let daemon = Daemon::start();
    for (name, content) in files {
        fs::write(daemon.folder.path().join(name), content).unwrap();
    }
    daemon
}

fn put(daemon: &Daemon, args: &str) -> Output {
    daemon
        .command()
        .args(["secret", "put", "web/x"])
        .args(args.split(' '))
        .current_dir(&daemon.folder)
        .output()
        .unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The names and lengths that reach custodyd when a command line succeeds.
fn stored(daemon: &Daemon, args: &str) -> Vec<(String, usize)> {
    let output = put(daemon, args);
    assert!(output.status.success(), "{args}: {}", stderr(&output));
    daemon.put()
}

#[test]
fn a_file_without_a_field_is_for_the_one_that_is_missing() {
    let daemon = with_files(&[("f", "12345"), ("name", "joe")]);
    for (args, expected) in [
        ("--type=api-key f", &[("key", 5)][..]),
        ("--type=api-key f id=name", &[("id", 3), ("key", 5)]),
        (
            "--type=basic-auth --set username=me f",
            &[("username", 2), ("password", 5)],
        ),
        ("--type=key-value A=f B_c=name", &[("A", 5), ("B_c", 3)]),
        ("--type=new field=f", &[("field", 5)]),
    ] {
        let stored = stored(&daemon, args);
        let stored: Vec<_> = stored
            .iter()
            .map(|(name, len)| (name.as_str(), *len))
            .collect();
        assert_eq!(stored, expected, "{args}");
    }
}

#[test]
fn the_newline_at_the_end_of_a_file_is_taken_from_lines_only() {
    let daemon = with_files(&[("f", "12345\n"), ("two", "12345\n\n")]);
    for (args, length) in [
        ("--type=password f", 5),
        ("--type=password two", 6),
        ("--type=jwt f", 5),
        ("--type=symmetric-key key=f", 6),
        ("--type=symmetric-key key-hex=f", 5),
        ("--type=blob f", 6),
        ("--type=key-value A=f", 6),
    ] {
        assert_eq!(stored(&daemon, args)[0].1, length, "{args}");
    }
}

#[test]
fn a_command_line_holds_public_values_only() {
    let daemon = with_files(&[("f", "x")]);
    for (kind, field) in [
        ("basic-auth", "password"),
        ("s3-credentials", "secret-access-key"),
        ("symmetric-key", "key-hex"),
        ("key-value", "names"),
        ("new", "username"),
    ] {
        let output = put(&daemon, &format!("--type={kind} --set {field}=canary f"));
        assert_eq!(output.status.code(), Some(2), "{kind}");
        let told = stderr(&output);
        assert!(
            told.contains(&format!("{field} is not public metadata of a {kind}")),
            "{told}"
        );
        assert!(told.contains(&format!("--prompt {field}")), "{told}");
        assert!(!told.contains("canary"), "{told}");
    }
    assert_eq!(daemon.calls(), [""; 0]);
}

#[test]
fn the_variables_of_a_dotenv_file_become_fields() {
    let env = "# all\nexport A='1 2'\nB=\"x\\ny\"\nC=\n";
    let daemon = with_files(&[(".env", env), ("f", "12345")]);
    let stored = stored(&daemon, "--type=key-value --dotenv .env D=f");
    let expected = [("D", 5), ("A", 3), ("B", 3), ("C", 0)];
    assert_eq!(
        stored,
        expected.map(|(name, length)| (name.to_owned(), length))
    );

    for (args, wrong) in [
        (
            "--type=key-value --dotenv .env A=f",
            "the field A is given twice",
        ),
        (
            "--type=password --dotenv .env",
            "a password does not take the variables",
        ),
        (
            "--type=key-value --dotenv - A=-",
            "standard input cannot be two fields",
        ),
    ] {
        let output = put(&daemon, args);
        assert_eq!(output.status.code(), Some(2), "{args}");
        assert!(stderr(&output).contains(wrong), "{}", stderr(&output));
    }
    assert_eq!(daemon.calls(), ["put_secret"]);
}

#[test]
fn a_broken_dotenv_file_is_refused_by_line_and_name_and_not_quoted() {
    let daemon = with_files(&[(".env", &format!("A=1\nB={CONTENT} $x\n"))]);
    let output = put(&daemon, "--type=key-value --dotenv .env");
    assert_eq!(output.status.code(), Some(7));
    let told = stderr(&output);
    assert!(
        told.contains(".env is no dotenv file: line 2: B has a substitution"),
        "{told}"
    );
    assert!(!told.contains(CONTENT), "{told}");
    assert_eq!(daemon.calls(), [""; 0]);
}

#[test]
fn types_are_listed_with_their_fields_and_what_is_public() {
    let daemon = Daemon::start();
    let json = daemon.run(["types", "--output=json"]).stdout;
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let types = json["types"].as_array().unwrap();
    let names: Vec<_> = types
        .iter()
        .map(|kind| kind["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, Kind::names());
    let kind = |name| types.iter().find(|kind| kind["name"] == name).unwrap();
    assert_eq!(
        *kind("symmetric-key"),
        serde_json::json!({
            "name": "symmetric-key",
            "fields": [
                { "name": "key", "required": true, "public": false },
                { "name": "algorithm", "required": true, "public": true },
            ],
            "free": false,
            "inputs": ["key-hex", "key-base64"],
            "properties": ["algorithm", "bits", "check-value"],
        })
    );
    assert_eq!(kind("key-value")["free"], true);
    assert_eq!(kind("api-key")["fields"][1]["required"], false);

    let table = String::from_utf8(daemon.run(["types"]).stdout).unwrap();
    assert!(
        table.contains("[session-token]") && table.contains("key-base64"),
        "{table}"
    );
    assert_eq!(daemon.calls(), [""; 0], "custodyd need not run");
}
