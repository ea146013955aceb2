//! Bringing secrets in from files that openssl, keytool and kubectl make, and going on after
//! whatever interrupts it.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use std::{
    collections::BTreeMap,
    fs,
    process::{Command, Output, Stdio},
    thread,
};

use serde_json::Value;
use softhsm_tests::{Site, load::random_time, text, tool, until};

const INCOMPLETE: Option<i32> = Some(11);

fn site() -> Site {
    let site = Site::new();
    site.bench("files");
    site
}

/// `custodyctl import files --group web --yes --report` and more.
fn import(site: &Site, more: &[&str]) -> Command {
    let mut command = site.custodyctl();
    command
        .current_dir(site.folder())
        .args(["import", "files", "--group=web", "--yes"])
        .arg("--report=report.json")
        .args(more);
    command
}

fn report(site: &Site) -> Value {
    serde_json::from_slice(&fs::read(site.path("report.json")).unwrap()).unwrap()
}

/// Type and outcome of each secret in the report.
fn outcomes(site: &Site) -> BTreeMap<String, (String, String)> {
    let report = report(site);
    let text = |secret: &Value, key: &str| secret[key].as_str().unwrap().to_owned();
    let secrets = report["secrets"].as_array().unwrap().iter();
    secrets
        .map(|one| (text(one, "name"), (text(one, "type"), text(one, "outcome"))))
        .collect()
}

fn with_outcome(site: &Site, wanted: &str) -> usize {
    let outcomes = outcomes(site);
    outcomes
        .values()
        .filter(|(_, outcome)| outcome == wanted)
        .count()
}

fn run(mut command: Command) -> Output {
    command.output().unwrap()
}

/// One field of a secret, as a service gets it.
fn fetch(site: &Site, secret: &str, field: &str) -> Vec<u8> {
    let output = site.try_ctl(&["fetch", secret, "--field", field]);
    assert!(output.status.success(), "{secret}: {}", text(&output));
    output.stdout
}

fn grant_all(site: &Site) {
    let uid = nix::unistd::getuid().to_string();
    site.ctl(&["grant", "add", "web", "*", "--uid", &uid, "--allow-weak"]);
}

/// An authority, and a key with a certificate of it, `NAME.crt` and `NAME.key`.
fn make_tls(site: &Site) {
    let files = site.bench("files");
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256";
    files.run(&format!(
        "openssl req -x509 {key} -noenc -keyout ca.key -out ca.pem -days 99 -subj /CN=ca"
    ));
    fs::create_dir(site.path("files/example.org")).unwrap();
    files.run(&format!(
        "openssl req -new {key} -noenc -keyout plain.key -out web.csr -subj /CN=example.org"
    ));
    files.run("openssl x509 -req -in web.csr -CA ca.pem -CAkey ca.key -days 90 -out example.org/fullchain.pem");
    files.run(
        "openssl pkcs8 -topk8 -in plain.key -passout pass:hunter2 -out example.org/privkey.pem",
    );
    files.run(
        "openssl pkcs12 -export -in example.org/fullchain.pem -inkey plain.key -certfile ca.pem \
         -name web -passout pass:changeit -out store.p12",
    );
    for name in ["ca.key", "web.csr"] {
        fs::remove_file(site.path("files").join(name)).unwrap();
    }
}

#[test]
fn a_folder_of_files_that_tools_make_is_in_custody_after_one_import() {
    let site = site();
    let _daemon = site.start();
    site.ctl(&["group", "create", "web"]);
    make_tls(&site);
    let plain = fs::read_to_string(site.path("files/plain.key")).unwrap();
    fs::remove_file(site.path("files/plain.key")).unwrap();
    fs::write(site.path("files/app.env"), "export DB='a b'\nEMPTY=\n").unwrap();
    fs::write(site.path("files/README"), "canary").unwrap();
    fs::write(site.path("pass"), "hunter2\n").unwrap();
    fs::write(site.path("storepass"), "changeit\n").unwrap();
    let mut types = BTreeMap::from([
        ("example.org", "keystore"),
        ("ca", "truststore"),
        ("app", "key-value"),
    ]);
    if tool::has("what keytool makes is imported", &["keytool"]) {
        for alias in ["one", "two"] {
            site.bench("files").run(&format!(
                "keytool -genkeypair -alias {alias} -keyalg EC -dname CN={alias} -storetype \
                     PKCS12 -keystore java.p12 -storepass changeit"
            ));
        }
        site.bench("files").run(
            "keytool -importcert -noprompt -alias ca -file ca.pem -storetype JKS -keystore \
             trust.jks -storepass changeit",
        );
        types.extend([("java-one", "keystore"), ("java-two", "keystore")]);
    }
    // Debian has no package of it.
    if tool::find("kubectl").is_some() {
        let create = "kubectl create secret --dry-run=client -o";
        let json = site.bench("files").run(&format!(
            "{create} json generic db --from-literal=password=a:b"
        ));
        let yaml = site.bench("files").run(&format!(
            "{create} yaml docker-registry hub --docker-username=u --docker-password=p"
        ));
        fs::write(site.path("files/db.json"), json).unwrap();
        fs::write(
            site.path("files/all.yaml"),
            format!("---\n{yaml}---\n{yaml}").replacen("hub", "reg", 1),
        )
        .unwrap();
        types.extend([("db", "key-value"), ("hub", "blob"), ("reg", "blob")]);
    }
    let all = ["--passphrase-file=pass", "--passphrase-file=storepass"];
    let output = run(import(&site, &all));
    assert!(output.status.success(), "{}", text(&output));
    let expected: BTreeMap<_, _> = types
        .iter()
        .map(|(name, kind)| {
            let fate = ((*kind).to_owned(), "written".to_owned());
            ((*name).to_owned(), fate)
        })
        .collect();
    assert_eq!(outcomes(&site), expected);
    for (name, kind) in &types {
        let shown = site.ctl_json(&["secret", "show", &format!("web/{name}")]);
        assert_eq!(shown["type"], *kind, "{name}");
        assert_eq!(shown["versions"], 1, "{name}");
    }

    grant_all(&site);
    let fetched = |secret, field| String::from_utf8(fetch(&site, secret, field)).unwrap();
    assert_eq!(fetched("web/app", "DB"), "a b");
    assert_eq!(fetched("web/example.org", "private-key"), plain);
    let chain = fetched("web/example.org", "certificate-chain");
    let leaf = fs::read_to_string(site.path("files/example.org/fullchain.pem")).unwrap();
    // The root came apart from it.
    assert_eq!(chain, leaf);

    // Everything of these is in custody, and each is there still.
    let report = report(&site);
    let removable = report["removable"].as_array().unwrap();
    let removable: Vec<_> = removable.iter().map(|one| one.as_str().unwrap()).collect();
    for name in [
        "files/app.env",
        "files/example.org/privkey.pem",
        "files/store.p12",
    ] {
        assert!(
            removable.contains(&name) && site.path(name).exists(),
            "{name}: {removable:?}"
        );
    }
    assert!(!removable.contains(&"files/README"));

    let before = site.entries("change").len();
    let output = run(import(&site, &all));
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(with_outcome(&site, "unchanged"), types.len());
    assert_eq!(
        site.entries("change").len(),
        before,
        "nothing was written twice"
    );
}

#[test]
fn an_encrypted_key_without_its_passphrase_is_left_out_and_the_rest_imported() {
    let site = site();
    let _daemon = site.start();
    site.ctl(&["group", "create", "web"]);
    make_tls(&site);
    let output = run(import(&site, &[]));
    assert_eq!(output.status.code(), INCOMPLETE, "{}", text(&output));
    let told = text(&output);
    assert!(told.contains("give it with --passphrase-file"), "{told}");
    // The key that is not encrypted has its chain all the same.
    let stored = outcomes(&site);
    assert_eq!(stored["plain"].0, "keystore");
    let report = report(&site);
    let left: Vec<_> = report["left"]
        .as_array()
        .unwrap()
        .iter()
        .map(|left| left["source"].as_str().unwrap())
        .collect();
    assert_eq!(left, ["files/example.org/privkey.pem", "files/store.p12"]);
    assert!(
        !told.contains("\n  files/store.p12\n"),
        "it is not said to be removable"
    );
}

/// Many dotenv files and keys, and how many.
fn make_many(site: &Site, count: usize) -> usize {
    for number in 0..count {
        let name = format!("files/v{number:04}.env");
        fs::write(site.path(&name), format!("VALUE=number-{number}\n")).unwrap();
    }
    for number in 0..count / 100 {
        site.bench("files").run(&format!(
            "openssl genpkey -algorithm ED25519 -out k{number}.pem"
        ));
    }
    count + count / 100
}

/// That each of the secrets has one version, and some the content that they should.
fn check_all(site: &Site, count: usize) {
    let listed = site.sqlite("SELECT count(*) FROM secret");
    let versions = site.sqlite("SELECT count(*) FROM version");
    let expected = format!("{count}\n");
    assert_eq!(
        (&listed, &versions),
        (&expected, &expected),
        "none is lost or doubled"
    );
    grant_all(site);
    for number in (0..count - count / 100).step_by(97) {
        let value = fetch(site, &format!("web/v{number:04}"), "VALUE");
        assert_eq!(value, format!("number-{number}").into_bytes());
    }
}

#[test]
fn an_import_that_is_killed_goes_on_where_it_was_and_loses_or_doubles_none() {
    let site = site();
    let _daemon = site.start();
    site.ctl(&["group", "create", "web"]);
    let count = make_many(&site, 1000);
    let stored = || -> usize {
        site.sqlite("SELECT count(*) FROM secret")
            .trim()
            .parse()
            .unwrap()
    };
    for part in [count / 4, count / 2] {
        let mut child = import(&site, &[]).stdout(Stdio::null()).spawn().unwrap();
        until("some are stored", || (stored() >= part).then_some(()));
        thread::sleep(random_time(0, 20));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(stored() < count, "it was killed before its end");
    }
    let before = stored();
    let output = run(import(&site, &[]));
    assert!(output.status.success(), "{}", text(&output));
    // One may have been under way when the other was killed.
    let unchanged = with_outcome(&site, "unchanged");
    assert!(
        unchanged == before || unchanged == before + 1,
        "{unchanged} {before}"
    );
    assert_eq!(unchanged + with_outcome(&site, "written"), count);
    check_all(&site, count);
}

#[test]
fn an_import_outlives_the_daemon_and_goes_on_with_its_successor() {
    let site = site();
    let daemon = site.start();
    site.ctl(&["group", "create", "web"]);
    let count = make_many(&site, 300);
    let mut command = import(&site, &[]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = child.spawn().unwrap();
    until("some are stored", || {
        let stored = site.sqlite("SELECT count(*) FROM secret");
        (stored.trim().parse::<usize>().unwrap() >= 20).then_some(())
    });
    daemon.kill();
    let _daemon = site.start();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    check_all(&site, count);
    let verified = site.verify_journal();
    assert!(verified.status.success(), "{}", text(&verified));
}

#[test]
fn what_is_there_with_other_content_is_written_over_only_if_that_is_wanted() {
    let site = site();
    let _daemon = site.start();
    site.ctl(&["group", "create", "web"]);
    make_many(&site, 2);
    assert!(run(import(&site, &[])).status.success());
    fs::write(site.path("files/v0001.env"), "VALUE=new").unwrap();
    grant_all(&site);
    let value = || fetch(&site, "web/v0001", "VALUE");

    let skipped = run(import(&site, &[]));
    assert_eq!(skipped.status.code(), INCOMPLETE, "{}", text(&skipped));
    let told = text(&skipped);
    assert!(
        told.contains("exists as version 1: there is one of that name"),
        "{told}"
    );
    let failed = run(import(&site, &["--on-conflict=fail"]));
    assert_eq!(failed.status.code(), Some(5), "{}", text(&failed));
    assert_eq!(value(), b"number-1");
    assert!(
        run(import(&site, &["--on-conflict=new-version"]))
            .status
            .success()
    );
    assert_eq!(value(), b"new");
    assert_eq!(
        site.ctl_json(&["secret", "show", "web/v0001"])["versions"],
        2
    );
    // A secret of another type is never written over.
    fs::remove_file(site.path("files/v0001.env")).unwrap();
    fs::rename(site.path("files/v0000.env"), site.path("files/v0001.env")).unwrap();
    site.ctl(&["secret", "delete", "web/v0001", "--yes", "--force"]);
    assert!(site.put("web/v0001", b"blob").status.success());
    let other = run(import(&site, &["--on-conflict=new-version"]));
    assert_eq!(other.status.code(), INCOMPLETE, "{}", text(&other));
    assert!(text(&other).contains("refused: "), "{}", text(&other));
    assert_eq!(site.fetch("web/v0001").stdout, b"blob");
}
