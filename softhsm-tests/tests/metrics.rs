//! Metrics: counted and told over a socket, in the format that monitoring reads.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use std::os::unix::{fs::PermissionsExt as _, net::UnixStream};

use faulty_pkcs11::Fault;
use softhsm_tests::{Site, fault::answering, kind::Kind, until, verdict::CONTENT};

fn measured() -> Site {
    let site = Site::new();
    site.measure();
    site
}

#[test]
fn what_happens_is_counted_and_how_things_stand_is_told() {
    let site = measured();
    let daemon = site.start();
    site.furnish(CONTENT);
    for _ in 0..3 {
        assert!(site.fetch("web/key").status.success());
    }
    assert_eq!(site.fetch("web/none").status.code(), Some(3));
    assert_eq!(site.fetch("other/key").status.code(), Some(3));
    std::fs::write(site.path("rules.toml"), "max-age-days = 1\n").unwrap();
    let rules = site.path("rules.toml");
    site.ctl(&["group", "rules", "web", rules.to_str().unwrap()]);

    let samples = site.metrics();
    let fetched = |code| {
        format!(
            "custodyd_requests_total{{surface=\"provider\",operation=\"fetch\",code=\"{code}\"}}"
        )
    };
    let version = env!("CARGO_PKG_VERSION");
    for (name, value) in [
        (fetched("OK"), 3.0),
        (fetched("PermissionDenied"), 2.0),
        (
            "custodyd_request_seconds_count{surface=\"provider\",operation=\"fetch\"}".into(),
            5.0,
        ),
        (
            "custodyd_denials_total{reason=\"no-such-secret\"}".into(),
            1.0,
        ),
        ("custodyd_denials_total{reason=\"no-grant\"}".into(), 1.0),
        ("custodyd_journal_entries_total{kind=\"allow\"}".into(), 3.0),
        ("custodyd_journal_failures_total".into(), 0.0),
        (format!("custodyd_build{{version=\"{version}\"}}"), 1.0),
        ("custodyd_groups".into(), 1.0),
        ("custodyd_secrets".into(), 1.0),
        ("custodyd_grants".into(), 1.0),
        (of_token(&site, "serving", ""), 1.0),
        (of_token(&site, "workers_total", ""), 1.0),
        (of_token(&site, "workers_now", "state=\"serving\""), 1.0),
        (of_token(&site, "workers_now", "state=\"failed\""), 0.0),
        (of_token(&site, "breaker", "state=\"closed\""), 1.0),
        (of_token(&site, "breaker", "state=\"open\""), 0.0),
        (of_token(&site, "sessions", ""), Kind::sessions().into()),
        // The system's, the journal's and the group's.
        (of_token(&site, "keys", "state=\"usable\""), 3.0),
        (of_token(&site, "keys", "state=\"refused\""), 0.0),
        (
            of_token(
                &site,
                "operation_seconds_count",
                "operation=\"reveal\",phase=\"queue\"",
            ),
            // Three fetches, and the row key.
            4.0,
        ),
        (
            of_token(
                &site,
                "operation_seconds_bucket",
                "operation=\"reveal\",phase=\"exec\",le=\"+Inf\"",
            ),
            4.0,
        ),
        ("custodyd_development".into(), 0.0),
    ] {
        assert_eq!(samples.get(&name), Some(&value), "{name}: {samples:#?}");
    }
    let written = samples["custodyd_journal_sequence"];
    let newest = site.journal().pop().unwrap()["seq"].as_f64().unwrap();
    assert_eq!(written, newest);
    // No name of a secret, and nobody's, stands in it.
    for name in samples.keys() {
        assert!(!name.contains("key\"") && !name.contains("uid"), "{name}");
    }

    // A worker that dies is seen, and so is its successor.
    nix::sys::signal::kill(daemon.worker(), nix::sys::signal::Signal::SIGKILL).unwrap();
    until("the next worker serves", || {
        let samples = site.metrics();
        let is = |name: &str, value: f64| samples[&of_token(&site, name, "")] == value;
        (is("workers_total", 2.0) && is("serving", 1.0)).then_some(())
    });
    daemon.stop();
}

/// The name of a sample of the token, with more labels.
fn of_token(site: &Site, name: &str, more: &str) -> String {
    let more = match more {
        "" => String::new(),
        more => format!(",{more}"),
    };
    format!("custodyd_token_{name}{{token=\"{}\"{more}}}", site.serial)
}

#[test]
fn what_is_left_to_do_in_the_background_is_told() {
    let site = Site::new();
    let slow = format!("[limits]\nrewrap-share = {}\n", Kind::slowness());
    site.configure(&slow);
    site.measure();
    let _daemon = site.start();
    site.furnish(CONTENT);
    for number in 0..10 {
        let secret = format!("web/s{number}");
        assert!(site.put(&secret, CONTENT).status.success());
    }
    // What does not open is not renewed; its data key can still be moved.
    site.sqlite("UPDATE content SET ciphertext = zeroblob(30) WHERE name = 's9'");
    let left = || {
        let samples = site.metrics();
        let names = ["custodyd_data_keys_to_move", "custodyd_versions_to_renew"];
        names.map(|name| samples[name])
    };
    assert_eq!(left(), [0.0, 0.0]);
    site.ctl(&["group", "rotate", "web"]);
    let [moves, renewals] = left();
    assert!(moves > 0.0 && renewals == 0.0, "{moves} {renewals}");
    until("all is moved", || (left() == [0.0, 0.0]).then_some(()));

    site.ctl(&["group", "rotate", "web", "--compromised"]);
    let [moves, renewals] = left();
    assert!(moves > 0.0 && renewals > 0.0, "{moves} {renewals}");
    until("all others are renewed", || {
        (left() == [0.0, 1.0]).then_some(())
    });
    site.ctl(&["secret", "delete", "web/s9", "--yes", "--force"]);
    assert_eq!(left(), [0.0, 0.0]);
}

/// How often the token answered `code` to `C_Decrypt`.
fn answered(site: &Site, code: &str) -> Option<f64> {
    let name = of_token(
        site,
        "errors_total",
        &format!("function=\"C_Decrypt\",code=\"{code}\""),
    );
    site.metrics().get(&name).copied()
}

#[test]
fn what_the_token_answers_amiss_is_counted_whether_or_not_it_is_got_over() {
    let site = Site::faulty("");
    site.measure();
    let daemon = site.start();
    site.furnish(CONTENT);
    // The first is got over, the second ends the worker.
    for code in ["CKR_SESSION_CLOSED", "CKR_DEVICE_REMOVED"] {
        assert_eq!(answered(&site, code), None);
        site.fault(Fault {
            times: Some(1),
            ..answering("C_Decrypt", code)
        });
        until("the secret is delivered", || {
            (site.fetch("web/key").stdout == CONTENT).then_some(())
        });
        assert_eq!(answered(&site, code), Some(1.0), "{code}");
    }
    daemon.stop();
}

#[test]
fn findings_and_ends_are_told_by_group() {
    let site = measured();
    let _daemon = site.start();
    site.put_tls("web/tls");
    std::fs::write(site.path("rules.toml"), "key-algorithms = [\"rsa\"]\n").unwrap();
    let rules = site.path("rules.toml");
    let rules = rules.to_str().unwrap();
    assert_eq!(
        site.try_ctl(&["group", "rules", "web", rules])
            .status
            .code(),
        Some(10)
    );
    let samples = site.metrics();
    let finding = "custodyd_findings{group=\"web\",code=\"key-algorithm\",mode=\"report\"}";
    assert_eq!(samples.get(finding), Some(&1.0), "{samples:#?}");
    // What rcgen makes ends in 4096.
    let end = samples["custodyd_soonest_end_timestamp_seconds{group=\"web\"}"];
    assert_eq!(end, 67_090_118_400.0);
    site.ctl(&["secret", "delete", "web/tls", "--yes"]);
    let samples = site.metrics();
    assert_eq!(samples.get(finding), Some(&0.0));
    assert!(!samples.keys().any(|name| name.contains("soonest_end")));
}

#[test]
fn there_is_one_thing_to_get_and_not_for_everyone() {
    let site = measured();
    let _daemon = site.start();
    let mode = std::fs::metadata(site.metrics_socket()).unwrap();
    assert_eq!(mode.permissions().mode() & 0o777, 0o660);
    for (request, status) in [
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "404 Not Found"),
        (
            "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
            "405 Method Not Allowed",
        ),
        ("nonsense\r\n\r\n", "400 Bad Request"),
    ] {
        let (head, body) = site.ask_metrics(request);
        assert!(
            head.starts_with(&format!("HTTP/1.1 {status}\r\n")),
            "{head}"
        );
        assert!(!body.contains("custodyd_"));
    }
    // Who connects and says nothing keeps nobody else out.
    let silent: Vec<_> = (0..4)
        .map(|_| UnixStream::connect(site.metrics_socket()).unwrap())
        .collect();
    assert!(!site.metrics().is_empty());
    drop(silent);
}

#[test]
fn without_a_word_in_the_configuration_nothing_is_told() {
    let site = Site::new();
    let _daemon = site.start();
    assert!(!site.metrics_socket().exists());
}
