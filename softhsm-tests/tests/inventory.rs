//! The inventory: who fetched what, who watches, which grants nobody used, and what keeps a
//! secret from being deleted by mistake.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use std::{fs, process::Command};

use nix::unistd::getuid;
use serde_json::{Value, json};
use softhsm_tests::{
    Site,
    daemon::Daemon,
    intruder::{STRANGER, told},
    is_root,
    load::{fetch, runtime},
    text, until,
    verdict::{CONTENT, is_delivered},
};

/// This process fetches the newest version of `web/key`, or the one given.
fn fetches(site: &Site, version: Option<u32>) {
    runtime().block_on(async {
        let provider = site.provider().await;
        let fetched = provider.fetch("web", "key", version).await.unwrap();
        assert!(version.is_none_or(|version| fetched.version == version));
    });
}

/// Everything that is told of who uses `web/key`, but for the times.
fn inventory(site: &Site) -> Value {
    let mut shown = site.ctl_json(&["consumers", "web/key"]);
    for consumer in shown["consumers"].as_array_mut().unwrap() {
        let consumer = consumer.as_object_mut().unwrap();
        let (first, last) = (consumer.remove("first"), consumer.remove("last"));
        // In UTC and of one form, they sort as text.
        assert!(first.unwrap().as_str() <= last.unwrap().as_str());
    }
    shown
}

/// The only consumer of `web/key`.
fn consumer(site: &Site) -> Value {
    let shown = inventory(site);
    let consumers = shown["consumers"].as_array().unwrap();
    assert_eq!(consumers.len(), 1, "{shown}");
    assert_eq!(consumers[0]["uid"], getuid().as_raw());
    consumers[0].clone()
}

/// A daemon that has `web/key`, granted to this user.
fn furnished(site: &Site) -> Daemon<'_> {
    let daemon = site.start();
    site.furnish_ungranted();
    site.grant_on("key", &[]);
    daemon
}

fn put(site: &Site, content: &[u8]) {
    assert!(site.put("web/key", content).status.success());
}

#[test]
fn fetches_are_counted_and_a_version_that_is_not_the_current_one_is_said_to_be_outdated() {
    let site = Site::new();
    let _daemon = furnished(&site);
    let says = |version, fetches, outdated| {
        let consumer = consumer(&site);
        assert_eq!(consumer["version"], version);
        assert_eq!(consumer["fetches"], fetches);
        assert_eq!(consumer["outdated"], outdated);
        assert_eq!(
            (&consumer["recent"], &consumer["watching"]),
            (&json!(true), &json!(false))
        );
    };
    assert_eq!(inventory(&site)["consumers"], json!([]));
    fetches(&site, None);
    fetches(&site, None);
    says(1, 2, false);
    put(&site, b"newer");
    says(1, 2, true);
    fetches(&site, None);
    says(2, 3, false);
    fetches(&site, Some(1));
    says(1, 4, true);
    let versions = consumer(&site)["versions"].clone();
    let numbers: Vec<_> = versions.as_array().unwrap().iter().collect();
    assert_eq!(
        (&numbers[0]["version"], &numbers[1]["version"]),
        (&json!(1), &json!(2))
    );
    assert!(numbers[1]["last"].as_str() <= numbers[0]["last"].as_str());

    // Back to the one before: who has that is up to date, and who had the other is not.
    site.ctl(&["secret", "activate", "web/key@1"]);
    says(1, 4, false);
    fetches(&site, Some(2));
    says(2, 5, true);
}

/// `secret disable` of a version is refused, and nothing of it is done.
fn stays_enabled(site: &Site, version: &str) {
    let prepared = site.entries("prepare").len();
    let refused = site.try_ctl(&["secret", "disable", version]);
    assert_eq!(refused.status.code(), Some(5), "{}", text(&refused));
    assert!(text(&refused).contains("--force"), "{}", text(&refused));
    assert_eq!(site.entries("prepare").len(), prepared);
}

#[test]
fn a_version_that_somebody_has_or_would_get_next_is_not_disabled_unless_forced() {
    let site = Site::new();
    let _daemon = furnished(&site);
    fetches(&site, None);
    put(&site, b"newer");
    // It has the first, and would get the second.
    stays_enabled(&site, "web/key@1");
    stays_enabled(&site, "web/key@2");
    fetches(&site, None);
    site.ctl(&["secret", "activate", "web/key@1"]);
    fetches(&site, None);
    // It went back with everyone.
    stays_enabled(&site, "web/key@1");
    site.ctl(&["secret", "disable", "web/key@2"]);
    site.ctl(&["secret", "disable", "web/key@1", "--force"]);
    site.is_withheld("web/key", &[], "disabled");
}

#[test]
fn a_grant_that_gave_one_secret_is_among_the_unused_of_another() {
    let site = Site::new();
    let _daemon = site.start();
    site.furnish_ungranted();
    let all = site.grant_on("*", &[]);
    let other_type = site.grant_on("*", &["--type", "password"]);
    assert!(site.put("web/other", b"other").status.success());
    fetches(&site, None);
    let unused = |scope: &str| {
        let shown = site.ctl_json(&["consumers", scope]);
        let unused = shown["unused"].as_array().unwrap().clone();
        unused
            .into_iter()
            .map(|grant| grant["id"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(unused("web/key"), [Value::Null; 0]);
    assert_eq!(unused("web/other"), [json!(all)]);
    assert_eq!(unused("web"), [json!(other_type)]);
}

#[test]
fn who_is_denied_is_no_consumer() {
    let site = Site::new();
    let _daemon = site.start();
    site.furnish_ungranted();
    site.is_withheld("web/key", &[], "no-grant");
    assert_eq!(inventory(&site)["consumers"], json!([]));
}

#[test]
fn services_are_told_apart_and_what_would_stop_is_said() {
    let test = "services_are_told_apart_and_what_would_stop_is_said";
    if !is_root(test) {
        return;
    }
    let site = Site::new();
    let _daemon = furnished(&site);
    site.grant(&[&format!("unix:uid:{STRANGER}")]);
    fetches(&site, None);
    let client = site.installed("peer-intruder", "client");
    let mut stranger = Command::new("setpriv");
    stranger
        .args([format!("--reuid={STRANGER}"), format!("--regid={STRANGER}")])
        .arg("--clear-groups")
        .arg(client)
        .args(["fetch", &site.provider_socket(), "web", "key"]);
    is_delivered(&told(&mut stranger));
    let shown = inventory(&site);
    let uids: Vec<_> = shown["consumers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|consumer| (consumer["uid"].clone(), consumer["fetches"].clone()))
        .collect();
    // Whoever came last is first.
    assert_eq!(uids, [(json!(STRANGER), json!(1)), (json!(0), json!(1))]);
    let printed = site.ctl(&["consumers", "web/key"]);
    let loss = printed.lines().find(|line| line.contains("would stop:"));
    let loss = loss.unwrap_or_else(|| panic!("{printed}"));
    assert!(
        loss.contains("uid 1234 ") && loss.contains("uid 0"),
        "{loss}"
    );
}

#[test]
fn a_grant_is_among_the_unused_until_it_is_used() {
    let site = Site::new();
    let _daemon = furnished(&site);
    let other = site.grant_on("other", &[]);
    let unused = |scope: &str| {
        let shown = site.ctl_json(&["consumers", scope]);
        let unused = shown["unused"].as_array().unwrap().clone();
        unused
            .into_iter()
            .map(|grant| grant["id"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(unused("web/key").len(), 1);
    assert_eq!(unused("web").len(), 2);
    fetches(&site, None);
    assert_eq!(unused("web/key"), [Value::Null; 0]);
    assert_eq!(unused("web"), [json!(other)]);
}

/// What the inventory tells is the same after `end` and `deed`.
fn outlives(end: fn(Daemon<'_>), deed: fn(&Site)) {
    let site = Site::new();
    let daemon = furnished(&site);
    fetches(&site, None);
    put(&site, b"newer");
    fetches(&site, None);
    put(&site, b"newest");
    site.grant_on("other*", &[]);
    let before = inventory(&site);
    assert_eq!(before["consumers"][0]["fetches"], 2);
    end(daemon);
    deed(&site);
    let _daemon = site.start();
    assert_eq!(inventory(&site), before);
    assert_eq!(before["since"], 1);
}

#[test]
fn the_inventory_outlives_a_stop() {
    outlives(|daemon| assert!(daemon.stop().success()), |_| ());
}

#[test]
fn the_inventory_outlives_a_kill_and_the_loss_of_its_file() {
    outlives(|daemon| daemon.kill(), |_| ());
    outlives(
        |daemon| assert!(daemon.stop().success()),
        |site| fs::remove_file(site.path("state/usage.json")).unwrap(),
    );
}

/// `secret delete` is refused, and nothing of it is done.
fn is_kept(site: &Site) -> String {
    let prepared = site.entries("prepare").len();
    let refused = site.try_ctl(&["secret", "delete", "web/key", "--yes"]);
    assert_eq!(refused.status.code(), Some(5), "{}", text(&refused));
    assert_eq!(site.entries("prepare").len(), prepared);
    site.ctl(&["secret", "show", "web/key"]);
    text(&refused)
}

#[test]
fn a_secret_that_was_fetched_of_late_is_not_deleted_unless_forced() {
    let site = Site::new();
    let _daemon = furnished(&site);
    fetches(&site, None);
    let said = is_kept(&site);
    let who = format!("unix:uid:{}", getuid());
    assert!(said.contains(&who) && said.contains("--force"), "{said}");
    fetches(&site, None);

    site.ctl(&["secret", "delete", "web/key", "--yes", "--force"]);
    let gone = site.try_ctl(&["secret", "show", "web/key"]);
    assert_eq!(gone.status.code(), Some(4), "{}", text(&gone));
    let prepare = site.entries("prepare").pop().unwrap();
    assert_eq!(prepare["change"]["change"], "delete-secret");
    site.is_withheld("web/key", &[], "no-such-secret");
}

#[test]
fn a_secret_that_nobody_fetched_is_deleted() {
    let site = Site::new();
    let _daemon = furnished(&site);
    site.ctl(&["secret", "delete", "web/key", "--yes"]);
    let gone = site.try_ctl(&["secret", "show", "web/key"]);
    assert_eq!(gone.status.code(), Some(4), "{}", text(&gone));
}

#[test]
fn who_watches_is_shown_and_would_be_missed_while_it_watches() {
    let site = Site::new();
    let _daemon = furnished(&site);
    let runtime = runtime();
    let watch = runtime.block_on(async {
        let provider = site.provider().await;
        let mut watch = provider.watch("web", "key").await.unwrap();
        assert_eq!(watch.next().await.unwrap().unwrap(), 1);
        (provider, watch)
    });
    let shown = site.ctl_json(&["consumers", "web/key"]);
    let consumer = &shown["consumers"][0];
    assert_eq!(
        (&consumer["watching"], &consumer["recent"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(
        (&consumer["fetches"], &consumer["version"]),
        (&json!(0), &json!(0))
    );
    assert_eq!(consumer["last"], Value::Null);
    is_kept(&site);

    runtime.block_on(async { drop(watch) });
    drop(runtime);
    until("it is known to have gone", || {
        let shown = site.ctl_json(&["consumers", "web/key"]);
        (shown["consumers"] == json!([])).then_some(())
    });
    site.ctl(&["secret", "delete", "web/key", "--yes"]);
}

#[test]
fn who_used_a_secret_is_no_consumer_of_a_later_one_of_its_name() {
    let site = Site::new();
    let daemon = furnished(&site);
    put(&site, b"newer");
    fetches(&site, None);
    site.ctl(&["secret", "delete", "web/key", "--yes", "--force"]);
    put(&site, CONTENT);
    assert_eq!(inventory(&site)["consumers"], json!([]));
    daemon.kill();

    let daemon = site.start();
    assert_eq!(inventory(&site)["consumers"], json!([]));
    fetches(&site, None);
    assert_eq!(consumer(&site)["version"], 1);
    drop(daemon);
}

/// A site with a journal of several segments, whose grant of `web/key` for three was used
/// once, in the first of them; stopped.
fn used_long_ago(site: &Site) {
    site.configure("[journal]\nsegment-size = \"16KiB\"\n");
    let daemon = site.start();
    site.furnish_ungranted();
    site.grant_on("key", &["--uses", "3"]);
    site.is_had();
    runtime().block_on(async {
        let provider = site.provider().await;
        while segments(site).len() < 3 {
            fetch(&provider, "none").await.unwrap_err();
        }
    });
    daemon.stop();
}

fn segments(site: &Site) -> Vec<std::path::PathBuf> {
    let folder = fs::read_dir(site.path("state/journal")).unwrap();
    let mut segments: Vec<_> = folder.map(|entry| entry.unwrap().path()).collect();
    segments.sort();
    segments
}

#[test]
fn segments_that_were_moved_away_are_not_missed_while_the_counts_are_there() {
    let site = Site::new();
    used_long_ago(&site);
    fs::remove_file(&segments(&site)[0]).unwrap();
    let _daemon = site.start();
    site.is_had();
    site.is_had();
    site.is_withheld("web/key", &[], "used-up");
}

#[test]
fn without_counts_and_without_the_segments_that_tell_them_an_older_grant_is_used_up() {
    let site = Site::new();
    used_long_ago(&site);
    fs::remove_file(&segments(&site)[0]).unwrap();
    fs::remove_file(site.path("state/usage.json")).unwrap();
    let _daemon = site.start();
    site.is_withheld("web/key", &[], "used-up");
    let since = site.ctl_json(&["consumers", "web"])["since"].as_u64();
    assert!(since.unwrap() > 1, "{since:?}");

    site.grant_on("key", &["--uses", "1"]);
    site.is_had();
    site.is_withheld("web/key", &[], "used-up");
}
