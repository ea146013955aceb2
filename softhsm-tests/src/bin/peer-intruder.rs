//! A client of custodyd that is not what it seems: it asks over a connection that it, or
//! another process that has since changed, has made. One line of JSON says what came.
//!
//! - `peer-intruder fetch SOCKET GROUP NAME` asks, as any client.
//! - `peer-intruder call SOCKET METHOD…` calls methods by name with empty requests.
//! - `peer-intruder lend WHEN DEED SOCKET GROUP NAME` connects and gives the connection to
//!   a child that asks: `at-once`, or `after` the deed. The deed, `exec`, `setuid`, `end`
//!   or `nothing`, is done as soon as a line comes from standard input.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "what fails here fails a test, which says so"
)]

use std::{
    env, fs, io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::{net::UnixStream as StdStream, process::CommandExt as _},
    },
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    unistd::{Uid, getppid, setresuid},
};
use prost::Message as _;
use serde_json::{Value, json};
use softhsm_tests::raw;
use tokio::net::UnixStream;
use tonic::{Response, Status, transport::Channel};
use tonic_types::StatusExt as _;

fn main() {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["fetch", socket, group, name] => {
            println!("{}", ask(StdStream::connect(socket).unwrap(), group, name));
        }
        ["call", socket, ref methods @ ..] => println!("{}", call(socket, methods)),
        ["lend", when, deed, socket, group, name] => lend(when, deed, socket, group, name),
        ["borrow", before, group, name] => {
            let connection = io::stdin().as_fd().try_clone_to_owned().unwrap();
            while before == looks(getppid().as_raw()) {
                thread::sleep(Duration::from_millis(2));
            }
            println!("{}", ask(connection.into(), group, name));
        }
        _ => panic!("{arguments:?}"),
    }
}

fn lend(when: &str, deed: &str, socket: &str, group: &str, name: &str) {
    let connection = StdStream::connect(socket).unwrap();
    // The server speaks first, as soon as it knows who is there.
    let mut fds = [PollFd::new(connection.as_fd(), PollFlags::POLLIN)];
    let spoke = poll(&mut fds, PollTimeout::from(20_000_u16)).unwrap();
    assert_eq!(spoke, 1, "the server does not speak");

    let before = match when {
        "after" => looks(i32::try_from(std::process::id()).unwrap()),
        "at-once" => String::new(),
        _ => panic!("{when}"),
    };
    Command::new(env::current_exe().unwrap())
        .args(["borrow", &before, group, name])
        .stdin(OwnedFd::from(connection))
        .spawn()
        .unwrap();
    io::stdin().read_line(&mut String::new()).unwrap();
    match deed {
        "nothing" => {
            io::stdin().read_line(&mut String::new()).unwrap();
        }
        "exec" => {
            let mut cat = Command::new("cat");
            panic!("{}", cat.stdout(Stdio::null()).exec());
        }
        "setuid" => {
            let nobody = Uid::from_raw(65534);
            setresuid(nobody, nobody, nobody).unwrap();
            io::stdin().read_line(&mut String::new()).unwrap();
        }
        "end" => {}
        _ => panic!("{deed}"),
    }
}

/// What of a process a deed, or who moves it, changes.
fn looks(pid: i32) -> String {
    let exe = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let uid = status.lines().find(|line| line.starts_with("Uid:"));
    let cgroup = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    format!("{} {} {cgroup}", exe.display(), uid.unwrap_or_default())
}

#[tokio::main(flavor = "current_thread")]
async fn ask(connection: StdStream, group: &str, name: &str) -> Value {
    connection.set_nonblocking(true).unwrap();
    let stream = UnixStream::from_std(connection).unwrap();
    let Ok(channel) = raw::over(stream).await else {
        return json!({ "hung-up": true });
    };
    let fetch = proto::v1::FetchRequest {
        group: group.to_owned(),
        name: name.to_owned(),
        version: None,
    };
    let fetch = fetch.encode_to_vec();
    shown(raw::call(&channel, "/custody.v1.Provider/Fetch", fetch).await)
}

#[tokio::main(flavor = "current_thread")]
async fn call(socket: &str, methods: &[&str]) -> Value {
    let channel: Channel = raw::connect(socket.into()).await;
    let mut all = Vec::new();
    for method in methods {
        all.push(shown(raw::call(&channel, method, Vec::new()).await));
    }
    Value::Array(all)
}

/// Everything of an answer but the number of the request.
fn shown(answer: Result<Response<Vec<u8>>, Status>) -> Value {
    match answer {
        Ok(answer) => json!({ "code": 0, "bytes": hex::encode(answer.get_ref()) }),
        Err(status) => {
            let mut details = status.get_error_details();
            details.set_request_info("", "");
            let mut metadata: Vec<_> = status
                .metadata()
                .keys()
                .map(|key| format!("{key:?}"))
                .collect();
            metadata.sort();
            json!({
                "code": i32::from(status.code()),
                "message": status.message(),
                "details": format!("{details:?}"),
                "metadata": metadata,
            })
        }
    }
}
