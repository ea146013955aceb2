//! P4 recorded: no record, no plaintext. The journal entry is durable before content
//! leaves; if the journal cannot be written, nothing is released.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use std::{collections::HashSet, process::Stdio, time::Duration};

use nix::{sys::signal::Signal, unistd::getuid};
use serde_json::Value;
use softhsm_tests::{
    Site, command,
    daemon::Daemon,
    disk::{SmallDisk, limit_files, with_own_mounts},
    is_root,
    load::{children, fetch, runtime},
    text, until,
};

const CONTENT: &[u8] = b"the content of the secret";

/// `custodyctl`'s exit codes.
const DENIED: Option<i32> = Some(3);
const UNAVAILABLE: Option<i32> = Some(6);

fn entry(site: &Site, number: u64) -> Value {
    let mut journal = site.journal();
    journal.retain(|entry| entry["seq"] == number);
    journal.pop().expect("the entry is in the journal")
}

fn journal_length(site: &Site) -> u64 {
    site.journal_text().len() as u64
}

/// Everything an operator sees, but for how often grants were used.
fn seen(site: &Site) -> [Value; 4] {
    let mut grants = site.ctl_json(&["grant", "list"]);
    for grant in grants["grants"].as_array_mut().unwrap() {
        let grant = grant.as_object_mut().unwrap();
        grant.remove("used").unwrap();
        grant.remove("last_used").unwrap();
    }
    [
        site.ctl_json(&["group", "list"]),
        site.ctl_json(&["secret", "list", "web"]),
        site.ctl_json(&["secret", "versions", "web/key"]),
        grants,
    ]
}

/// Stops the daemon, and has the whole journal verified.
fn stop_and_verify(site: &Site, daemon: Daemon<'_>) {
    daemon.stop();
    let verified = site.verify_journal();
    assert!(verified.status.success(), "{}", text(&verified));
}

#[test]
fn a_receipt_names_the_entry_of_who_got_what() {
    let site = Site::new();
    let daemon = site.start();
    site.furnish(CONTENT);
    let out = site.path("content");
    let mut command_line = site.custodyctl();
    command_line
        .args(["--output", "json", "fetch", "web/key", "--out"])
        .arg(&out)
        .stdout(Stdio::piped());
    let child = command_line.spawn().unwrap();
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    // Nothing that is written after the answer counts.
    daemon.kill();

    assert_eq!(std::fs::read(out).unwrap(), CONTENT);
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let entry = entry(&site, told["receipt"].as_u64().unwrap());
    assert_eq!(entry["kind"], "allow");
    assert_eq!(entry["operation"], "deliver");
    assert_eq!(entry["group"], "web");
    assert_eq!(entry["secret"], "key");
    assert_eq!(entry["version"], 1);
    let caller = &entry["caller"];
    assert_eq!(caller["pid"], pid);
    assert_eq!(caller["uid"], getuid().as_raw());
    assert_eq!(caller["exe"], command("custodyctl").to_str().unwrap());
    let granted = site.entries("prepare");
    let granted = granted
        .iter()
        .find(|entry| entry["change"]["change"] == "add-grant");
    assert_eq!(entry["grant"], granted.unwrap()["change"]["grant"]);
    assert!(site.entries("undelivered").is_empty());
}

#[test]
fn a_denial_is_on_record_before_its_answer() {
    let site = Site::new();
    let daemon = site.start();
    site.furnish(CONTENT);
    site.ctl(&["group", "create", "db"]);
    let output = site.fetch("db/key");
    daemon.kill();

    assert_eq!(output.status.code(), DENIED, "{}", text(&output));
    let denials = site.entries("deny");
    assert_eq!(denials.len(), 1);
    assert_eq!(denials[0]["group"], "db");
    assert_eq!(denials[0]["secret"], "key");
    assert_eq!(denials[0]["caller"]["uid"], getuid().as_raw());
    assert!(site.entries("allow").is_empty());
}

#[test]
fn each_of_many_releases_has_an_entry_of_its_own() {
    const CALLERS: usize = 8;
    const EACH: usize = 25;
    let site = Site::new();
    let daemon = site.start();
    site.furnish(CONTENT);
    let receipts = runtime().block_on(async {
        let mut callers = tokio::task::JoinSet::new();
        for _ in 0..CALLERS {
            let provider = site.provider().await;
            callers.spawn(async move {
                let mut receipts = Vec::new();
                for _ in 0..EACH {
                    let (content, fetched) = fetch(&provider, "key").await.unwrap();
                    assert_eq!(content, CONTENT);
                    receipts.push(fetched.receipt);
                }
                receipts
            });
        }
        callers.join_all().await.concat()
    });
    daemon.kill();

    let receipts: HashSet<_> = receipts.into_iter().collect();
    let allowed = site.entries("allow");
    let allowed: HashSet<_> = allowed
        .iter()
        .map(|entry| entry["seq"].as_u64().unwrap())
        .collect();
    assert_eq!(receipts.len(), CALLERS * EACH);
    assert_eq!(receipts, allowed);
}

#[test]
fn what_was_allowed_and_not_delivered_is_on_record_as_such() {
    let site = Site::new();
    site.configure_deadline(1000);
    let daemon = site.start();
    site.furnish(CONTENT);
    nix::sys::signal::kill(daemon.worker(), Signal::SIGSTOP).unwrap();
    let output = site.fetch("web/key");
    // The client asked twice, and the second time may have met a good worker.
    let allowed = site.entries("allow");
    let undelivered = site.entries("undelivered");
    assert_eq!(undelivered[0]["allowed"], allowed[0]["seq"]);
    assert_eq!(undelivered[0]["reason"]["cause"], "token");
    assert_eq!(output.status.success(), undelivered.len() < allowed.len());
    drop(daemon);
}

/// What must not happen while nothing can be recorded.
fn nothing_goes(site: &Site, before: &[Value; 4]) {
    let length = journal_length(site);
    let release = site.fetch("web/key");
    assert_eq!(release.status.code(), UNAVAILABLE, "{}", text(&release));
    assert!(release.stdout.is_empty(), "{}", text(&release));

    // Not even that it is denied, which nobody could look up later.
    let denial = site.fetch("web-nothing/key");
    assert_eq!(denial.status.code(), UNAVAILABLE, "{}", text(&denial));

    let grant = before[3]["grants"][0]["id"].as_str().unwrap();
    let uid = getuid().to_string();
    for change in [
        &["group", "create", "other"][..],
        &["grant", "add", "--allow-weak", "web", "*", "--uid", &uid],
        &["grant", "revoke", grant, "--yes"],
        &["secret", "delete", "web/key", "--yes", "--force"],
        // Nobody looks around unnoticed, either.
        &["group", "list"],
    ] {
        let output = site.try_ctl(change);
        assert_eq!(
            output.status.code(),
            UNAVAILABLE,
            "{change:?}: {}",
            text(&output)
        );
    }
    let output = site.put("web/key", b"another");
    assert_eq!(output.status.code(), UNAVAILABLE, "{}", text(&output));
    assert_eq!(journal_length(site), length);
}

fn everything_goes_again(site: &Site, before: &[Value; 4]) {
    assert_eq!(&seen(site), before);
    assert_eq!(site.fetch("web/key").stdout, CONTENT);
    assert_eq!(site.fetch("web-nothing/key").status.code(), DENIED);
    let output = site.put("web/key", b"another");
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(site.fetch("web/key").stdout, b"another");
}

#[test]
fn what_cannot_be_recorded_does_not_happen() {
    let site = Site::new();
    let mut daemon = site.start();
    site.furnish(CONTENT);
    let before = seen(&site);
    // In the middle of the next entry, whatever it is.
    limit_files(daemon.pid(), Some(journal_length(&site) + 100));
    nothing_goes(&site, &before);
    assert!(daemon.is_running());

    limit_files(daemon.pid(), None);
    everything_goes_again(&site, &before);
    stop_and_verify(&site, daemon);
    assert_eq!(site.entries("allow").len(), 2);
    assert_eq!(site.entries("deny").len(), 1);
    assert_eq!(site.entries("start").len(), 1, "it was started again");
}

#[test]
fn nothing_is_released_while_the_disk_is_full() {
    if !is_root("nothing_is_released_while_the_disk_is_full") {
        return;
    }
    with_own_mounts(|| {
        let site = Site::new();
        let disk = SmallDisk::under(&site, 1024);
        let daemon = site.start();
        site.furnish(CONTENT);
        let before = seen(&site);
        disk.fill(0);
        // The journal's last block still has room for some entries.
        let mut released = 0;
        until("the journal has no room", || {
            let output = site.fetch("web/key");
            released += usize::from(output.status.success());
            assert_eq!(output.status.success(), output.stdout == CONTENT);
            (!output.status.success()).then_some(())
        });
        // Denials are the shortest entries.
        until("the journal has no room for a denial", || {
            let output = site.fetch("web-nothing/key");
            (output.status.code() == UNAVAILABLE).then_some(())
        });
        let denied = site.entries("deny").len();
        assert_eq!(site.entries("allow").len(), released);
        nothing_goes(&site, &before);

        disk.make_room();
        everything_goes_again(&site, &before);
        stop_and_verify(&site, daemon);
        assert_eq!(site.entries("allow").len(), released + 2);
        assert_eq!(site.entries("deny").len(), denied + 1);
        assert_eq!(site.entries("start").len(), 1, "it was started again");
    });
}

#[test]
fn callers_on_a_disk_that_fills_up_get_content_only_with_a_receipt_that_lasts() {
    if !is_root("callers_on_a_disk_that_fills_up_get_content_only_with_a_receipt_that_lasts") {
        return;
    }
    with_own_mounts(|| {
        let site = Site::new();
        site.configure("[journal]\nsegment-size = \"16KiB\"\n");
        let disk = SmallDisk::under(&site, 1024);
        let daemon = site.start();
        site.furnish(CONTENT);
        let runtime = runtime();
        let callers: Vec<_> = (0..4)
            .map(|_| {
                let provider = runtime.block_on(site.provider());
                runtime.spawn(async move {
                    let mut receipts = Vec::new();
                    // Some hundred releases fit into what is left.
                    for _ in 0..5000 {
                        match fetch(&provider, "key").await {
                            Ok((content, fetched)) => {
                                assert_eq!(content, CONTENT);
                                receipts.push(fetched.receipt);
                            }
                            Err(client::Error::Unavailable(_)) => return receipts,
                            Err(other) => panic!("{other:?}"),
                        }
                    }
                    panic!("the disk is never full");
                })
            })
            .collect();
        disk.fill(128 << 10);
        let receipts: Vec<Vec<u64>> = callers
            .into_iter()
            .map(|caller| runtime.block_on(caller).unwrap())
            .collect();
        let receipts: HashSet<_> = receipts.concat().into_iter().collect();
        disk.make_room();
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(site.fetch("web/key").stdout, CONTENT);
        assert!(children(daemon.pid(), "hsm-worker").len() == 1);
        stop_and_verify(&site, daemon);

        let allowed = site.entries("allow");
        let allowed: HashSet<_> = allowed
            .iter()
            .map(|entry| entry["seq"].as_u64().unwrap())
            .collect();
        assert!(receipts.len() > 100, "{}", receipts.len());
        assert!(receipts.is_subset(&allowed));
        assert_eq!(allowed.len(), receipts.len() + 1);
    });
}
