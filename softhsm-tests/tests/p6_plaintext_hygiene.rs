//! P6 plaintext hygiene: content, data keys and PINs appear in no log, error, metric or
//! file, and in no memory once they are done with.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

#[path = "p6_plaintext_hygiene/cached.rs"]
mod cached;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use softhsm_tests::{
    PIN, Site,
    daemon::Daemon,
    disk::{files, limit_files},
    is_root,
    kind::Kind,
    load::{fetch, number, put, runtime},
    memory::{Forbidden, not_in_memory, not_in_their_memory},
    text, until,
};

#[path = "p6_plaintext_hygiene/renewed.rs"]
mod renewed;

/// A text that is nowhere else, as long as a data key.
fn canary() -> Vec<u8> {
    format!("canary{:016x}.{:09x}", number(), number() >> 28).into_bytes()
}

/// Everything that can go wrong with a secret, one after the other; gives all that
/// commands printed where no content belongs.
fn trouble(site: &Site, daemon: &Daemon<'_>, canary: &[u8]) -> Vec<u8> {
    let mut said = Vec::new();
    let mut hear = |output: Output| {
        said.extend(output.stderr);
        // What was asked for may be there.
        if !output.status.success() {
            said.extend(output.stdout);
        }
        output.status.code()
    };
    site.ctl(&["group", "create", "web"]);
    // Denied, stored, delivered.
    assert_eq!(hear(site.put("web/key", canary)), Some(0));
    assert_eq!(hear(site.fetch("web/key")), Some(3));
    let uid = nix::unistd::getuid().to_string();
    site.ctl(&["grant", "add", "--allow-weak", "web", "*", "--uid", &uid]);
    assert_eq!(site.fetch("web/key").stdout, canary);
    for shown in ["list web", "show web/key", "versions web/key"] {
        let arguments: Vec<_> = ["secret"].into_iter().chain(shown.split(' ')).collect();
        let mut output = site.try_ctl(&arguments);
        assert!(output.status.success(), "{}", text(&output));
        output.stderr.append(&mut output.stdout);
        hear(output);
    }
    // Refused for what it is: no key pair, too large, of another type, for no group.
    let file = site.path("canary");
    fs::write(&file, canary).unwrap();
    let path = file.to_str().unwrap();
    let field = format!("private-key={path}");
    let chain = format!("certificate-chain={path}");
    let refused = site.try_ctl(&[
        "secret", "put", "web/tls", "--type", "keystore", &chain, &field,
    ]);
    assert_ne!(hear(refused), Some(0));
    assert_ne!(
        hear(site.try_ctl(&["secret", "put", "web/key", "--type", "password", path])),
        Some(0)
    );
    assert_ne!(
        hear(site.try_ctl(&["secret", "put", "none/key", "--type", "blob", path])),
        Some(0)
    );
    assert_ne!(hear(site.put("web/large", &canary.repeat(40_000))), Some(0));
    fs::remove_file(&file).unwrap();
    // Not recorded.
    let length = site.journal_text().len() as u64;
    limit_files(daemon.pid(), Some(length + 100));
    assert_eq!(hear(site.put("web/key", canary)), Some(6));
    assert_eq!(hear(site.fetch("web/key")), Some(6));
    limit_files(daemon.pid(), None);
    // The worker gone in the middle.
    kill(daemon.worker(), Signal::SIGSTOP).unwrap();
    hear(site.put("web/key", canary));
    hear(site.fetch("web/key"));
    until("a successor serves", || {
        site.fetch("web/key").status.success().then_some(())
    });
    // Tampered with.
    site.sqlite("UPDATE content SET ciphertext = zeroblob(length(ciphertext))");
    assert_eq!(hear(site.fetch("web/key")), Some(8));
    said
}

fn process_texts(pid: Pid) -> Vec<u8> {
    let read = |name: &str| fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
    ["environ", "cmdline", "comm"].map(read).concat()
}

fn nowhere(site: &Site, format: &str) {
    let canary = canary();
    let mut forbidden = vec![
        Forbidden::new("content", &canary),
        Forbidden::new("the PIN", PIN.as_bytes()),
    ];
    site.configure(&format!(
        "deadline = \"1s\"\n[log]\nlevel = \"debug\"\nformat = \"{format}\"\n"
    ));
    let daemon = site.start();
    let said = trouble(site, &daemon, &canary);
    forbidden.push(Forbidden::new("a data key", &data_key(site, "key")));
    let mut processes = process_texts(daemon.pid());
    assert!(!processes.is_empty());
    processes.extend(process_texts(daemon.worker()));
    for forbidden in &forbidden {
        assert_eq!(forbidden.in_bytes(&said), [""; 0], "in what commands said");
        assert_eq!(forbidden.in_bytes(&processes), [""; 0], "in /proc");
    }
    in_no_file(site, &forbidden);
    daemon.stop();
    in_no_file(site, &forbidden);
}

/// Neither in the log, the journal, the database, its -wal and -shm, nor in any other file
/// but the PIN's own.
fn in_no_file(site: &Site, forbidden: &[Forbidden]) {
    let all = files(site.folder());
    let names: Vec<_> = all
        .iter()
        .map(|(path, _)| path.strip_prefix(site.folder()).unwrap())
        .collect();
    assert!(names.contains(&Path::new("log")) && names.contains(&Path::new("state/custody.db")));
    for (path, bytes) in &all {
        if *path == site.path("pin") {
            continue;
        }
        for forbidden in forbidden {
            assert_eq!(forbidden.in_bytes(bytes), [""; 0], "in {}", path.display());
        }
    }
}

#[test]
fn neither_content_nor_the_pin_is_in_a_text_log_or_any_file() {
    nowhere(&Site::new(), "text");
}

#[test]
fn neither_content_nor_the_pin_is_in_a_json_log_or_any_file() {
    nowhere(&Site::new(), "json");
}

// --- memory ---

/// The data key of the newest version of `web/NAME`, as whoever has the token's files and
/// the PIN can unwrap it.
fn data_key(site: &Site, name: &str) -> Vec<u8> {
    let row = site.sqlite(&format!(
        "SELECT number, lower(hex(gmk)), lower(hex(wrapped)) FROM wrap
         WHERE name = '{name}' ORDER BY number DESC LIMIT 1"
    ));
    let columns: Vec<_> = row.trim().split('|').collect();
    let [number, gmk, wrapped] = columns[..] else {
        panic!("{row}")
    };
    site.data_key(&format!("web/{name}@{number}"), gmk, wrapped)
}

/// Stores and fetches `short` and `large` some times, over connections that stay open as
/// long as what is returned.
fn use_them(
    site: &Site,
    short: &[u8],
    large: &[u8],
) -> (tokio::runtime::Runtime, client::Manager, client::Provider) {
    site.furnish(short);
    let runtime = runtime();
    let (manager, provider) = runtime.block_on(async {
        let (manager, provider) = (site.manager().await, site.provider().await);
        put(&manager, "large", large).await.unwrap();
        for _ in 0..20 {
            assert_eq!(fetch(&provider, "key").await.unwrap().0, short);
            assert_eq!(fetch(&provider, "large").await.unwrap().0, large);
        }
        assert!(matches!(
            fetch(&provider, "none").await,
            Err(client::Error::Denied)
        ));
        (manager, provider)
    });
    (runtime, manager, provider)
}

#[test]
fn what_was_stored_and_delivered_is_not_left_in_memory() {
    let name = "what_was_stored_and_delivered_is_not_left_in_memory";
    if !is_root(name) {
        return;
    }
    let site = Site::new();
    let daemon = site.start();
    let (short, long) = (canary(), canary());
    let large = [&long[..], &vec![b'.'; 100_000]].concat();
    let open = use_them(&site, &short, &large);
    let forbidden = [
        Forbidden::new("short content", &short),
        Forbidden::new("long content", &long),
        Forbidden::new("a data key", &data_key(&site, "key")),
        Forbidden::new("another data key", &data_key(&site, "large")),
    ];
    let there = Forbidden::new("the token's serial number", site.serial.as_bytes());
    not_in_their_memory(name, &daemon, &there, &forbidden);
    drop(open);
    not_in_memory(daemon.pid(), &there, &forbidden);
}

#[test]
fn the_daemon_never_has_the_pin_and_the_worker_drops_it_after_the_login() {
    if !is_root("the_daemon_never_has_the_pin_and_the_worker_drops_it_after_the_login") {
        return;
    }
    let site = Site::new();
    let daemon = site.start();
    site.furnish(b"content");
    let pin = [Forbidden::new("the PIN", PIN.as_bytes())];
    let there = Forbidden::new("the token's serial number", site.serial.as_bytes());
    not_in_memory(daemon.pid(), &there, &pin);
    not_in_memory(daemon.worker(), &there, &pin);
}

// --- the process ---

/// The user that is nobody in particular.
const NOBODY: &str = "65534";

/// As the daemon's user: when the tests are root's, nobody's.
fn as_its_user(program: &Path) -> Command {
    if !nix::unistd::getuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"])
        .arg(program);
    command
}

#[test]
fn the_processes_dump_no_core_and_are_closed_to_their_own_user() {
    if !Kind::has(
        "the_processes_dump_no_core_and_are_closed_to_their_own_user",
        "a token that another user reaches",
    ) {
        return;
    }
    let site = Site::new();
    if nix::unistd::getuid().is_root() {
        let owner = format!("{NOBODY}:{NOBODY}");
        let output = Command::new("chown")
            .args(["-R", &owner])
            .arg(site.folder())
            .output();
        assert!(output.unwrap().status.success());
    }
    let mut command = as_its_user(&softhsm_tests::command("custodyd"));
    command.arg("run").arg(site.path("custodyd.toml"));
    let daemon = site.start_as(command);
    let mut open = as_its_user(Path::new("/bin/sleep"))
        .arg("60")
        .spawn()
        .unwrap();
    let open_pid = Pid::from_raw(open.id().cast_signed());
    let read = |pid: Pid, file: &str| {
        let path = format!("/proc/{pid}/{file}");
        let output = as_its_user(Path::new("/bin/cat"))
            .arg(path)
            .output()
            .unwrap();
        output.status.success()
    };
    // Another process of that user shows that it is not the user who is refused.
    until("sleep is that user's", || {
        read(open_pid, "environ").then_some(())
    });
    for process in [daemon.pid(), daemon.worker()] {
        let limits = fs::read_to_string(format!("/proc/{process}/limits")).unwrap();
        let core = limits
            .lines()
            .find(|line| line.starts_with("Max core file size"));
        let words: Vec<_> = core.unwrap().split_ascii_whitespace().collect();
        assert_eq!(words[4..6], ["0", "0"]);
        for file in ["environ", "maps", "mem", "auxv"] {
            assert!(!read(process, file), "{process} has an open {file}");
        }
    }
    open.kill().unwrap();
    open.wait().unwrap();
    drop(daemon);
}

// --- files that are open to others ---

fn refused_because_of(site: &Site, path: &str, mode: u32, code: i32) {
    let path = site.path(path);
    let good = fs::metadata(&path).unwrap().permissions();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    // One that is not refused does not end by itself.
    let output = Command::new("timeout")
        .arg("20")
        .arg(softhsm_tests::command("custodyd"))
        .arg("run")
        .arg(site.path("custodyd.toml"))
        .output()
        .unwrap();
    let said = text(&output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains(path.to_str().unwrap()), "{said}");
    assert!(said.contains("chmod"), "{said}");
    assert!(!said.contains("serving"), "{said}");
    fs::set_permissions(&path, good).unwrap();
}

#[test]
fn a_database_that_others_may_read_is_refused() {
    let site = Site::new();
    refused_because_of(&site, "state/custody.db", 0o640, 78);
    site.start().stop();
}

#[test]
fn a_state_directory_that_others_may_enter_is_refused() {
    let site = Site::new();
    refused_because_of(&site, "state", 0o750, 78);
    site.start().stop();
}

#[test]
fn a_pin_that_others_may_read_is_refused_and_not_tried() {
    let site = Site::new();
    let before = files(&site.path("tokens"));
    refused_because_of(&site, "pin", 0o640, 69);
    assert_eq!(files(&site.path("tokens")), before);
    assert!(!site.path("state/pin-refused").exists());
    site.start().stop();
}

#[test]
fn a_configuration_that_others_may_write_is_refused() {
    let site = Site::new();
    refused_because_of(&site, "custodyd.toml", 0o620, 78);
    site.start().stop();
}

#[test]
fn every_file_that_is_made_is_closed_to_others() {
    let site = Site::new();
    let daemon = site.start();
    site.furnish(b"content");
    let out = site.path("out");
    site.ctl(&["fetch", "web/key", "--out", out.to_str().unwrap()]);
    let mut all: Vec<_> = files(&site.path("state"))
        .into_iter()
        .map(|(path, _)| path)
        .collect();
    assert!(
        all.iter().any(|path| path.ends_with("custody.db-wal")),
        "{all:?}"
    );
    // For auditors.
    all.retain(|path| !path.ends_with("journal.pub"));
    all.push(out);
    for path in all {
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", path.display());
    }
    drop(daemon);
}
