//! How long data keys are kept, as it reaches custodyd.

use client::v1;

use crate::canned::Daemon;

fn asked(line: &str) -> v1::SetCacheRequest {
    let daemon = Daemon::start();
    let output = daemon.run(line.split(' '));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{line}: {said}");
    daemon.asked().cache.unwrap()
}

#[test]
fn what_is_to_be_kept_reaches_custodyd() {
    let kept = |seconds, uses, outage_seconds| v1::SetCacheRequest {
        group: "web".into(),
        cache: Some(v1::Cache {
            seconds,
            uses,
            outage_seconds,
        }),
    };
    let none = v1::SetCacheRequest {
        group: "web".into(),
        cache: None,
    };
    for (line, expected) in [
        ("group cache web --for 5m --uses 1000", kept(300, 1000, 0)),
        (
            "group cache web --for 5m --uses 1 --outage deny",
            kept(300, 1, 0),
        ),
        (
            "group cache web --uses 7 --outage serve:1h --for 90s",
            kept(90, 7, 3600),
        ),
        ("group cache web --off", none),
    ] {
        assert_eq!(asked(line), expected, "{line}");
    }
}

#[test]
fn what_says_too_little_or_nothing_clear_is_refused_before_custodyd_is_asked() {
    let daemon = Daemon::start();
    for line in [
        "group cache web",
        "group cache web --for 5m",
        "group cache web --uses 5",
        "group cache web --outage deny",
        "group cache web --for 5m --uses 5 --off",
        "group cache web --for 0s --uses 5",
        "group cache web --for 5m --uses 5 --outage serve",
        "group cache web --for 5m --uses 5 --outage serve:0s",
        "group cache web --for 5m --uses 5 --outage allow",
    ] {
        let output = daemon.run(line.split(' '));
        assert_eq!(output.status.code(), Some(2), "{line}");
    }
    assert!(daemon.calls().is_empty());
}
