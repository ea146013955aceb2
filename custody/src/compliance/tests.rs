use super::*;

fn rules(json: &str) -> Rules {
    serde_json::from_str(json).unwrap()
}

fn properties(of: &[(&str, &str)]) -> Properties {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    of.iter().map(owned).collect()
}

/// The codes that `json` finds of a version written at the beginning of 1970, `now` days later.
fn found(json: &str, kind: &str, of: &[(&str, &str)], now: Millis) -> Vec<&'static str> {
    let subject = Subject {
        kind: Kind::from_name(kind).unwrap(),
        properties: &properties(of),
        written: 0,
        labels: &Labels::default(),
    };
    let verdict = check(&rules(json), subject, now * DAY);
    let codes = verdict.findings.iter().map(|finding| finding.code.name());
    codes.collect()
}

#[test]
fn each_rule_finds_what_it_is_for_and_nothing_else() {
    let keys = r#"{"min-rsa-bits":3072,"min-ec-bits":384,"key-algorithms":["rsa","ec"]}"#;
    let symmetric = r#"{"min-symmetric-bits":256,"symmetric-algorithms":["aes","hmac-sha256"]}"#;
    let signed = r#"{"signature-algorithms":["rsa-sha256","ecdsa-sha256"]}"#;
    let tls = r#"{"min-tls-version":"TLSv1.3"}"#;
    let table: &[(&str, &str, &str, &str, &[&str])] = &[
        (keys, "private-key", "key-algorithm", "RSA 3072", &[]),
        (
            keys,
            "private-key",
            "key-algorithm",
            "RSA 2048",
            &["key-size"],
        ),
        (keys, "keystore", "key-algorithm", "EC 384", &[]),
        (
            keys,
            "certificate",
            "key-algorithm",
            "EC 256",
            &["key-size"],
        ),
        (
            keys,
            "keystore",
            "key-algorithm",
            "Ed25519",
            &["key-algorithm"],
        ),
        (
            keys,
            "certificate",
            "key-algorithm",
            "1.2.840.10040.4.1",
            &["key-algorithm"],
        ),
        (
            keys,
            "truststore",
            "key-algorithms",
            "EC 384, RSA 4096",
            &[],
        ),
        (
            keys,
            "truststore",
            "key-algorithms",
            "EC 256, EC 384, RSA 1024",
            &["key-size", "key-size"],
        ),
        (keys, "password", "", "", &[]),
        (
            signed,
            "certificate",
            "signature-algorithm",
            "rsa-sha256",
            &[],
        ),
        (
            signed,
            "keystore",
            "signature-algorithm",
            "rsa-sha1",
            &["signature-algorithm"],
        ),
        (
            signed,
            "keystore",
            "signature-algorithm",
            "1.2.3",
            &["signature-algorithm"],
        ),
        (signed, "private-key", "key-algorithm", "RSA 512", &[]),
        (tls, "tls-context", "min-version", "TLSv1.3", &[]),
        (
            tls,
            "tls-context",
            "min-version",
            "TLSv1.2",
            &["tls-version"],
        ),
        (
            tls,
            "tls-context",
            "keystore",
            "custody:web/tls",
            &["tls-version"],
        ),
        (tls, "keystore", "subject", "CN=x", &[]),
        (
            r#"{"min-tls-version":"TLSv1.2"}"#,
            "tls-context",
            "keystore",
            "x",
            &[],
        ),
        ("{}", "private-key", "key-algorithm", "RSA 512", &[]),
    ];
    for (rules, kind, name, value, codes) in table {
        assert_eq!(
            found(rules, kind, &[(name, value)], 0),
            *codes,
            "{kind} {value}"
        );
    }
    let key = |algorithm, bits| {
        found(
            symmetric,
            "symmetric-key",
            &[("algorithm", algorithm), ("bits", bits)],
            0,
        )
    };
    assert_eq!(key("aes", "256"), [""; 0]);
    assert_eq!(key("aes", "128"), ["key-size"]);
    assert_eq!(key("chacha20", "256"), ["key-algorithm"]);
}

#[test]
fn times_are_found_to_the_moment_and_the_next_one_is_known() {
    let json = r#"{"max-validity-days":10,"warn-before-days":3,"max-age-days":7}"#;
    let valid = |from, to| {
        [
            ("not-before", from),
            ("not-after", to),
            ("chain-not-after", to),
        ]
    };
    let short = valid("1970-01-01T00:00:00Z", "1970-01-11T00:00:00Z");
    let long = valid("1970-01-01T00:00:00Z", "1970-01-11T00:00:01Z");
    assert_eq!(found(json, "certificate", &short, 0), [""; 0]);
    assert_eq!(found(json, "certificate", &long, 0), ["validity"]);
    assert_eq!(
        found(json, "jwt", &[("iat", short[0].1), ("exp", long[1].1)], 0),
        ["validity"]
    );
    assert_eq!(found(json, "jwt", &[("exp", long[1].1)], 0), [""; 0]);

    let kind = Kind::from_name("certificate").unwrap();
    let properties = properties(&short);
    let mut now = 0;
    let mut told = Vec::new();
    // Nothing changes but when it was said to.
    loop {
        let at = |now| {
            let subject = Subject {
                kind,
                properties: &properties,
                written: 0,
                labels: &Labels::default(),
            };
            check(&rules(json), subject, now)
        };
        let verdict = at(now);
        let codes = |verdict: &Verdict| -> Vec<_> {
            verdict
                .findings
                .iter()
                .map(|finding| finding.code.name())
                .collect()
        };
        told.push((now, codes(&verdict)));
        let Some(next) = verdict.next else { break };
        assert_eq!(codes(&at(next - 1)), codes(&verdict));
        now = next;
    }
    let expected = [
        (0, vec![]),
        (7 * DAY, vec!["ends-soon"]),
        (7 * DAY + 1, vec!["ends-soon", "age"]),
        (10 * DAY, vec!["ended", "age"]),
    ];
    assert_eq!(told, expected);
}

#[test]
fn rules_are_what_they_say_and_nothing_is_taken_for_one() {
    let all = r#"{"mode":"enforce","min-rsa-bits":1,"min-ec-bits":2,"min-symmetric-bits":3,"key-algorithms":["rsa","ed25519"],"signature-algorithms":["rsa-pss"],"symmetric-algorithms":["aes"],"min-tls-version":"TLSv1.2","max-validity-days":4,"warn-before-days":5,"max-age-days":6,"required-labels":["a/b","team"]}"#;
    assert_eq!(rules(all).to_json(), all);
    assert_eq!(rules("{}").to_json(), r#"{"mode":"report"}"#);
    for wrong in [
        r#"{"min-rsa-bit":1}"#,
        r#"{"min-rsa-bits":0}"#,
        r#"{"mode":"ignore"}"#,
        r#"{"key-algorithms":["dsa"]}"#,
        r#"{"min-tls-version":"SSLv3"}"#,
    ] {
        assert!(Rules::from_json(wrong).is_none(), "{wrong}");
    }
}

#[test]
fn a_missing_label_is_found_by_key_and_its_value_is_free() {
    let rules = rules(r#"{"required-labels":["team","owner"]}"#);
    let said = |labels: &str| {
        let labels: Labels = serde_json::from_str(labels).unwrap();
        lacking(&rules, &labels, |_| true).map(|finding| finding.problem)
    };
    assert_eq!(said(r#"{"team":"","owner":"x"}"#), None);
    assert_eq!(said("{}").unwrap(), "it has no label owner, team");
    assert_eq!(said(r#"{"team":"x"}"#).unwrap(), "it has no label owner");
    let of_unlabelled = found(r#"{"required-labels":["team"]}"#, "blob", &[], 0);
    assert_eq!(of_unlabelled, ["label"], "it is part of the whole check");
}
