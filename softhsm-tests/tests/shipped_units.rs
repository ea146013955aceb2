//! The unit files that are shipped, under a real systemd: what the manual says to do, done.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use std::{fs, os::unix::fs::MetadataExt as _, path::Path, process::Output};

use serde_json::Value;
use softhsm_tests::{
    PIN, Site,
    intruder::STRANGER,
    machine::Machine,
    module, text,
    verdict::{CONTENT, is_delivered, is_denied},
};

/// Installs what `make install` would, and the drop-in for SoftHSM.
fn install(machine: &Machine<'_>) {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd");
    let read = |name: &str| fs::read_to_string(shipped.join(name)).unwrap();
    for unit in [
        "custodyd.service",
        "custodyd-manager.socket",
        "custodyd-provider.socket",
    ] {
        machine.write(&format!("/usr/lib/systemd/system/{unit}"), &read(unit));
    }
    let drop_in = "/etc/systemd/system/custodyd.service.d/50-softhsm.conf";
    machine.write(drop_in, &read("examples/50-softhsm.conf"));
    let users = "/usr/lib/sysusers.d/custodyd.conf";
    machine.write(users, &read("custodyd.sysusers.conf"));
    let folders = "/usr/lib/tmpfiles.d/custodyd.conf";
    machine.write(folders, &read("custodyd.tmpfiles.conf"));
    // What the distribution's package of SoftHSM does.
    machine.write("/usr/lib/sysusers.d/softhsm.conf", "g softhsm -\n");
    machine.run("systemd-sysusers", &["custodyd.conf", "softhsm.conf"]);
    machine.run("systemd-tmpfiles", &["--create", folders]);
    machine.run("systemctl", &["daemon-reload"]);
}

/// Makes a token, a configuration that is the shipped example but for the token, and the
/// sealed PIN.
fn configure(site: &Site, machine: &Machine<'_>) {
    let tokens = "/var/lib/softhsm/tokens";
    let softhsm = format!("directories.tokendir = {tokens}\nobjectstore.backend = file\n");
    machine.write("/etc/custodyd/softhsm2.conf", &softhsm);
    let from = site.path("tokens");
    machine.run("mkdir", &["-p", "/var/lib/softhsm"]);
    machine.run("rm", &["-rf", tokens]);
    machine.run("cp", &["-r", from.to_str().unwrap(), tokens]);
    machine.run("chgrp", &["-R", "softhsm", tokens]);
    machine.run("chmod", &["-R", "ug=rwX,o=,g+s", tokens]);

    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd/custodyd.toml");
    let configuration = fs::read_to_string(shipped).unwrap();
    let configuration = configuration
        .replace(
            "/usr/lib/softhsm/libsofthsm2.so",
            module().to_str().unwrap(),
        )
        .replace("label = \"custody\"", "label = \"test\"")
        .replace("0123456789abcdef", &site.serial);
    machine.write("/etc/custodyd/custodyd.toml", &configuration);
    let pin = site.path("pin");
    let seal = ["encrypt", "--name=hsm-pin", "--with-key=host"];
    let sealed = [pin.to_str().unwrap(), "/etc/custodyd/hsm-pin.cred"];
    machine.run(
        "systemd-creds",
        &[seal, [sealed[0], sealed[1], "--quiet"]].concat(),
    );
    fs::remove_file(pin).unwrap();
}

/// Runs `custodyd` once, as its service would be run, which must succeed.
fn as_the_daemon(machine: &Machine<'_>, arguments: &[&str]) -> String {
    let run = [
        "--quiet",
        "--pipe",
        "--wait",
        "--collect",
        "--property=User=custodyd",
        "--property=UMask=0077",
        "--property=StateDirectory=custodyd",
        "--property=StateDirectoryMode=0700",
        "--property=SupplementaryGroups=softhsm",
        "--property=LoadCredentialEncrypted=hsm-pin:/etc/custodyd/hsm-pin.cred",
        "custodyd",
    ];
    machine.run("systemd-run", &[&run, arguments].concat())
}

#[test]
fn the_shipped_units_start_the_daemon_when_a_service_first_asks() {
    let site = Site::without_init();
    let test = "the_shipped_units_start_the_daemon_when_a_service_first_asks";
    let Some(machine) = site.machine(test) else {
        return;
    };
    install(&machine);
    configure(&site, &machine);
    as_the_daemon(
        &machine,
        &[
            "init",
            "--crypto-officer=unix:uid:0",
            "--appoint=group-administrator=unix:uid:0",
            "--appoint=writer=unix:uid:0",
            "/etc/custodyd/custodyd.toml",
        ],
    );
    for socket in SOCKETS {
        machine.start(socket);
    }
    assert_eq!(
        machine.property("custodyd.service", "ActiveState"),
        "inactive"
    );
    let provider = machine.path("/run/custodyd/provider.sock");
    let before = fs::metadata(&provider).unwrap();
    assert_eq!((before.mode() & 0o777, before.uid()), (0o666, 0));

    // The first who asks is an operator; root was made one.
    let key = site.path("key");
    fs::write(&key, CONTENT).unwrap();
    machine.run("custodyctl", &["group", "create", "web"]);
    let key = key.to_str().unwrap();
    machine.run(
        "custodyctl",
        &["secret", "put", "web/key", "--type", "blob", key],
    );
    assert_eq!(
        machine.property("custodyd.service", "ActiveState"),
        "active"
    );
    let main = machine.property("custodyd.service", "MainPID");
    let cache = ["group", "cache", "web", "--for=1h", "--uses=9"];
    machine.run("custodyctl", &cache);
    let unit = [
        "grant",
        "add",
        "--allow-weak",
        "web",
        "key",
        "--unit",
        "nginx.service",
        // The daemon's sandbox does not keep it from seeing what other users execute.
        "--selector",
        "unix:path:/usr/bin/peer-intruder",
        "--selector",
        "namespace:mnt:host",
        "--selector",
        "systemd:fragment_path:/etc/systemd/system/nginx.service",
    ];
    machine.run("custodyctl", &unit);

    let fetch = "/usr/bin/peer-intruder fetch /run/custodyd/provider.sock web key";
    is_denied(&machine.told("other.service", fetch, "User=stranger"));
    let answer = machine.told("nginx.service", fetch, "User=stranger");
    is_delivered(&answer);
    // The sandbox does not keep its data key out of memory that nobody else reads.
    let memory = machine.run("cat", &[&format!("/proc/{main}/maps")]);
    assert!(memory.contains("secretmem"), "{memory}");
    let sandboxed = "User=stranger\nPrivateTmp=yes";
    is_denied(&machine.told("nginx.service", fetch, sandboxed));

    // One daemon did all that, as its own user, on the sockets that were there before.
    assert_eq!(machine.property("custodyd.service", "MainPID"), main);
    assert_eq!(
        machine.run("stat", &["-c%U", &format!("/proc/{main}")]),
        "custodyd\n"
    );
    assert_eq!(fs::metadata(&provider).unwrap().ino(), before.ino());
    let journal = machine.path("/var/lib/custodyd/journal");
    let entries: String = fs::read_dir(journal)
        .unwrap()
        .map(|segment| fs::read_to_string(segment.unwrap().path()).unwrap())
        .collect();
    assert!(!entries.contains(PIN));
    let allowed: Vec<Value> = entries
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|entry: &Value| entry["kind"] == "allow")
        .collect();
    assert_eq!(allowed.len(), 1, "{entries}");
    assert_eq!(allowed[0]["caller"]["unit"], "nginx.service");
    assert_eq!(allowed[0]["caller"]["uid"], STRANGER);
    machine.run("systemctl", &["stop", "custodyd.service"]);
    assert_eq!(machine.property("custodyd.service", "Result"), "success");
}

/// Runs `custodyctl` as a person of the machine.
fn person(machine: &Machine<'_>, name: &str, arguments: &[&str]) -> Output {
    let mut command = machine.command("setpriv");
    command.args([
        format!("--reuid={name}"),
        format!("--regid={name}"),
        "--init-groups".to_owned(),
        "custodyctl".to_owned(),
    ]);
    command.args(arguments).output().unwrap()
}

const SOCKETS: [&str; 2] = ["custodyd-manager.socket", "custodyd-provider.socket"];

#[test]
fn people_share_the_work_as_the_manual_says_and_a_lost_crypto_officer_is_replaced() {
    let site = Site::without_init();
    let test = "people_share_the_work_as_the_manual_says_and_a_lost_crypto_officer_is_replaced";
    let Some(machine) = site.machine(test) else {
        return;
    };
    install(&machine);
    configure(&site, &machine);
    let people = ["alice", "bob", "carol", "dave"];
    let users = people.map(|name| format!("u {name} -\n")).concat();
    machine.write("/usr/lib/sysusers.d/people.conf", &users);
    machine.run("systemd-sysusers", &["people.conf"]);
    let officer = ["init", "--crypto-officer", "unix:user:alice"];
    as_the_daemon(&machine, &officer);
    for name in ["alice", "bob", "carol"] {
        machine.run("usermod", &["-aG", "custodyd-operators", name]);
    }
    for socket in SOCKETS {
        machine.start(socket);
    }
    let does = |name: &str, arguments: &[&str]| {
        let output = person(&machine, name, arguments);
        assert!(output.status.success(), "{name}: {}", text(&output));
    };
    let may_not = |name: &str, code: i32, arguments: &[&str]| {
        let output = person(&machine, name, arguments);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{name}: {}",
            text(&output)
        );
        text(&output)
    };
    let administrator = ["role", "assign", "group-administrator", "--group", "web"];
    let content = site.path("content");
    fs::write(&content, CONTENT).unwrap();
    let put = [
        "secret",
        "put",
        "web/key",
        "--type",
        "blob",
        content.to_str().unwrap(),
    ];
    let grant = [
        "grant",
        "add",
        "--allow-weak",
        "web",
        "key",
        "--unit",
        "nginx.service",
    ];
    does("alice", &["group", "create", "web"]);
    does("alice", &[&administrator[..], &["--user", "bob"]].concat());
    does(
        "bob",
        &[
            "role", "assign", "writer", "--group", "web", "--user", "carol",
        ],
    );
    does("carol", &put);
    does("bob", &grant);
    // Whoever is in the group knocks; that alone opens nothing. A role alone neither.
    for (name, arguments) in [("alice", &put[..]), ("bob", &put), ("carol", &grant)] {
        may_not(name, 3, arguments);
    }
    does("alice", &["role", "assign", "auditor", "--user", "dave"]);
    let said = may_not("dave", 6, &["journal", "tail"]);
    assert!(said.contains("the socket is closed to you"), "{said}");

    let stop = [&["stop"], &SOCKETS[..], &["custodyd.service"]].concat();
    machine.run("systemctl", &stop);
    as_the_daemon(&machine, &["appoint", "crypto-officer=unix:user:bob"]);
    machine.run("systemctl", &[&["start"], &SOCKETS[..]].concat());
    does("bob", &["group", "create", "db"]);
    does("carol", &["secret", "show", "web/key"]);
}
