//! The terms of grants: times, rates, names, types and fields.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use prost::Message as _;
use proto::v1;
use softhsm_tests::{Site, load::runtime, raw, until, verdict::CONTENT};

#[test]
fn a_grant_is_used_no_more_often_than_its_rate_also_after_a_kill() {
    let site = Site::new();
    let daemon = site.start();
    site.furnish_ungranted();
    site.grant_on("key", &["--rate", "2/1d"]);
    site.is_had();
    site.is_had();
    site.is_withheld("web/key", &[], "too-often");
    daemon.kill();
    let _daemon = site.start();
    site.is_withheld("web/key", &[], "too-often");
}

#[test]
fn a_rate_lets_go_on_when_its_span_is_over() {
    let site = Site::new();
    let _daemon = site.start();
    site.furnish_ungranted();
    site.grant_on("key", &["--rate", "1/1s"]);
    site.is_had();
    until("the second is over", || {
        let output = site.fetch("web/key");
        output.status.success().then_some(())
    });
}

#[test]
fn a_grant_holds_from_its_beginning_to_its_end() {
    let site = Site::new();
    let _daemon = site.start();
    site.furnish_ungranted();
    let over = ["--from", "2001-01-01", "--until", "2002-01-01"];
    site.grant_on("key", &over);
    site.is_withheld("web/key", &[], "expired");
    let to_come = site.grant_on("key", &["--from", "2999-01-01"]);
    site.ctl(&["grant", "revoke", "--yes", &to_come]);
    site.is_withheld("web/key", &[], "expired");
    let now = ["--from", "2001-01-01", "--until", "2999-01-01"];
    let now = site.grant_on("key", &now);
    site.is_had();
    let allowed = site.is_on_record_as_allowed();
    assert_eq!(allowed["grant"], now);
}

#[test]
fn a_grant_that_has_not_begun_gives_nothing() {
    let site = Site::new();
    let _daemon = site.start();
    site.furnish_ungranted();
    let grant = site.grant_on("key", &["--from", "2999-01-01"]);
    site.is_withheld("web/key", &[], "not-yet");
    assert_eq!(site.used(&grant), 0);
}

#[test]
fn a_grant_covers_the_names_and_beginnings_that_it_lists_and_one_type() {
    let site = Site::new();
    let _daemon = site.start();
    site.put_tls("web/tls-a");
    for name in ["web/key", "web/other", "web/tls-b"] {
        assert!(site.put(name, CONTENT).status.success());
    }
    site.grant_on("key", &["tls-*", "--type", "blob"]);
    site.is_had();
    assert!(site.fetch("web/tls-b").status.success());
    site.is_withheld("web/other", &[], "no-grant");
    site.is_withheld("web/tls-a", &[], "other-type");
    site.is_withheld("web/tls-c", &[], "no-such-secret");
}

/// The bytes of an answer to a request for `fields` of `web/tls`.
fn bytes(site: &Site, fields: &[&str]) -> Vec<u8> {
    let request = v1::FetchRequest {
        group: "web".to_owned(),
        name: "tls".to_owned(),
        version: None,
        fields: fields.iter().map(|&field| field.to_owned()).collect(),
        ..Default::default()
    };
    runtime().block_on(async {
        let channel = raw::connect(site.path("run/provider.sock")).await;
        let method = "/custody.v1.Provider/Fetch";
        let answer = raw::call(&channel, method, request.encode_to_vec()).await;
        answer.unwrap().into_inner()
    })
}

fn has(bytes: &[u8], part: &str) -> bool {
    bytes.windows(part.len()).any(|at| at == part.as_bytes())
}

#[test]
fn fields_that_are_not_granted_do_not_leave() {
    let site = Site::new();
    let _daemon = site.start();
    let pair = site.put_tls("web/tls");
    let field = ["--field", "certificate-chain"];
    let grant = site.grant_on("tls", &[&field[..], &["--uses", "2"]].concat());
    for fields in [&[][..], &["certificate-chain"]] {
        let bytes = bytes(&site, fields);
        assert!(has(&bytes, &pair.certificate));
        assert!(!has(&bytes, "PRIVATE KEY") && !has(&bytes, "private-key"));
        for line in pair.key.lines() {
            assert!(!has(&bytes, line), "{line}");
        }
    }
    assert_eq!(site.used(&grant), 2);
}

#[test]
fn asking_for_other_fields_than_are_granted_is_denied_and_uses_nothing_up() {
    let site = Site::new();
    let _daemon = site.start();
    site.put_tls("web/tls");
    let field = ["--field", "certificate-chain"];
    let grant = site.grant_on("tls", &[&field[..], &["--uses", "1"]].concat());
    let chain = ["--field", "certificate-chain"];
    let key = ["--field", "private-key"];
    site.is_withheld("web/tls", &key, "other-fields");
    site.is_withheld("web/tls", &[chain, key].concat(), "other-fields");
    site.is_withheld("web/tls", &["--field", "password"], "other-fields");
    assert_eq!(site.used(&grant), 0);
    assert!(site.try_ctl(&["fetch", "web/tls"]).status.success());
}

#[test]
fn a_grant_of_fields_that_the_type_does_not_have_gives_nothing_and_is_not_used_up() {
    let site = Site::new();
    let _daemon = site.start();
    site.put_tls("web/tls");
    let none = site.grant_on("tls", &["--field", "content", "--uses", "1"]);
    site.is_withheld("web/tls", &[], "other-fields");
    assert_eq!(site.used(&none), 0);
}

#[test]
fn fields_that_the_type_does_not_have_count_for_nothing_between_grants() {
    let site = Site::new();
    let _daemon = site.start();
    let pair = site.put_tls("web/tls");
    let chain = ["--field", "certificate-chain"];
    let others = ["--field", "content", "--field", "password"];
    site.grant_on("tls", &[chain, ["--type", "keystore"]].concat());
    site.grant_on("tls", &[&chain[..], &others].concat());
    site.grant_on("tls", &others);
    let both = site.grant_on("tls", &[chain, ["--field", "private-key"]].concat());
    assert!(has(&bytes(&site, &[]), &pair.key));
    assert_eq!(site.is_on_record_as_allowed()["grant"], both);
}

#[test]
fn of_several_grants_the_one_that_gives_most_is_used() {
    let site = Site::new();
    let _daemon = site.start();
    let pair = site.put_tls("web/tls");
    let part = site.grant_on("tls", &["--field", "certificate-chain"]);
    let whole = site.grant_on("tls", &["--uses", "1"]);
    assert!(has(&bytes(&site, &[]), &pair.key));
    assert_eq!(site.is_on_record_as_allowed()["grant"], whole);
    assert!(!has(&bytes(&site, &[]), &pair.key));
    assert_eq!(site.is_on_record_as_allowed()["grant"], part);
}
