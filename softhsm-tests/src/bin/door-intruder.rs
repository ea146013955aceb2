//! A client of custodyd that has more than one process, or more than one connection. Each
//! prints lines of JSON.
//!
//! - `door-intruder hold SOCKET N` makes N connections and keeps those that are served
//!   until a line comes from standard input.
//! - `door-intruder abandon SOCKET N` makes N connections, leaves them to a child that
//!   keeps them until the end of standard input, and ends.
//! - `door-intruder watch SOCKET GROUP NAME` watches a secret and gives its connection to
//!   a child that reads on; executes another program when a line comes.
//! - `door-intruder share SOCKET GROUP NAME` fetches a secret, then has a child fetch it
//!   over the same connection, and reads on.
//! - `door-intruder give SOCKET MEETING` connects and passes the connection to
//!   whoever `take`s it at the socket MEETING.
//! - `door-intruder take MEETING GROUP NAME` waits for a connection there, and asks.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "what fails here fails a test, which says so"
)]

use std::{
    env,
    io::{self, IoSlice, IoSliceMut, Read as _},
    mem::MaybeUninit,
    os::{
        fd::{AsFd as _, AsRawFd as _},
        unix::{
            net::{UnixListener, UnixStream},
            process::CommandExt as _,
        },
    },
    process::{Command, Stdio},
};

use nix::{
    fcntl::{FcntlArg, FdFlag, fcntl},
    sys::socket::{ControlMessage, MsgFlags, sendmsg},
};
use proto::v1::{FetchRequest, WatchRequest};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde_json::json;
use softhsm_tests::wire::{DATA, END_STREAM, Frame, Wire};

const FETCH: &str = "/custody.v1.Provider/Fetch";

fn main() {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["hold", socket, number] => hold(socket, number.parse().unwrap()),
        ["abandon", socket, number] => abandon(socket, number.parse().unwrap()),
        ["keep"] => drop(io::stdin().read_to_end(&mut Vec::new())),
        ["watch", socket, group, name] => watch(socket, group, name),
        ["read"] => read(),
        ["share", socket, group, name] => share(socket, group, name),
        ["send", group, name] => {
            let mut wire = connection_of_parent();
            let sent = wire.call(3, FETCH, &fetch(group, name));
            println!("{}", json!({ "sent": sent.is_ok() }));
        }
        ["give", socket, meeting] => give(socket, meeting),
        ["take", meeting, group, name] => take(meeting, group, name),
        _ => panic!("{arguments:?}"),
    }
}

fn fetch(group: &str, name: &str) -> FetchRequest {
    FetchRequest {
        fields: Vec::new(),
        group: group.to_owned(),
        name: name.to_owned(),
        version: None,
        ..Default::default()
    }
}

/// Says what came until the connection was closed.
fn told(frames: &[Frame]) {
    let data = frames.iter().filter(|frame| frame.kind == DATA);
    let data: Vec<_> = data.map(|frame| hex::encode(&frame.payload)).collect();
    println!("{}", json!({ "closed": true, "data": data }));
}

fn wait_for_a_line() {
    io::stdin().read_line(&mut String::new()).unwrap();
}

fn hold(socket: &str, number: usize) {
    let mut held: Vec<_> = (0..number)
        .map(|_| Wire::connect(socket).unwrap())
        .collect();
    // The server speaks first with those that it serves, and closes the others.
    held.retain_mut(|wire| wire.frame().is_some());
    println!("{}", json!({ "served": held.len() }));
    wait_for_a_line();
}

fn abandon(socket: &str, number: usize) {
    for _ in 0..number {
        let connection = UnixStream::connect(socket).unwrap();
        fcntl(&connection, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
        // What is left open here is left to the child.
        let _left = std::os::fd::IntoRawFd::into_raw_fd(connection);
    }
    spawn(&["keep"], Stdio::inherit());
}

fn watch(socket: &str, group: &str, name: &str) {
    let mut wire = Wire::connect(socket).unwrap();
    wire.greet().unwrap();
    let request = WatchRequest {
        group: group.to_owned(),
        name: name.to_owned(),
        unresolved: false,
    };
    wire.call(1, "/custody.v1.Provider/Watch", &request)
        .unwrap();
    wire.data(1).expect("the current version");
    spawn(&["read"], given(&mut wire));
    println!("{}", json!({ "watching": true }));
    wait_for_a_line();
    // The connection stays open in the child, and in nobody else.
    panic!("{}", Command::new("cat").stdout(Stdio::null()).exec());
}

fn read() {
    let mut wire = connection_of_parent();
    let mut frames = Vec::new();
    while let Some(frame) = wire.frame() {
        if frame.stream == 1 && frame.flags & END_STREAM != 0 {
            println!("{}", json!({ "ended": true }));
        }
        frames.push(frame);
    }
    told(&frames);
}

fn share(socket: &str, group: &str, name: &str) {
    let mut wire = Wire::connect(socket).unwrap();
    wire.greet().unwrap();
    wire.call(1, FETCH, &fetch(group, name)).unwrap();
    let own = wire.data(1).expect("content");
    println!("{}", json!({ "own": hex::encode(own) }));
    spawn(&["send", group, name], given(&mut wire));
    told(&wire.to_the_end());
}

fn give(socket: &str, meeting: &str) {
    let mut wire = Wire::connect(socket).unwrap();
    wire.frame().expect("the server speaks first");
    let taker = UnixStream::connect(meeting).unwrap();
    let rights = [wire.stream().as_raw_fd()];
    let control = [ControlMessage::ScmRights(&rights)];
    let message = [IoSlice::new(b"x")];
    sendmsg::<()>(
        taker.as_raw_fd(),
        &message,
        &control,
        MsgFlags::empty(),
        None,
    )
    .unwrap();
    wait_for_a_line();
}

fn take(meeting: &str, group: &str, name: &str) {
    let listener = UnixListener::bind(meeting).unwrap();
    println!("{}", json!({ "waiting": true }));
    let (giver, _) = listener.accept().unwrap();
    let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut room);
    let mut buffer = [0; 1];
    let mut parts = [IoSliceMut::new(&mut buffer)];
    recvmsg(&giver, &mut parts, &mut control, RecvFlags::empty()).unwrap();
    let Some(RecvAncillaryMessage::ScmRights(mut passed)) = control.drain().next() else {
        panic!("no descriptor came");
    };
    let mut wire = Wire::over(passed.next().unwrap().into());
    // What cannot be sent is not answered either.
    drop(wire.greet());
    drop(wire.call(1, FETCH, &fetch(group, name)));
    told(&wire.to_the_end());
}

fn given(wire: &mut Wire) -> Stdio {
    wire.stream().as_fd().try_clone_to_owned().unwrap().into()
}

fn connection_of_parent() -> Wire {
    let connection = io::stdin().as_fd().try_clone_to_owned().unwrap();
    Wire::over(connection.into())
}

#[expect(
    clippy::zombie_processes,
    reason = "the child outlives this process, which changes or ends"
)]
fn spawn(arguments: &[&str], stdin: Stdio) {
    let mut child = Command::new(env::current_exe().unwrap());
    child.args(arguments).stdin(stdin).spawn().unwrap();
}
