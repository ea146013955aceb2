//! The doors: how many come in, how long they may take, how often they may ask; and that
//! whatever comes, they stay open to others.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use std::{
    fs,
    io::{IoSlice, Write as _},
    os::{
        fd::AsRawFd as _,
        unix::{net::UnixStream, process::CommandExt as _},
    },
    path::Path,
    process::{Command, Stdio},
};

use client::Provider;
use nix::{
    sys::{
        signal::Signal,
        socket::{ControlMessage, MsgFlags, sendmsg},
    },
    unistd::Pid,
};
use prost::Message as _;
use proto::v1::FetchRequest;
use softhsm_tests::{
    Site,
    daemon::Daemon,
    door::Intruder,
    intruder::{NOBODY, told},
    is_root, load, raw, text, until,
    wire::{PREFACE, Wire},
};
use tonic_types::StatusExt as _;

/// Makes connections, of which the first is sure to have come in.
fn hold(site: &Site, number: usize) -> Intruder {
    Intruder::run(&["hold", &site.provider_socket(), &number.to_string()])
}

/// A new connection, if it is served: the server speaks first, or hangs up.
fn served(site: &Site) -> Option<Wire> {
    let mut wire = Wire::connect(site.path("run/provider.sock")).unwrap();
    wire.frame()?;
    Some(wire)
}

#[test]
fn a_user_who_holds_all_its_places_keeps_nobody_else_out() {
    let test = "a_user_who_holds_all_its_places_keeps_nobody_else_out";
    if !is_root(test) {
        return;
    }
    let site = Site::new();
    site.configure("[limits]\nconnections-per-uid = 3\n");
    let _daemon = site.start();
    site.furnish(b"one");
    let program = site.installed("door-intruder", "intruder");
    let hold = |socket: &str, number: &str| {
        let mut command = Command::new(&program);
        command.args(["hold", socket, number]);
        Intruder::run_as(command.uid(NOBODY).gid(NOBODY))
    };
    let mut holder = hold(&site.provider_socket(), "8");
    assert_eq!(holder.tells()["served"], 3);
    // Both doors count together.
    assert_eq!(hold(&site.manager_socket(), "1").tells()["served"], 0);
    assert_eq!(site.fetch("web/key").stdout, b"one");
    // It is said at once, and then now and then.
    let noted = site.log().matches("too many connections").count();
    assert!((1..6).contains(&noted), "{}", site.log());
    assert!(site.entries("unattested").is_empty());

    drop(holder);
    until("its places are free", || {
        let served = hold(&site.provider_socket(), "3").tells()["served"].clone();
        (served == 3).then_some(())
    });
}

#[test]
fn both_sockets_together_have_no_more_connections_than_configured() {
    let site = Site::new();
    site.configure("[limits]\nconnections = 4\n");
    let daemon = site.start();
    let mut holder = hold(&site, 9);
    assert_eq!(holder.tells()["served"], 4);
    let manager = site.try_ctl(&["status"]);
    assert_eq!(manager.status.code(), Some(6), "{}", text(&manager));

    site.configure("[limits]\nconnections = 5\n");
    daemon.signal(Signal::SIGHUP);
    until("there is room for one more", || served(&site));
    drop(holder);
    until("the places are free", || {
        site.try_ctl(&["status"]).status.success().then_some(())
    });
}

#[test]
fn who_does_not_speak_in_time_is_hung_up_on_and_who_does_is_not() {
    let site = Site::new();
    let places = "connections-per-uid = 2\n";
    site.configure(&format!("[limits]\nhandshake = \"1m\"\n{places}"));
    let daemon = site.start();
    let socket = site.path("run/provider.sock");
    let mut spoken = Wire::connect(&socket).unwrap();
    spoken.greet().unwrap();
    spoken.frame().unwrap();
    site.configure(&format!("[limits]\nhandshake = \"300ms\"\n{places}"));
    daemon.signal(Signal::SIGHUP);
    until("the configuration is read again", || {
        site.log().contains("was read again").then_some(())
    });
    for said in [0, 1, PREFACE.len() - 1] {
        // There is one place beside: that of the one before is free again.
        let mut silent = until("another is served", || served(&site));
        // If it is hung up on already, so be it.
        drop(silent.stream().write_all(&PREFACE[..said]));
        silent.to_the_end();
    }
    spoken
        .call(1, "/custody.v1.Provider/Fetch", &nothing())
        .unwrap();
    assert!(spoken.frame().is_some());
    assert!(site.entries("unattested").is_empty());
}

fn nothing() -> FetchRequest {
    FetchRequest {
        fields: Vec::new(),
        group: "none".to_owned(),
        name: "none".to_owned(),
        version: None,
        ..Default::default()
    }
}

/// Sets the number that a running daemon's descriptors must stay below.
fn limit_descriptors(daemon: &Daemon<'_>, number: usize) {
    let status = Command::new("prlimit")
        .args(["--pid", &daemon.pid().to_string()])
        .arg(format!("--nofile={number}:"))
        .status();
    assert!(status.unwrap().success());
}

/// The number that its next descriptor gets.
fn next_descriptor(daemon: &Daemon<'_>) -> usize {
    let folder = format!("/proc/{}/fd", daemon.pid());
    let is_free = |number: &usize| !Path::new(&folder).join(number.to_string()).exists();
    (0..).find(is_free).unwrap()
}

#[test]
fn an_accept_that_fails_is_not_the_last() {
    let site = Site::new();
    let daemon = site.start();
    limit_descriptors(&daemon, next_descriptor(&daemon));
    let mut patient = Wire::connect(site.path("run/provider.sock")).unwrap();
    until("an accept fails", || {
        site.log().contains("Too many open files").then_some(())
    });
    limit_descriptors(&daemon, 1024);
    assert!(patient.frame().is_some());
    assert!(site.try_ctl(&["status"]).status.success());
}

#[test]
fn a_daemon_out_of_descriptors_serves_again_once_there_are_some_and_doubts_nobody() {
    let site = Site::new();
    let daemon = site.start();
    let pidfds = daemon.pidfds();
    site.furnish(b"one");
    // Whichever of the two that a connection takes is the one too many.
    for spare in [14, 15] {
        let before = daemon.descriptors_at_rest(pidfds);
        limit_descriptors(&daemon, next_descriptor(&daemon) + spare);
        let mut holder = hold(&site, 30);
        let served = holder.tells()["served"].as_u64().unwrap();
        assert!(served < 30, "there are descriptors for all");
        drop(holder);
        until("the connections are closed", || {
            (daemon.descriptors() == before).then_some(())
        });
        assert_eq!(site.fetch("web/key").stdout, b"one");
    }
    let doubted = site.entries("unattested");
    assert!(doubted.is_empty(), "{doubted:?}");
}

/// Passes a descriptor to the daemon, and sees it hang up.
fn pass_a_descriptor(site: &Site) {
    let mut wire = Wire::connect(site.path("run/provider.sock")).unwrap();
    wire.greet().unwrap();
    let file = fs::File::open("/dev/null").unwrap();
    let rights = [file.as_raw_fd(); 4];
    let control = [ControlMessage::ScmRights(&rights)];
    let flags = MsgFlags::MSG_NOSIGNAL;
    let message = [IoSlice::new(&[0])];
    sendmsg::<()>(wire.stream().as_raw_fd(), &message, &control, flags, None).unwrap();
    wire.to_the_end();
}

#[test]
fn no_descriptor_stays_behind_whoever_came() {
    let site = Site::new();
    let daemon = site.start();
    let pidfds = daemon.pidfds();
    site.furnish(b"one");
    let socket = site.path("run/provider.sock");
    let before = daemon.descriptors_at_rest(pidfds);
    let is_as_before = |what: &str| {
        until(what, || (daemon.descriptors() == before).then_some(()));
    };

    load::runtime().block_on(async {
        for _ in 0..100 {
            let provider = Provider::connect(&socket).await.unwrap();
            provider.fetch("web", "key", None).await.unwrap();
        }
    });
    is_as_before("good callers leave nothing");
    for said in 0..100 {
        let mut half = UnixStream::connect(&socket).unwrap();
        half.write_all(&PREFACE[..said % PREFACE.len()]).unwrap();
    }
    is_as_before("who says half a greeting leaves nothing");
    for _ in 0..100 {
        pass_a_descriptor(&site);
    }
    is_as_before("who passes descriptors leaves nothing");
    let passed = until("all are refused", || {
        let refused = site.entries("unattested");
        (refused.len() == 100).then_some(refused)
    });
    assert!(passed.iter().all(|entry| entry["doubt"] == "descriptors"));

    // They are dead before they are accepted.
    daemon.pause();
    let mut abandoner = Intruder::run(&["abandon", &site.provider_socket(), "100"]);
    abandoner.ends();
    daemon.resume();
    until("all are refused", || {
        (site.entries("unattested").len() == 200).then_some(())
    });
    is_as_before("the dead leave nothing");
    let gone = site.entries("unattested").split_off(100);
    assert!(gone.iter().all(|entry| entry["doubt"] == "gone"));

    // They die, and a child keeps what they opened.
    let mut holder = hold(&site, 100);
    assert_eq!(holder.tells()["served"], 100);
    drop(holder);
    is_as_before("the killed leave nothing");
    assert_eq!(site.fetch("web/key").stdout, b"one");
}

/// Asks `times` times over one connection; says how often that was too often.
async fn ask(site: &Site, times: usize) -> u64 {
    let channel = raw::connect(site.path("run/provider.sock")).await;
    let mut refused = 0;
    for _ in 0..times {
        let asked = raw::call(&channel, "/custody.v1.Provider/Fetch", Vec::new()).await;
        let status = asked.unwrap_err();
        if status.code() == tonic::Code::ResourceExhausted {
            assert_eq!(status.message(), "too many requests");
            let details = status.get_error_details();
            assert!(details.retry_info().unwrap().retry_delay.is_some());
            refused += 1;
        } else {
            assert_eq!(status.code(), tonic::Code::InvalidArgument);
        }
    }
    refused
}

#[test]
fn who_asks_too_often_is_told_when_to_come_back_and_that_is_recorded_once() {
    let site = Site::new();
    site.configure("[limits]\nrequests-per-second = 1\nburst = 3\n");
    let daemon = site.start();
    site.furnish(b"one");
    let refused = load::runtime().block_on(ask(&site, 50));
    assert!(refused > 0);
    // What was not refused is malformed: nothing was allowed, and nothing else denied.
    assert!(site.entries("allow").is_empty());
    assert!(site.entries("deny").is_empty());
    // Operators are not held up.
    assert!(site.try_ctl(&["status"]).status.success());
    daemon.stop();
    let told = site.entries("throttled");
    assert!((told.len() as u64) < refused, "{told:?}");
    let counted: u64 = told
        .iter()
        .map(|entry| entry["refused"].as_u64().unwrap())
        .sum();
    assert_eq!(counted, refused);
    assert_eq!(told[0]["uid"], nix::unistd::getuid().as_raw());
}

/// How many bytes a process has read.
fn has_read(process: Pid) -> u64 {
    let counts = fs::read_to_string(format!("/proc/{process}/io")).unwrap();
    let read = counts.lines().find_map(|line| line.strip_prefix("rchar: "));
    read.unwrap().parse().unwrap()
}

#[test]
fn nothing_is_hashed_for_a_request_that_comes_too_early() {
    /// So much is read to hash the caller's executable.
    const LARGE: u64 = 64 << 20;
    let test = "nothing_is_hashed_for_a_request_that_comes_too_early";
    if !is_root(test) {
        return;
    }
    let site = Site::new();
    site.configure("[limits]\nrequests-per-second = 1\nburst = 1\n");
    let daemon = site.start();
    site.furnish_ungranted();
    let client = site.installed("peer-intruder", "client");
    let larger = Command::new("truncate")
        .arg(format!("--size=+{LARGE}"))
        .arg(&client)
        .status();
    assert!(larger.unwrap().success());
    let hash = Command::new("sha256sum").arg(&client).output().unwrap();
    let hash = text(&hash).split(' ').next().unwrap().to_owned();
    site.grant(&["unix:uid:0", &format!("unix:sha256:{hash}")]);
    let request = FetchRequest {
        group: "web".to_owned(),
        name: "key".to_owned(),
        ..nothing()
    };
    let fetch = hex::encode(request.encode_to_vec());
    let attestor = daemon.attestor();
    // The first is malformed, and uses up what there is; if this takes long, there is more.
    until("all others come too early", || {
        let before = has_read(attestor);
        let mut early = Command::new(&client);
        early.args([
            "call",
            &site.provider_socket(),
            "/custody.v1.Provider/Fetch",
        ]);
        let well_formed = format!("/custody.v1.Provider/Fetch?{fetch}");
        let answers = told(early.args([&well_formed; 3]));
        let mut codes = answers.as_array().unwrap().iter().skip(1);
        let all = codes.all(|answer| answer["code"] == 8);
        all.then(|| assert!(has_read(attestor) - before < LARGE))
    });
    let before = has_read(attestor);
    until("one is in time", || {
        let mut fetch = Command::new(&client);
        let answer = told(fetch.args(["fetch", &site.provider_socket(), "web", "key"]));
        (answer["code"] == 0).then_some(())
    });
    assert!(has_read(attestor) - before >= LARGE);
}

#[test]
fn who_comes_unattested_too_often_is_counted_and_not_recorded_each_time() {
    let site = Site::new();
    site.configure("[limits]\nrequests-per-second = 1\nburst = 3\n");
    let daemon = site.start();
    daemon.pause();
    let mut abandoner = Intruder::run(&["abandon", &site.provider_socket(), "50"]);
    abandoner.ends();
    daemon.resume();
    // Who comes after them is let in after them.
    assert!(served(&site).is_some());
    daemon.stop();
    let recorded = site.entries("unattested").len() as u64;
    let throttled = site.entries("throttled");
    assert!((throttled.len() as u64) + recorded < 50, "{recorded}");
    let counted: u64 = throttled
        .iter()
        .map(|entry| entry["refused"].as_u64().unwrap())
        .sum();
    assert_eq!(recorded + counted, 50);
}

#[test]
fn a_command_that_asks_too_often_is_to_be_tried_again() {
    let site = Site::new();
    site.configure("[limits]\nrequests-per-second = 1\nburst = 1\n");
    let _daemon = site.start();
    site.furnish(b"one");
    let ask = || {
        let mut command = site.custodyctl();
        command.args(["fetch", "web/key"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    };
    // Each waits as it is told and asks again; of several at once, some ask too early.
    until("somebody asks too early", || {
        let all = [(); 6].map(|()| ask());
        let codes = all.map(|mut one| one.wait().unwrap().code());
        let known = codes.iter().all(|code| matches!(code, Some(0 | 6)));
        assert!(known, "{codes:?}");
        codes.contains(&Some(6)).then_some(())
    });
    assert!(site.entries("deny").is_empty());
}
