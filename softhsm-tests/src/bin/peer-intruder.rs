//! A client of custodyd that is not what it seems: it asks over a connection that it, or
//! another process that has since changed, has made. One line of JSON says what came.
//!
//! - `peer-intruder fetch SOCKET GROUP NAME` asks, as any client.
//! - `peer-intruder call SOCKET METHOD[?HEX]…` calls methods by name, with the request that
//!   HEX encodes or an empty one; over standard input if SOCKET is `-`.
//! - `peer-intruder become PROGRAM SOCKET METHOD[?HEX]…` connects, and once the server has
//!   spoken executes PROGRAM, which is to call the methods over that connection.
//! - `peer-intruder lend WHEN DEED SOCKET GROUP NAME` connects and gives the connection to
//!   a child that asks: `at-once`, or `after` the deed, or once it has `other-ids`, or when
//!   somebody opens the pipe `/PATH` for writing. It does so once the server has spoken or, if WHEN begins with
//!   "unheard:", before. The deed is done as soon as a line comes from standard
//!   input: `exec`, or `/PATH` to execute that, or `setuid`, `end` or `nothing`.
//! - `peer-intruder watch SOCKET GROUP NAME` watches until it is ended, while a child that
//!   outlives it reads what comes over its connection from the second message on, and
//!   says so once no more can come.
//! - `peer-intruder memfd NAME ARGUMENT…` executes itself with the arguments, out of
//!   memory.
//! - `peer-intruder forward SOCKET PATH` listens at PATH and joins who connects there to
//!   SOCKET.
//! - `peer-intruder trace PROCESS` attaches to a process as a debugger does, until it ends.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "what fails here fails a test, which says so"
)]

use std::{
    env, fs,
    io::{self, Read, Write as _},
    os::{
        fd::{AsFd as _, AsRawFd as _, OwnedFd},
        unix::{fs::PermissionsExt as _, net::UnixStream as StdStream, process::CommandExt as _},
    },
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        memfd::{MFdFlags, memfd_create},
        ptrace,
        wait::{WaitStatus, waitpid},
    },
    unistd::{Pid, Uid, getpid, getppid, setresuid},
};
use prost::Message as _;
use proto::v1::provider_client::ProviderClient;
use serde_json::{Value, json};
use softhsm_tests::raw;
use tokio::{
    io::copy_bidirectional,
    net::{UnixListener, UnixStream},
};
use tonic::{Response, Status, transport::Channel};
use tonic_types::StatusExt as _;

fn main() {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["fetch", socket, group, name] => {
            println!("{}", ask(StdStream::connect(socket).unwrap(), group, name));
        }
        ["call", "-", ref methods @ ..] => {
            let connection = io::stdin().as_fd().try_clone_to_owned().unwrap();
            println!("{}", call(connection.into(), methods));
        }
        ["call", socket, ref methods @ ..] => {
            println!("{}", call(StdStream::connect(socket).unwrap(), methods));
        }
        ["become", program, socket, ref methods @ ..] => become_other(program, socket, methods),
        ["lend", when, deed, socket, group, name] => lend(when, deed, socket, group, name),
        ["watch", socket, group, name] => watch(socket, group, name),
        ["overhear"] => {
            let connection = io::stdin().as_fd().try_clone_to_owned().unwrap();
            println!("{}", overhear(connection.into()));
        }
        ["memfd", name, ref arguments @ ..] => execute_memory(name, arguments),
        ["forward", socket, path] => forward(socket, path),
        ["trace", process] => trace(process),
        ["borrow", before, group, name] => {
            let connection = io::stdin().as_fd().try_clone_to_owned().unwrap();
            if let Some(pipe) = before.strip_prefix(PIPE) {
                drop(fs::File::open(pipe).unwrap());
            } else if let Some(ids) = before.strip_prefix(IDS) {
                while ids == self::ids(getppid().as_raw()) {
                    thread::sleep(Duration::from_millis(2));
                }
            } else {
                while before == looks(getppid().as_raw()) {
                    thread::sleep(Duration::from_millis(2));
                }
            }
            println!("{}", ask(connection.into(), group, name));
        }
        _ => panic!("{arguments:?}"),
    }
}

/// Marks a pipe where there could be what a process looks like.
const PIPE: &str = "pipe:";

/// Marks its ids there, which change only after its executable does.
const IDS: &str = "ids:";

#[expect(
    clippy::zombie_processes,
    reason = "the child outlives this process, which changes or ends"
)]
fn lend(when: &str, deed: &str, socket: &str, group: &str, name: &str) {
    let connection = StdStream::connect(socket).unwrap();
    let before = match when.strip_prefix("unheard:") {
        Some(pipe) => format!("{PIPE}{pipe}"),
        None => {
            hear(&connection);
            match when {
                "after" => looks(getpid().as_raw()),
                "other-ids" => format!("{IDS}{}", ids(getpid().as_raw())),
                "at-once" => String::new(),
                pipe => format!("{PIPE}{pipe}"),
            }
        }
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
        path => panic!("{}", Command::new(path).stdout(Stdio::null()).exec()),
    }
}

/// Waits until the server speaks, which it does first, as soon as it knows who is there.
fn hear(connection: &StdStream) {
    let mut fds = [PollFd::new(connection.as_fd(), PollFlags::POLLIN)];
    let spoke = poll(&mut fds, PollTimeout::from(20_000_u16)).unwrap();
    assert_eq!(spoke, 1, "the server does not speak");
}

fn become_other(program: &str, socket: &str, methods: &[&str]) {
    let connection = StdStream::connect(socket).unwrap();
    hear(&connection);
    let mut other = Command::new(program);
    other.args(["call", "-"]).args(methods);
    panic!("{}", other.stdin(OwnedFd::from(connection)).exec());
}

#[expect(
    clippy::zombie_processes,
    reason = "the child outlives this process, which is killed"
)]
#[tokio::main(flavor = "current_thread")]
async fn watch(socket: &str, group: &str, name: &str) {
    let connection = StdStream::connect(socket).unwrap();
    let lent = OwnedFd::from(connection.try_clone().unwrap());
    connection.set_nonblocking(true).unwrap();
    let stream = UnixStream::from_std(connection).unwrap();
    let mut provider = ProviderClient::new(raw::over(stream).await.unwrap());
    let request = proto::v1::WatchRequest {
        group: group.to_owned(),
        name: name.to_owned(),
        unresolved: false,
    };
    let mut watch = provider.watch(request).await.unwrap().into_inner();
    watch.message().await.unwrap().expect("a version");
    Command::new(env::current_exe().unwrap())
        .arg("overhear")
        .stdin(lent)
        .spawn()
        .unwrap();
    // This process reads no more.
    drop(io::stdout().write_all(b"\n"));
    loop {
        thread::park();
    }
}

/// Counts the messages on an HTTP/2 connection until the stream, or all of it, ends
/// (RFC 9113 §4.1).
fn overhear(mut connection: StdStream) -> Value {
    const DATA: u8 = 0;
    const RST_STREAM: u8 = 3;
    const GOAWAY: u8 = 7;
    const END_STREAM: u8 = 1;
    // Its owner, with whom it shares this, waits for nothing any more.
    connection.set_nonblocking(false).unwrap();
    let mut messages = 0;
    let mut header = [0; 9];
    while connection.read_exact(&mut header).is_ok() {
        let [high, middle, low, kind, flags, ..] = header;
        let length = u32::from_be_bytes([0, high, middle, low]);
        let mut payload = (&mut connection).take(length.into());
        io::copy(&mut payload, &mut io::sink()).unwrap();
        messages += u32::from(kind == DATA && length > 0);
        let headers_end = kind <= 1 && flags & END_STREAM != 0;
        if headers_end || kind == RST_STREAM || kind == GOAWAY {
            break;
        }
    }
    json!({ "messages": messages })
}

fn execute_memory(name: &str, arguments: &[&str]) {
    let memory = memfd_create(name, MFdFlags::MFD_CLOEXEC).unwrap();
    let mut own = fs::File::open("/proc/self/exe").unwrap();
    let mut memory = fs::File::from(memory);
    io::copy(&mut own, &mut memory).unwrap();
    // A file that is open for writing is not executed.
    let readable = fs::File::open(format!("/proc/self/fd/{}", memory.as_raw_fd())).unwrap();
    drop(memory);
    let path = format!("/proc/self/fd/{}", readable.as_raw_fd());
    panic!("{}", Command::new(path).args(arguments).exec());
}

#[tokio::main(flavor = "current_thread")]
async fn forward(socket: &str, path: &str) {
    let listener = UnixListener::bind(path).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o666)).unwrap();
    loop {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut server = UnixStream::connect(socket).await.unwrap();
        // Either may go first.
        drop(copy_bidirectional(&mut client, &mut server).await);
    }
}

fn trace(process: &str) {
    let process = Pid::from_raw(process.parse().unwrap());
    ptrace::seize(process, ptrace::Options::empty()).unwrap();
    // Its end, too, is told to who traces it first.
    while let WaitStatus::Stopped(_, signal) = waitpid(process, None).unwrap() {
        ptrace::cont(process, signal).unwrap();
    }
}

/// What of a process a deed, or who moves it, changes.
fn looks(pid: i32) -> String {
    let exe = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    let cgroup = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    format!("{} {} {cgroup}", exe.display(), ids(pid))
}

/// Its user and group ids.
fn ids(pid: i32) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let ids = status
        .lines()
        .filter(|line| line.starts_with("Uid:") || line.starts_with("Gid:"));
    ids.collect()
}

#[tokio::main(flavor = "current_thread")]
async fn ask(connection: StdStream, group: &str, name: &str) -> Value {
    connection.set_nonblocking(true).unwrap();
    let stream = UnixStream::from_std(connection).unwrap();
    let Ok(channel) = raw::over(stream).await else {
        return json!({ "hung-up": true });
    };
    let fetch = proto::v1::FetchRequest {
        fields: Vec::new(),
        group: group.to_owned(),
        name: name.to_owned(),
        version: None,
        ..Default::default()
    };
    let fetch = fetch.encode_to_vec();
    shown(raw::call(&channel, "/custody.v1.Provider/Fetch", fetch).await)
}

#[tokio::main(flavor = "current_thread")]
async fn call(connection: StdStream, methods: &[&str]) -> Value {
    connection.set_nonblocking(true).unwrap();
    let stream = UnixStream::from_std(connection).unwrap();
    let channel: Channel = raw::over(stream).await.unwrap();
    let mut all = Vec::new();
    for method in methods {
        let (method, request) = method.split_once('?').unwrap_or((method, ""));
        let request = hex::decode(request).unwrap();
        all.push(shown(raw::call(&channel, method, request).await));
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
