//! What is repeated, what is not, and which exit code tells what.

use std::{
    os::unix::net::UnixListener,
    process::Output,
    thread,
    time::{Duration, Instant},
};

use client::Error;
use prost::Message as _;
use prost_types::Any;
use tonic::{Code, Status};

use crate::canned::Daemon;

fn unavailable() -> Status {
    Status::unavailable("the token is starting")
}

/// `google.rpc.Status` with a `google.rpc.RetryInfo` that names a delay.
pub(crate) fn unavailable_for(delay: Duration) -> Status {
    later(Code::Unavailable, delay)
}

fn later(code: Code, delay: Duration) -> Status {
    /// A message whose only field, a list of messages or one, has the given tag.
    fn wrap(tag: u8, inner: &[u8]) -> Vec<u8> {
        let length = u8::try_from(inner.len()).unwrap();
        [&[tag << 3 | 2, length], inner].concat()
    }
    let delay = prost_types::Duration::try_from(delay).unwrap();
    let info = Any {
        type_url: "type.googleapis.com/google.rpc.RetryInfo".into(),
        value: wrap(1, &delay.encode_to_vec()),
    };
    let details = wrap(3, &info.encode_to_vec());
    Status::with_details(code, "the token is starting", details.into())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

#[test]
fn a_read_is_repeated_once_after_the_delay_that_custodyd_names() {
    let delay = Duration::from_millis(700);
    let daemon = Daemon::failing([unavailable_for(delay)]);
    let start = Instant::now();
    let output = daemon.run(["fetch", "web/tls"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(daemon.calls(), ["fetch", "fetch"]);
    assert!(start.elapsed() >= delay);
}

#[test]
fn a_limit_that_passes_is_waited_for_and_one_that_does_not_is_not() {
    let limit = || later(Code::ResourceExhausted, Duration::from_millis(1));
    let daemon = Daemon::failing([limit()]);
    assert_eq!(code(&daemon.run(["fetch", "web/tls"])), Some(0));
    assert_eq!(daemon.calls(), ["fetch", "fetch"]);

    let daemon = Daemon::failing([limit(), limit()]);
    assert_eq!(code(&daemon.run(["fetch", "web/tls"])), Some(6));

    let daemon = Daemon::failing([Status::resource_exhausted("no more")]);
    assert_eq!(code(&daemon.run(["fetch", "web/tls"])), Some(1));
    assert_eq!(daemon.calls(), ["fetch"]);
}

#[test]
fn a_read_is_not_repeated_twice() {
    let daemon = Daemon::failing([unavailable(), unavailable()]);
    let output = daemon.run(["secret", "list", "web"]);
    assert_eq!(code(&output), Some(6));
    assert_eq!(daemon.calls(), ["list_secrets", "list_secrets"]);
}

#[test]
fn a_write_is_never_repeated() {
    for (args, call) in [
        (vec!["group", "create", "web"], "create_group"),
        (
            vec!["secret", "delete", "web/tls", "--yes"],
            "delete_secret",
        ),
        (
            vec!["grant", "add", "web", "tls", "--uid", "1"],
            "add_grant",
        ),
        (vec!["grant", "revoke", "0011", "--yes"], "revoke_grant"),
        (
            vec!["secret", "put", "web/tls", "--type=blob"],
            "put_secret",
        ),
        (vec!["role", "assign", "auditor", "--uid=1"], "assign_role"),
        (vec!["role", "revoke", "0011", "--yes"], "revoke_role"),
    ] {
        let daemon = Daemon::failing([unavailable()]);
        let output = daemon.run(args);
        assert_eq!(code(&output), Some(6), "{call}");
        assert_eq!(daemon.calls(), [call]);
    }
}

#[test]
fn only_unavailable_is_repeated() {
    let daemon = Daemon::failing([Status::internal("internal error")]);
    assert_eq!(code(&daemon.run(["status"])), Some(1));
    assert_eq!(daemon.calls(), ["status"]);
}

#[test]
fn exit_codes_tell_failures_apart() {
    for (grpc, exit) in [
        (Code::Unknown, 1),
        (Code::PermissionDenied, 3),
        (Code::NotFound, 4),
        (Code::AlreadyExists, 5),
        (Code::FailedPrecondition, 5),
        (Code::InvalidArgument, 7),
        (Code::DataLoss, 8),
    ] {
        let daemon = Daemon::failing([Status::new(grpc, "what is wrong")]);
        let output = daemon.run(["secret", "show", "web/tls"]);
        assert_eq!(code(&output), Some(exit), "{grpc:?}");
        assert!(output.stdout.is_empty());
        let stderr = text(&output.stderr);
        assert!(stderr.starts_with("custodyctl: "), "{stderr}");
        assert!(stderr.contains("what is wrong"), "{stderr}");
    }
}

#[test]
fn a_missing_socket_is_named_with_a_way_out() {
    let daemon = Daemon::start();
    let output = daemon.run(["--manager-socket", "/nowhere/m.sock", "status"]);
    assert_eq!(code(&output), Some(6));
    assert_eq!(
        text(&output.stderr),
        "custodyctl: cannot reach custodyd at /nowhere/m.sock: No such file or directory\n  \
         hint: is custodyd running? --manager-socket names another socket\n"
    );
}

#[test]
fn a_custodyd_that_goes_away_is_unavailable() {
    let daemon = Daemon::start();
    let listener = UnixListener::bind(daemon.path("gone.sock")).unwrap();
    thread::spawn(move || while listener.accept().is_ok() {});
    let output = daemon.run(["--provider-socket", "gone.sock", "fetch", "web/tls"]);
    assert_eq!(code(&output), Some(6), "{}", text(&output.stderr));
}

#[test]
fn what_makes_no_sense_never_reaches_custodyd() {
    let daemon = Daemon::start();
    for args in [
        vec!["fetch", "web/tls", "--output", "json"],
        vec!["fetch", "tls"],
        vec!["secret", "delete", "web/tls"],
        vec!["grant", "revoke", "0011"],
        vec!["grant", "add", "web", "tls"],
        vec!["grant", "add", "web", "--uid=1"],
        vec!["grant", "add", "web", "tls", "--uid=1", "--user=root"],
        vec!["grant", "add", "web", "tls", "--uid=1", "--for=soon"],
        vec!["grant", "add", "web", "tls", "--uid=1", "--for=-1d"],
        vec!["grant", "add", "web", "tls", "--uid=1", "--for=9000y"],
        vec!["grant", "add", "web", "tls", "--uid=1", "--from=tomorrow"],
        vec!["grant", "add", "web", "tls", "--uid=1", "--uses=0"],
        vec!["grant", "add", "web", "tls", "--uid=1", "--rate=10"],
        vec![
            "grant",
            "add",
            "web",
            "tls",
            "--uid=1",
            "--for=1d",
            "--until=2026-12-31",
        ],
        vec!["grant", "explain", "web/tls"],
        vec!["grant", "explain", "web", "--pid=1"],
        vec!["grant", "explain", "web/tls", "--pid=0"],
        vec!["role", "assign", "auditor"],
        vec!["role", "assign", "king", "--uid=1"],
        vec!["role", "revoke", "0011"],
        vec!["consumers", "web/tls@1"],
        vec!["secret", "references", "web/tls@1"],
        vec!["journal", "verify"],
        vec!["secret", "put", "web/tls", "--type=keystore", "tls.pem"],
        vec!["secret", "put", "web/tls", "--type=keystore", "a=-", "b=-"],
        vec!["secret", "put", "web/tls", "--type=new", "-"],
    ] {
        assert_eq!(code(&daemon.run(&args)), Some(2), "{args:?}");
    }
    assert_eq!(daemon.calls(), [""; 0]);
}

#[test]
fn a_keystore_in_one_file_is_shown_how_to_be_two() {
    let daemon = Daemon::start();
    let output = daemon.run(["secret", "put", "a/b", "--type=keystore", "tls.pem"]);
    let line = "custodyctl secret put a/b --type keystore certificate-chain=FILE private-key=FILE";
    assert!(text(&output.stderr).contains(line));
}

#[test]
fn the_library_tells_versions_until_the_watch_ends() {
    let daemon = Daemon::failing([unavailable()]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let provider = client::Provider::connect(daemon.path("provider.sock"));
        let mut watch = provider.await.unwrap().watch("web", "tls").await.unwrap();
        assert!(matches!(watch.next().await, Some(Ok(1))));
        assert!(matches!(watch.next().await, Some(Ok(2))));
        assert!(matches!(watch.next().await, Some(Err(Error::Denied))));
        assert!(watch.next().await.is_none());
    });
    assert_eq!(daemon.calls(), ["watch", "watch"]);
}

#[test]
fn a_connection_outlives_custodyd() {
    let mut daemon = Daemon::start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let provider = client::Provider::connect(daemon.path("provider.sock"));
    let provider = runtime.block_on(provider).unwrap();
    for _ in 0..3 {
        runtime
            .block_on(provider.fetch("web", "tls", None))
            .unwrap();
        daemon.restart();
    }
}
