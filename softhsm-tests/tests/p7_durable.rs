//! P7 durable: a write that was acknowledged survives kill -9 and a full disk; one that
//! was not leaves no half. `CUSTODYD_SOAK=N` kills the daemon N times instead of a dozen.
//! With nextest, add `--profile soak`: its other profile ends what takes long.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use client::{Manager, Provider};
use serde_json::Value;
use softhsm_tests::{
    Site,
    daemon::Daemon,
    disk::{SmallDisk, files, with_own_mounts},
    is_root,
    kind::Kind,
    load::{fetch, put, random_time, rounds, runtime},
    text,
};

const CONTENT: &[u8] = b"the content of the secret";

/// `custodyctl`'s exit codes.
const UNAVAILABLE: Option<i32> = Some(6);

/// Kills what `command` starts after `time`, and undoes what that did to the token: SoftHSM's
/// files do not survive a kill that hits a login. The PIN is vouched for, as by a person:
/// after two logins without an answer there is one an hour.
fn kill_after(site: &Site, mut command: Command, time: Duration) {
    let copy = |from: &str, to: &str| {
        let output = Command::new("cp")
            .arg("-a")
            .args([site.path(from), site.path(to)])
            .output();
        assert!(output.unwrap().status.success());
    };
    copy("tokens", "tokens-before");
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(time);
    child.kill().unwrap();
    let aside = format!("tokens-{}", child.id());
    // Its worker, which may be at a login, has this end of the pipe, too.
    child.wait_with_output().unwrap();
    fs::rename(site.path("tokens"), site.path(&aside)).unwrap();
    fs::rename(site.path("tokens-before"), site.path("tokens")).unwrap();
    let _none = fs::remove_file(site.path("state/pin-refused.attempt"));
}

/// Stops the daemon, and has the whole journal verified.
fn stop_and_verify(site: &Site, daemon: Daemon<'_>) {
    daemon.stop();
    let verified = site.verify_journal();
    assert!(verified.status.success(), "{}", text(&verified));
}

fn versions(site: &Site, secret: &str) -> Vec<u64> {
    let listed = site.ctl_json(&["secret", "versions", secret]);
    let listed = listed["versions"].as_array().unwrap();
    let mut numbers: Vec<_> = listed
        .iter()
        .map(|version| version["number"].as_u64().unwrap())
        .collect();
    numbers.sort_unstable();
    numbers
}

fn content(site: &Site, secret: &str, version: u64) -> Vec<u8> {
    let output = site.fetch(&format!("{secret}@{version}"));
    assert!(
        output.status.success(),
        "{secret}@{version}: {}",
        text(&output)
    );
    output.stdout
}

// --- kill -9, over and over ---

/// What clients were told while daemons came and went.
#[derive(Default)]
struct Told {
    /// Acknowledged versions, by secret and number.
    kept: BTreeMap<(String, u32), Vec<u8>>,
    /// Everything that was ever sent, acknowledged or not, by secret.
    sent: BTreeMap<String, BTreeSet<Vec<u8>>>,
    receipts: BTreeSet<u64>,
}

impl Told {
    /// Versions or receipts, whichever are fewer.
    fn counts(&self) -> usize {
        self.kept.len().min(self.receipts.len())
    }
}

/// Writes until the daemon is gone.
async fn write(manager: Manager, name: String, shared: bool, round: usize, told: Arc<Mutex<Told>>) {
    for number in 0.. {
        // Some longer than a page, so that a half would show.
        let length = if number % 2 == 0 { 40 } else { 9000 };
        let mut content = format!("{name} {round} {shared} {number} ").into_bytes();
        content.resize(length, b'.');
        told.lock()
            .unwrap()
            .sent
            .entry(name.clone())
            .or_default()
            .insert(content.clone());
        match put(&manager, &name, &content).await {
            Ok(version) => {
                let before = told
                    .lock()
                    .unwrap()
                    .kept
                    .insert((name.clone(), version), content);
                assert_eq!(before, None, "version {version} of {name} was given twice");
            }
            Err(client::Error::Unavailable(_)) => return,
            Err(other) => panic!("{other:?}"),
        }
    }
}

/// Reads until the daemon is gone.
async fn read(provider: Provider, name: &str, told: Arc<Mutex<Told>>) {
    loop {
        match fetch(&provider, name).await {
            Ok((content, fetched)) => {
                let mut told = told.lock().unwrap();
                assert!(
                    told.sent[name].contains(&content),
                    "{}",
                    content.escape_ascii()
                );
                told.receipts.insert(fetched.receipt);
            }
            Err(client::Error::Unavailable(_)) => return,
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_was_acknowledged_is_there_however_often_the_daemon_is_killed() {
    let site = Site::new();
    // Small, so that it is killed between segments, too.
    site.configure("[journal]\nsegment-size = \"16KiB\"\n");
    let daemon = site.start();
    site.furnish(CONTENT);
    daemon.kill();
    let told = Arc::new(Mutex::new(Told::default()));
    told.lock()
        .unwrap()
        .kept
        .insert(("key".to_owned(), 1), CONTENT.to_vec());
    told.lock()
        .unwrap()
        .sent
        .insert("key".to_owned(), [CONTENT.to_vec()].into());
    let runtime = runtime();
    let rounds = rounds(12);
    for round in 0..rounds {
        let daemon = site.start();
        runtime.block_on(async {
            let (manager, provider) = (site.manager().await, site.provider().await);
            let writer = |name: &str, shared| {
                let told = Arc::clone(&told);
                write(manager.clone(), name.to_owned(), shared, round, told)
            };
            let own = writer("own", false);
            let one = writer("key", false);
            let two = writer("key", true);
            let reader = read(provider.clone(), "key", Arc::clone(&told));
            let other = read(site.provider().await, "key", Arc::clone(&told));
            let killer = async {
                // At any moment after the start, and at any moment of busy times.
                let before = told.lock().unwrap().counts();
                while round % 2 == 0 && told.lock().unwrap().counts() <= before {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                tokio::time::sleep(random_time(0, 150)).await;
                daemon.kill();
            };
            tokio::join!(own, one, two, reader, other, killer);
        });
    }

    let daemon = site.start();
    let told = told.lock().unwrap();
    for name in ["key", "own"] {
        let there = versions(&site, &format!("web/{name}"));
        let first_to_last: Vec<_> = (1..=there.len() as u64).collect();
        assert_eq!(there, first_to_last);
        let acknowledged = told.kept.keys().filter(|(kept, _)| kept == name).count();
        // In each round every writer had at most one write in the air.
        assert!(there.len() >= acknowledged && there.len() <= acknowledged + 2 * rounds);
    }
    runtime.block_on(async {
        let provider = site.provider().await;
        for name in ["key", "own"] {
            let last = versions(&site, &format!("web/{name}")).len();
            for version in 1..=u32::try_from(last).unwrap() {
                let fetched = provider.fetch("web", name, Some(version)).await.unwrap();
                let content = fetched.field("content").unwrap();
                match told.kept.get(&(name.to_owned(), version)) {
                    Some(kept) => assert!(kept == content, "{name}@{version} is another"),
                    None => assert!(told.sent[name].contains(content), "{name}@{version}"),
                }
            }
        }
    });
    stop_and_verify(&site, daemon);
    let allowed = site.entries("allow");
    let allowed: BTreeSet<_> = allowed
        .iter()
        .map(|entry| entry["seq"].as_u64().unwrap())
        .collect();
    assert!(told.receipts.is_subset(&allowed));
    assert!(told.counts() >= rounds / 2, "there was no load");
    assert_eq!(site.entries("start").len(), rounds + 2);
    assert!(site.entries("tampering").is_empty());
    // Every change that was begun has one outcome.
    let mut open = None;
    for entry in site.journal() {
        match entry["kind"].as_str().unwrap() {
            "prepare" => assert_eq!(open.replace(entry["number"].clone()), None),
            "commit" | "abort" => assert_eq!(open.take().as_ref(), Some(&entry["number"])),
            _ => {}
        }
    }
    assert_eq!(open, None);
}

// --- killed at each step of a change ---

fn last_segment(site: &Site) -> PathBuf {
    let mut segments: Vec<_> = fs::read_dir(site.path("state/journal"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    segments.sort();
    segments.pop().unwrap()
}

/// Cuts the journal behind its last `prepare`, as if the daemon had been killed there.
fn cut_after_prepare(site: &Site) -> Value {
    let path = last_segment(site);
    let journal = fs::read_to_string(&path).unwrap();
    let mut kept = String::new();
    let mut prepared = None;
    let last = site.entries("prepare").pop().unwrap();
    for line in journal.lines() {
        kept.push_str(line);
        kept.push('\n');
        let entry: Value = serde_json::from_str(line).unwrap();
        if entry["seq"] == last["seq"] {
            prepared = Some(entry["number"].clone());
            break;
        }
    }
    fs::write(&path, kept).unwrap();
    prepared.expect("the last segment has it")
}

const DATABASE: [&str; 3] = ["custody.db", "custody.db-wal", "custody.db-shm"];

fn copy_database(site: &Site, from: &str, to: &str) {
    for name in DATABASE {
        let (from, to) = (site.path(from).join(name), site.path(to).join(name));
        if from.exists() {
            fs::copy(&from, &to).unwrap();
        } else if to.exists() {
            fs::remove_file(&to).unwrap();
        }
    }
}

#[test]
fn a_change_that_reached_the_database_is_confirmed_by_the_next_start() {
    let site = Site::new();
    let daemon = site.start();
    site.furnish(b"one");
    site.put("web/key", b"two");
    daemon.kill();
    let number = cut_after_prepare(&site);

    let daemon = site.start();
    let commits = site.entries("commit");
    assert_eq!(commits.last().unwrap()["number"], number);
    assert!(site.entries("abort").is_empty());
    assert_eq!(content(&site, "web/key", 1), b"one");
    assert_eq!(content(&site, "web/key", 2), b"two");
    stop_and_verify(&site, daemon);
}

#[test]
fn a_change_that_did_not_reach_the_database_is_given_up_by_the_next_start() {
    let site = Site::new();
    // What other keys encrypt is counted, and the count would be a change of its own.
    site.configure("wrapping = [\"aes-kw\", \"rsa-oaep-sha256\"]\n");
    let daemon = site.start();
    site.furnish(b"one");
    daemon.kill();
    fs::create_dir(site.path("before")).unwrap();
    copy_database(&site, "state", "before");
    let daemon = site.start();
    site.put("web/key", b"two");
    daemon.kill();
    copy_database(&site, "before", "state");
    let number = cut_after_prepare(&site);

    let daemon = site.start();
    let aborts = site.entries("abort");
    assert_eq!(aborts.len(), 1);
    assert_eq!(aborts[0]["number"], number);
    assert_eq!(versions(&site, "web/key"), [1]);
    assert_eq!(site.fetch("web/key").stdout, b"one");
    // And what comes after it is not taken for it.
    assert!(site.put("web/key", b"three").status.success());
    daemon.kill();
    let daemon = site.start();
    assert_eq!(content(&site, "web/key", 2), b"three");
    stop_and_verify(&site, daemon);
    let last = site.entries("commit").pop().unwrap();
    assert!(last["number"].as_u64() >= number.as_u64());
}

#[test]
fn a_settled_change_stays_settled_when_the_daemon_is_killed_while_it_settles() {
    let site = Site::new();
    let daemon = site.start();
    site.furnish(b"one");
    daemon.kill();
    cut_after_prepare(&site);
    for _ in 0..3 {
        // Again and again, at any moment of the start.
        kill_after(&site, site.custodyd("run"), random_time(1, 200));
    }
    let daemon = site.start();
    assert_eq!(site.fetch("web/key").stdout, b"one");
    stop_and_verify(&site, daemon);
    let number = &site.entries("prepare").pop().unwrap()["number"];
    let mut commits = site.entries("commit");
    commits.retain(|commit| &commit["number"] == number);
    assert_eq!(commits.len(), 1);
}

#[test]
fn an_entry_that_was_being_written_is_cut_off_and_nothing_else() {
    let site = Site::new();
    let daemon = site.start();
    site.furnish(CONTENT);
    daemon.kill();
    let whole = site.journal_text();
    let path = last_segment(&site);
    for half in ["{", "{\"seq\":99,\"time\":\"2026", "\0\0\0\0\0\0\0\0"] {
        let before = fs::read(&path).unwrap();
        fs::write(&path, [&before, half.as_bytes()].concat()).unwrap();
        let daemon = site.start();
        assert!(fs::read(&path).unwrap().starts_with(&before));
        assert_eq!(site.fetch("web/key").stdout, CONTENT);
        daemon.kill();
        // `journal` panics on a line that is no JSON.
        assert_eq!(site.journal().last().unwrap()["kind"], "allow");
    }
    assert!(site.journal_text().starts_with(&whole));
    let daemon = site.start();
    stop_and_verify(&site, daemon);
}

#[test]
fn a_segment_that_was_being_begun_does_not_stop_a_start() {
    let site = Site::new();
    let daemon = site.start();
    site.furnish(CONTENT);
    daemon.kill();
    for half in ["", "{\"seq\":"] {
        let next = site.journal().last().unwrap()["seq"].as_u64().unwrap() + 1;
        fs::write(
            site.path(&format!("state/journal/journal-{next:020}.jsonl")),
            half,
        )
        .unwrap();
        let daemon = site.start();
        assert_eq!(site.fetch("web/key").stdout, CONTENT);
        daemon.kill();
    }
    let daemon = site.start();
    stop_and_verify(&site, daemon);
}

// --- init ---

#[test]
fn a_second_init_is_refused_and_changes_nothing() {
    let site = Site::new();
    let before = files(site.folder());
    let output = site.init().output().unwrap();
    assert_eq!(output.status.code(), Some(73), "{}", text(&output));
    assert!(
        text(&output).contains("nothing was changed"),
        "{}",
        text(&output)
    );
    // No key was made in the token, either.
    assert_eq!(files(site.folder()), before);
    site.start().stop();
}

#[test]
fn an_init_that_was_killed_leaves_nothing_that_runs_and_can_be_repeated() {
    if !Kind::has(
        "an_init_that_was_killed_leaves_nothing_that_runs_and_can_be_repeated",
        "a login that is over in no time",
    ) {
        return;
    }
    let site = Site::without_init();
    // Killed while it wrote: what is aside is never looked at again.
    fs::create_dir_all(site.path("state/.init-abcdef/journal")).unwrap();
    fs::set_permissions(site.path("state"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(site.path("state/.init-abcdef/custody.db"), "half").unwrap();
    for round in 0..rounds(8) as u64 {
        kill_after(&site, site.init(), Duration::from_millis(round * 15));
        if site.path("state/custody.db").exists() {
            // It was done; its keys are in the token that was taken away.
            fs::remove_dir_all(site.path("state")).unwrap();
            break;
        }
        if site.path("state/journal").exists() {
            // Between the two renames, which the next test is about.
            fs::remove_dir_all(site.path("state/journal")).unwrap();
        }
        let (status, log) = site.refused_start();
        assert_eq!(status.code(), Some(78), "{log}");
        assert!(log.contains("custodyd init"), "{log}");
    }
    let output = site.init().output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let left: Vec<_> = fs::read_dir(site.path("state"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with('.'))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    let daemon = site.start();
    site.furnish(CONTENT);
    assert_eq!(site.fetch("web/key").stdout, CONTENT);
    stop_and_verify(&site, daemon);
}

#[test]
fn a_journal_without_its_database_is_not_taken_for_nothing() {
    let site = Site::new();
    for name in DATABASE {
        let _there = fs::remove_file(site.path("state").join(name));
    }
    let before = files(&site.path("state"));
    for command in ["run", "init"] {
        let mut command = match command {
            "init" => site.init(),
            other => site.custodyd(other),
        };
        let output = command.output().unwrap();
        let said = text(&output);
        assert!(matches!(output.status.code(), Some(73 | 78)), "{said}");
        // Both what to remove if it was an `init` that was killed, and what to do if not.
        assert!(
            said.contains(site.path("state/journal").to_str().unwrap()),
            "{said}"
        );
        assert!(said.contains("backup") && said.contains("remove"), "{said}");
    }
    assert_eq!(files(&site.path("state")), before);
    fs::remove_dir_all(site.path("state/journal")).unwrap();
    let output = site.init().output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    site.start().stop();
}

// --- a full disk ---

#[test]
fn a_write_that_does_not_fit_on_the_disk_changes_nothing() {
    if !is_root("a_write_that_does_not_fit_on_the_disk_changes_nothing") {
        return;
    }
    with_own_mounts(|| {
        let site = Site::new();
        let disk = SmallDisk::under(&site, 2048);
        let daemon = site.start();
        site.furnish(CONTENT);
        let large = vec![b'x'; 200 << 10];
        for _ in 0..3 {
            // Room for the journal, and none for the database, which takes it all the same.
            disk.fill(32 << 10);
            let output = site.put("web/key", &large);
            assert_eq!(output.status.code(), UNAVAILABLE, "{}", text(&output));
            assert!(!text(&output).contains("was made"), "{}", text(&output));
        }
        disk.fill(32 << 10);
        assert_eq!(versions(&site, "web/key"), [1]);
        disk.make_room();
        assert!(site.put("web/key", &large).status.success());
        assert_eq!(versions(&site, "web/key"), [1, 2]);
        assert_eq!(site.fetch("web/key").stdout, large);
        daemon.kill();
        let daemon = site.start();
        assert_eq!(content(&site, "web/key", 1), CONTENT);
        assert_eq!(content(&site, "web/key", 2), large);
        stop_and_verify(&site, daemon);
        assert_eq!(site.entries("start").len(), 2);
        // What was begun and did not fit has its outcome, too.
        let (begun, made) = (site.entries("prepare").len(), site.entries("commit").len());
        let given_up = site.entries("abort").len();
        assert!(given_up > 0);
        assert_eq!(begun, made + given_up);
    });
}

#[test]
fn a_daemon_that_is_killed_on_a_full_disk_starts_once_there_is_room() {
    if !is_root("a_daemon_that_is_killed_on_a_full_disk_starts_once_there_is_room") {
        return;
    }
    with_own_mounts(|| {
        let site = Site::new();
        let disk = SmallDisk::under(&site, 1024);
        let daemon = site.start();
        site.furnish(CONTENT);
        disk.fill(0);
        while site.put("web/key", b"no room").status.success() {}
        let there = versions(&site, "web/key");
        daemon.kill();
        let (status, log) = site.refused_start();
        assert!(!status.success(), "{log}");
        disk.make_room();
        let daemon = site.start();
        assert_eq!(versions(&site, "web/key"), there);
        assert_eq!(content(&site, "web/key", 1), CONTENT);
        assert!(site.put("web/key", b"room").status.success());
        stop_and_verify(&site, daemon);
    });
}

#[test]
fn an_init_on_a_full_disk_leaves_nothing_and_can_be_repeated() {
    if !is_root("an_init_on_a_full_disk_leaves_nothing_and_can_be_repeated") {
        return;
    }
    with_own_mounts(|| {
        let site = Site::without_init();
        let disk = SmallDisk::under(&site, 256);
        disk.fill(32 << 10);
        let output = site.init().output().unwrap();
        assert!(!output.status.success(), "{}", text(&output));
        disk.make_room();
        assert!(files(&site.path("state")).is_empty());
        let output = site.init().output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        site.start().stop();
    });
}

// --- several writers ---

#[test]
fn versions_that_are_written_at_once_are_distinct_and_consecutive() {
    const WRITERS: usize = 6;
    const EACH: usize = 5;
    let site = Site::new();
    let daemon = site.start();
    site.furnish(CONTENT);
    let written: Vec<(u32, Vec<u8>)> = runtime().block_on(async {
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..WRITERS {
            let manager = site.manager().await;
            writers.spawn(async move {
                let mut written = Vec::new();
                for number in 0..EACH {
                    let content = format!("{writer} {number}").into_bytes();
                    written.push((put(&manager, "key", &content).await.unwrap(), content));
                }
                written
            });
        }
        writers.join_all().await.concat()
    });
    daemon.kill();

    let daemon = site.start();
    let expected: Vec<_> = (1..=1 + (WRITERS * EACH) as u64).collect();
    assert_eq!(versions(&site, "web/key"), expected);
    for (version, written) in written {
        assert_eq!(content(&site, "web/key", version.into()), written);
    }
    stop_and_verify(&site, daemon);
}

// --- an orderly end ---

#[test]
fn a_daemon_that_is_told_to_stop_as_soon_as_it_serves_ends_in_order() {
    let site = Site::new();
    for _ in 0..5 {
        // `stop` asserts the exit code.
        site.start().stop();
        let kinds: Vec<_> = site
            .journal()
            .iter()
            .map(|entry| entry["kind"].clone())
            .collect();
        assert_eq!(kinds[kinds.len() - 2..], ["stop", "checkpoint"]);
    }
    assert!(site.verify_journal().status.success());
}
