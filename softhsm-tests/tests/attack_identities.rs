//! P3 against callers who become somebody else, or let somebody else ask.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::PathBuf,
    process::{Child, Command},
};

use nix::sys::statvfs::{FsFlags, statvfs};
use softhsm_tests::{
    Site,
    intruder::{Lender, NOBODY, STRANGER, told},
    is_root,
    skip::skip,
    until,
    verdict::{is_delivered, is_denied},
};

/// Whether programs that change ids do so where tests have their files; if not, `test` is
/// skipped.
fn programs_may_change_ids(test: &str) -> bool {
    let found = statvfs(&std::env::temp_dir()).unwrap();
    let may = !found.flags().contains(FsFlags::ST_NOSUID);
    if !may {
        skip(test, "a folder for temporary files that is not nosuid");
    }
    may
}

/// A program of the site's that anyone who executes it executes as root, or in root's
/// group.
fn privileged(site: &Site, mode: u32) -> PathBuf {
    let path = site.path("privileged");
    let copied = Command::new("cp").arg("/bin/cat").arg(&path).status();
    assert!(copied.unwrap().success());
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

/// A stranger, granted by uid, executes a program of that `mode` after it connected, and
/// is doubted for it.
fn is_doubted_as_soon_as_it_executes(mode: u32, doubt: &str) {
    let site = Site::new();
    // A child asks on its connection, which the sender check alone would notice.
    site.configure("[attestation]\nstrict = false\n");
    let _daemon = site.start();
    site.furnish_ungranted();
    site.grant(&[&format!("unix:uid:{STRANGER}")]);
    site.grant(&["unix:uid:0"]);
    let privileged = privileged(&site, mode);
    let client = site.installed("peer-intruder", "client");
    let lender = site.lender("other-ids", privileged.to_str().unwrap());
    let mut command = Command::new(client);
    command.args(lender.get_args()).uid(STRANGER).gid(STRANGER);
    let mut lender = Lender::run(command);
    lender.act();
    is_denied(&lender.answer());
    let doubted = site.is_doubted_as(doubt);
    assert_eq!(doubted["uid"], STRANGER);
}

#[test]
fn a_peer_that_becomes_root_by_a_setuid_program_is_neither_itself_nor_root() {
    let test = "a_peer_that_becomes_root_by_a_setuid_program_is_neither_itself_nor_root";
    if is_root(test) && programs_may_change_ids(test) {
        is_doubted_as_soon_as_it_executes(0o4755, "mixed-uids");
    }
}

#[test]
fn a_peer_that_changes_its_group_by_a_setgid_program_is_denied() {
    let test = "a_peer_that_changes_its_group_by_a_setgid_program_is_denied";
    if is_root(test) && programs_may_change_ids(test) {
        is_doubted_as_soon_as_it_executes(0o2755, "mixed-gids");
    }
}

/// A process that joins whoever connects to "run/forwarded.sock" to the daemon.
struct Forwarder(Child);

impl Forwarder {
    fn start(site: &Site, uid: u32) -> Self {
        let program = site.installed("peer-intruder", "forwarder");
        let folder = site.path("forwarded");
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        let path = folder.join("socket");
        let forwarder = Command::new(program)
            .args(["forward", &site.provider_socket()])
            .arg(&path)
            .uid(uid)
            .gid(uid)
            .spawn()
            .unwrap();
        let forwarder = Self(forwarder);
        until("it listens", || {
            let mode = fs::metadata(&path).ok()?.permissions().mode();
            (mode & 0o777 == 0o666).then_some(())
        });
        forwarder
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A client of the forwarder.
fn forwarded(site: &Site, uid: u32) -> Command {
    let mut client = Command::new(site.installed("peer-intruder", "client"));
    let socket = site.path("forwarded/socket");
    client.args(["fetch", socket.to_str().unwrap(), "web", "key"]);
    client.uid(uid).gid(uid);
    client
}

#[test]
fn who_asks_through_a_process_that_was_not_granted_is_denied() {
    let test = "who_asks_through_a_process_that_was_not_granted_is_denied";
    if !is_root(test) {
        return;
    }
    let site = Site::new();
    let _daemon = site.start();
    site.furnish_ungranted();
    site.grant(&["unix:uid:0"]);
    let forwarder = Forwarder::start(&site, NOBODY);
    is_denied(&told(&mut forwarded(&site, 0)));
    let denial = site.is_on_record_as("no-grant");
    assert_eq!(denial["caller"]["uid"], NOBODY);
    assert_eq!(denial["caller"]["pid"], forwarder.0.id());
}

/// Documents what cannot be defended: the threat model says so.
#[test]
fn who_was_granted_may_ask_for_another() {
    let test = "who_was_granted_may_ask_for_another";
    if !is_root(test) {
        return;
    }
    let site = Site::new();
    let _daemon = site.start();
    site.furnish_ungranted();
    site.grant(&["unix:uid:0"]);
    let forwarder = Forwarder::start(&site, 0);
    is_delivered(&told(&mut forwarded(&site, NOBODY)));
    let allowed = site.is_on_record_as_allowed();
    assert_eq!(allowed["caller"]["pid"], forwarder.0.id());
}
