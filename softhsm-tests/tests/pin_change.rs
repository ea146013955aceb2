//! The PIN is changed at the token while custodyd serves, and cut off at each step: no login is with a
//! PIN that the token does not have, but for one where that cannot be known.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

#[path = "pin_change/cut_off.rs"]
mod cut_off;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    process::{Command, Output},
};

use faulty_pkcs11::{Fault, Function};
use nix::sys::signal::{Signal, kill};
use softhsm_tests::{
    PIN, Site, command,
    daemon::Daemon,
    fault::answering,
    pair::{Pair, Which},
    text, until,
};

const NEXT_PIN: &str = "abcd1234";
const CONTENT: &[u8] = b"the content of the secret";

/// `custodyd`'s exit codes.
const UNFIT: Option<i32> = Some(69);
const REFUSED: Option<i32> = Some(77);

/// One whose token counts what is asked of it, with a next PIN that nobody is told of yet.
fn site() -> Site {
    let site = Site::new();
    write_next(&site, NEXT_PIN);
    site.configure_faulty("");
    site
}

fn write_next(site: &Site, pin: &str) {
    fs::write(site.path("next-pin"), pin).unwrap();
    let mode = fs::Permissions::from_mode(0o600);
    fs::set_permissions(site.path("next-pin"), mode).unwrap();
}

/// Names the next PIN in the configuration.
fn name_next(site: &Site) {
    site.configure_faulty(&format!(
        "next-pin = {{ file = {:?} }}\n",
        site.path("next-pin")
    ));
}

/// Has a running daemon take in the next PIN.
fn stage(site: &Site, daemon: &Daemon<'_>) {
    let generation = site.token()["worker_generation"].as_u64().unwrap();
    name_next(site);
    daemon.signal(Signal::SIGHUP);
    until_serving(site, generation + 1);
    assert!(
        site.log().contains("the next PIN is there"),
        "{}",
        site.log()
    );
}

/// Starts the daemon, with something to fetch, and has it take in the next PIN.
fn start_staged(site: &Site) -> Daemon<'_> {
    let daemon = site.start();
    site.furnish(CONTENT);
    stage(site, &daemon);
    daemon
}

fn change(site: &Site) -> Output {
    let mut change = Command::new(command("custodyd"));
    change.args(["hsm", "change-pin"]);
    change.arg(site.path("custodyd.toml")).output().unwrap()
}

/// How far `custodyctl hsm status` says that the change has come, and what to do.
fn shown(site: &Site) -> Option<String> {
    let told = |format| {
        let output = site.try_ctl(&["hsm", "status", "--output", format]);
        String::from_utf8(output.stdout).unwrap()
    };
    let json: serde_json::Value = serde_json::from_str(&told("json")).unwrap();
    let stand = json["token"]["pin_change"].as_str().map(str::to_owned);
    let table = told("table");
    let line = table.lines().find(|line| line.starts_with("PIN change"));
    assert_eq!(line.is_some(), stand.is_some(), "{table}");
    let said = line?.strip_prefix("PIN change").unwrap().trim();
    assert!(said.starts_with(&stand?), "{said}");
    Some(said.to_owned())
}

fn is_shown(site: &Site, stand: &str, advice: &str) {
    let said = shown(site).unwrap_or_default();
    let expected = said.starts_with(&format!("{stand}: ")) && said.contains(advice);
    assert!(expected, "{said}");
}

/// How often the token was told to change its PIN.
fn changes(site: &Site) -> u64 {
    site.counts().calls(Function::C_SetPIN)
}

fn until_serving(site: &Site, generation: u64) {
    until("a successor serves", || {
        let token = site.token();
        let serves = token["workers"][0]["state"] == "serving";
        let is_there = token["worker_generation"].as_u64() == Some(generation);
        (serves && is_there).then_some(())
    });
}

/// Has the worker replaced by one that has to log in.
fn kill_worker(site: &Site, daemon: &Daemon<'_>) {
    let generation = site.token()["worker_generation"].as_u64().unwrap();
    kill(daemon.worker(), Signal::SIGKILL).unwrap();
    until_serving(site, generation + 1);
}

fn latched(site: &Site) -> Option<String> {
    fs::read_to_string(site.path("state/pin-refused")).ok()
}

/// Nothing was refused, and content is delivered.
fn is_well(site: &Site) {
    assert_eq!(latched(site), None);
    assert!(!site.path("state/pin-refused.attempt").exists());
    let fetched = site.fetch("web/key");
    assert_eq!(fetched.stdout, CONTENT, "{}", text(&fetched));
}

/// A worker that has to log in serves.
fn logs_in_and_is_well(site: &Site, daemon: Daemon<'_>) {
    kill_worker(site, &daemon);
    is_well(site);
    daemon.stop();
}

/// A start is refused, and nobody logs in.
fn start_is_refused(site: &Site) {
    let before = site.logins();
    let output = site.custodyd("run").output().unwrap();
    assert_eq!(output.status.code(), REFUSED, "{}", text(&output));
    assert_eq!(site.logins(), before, "the PIN was tried again");
}

#[test]
fn a_pin_is_changed_and_no_login_is_with_another_than_the_token_has() {
    let site = site();
    let daemon = start_staged(&site);
    is_shown(&site, "staged", "custodyd hsm change-pin");
    kill_worker(&site, &daemon);
    is_well(&site);

    let changed = change(&site);
    assert!(changed.status.success(), "{}", text(&changed));
    let said = text(&changed);
    for part in [
        "with the PIN that is to be changed",
        "the token has taken the next PIN",
        "another process logged in with the next PIN",
    ] {
        assert!(said.contains(part), "{said}");
    }
    assert!(!said.contains(NEXT_PIN) && !said.contains(PIN), "{said}");
    assert_eq!(changes(&site), 1);
    is_shown(&site, "done", "take token.next-pin out");

    // With nobody told: a successor, and a restart.
    logs_in_and_is_well(&site, daemon);
    let daemon = site.start();
    is_well(&site);
    let again = change(&site);
    assert!(again.status.success(), "{}", text(&again));
    assert!(text(&again).contains("the token has it already"));
    assert_eq!(changes(&site), 1);

    // The next PIN becomes the PIN.
    site.write_pin(NEXT_PIN);
    site.configure_faulty("");
    daemon.signal(Signal::SIGHUP);
    until("the change is forgotten", || {
        let record = site.path("state/pin-refused.next");
        (!record.exists()).then_some(())
    });
    assert_eq!(shown(&site), None);
    daemon.stop();
    let daemon = site.start();
    is_well(&site);

    // And is changed once more, by the same files.
    write_next(&site, PIN);
    stage(&site, &daemon);
    let back = change(&site);
    assert!(back.status.success(), "{}", text(&back));
    logs_in_and_is_well(&site, daemon);
}

#[test]
fn a_reload_after_the_change_replaces_the_worker_that_logged_in_before() {
    let site = site();
    let daemon = start_staged(&site);
    assert!(change(&site).status.success());
    let generation = site.token()["worker_generation"].as_u64().unwrap();
    daemon.signal(Signal::SIGHUP);
    until_serving(&site, generation + 1);
    is_well(&site);
    daemon.stop();
}

#[test]
fn a_pin_that_custodyd_has_not_taken_in_is_not_changed_to() {
    let site = site();
    let daemon = site.start();
    site.furnish(CONTENT);
    assert_eq!(shown(&site), None);
    for (named, said) in [(false, "none is configured"), (true, "not taken it in yet")] {
        if named {
            name_next(&site);
            // What tries the token beside the daemon does not take it in for it.
            let mut doctor = Command::new(command("custodyd"));
            doctor.args(["hsm", "doctor"]);
            let doctor = doctor.arg(site.path("custodyd.toml")).output().unwrap();
            assert!(doctor.status.success(), "{}", text(&doctor));
        }
        let logins = site.logins();
        let refused = change(&site);
        assert_eq!(refused.status.code(), UNFIT);
        assert!(text(&refused).contains(said), "{}", text(&refused));
        assert_eq!((changes(&site), site.logins()), (0, logins));
    }
    // One that cannot be read is not taken in.
    fs::set_permissions(site.path("next-pin"), fs::Permissions::from_mode(0o644)).unwrap();
    daemon.signal(Signal::SIGHUP);
    until("it is complained about", || {
        site.log().contains("cannot be prepared").then_some(())
    });
    assert!(!site.path("state/pin-refused.next").exists());
    is_shown(&site, "named", "reload custodyd");
    is_well(&site);
    daemon.stop();
}

#[test]
fn a_change_that_the_token_refuses_leaves_the_pin_as_it_was() {
    let site = site();
    let daemon = start_staged(&site);
    site.fault(answering("C_SetPIN", "CKR_PIN_LEN_RANGE"));
    let refused = change(&site);
    assert_eq!(refused.status.code(), UNFIT);
    assert!(text(&refused).contains("the token has the PIN that it had"));
    assert_eq!(changes(&site), 1);
    kill_worker(&site, &daemon);
    daemon.stop();
    let daemon = site.start();
    is_well(&site);
    site.mend();
    assert!(change(&site).status.success());
    logs_in_and_is_well(&site, daemon);
}

#[test]
fn a_pin_that_the_token_calls_wrong_at_the_change_is_tried_no_more() {
    let site = site();
    let daemon = start_staged(&site);
    site.fault(answering("C_SetPIN", "CKR_PIN_INCORRECT"));
    let refused = change(&site);
    assert_eq!(refused.status.code(), UNFIT);
    assert_eq!(changes(&site), 1);
    assert!(latched(&site).is_some());
    site.mend();
    let logins = site.logins();
    let again = change(&site);
    assert!(!again.status.success(), "{}", text(&again));
    assert_eq!((site.logins(), changes(&site)), (logins, 1));
    // What serves goes on, until it would have to log in.
    assert_eq!(site.fetch("web/key").stdout, CONTENT);
    daemon.stop();
    start_is_refused(&site);
}

#[test]
fn of_several_tokens_the_one_that_is_named_changes_its_pin() {
    let pair = Pair::new("");
    let site = &pair.site;
    write_next(site, NEXT_PIN);
    pair.configure(&format!(
        "next-pin = {{ file = {:?} }}\n",
        site.path("next-pin")
    ));
    let daemon = site.start();
    site.furnish(CONTENT);
    let counts = |which| pair.counts(which).calls(Function::C_SetPIN);
    let run = |more: &[&str]| {
        let mut change = Command::new(command("custodyd"));
        change.args(["hsm", "change-pin"]).args(more);
        change.arg(site.path("custodyd.toml")).output().unwrap()
    };
    for wrong in [&[][..], &["--token", "third"]] {
        let output = run(wrong);
        assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    }
    let output = run(&["--token", Which::Second.label()]);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!((counts(Which::First), counts(Which::Second)), (0, 1));
    daemon.stop();
    let daemon = site.start();
    until("both tokens serve", || {
        let serves = |which| pair.token(which)["workers"][0]["state"] == "serving";
        (serves(Which::First) && serves(Which::Second)).then_some(())
    });
    is_well(site);
    daemon.stop();
}

#[test]
fn nobody_logs_in_while_the_pin_is_being_changed() {
    let site = site();
    let daemon = start_staged(&site);
    let generation = site.token()["worker_generation"].as_u64().unwrap();
    site.fault(Fault {
        function: "C_SetPIN".to_owned(),
        delay: Some(faulty_pkcs11::Delay::Fixed(2500)),
        ..Fault::default()
    });
    std::thread::scope(|scope| {
        let changed = scope.spawn(|| change(&site));
        until("the token is told to", || {
            (changes(&site) == 1).then_some(())
        });
        let logins = site.logins();
        let killed = daemon.worker();
        kill(killed, Signal::SIGKILL).unwrap();
        until("another is started in its place", || {
            let workers = daemon.workers();
            (!workers.is_empty() && !workers.contains(&killed)).then_some(())
        });
        std::thread::sleep(std::time::Duration::from_millis(500));
        assert!(!changed.is_finished());
        assert_eq!(site.logins(), logins);
        let changed = changed.join().unwrap();
        assert!(changed.status.success(), "{}", text(&changed));
    });
    until_serving(&site, generation + 1);
    is_well(&site);
    daemon.stop();
}
