//! What the daemon does on kernels that say less about callers.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use std::process::Command;

use nix::unistd::getuid;
use softhsm_tests::{
    Site, command,
    intruder::told,
    text,
    verdict::{is_delivered, is_denied},
};

/// The command line of `site`'s daemon on a kernel of that version.
fn on_linux(version: &str, site: &Site) -> Command {
    let daemon = site.custodyd("run");
    let mut command = Command::new(env!("CARGO_BIN_EXE_old-kernel"));
    command
        .arg(version)
        .arg(daemon.get_program())
        .args(daemon.get_args())
        .env_remove("NOTIFY_SOCKET");
    command
}

/// Who may pass connections on, so that what becomes of who made one is looked at.
const LENIENT: &str = "[attestation]\nstrict = false\n";

const SWITCH: &str = "[attestation]\nstrict = false\nlegacy-kernel = true\n";

fn status(site: &Site) -> serde_json::Value {
    let output = site.custodyctl().args(["status", "-o", "json"]).output();
    serde_json::from_slice(&output.unwrap().stdout).unwrap()
}

/// A process of our uid is delivered to, one that executes another program after it
/// connected is not.
fn tells_callers_apart(site: &Site) {
    site.furnish_ungranted();
    let program = site.installed("peer-intruder", "service");
    let path = format!("unix:path:{}", program.display());
    site.grant(&[&format!("unix:uid:{}", getuid()), &path]);
    let fetch = |program: &std::path::Path| {
        told(Command::new(program).args(["fetch", &site.provider_socket(), "web", "key"]))
    };
    is_denied(&fetch(&command("peer-intruder")));
    is_delivered(&fetch(&program));

    let mut lender = site.lend("after", "exec");
    lender.act();
    is_denied(&lender.answer());
    let doubted = site.entries("unattested").pop().unwrap();
    assert_eq!(doubted["doubt"], "exe");
}

#[test]
fn a_kernel_that_pins_no_peers_is_refused_with_the_name_of_the_switch() {
    let site = Site::new();
    let daemon = on_linux("6.4", &site);
    // One that is not refused serves until it is told to stop.
    let mut command = Command::new("timeout");
    command.arg("30").arg(daemon.get_program());
    let refused = command.args(daemon.get_args()).output().unwrap();
    assert_eq!(refused.status.code(), Some(78), "{}", text(&refused));
    assert!(text(&refused).contains("legacy-kernel = true"));
    assert!(!site.path("run/provider.sock").exists());
    assert_eq!(site.entries("start"), [serde_json::Value::Null; 0]);
}

#[test]
fn with_the_switch_callers_are_told_by_their_numbers_and_that_is_said_to_be_weaker() {
    let site = Site::new();
    site.configure(SWITCH);
    let _daemon = site.start_as(on_linux("6.4", &site));
    tells_callers_apart(&site);
    let status = status(&site);
    assert_eq!(status["attestation"], "start-time");
    let lacks = status["attestation_lacks"].as_array().unwrap();
    assert!(
        lacks
            .iter()
            .any(|lack| lack.as_str().unwrap().contains("process id"))
    );
    let shown = site.custodyctl().arg("status").output().unwrap();
    assert!(text(&shown).contains("weaker"), "{}", text(&shown));
    let allowed = site.entries("allow").pop().unwrap();
    assert_eq!(allowed["caller"]["pinned"], "by-number");
}

#[test]
fn the_switch_changes_nothing_on_a_kernel_that_pins_peers() {
    let site = Site::new();
    site.configure(SWITCH);
    let _daemon = site.start();
    tells_callers_apart(&site);
    assert_eq!(status(&site)["attestation"], "kernel");
    let allowed = site.entries("allow").pop().unwrap();
    assert_eq!(allowed["caller"].get("pinned"), None);
}

#[test]
fn a_kernel_whose_pidfds_say_nothing_tells_callers_apart_all_the_same() {
    let site = Site::new();
    site.configure(LENIENT);
    let _daemon = site.start_as(on_linux("6.12", &site));
    tells_callers_apart(&site);
    assert_eq!(status(&site)["attestation"], "kernel");
}
