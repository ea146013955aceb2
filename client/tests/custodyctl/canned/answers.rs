//! What the canned custodyd answers.

use std::collections::BTreeMap;

use client::v1;

fn midnight() -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp {
        seconds: 1_798_675_200,
        nanos: 0,
    })
}

pub(super) fn time() -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp {
        seconds: 1_767_323_045,
        nanos: 6,
    })
}

pub(super) fn version(number: u32) -> v1::Version {
    v1::Version {
        number,
        created: time(),
        created_by: 1000,
        size: 3072,
        properties: vec![v1::Property {
            name: "subject".into(),
            value: "CN=example\x1b[31m.org".into(),
        }],
        master_keys: vec!["00112233445566778899aabbccddeeff".into()],
        state: "enabled".into(),
        doom: None,
        valid_until: (number == 1).then(time).flatten(),
        fingerprint: "ffeeddccbbaa99887766554433221100".into(),
        unchanged: false,
        generation: Some(3),
    }
}

pub(super) fn labels() -> BTreeMap<String, String> {
    let labels = [("cost-centre", "4711"), ("team", "edge\x1b[31m")];
    labels.map(|(key, value)| (key.into(), value.into())).into()
}

pub(super) fn request() -> v1::CertificateRequest {
    let begin = "-----BEGIN CERTIFICATE REQUEST-----";
    let end = "-----END CERTIFICATE REQUEST-----";
    v1::CertificateRequest {
        version: Some(v1::Version {
            state: "requested".into(),
            ..version(3)
        }),
        pem: format!("{begin}\nAAAA\n{end}\n"),
    }
}

pub(super) fn group() -> v1::Group {
    v1::Group {
        name: "web".into(),
        description: "front ends".into(),
        created: time(),
        master_keys: vec![v1::MasterKey {
            id: "00112233445566778899aabbccddeeff".into(),
            generation: 1,
            state: "active".into(),
            wrapping: "aes-256-gcm".into(),
            token_label: "custody".into(),
            token_serial: "0123".into(),
            created: time(),
            refused: None,
            canary: time(),
            canary_problem: None,
            wraps: 2,
            invocations: 67_108_864,
            renewals: 0,
            root: None,
            emptied: None,
            doom: None,
        }],
        secrets: 1,
        grants: 1,
        rules: Some(rules()),
        cache: Some(v1::Cache {
            seconds: 300,
            uses: 1000,
            outage_seconds: 3600,
        }),
        business_group: "payments".into(),
        environment: "production".into(),
        labels: labels(),
        holders: vec![holder("custody", "0123", None, Some(0))],
        writes: "require-all".into(),
        keeping: "in-token".into(),
    }
}

fn holder(label: &str, serial: &str, problem: Option<&str>, lacks: Option<u64>) -> v1::Holder {
    v1::Holder {
        label: label.into(),
        serial: serial.into(),
        problem: problem.map(Into::into),
        lacks,
    }
}

/// The group, which three tokens hold: of two more, one is behind and one is away.
pub(super) fn held() -> v1::Group {
    let mut group = group();
    let key = group.master_keys[0].clone();
    group.master_keys.push(v1::MasterKey {
        id: "ffeeddccbbaa99887766554433221100".into(),
        token_label: "standby".into(),
        token_serial: "4567".into(),
        root: Some("0f1e2d3c4b5a69788796a5b4c3d2e1f0".into()),
        wraps: 1,
        ..key
    });
    group.holders.push(holder("standby", "4567", None, Some(1)));
    let away = "away: no token is pkcs11:token=vault;serial=89ab";
    group
        .holders
        .push(holder("vault", "89ab", Some(away), None));
    group.writes = "any-then-repair".into();
    group.keeping = "wrapped".into();
    group
}

/// The group after its key was rotated: the first of three is empty and to be destroyed.
pub(super) fn rotated(compromised: bool) -> v1::Group {
    let mut group = group();
    let key = group.master_keys.remove(0);
    let over = if compromised {
        "compromised"
    } else {
        "deactivated"
    };
    let of = |generation, state: &str, wraps| v1::MasterKey {
        generation,
        state: state.into(),
        wraps,
        ..key.clone()
    };
    let doomed = v1::MasterKey {
        emptied: time(),
        doom: time(),
        ..of(1, over, 0)
    };
    // Nothing is wrapped under it; but what someone may know is yet to be renewed.
    let second = v1::MasterKey {
        emptied: if compromised { None } else { time() },
        renewals: if compromised { 2 } else { 0 },
        ..of(2, over, 0)
    };
    group.master_keys = vec![doomed, second, of(3, "active", 2)];
    group
}

/// A grant with everything.
pub(super) fn grant() -> v1::Grant {
    v1::Grant {
        id: "0011223344556677".into(),
        group: "web".into(),
        patterns: vec!["tls*".into(), "pw".into()],
        selectors: vec!["unix:uid:33".into(), "systemd:id:nginx.service".into()],
        created: time(),
        created_by: 1000,
        terms: Some(v1::Terms {
            r#type: Some("keystore".into()),
            fields: vec!["certificate-chain".into()],
            not_before: time(),
            not_after: midnight(),
            uses: Some(5),
            rate_uses: Some(10),
            rate_seconds: Some(60),
        }),
        used: 3,
        last_used: time(),
    }
}

/// A grant that nobody used.
pub(super) fn other_grant() -> v1::Grant {
    v1::Grant {
        id: "8899aabbccddeeff".into(),
        group: "web".into(),
        patterns: vec!["*".into()],
        selectors: vec!["unix:uid:0".into()],
        created: time(),
        created_by: 0,
        ..v1::Grant::default()
    }
}

/// The grant that was asked for, found weak or not.
pub(super) fn added(request: v1::AddGrantRequest, weak: bool) -> v1::AddGrantResponse {
    let id = match request.dry_run {
        true => String::new(),
        false => grant().id,
    };
    let grant = v1::Grant {
        id,
        group: request.group,
        patterns: request.patterns,
        selectors: request.selectors,
        terms: request.terms,
        used: 0,
        last_used: None,
        ..grant()
    };
    v1::AddGrantResponse {
        grant: Some(grant),
        findings: match weak {
            true => vec![finding()],
            false => Vec::new(),
        },
    }
}

pub(super) fn finding() -> v1::Finding {
    v1::Finding {
        code: "exe-writable".into(),
        hopeless: false,
        problem: "uid 33 can write /srv/app".into(),
        remedy: "name a unit".into(),
    }
}

pub(super) fn linted() -> v1::LintGrantsResponse {
    let hopeless = v1::Finding {
        code: "any-user".into(),
        hopeless: true,
        problem: "every process of root has it".into(),
        remedy: "name a unit besides".into(),
    };
    v1::LintGrantsResponse {
        grants: vec![v1::lint_grants_response::Linted {
            grant: Some(other_grant()),
            findings: vec![finding(), hopeless],
        }],
    }
}

pub(super) fn explained() -> v1::ExplainGrantResponse {
    let missing = |demands: &str, found: &str| v1::Missing {
        demands: demands.into(),
        found: found.into(),
    };
    let considered = |grant, missing| v1::Considered {
        grant: Some(grant),
        missing,
    };
    v1::ExplainGrantResponse {
        evidence: Some(evidence()),
        selectors: selectors(),
        granted_by: None,
        reason: Some("no-grant".into()),
        considered: vec![
            considered(
                grant(),
                vec![
                    missing("systemd:id:nginx.service", "systemd:id:cron.service"),
                    missing("until 2026-12-31", "it is 2027-01-02"),
                ],
            ),
            considered(other_grant(), vec![missing("unix:uid:0", "unix:uid:33")]),
        ],
        parts: super::context::explained(),
    }
}

pub(super) fn suggested() -> v1::SuggestGrantResponse {
    v1::SuggestGrantResponse {
        selectors: selectors(),
        processes: vec![
            evidence(),
            v1::Evidence {
                pid: 4712,
                exe: Some("/usr/sbin/nginx\nrm -rf /".into()),
                ..evidence()
            },
        ],
        findings: vec![finding()],
    }
}

pub(super) fn references() -> v1::ListReferencesResponse {
    let reference = |group: &str, name: &str, field: &str, to: &str| v1::Reference {
        group: group.into(),
        name: name.into(),
        version: 3,
        current: true,
        field: field.into(),
        reference: to.into(),
        ..Default::default()
    };
    v1::ListReferencesResponse {
        refers_to: vec![v1::Reference {
            problem: Some("the version is disabled".into()),
            ..reference("web", "tls", "truststore", "custody:web/ca@2")
        }],
        referred_by: vec![v1::Reference {
            consumers: consumers().consumers,
            ..reference("shop", "front", "keystore", "custody:web/tls")
        }],
        hidden: 2,
    }
}

fn fetched(version: u32, last: Option<prost_types::Timestamp>) -> v1::FetchedVersion {
    v1::FetchedVersion { version, last }
}

/// One secret that is to be rotated, and one that was.
pub(super) fn exposure() -> v1::ListExposureResponse {
    let version = |number, state: &str, to_renew| v1::ExposedVersion {
        number,
        state: state.into(),
        generation: 2,
        to_renew,
    };
    let tls = v1::ExposedSecret {
        name: "tls".into(),
        r#type: "keystore".into(),
        versions: vec![version(1, "destroyed", false), version(2, "enabled", true)],
        in_use: true,
    };
    let pw = v1::ExposedSecret {
        name: "pw".into(),
        r#type: "password".into(),
        versions: vec![version(1, "enabled", false)],
        in_use: false,
    };
    let v1::ListConsumersResponse {
        consumers, since, ..
    } = consumers();
    let mut master_keys = rotated(true).master_keys;
    master_keys.retain(|key| key.state == "compromised");
    v1::ListExposureResponse {
        master_keys,
        secrets: vec![pw, tls],
        consumers,
        grants: vec![grant()],
        since,
    }
}

pub(super) fn consumers() -> v1::ListConsumersResponse {
    let nginx = v1::Consumer {
        name: "tls".into(),
        uid: 33,
        what: Some("systemd:id:nginx.service".into()),
        version: 2,
        outdated: false,
        fetches: 17,
        first: midnight(),
        last: time(),
        watching: true,
        recent: true,
        versions: vec![fetched(2, time()), fetched(1, midnight())],
    };
    let old = v1::Consumer {
        what: None,
        version: 1,
        outdated: true,
        fetches: 1,
        watching: false,
        recent: false,
        versions: vec![fetched(1, time())],
        ..nginx.clone()
    };
    let watcher = v1::Consumer {
        name: "pw".into(),
        uid: 34,
        what: Some("unix:path:/usr/bin/watch".into()),
        version: 0,
        outdated: false,
        fetches: 0,
        first: None,
        last: None,
        watching: true,
        recent: false,
        versions: Vec::new(),
    };
    v1::ListConsumersResponse {
        consumers: vec![nginx, old, watcher],
        unused: vec![other_grant()],
        since: 4,
    }
}

pub(super) fn role() -> v1::Role {
    v1::Role {
        id: "aabbccddeeff0011".into(),
        role: "writer".into(),
        group: Some("web".into()),
        selectors: vec!["unix:uid:1000".into()],
        created: time(),
        created_by: Some(0),
    }
}

pub(super) fn roles() -> Vec<v1::Role> {
    let officer = v1::Role {
        id: "0000000000000001".into(),
        role: "crypto-officer".into(),
        group: None,
        created_by: None,
        ..role()
    };
    let reader = v1::Role {
        id: "0000000000000002".into(),
        role: "reader".into(),
        group: None,
        ..role()
    };
    vec![officer, role(), reader]
}

pub(super) fn evidence() -> v1::Evidence {
    v1::Evidence {
        pid: 4711,
        uid: 33,
        gid: 33,
        unit: Some("nginx.service".into()),
        cgroup: Some("/system.slice/nginx.service".into()),
        exe: None,
        exe_doubt: Some("the process is in another mount namespace".into()),
        invocation: Some("00112233445566778899aabbccddeeff".into()),
        container: None,
        pod: None,
        by_number: true,
    }
}

pub(super) fn selectors() -> Vec<v1::Selector> {
    let selector = |text: &str, strength: &str, caution: &str| v1::Selector {
        text: text.into(),
        strength: strength.into(),
        caution: caution.into(),
    };
    vec![
        selector(
            "unix:uid:33",
            "user",
            "any code that runs as this user has it",
        ),
        selector(
            "systemd:id:nginx.service",
            "root",
            "only root puts a process there",
        ),
    ]
}

pub(super) fn status() -> v1::StatusResponse {
    v1::StatusResponse {
        findings: 4,
        attestation: "kernel".into(),
        attestation_lacks: Vec::new(),
        version: "0.1.0".into(),
        instance: "00112233445566778899aabbccddeeff".into(),
        started: time(),
        development: true,
        token: Some(v1::TokenStatus {
            label: "custody".into(),
            serial: "0123".into(),
            manufacturer: "SoftHSM project".into(),
            model: "SoftHSM v2".into(),
            module: "/usr/lib/softhsm/libsofthsm2.so".into(),
            state: "failed".into(),
            problem: Some("the token is not there".into()),
            worker_generation: 3,
            canary: time(),
            canary_problem: Some("the token did not answer in time; try again".into()),
            workers: vec![
                v1::WorkerStatus {
                    number: 2,
                    state: "failed".into(),
                    problem: Some("the token is not there".into()),
                },
                v1::WorkerStatus {
                    number: 3,
                    state: "starting".into(),
                    problem: None,
                },
            ],
            breaker: "open".into(),
            pin_change: None,
        }),
        other_tokens: vec![v1::TokenStatus {
            label: "standby".into(),
            serial: "4567".into(),
            state: "away".into(),
            problem: Some("no token is pkcs11:token=standby;serial=4567".into()),
            breaker: "open".into(),
            pin_change: Some("staged".into()),
            ..v1::TokenStatus::default()
        }],
        journal: None,
        groups: 1,
        secrets: 1,
        grants: 1,
        memory_locked: false,
    }
}

pub(super) fn journal() -> v1::JournalStatus {
    v1::JournalStatus {
        sequence: 17,
        hash: "ab".repeat(32),
        checkpoint: Some(12),
        public_key: "-----BEGIN PUBLIC KEY-----\n".into(),
        directory: "/var/lib/custodyd/journal".into(),
    }
}

/// A certificate that is over, and a former version whose time is soon.
pub(super) fn expiring() -> v1::ListExpiringResponse {
    let over = v1::Expiring {
        group: "web".into(),
        name: "tls".into(),
        r#type: "keystore".into(),
        version: 2,
        part: Some("current".into()),
        ends: time(),
        property: Some("chain-not-after".into()),
        ended: true,
    };
    let limited = v1::Expiring {
        version: 1,
        part: None,
        ends: midnight(),
        property: None,
        ended: false,
        ..over.clone()
    };
    v1::ListExpiringResponse {
        expiring: vec![over, limited],
        more: 1,
    }
}

pub(super) fn rules() -> v1::Rules {
    v1::Rules {
        mode: "enforce".into(),
        min_rsa_bits: Some(3072),
        key_algorithms: vec!["rsa".into(), "ec".into()],
        min_tls_version: Some("TLSv1.3".into()),
        ..Default::default()
    }
}

pub(super) fn findings() -> Vec<v1::RuleFinding> {
    let small = v1::RuleFinding {
        group: "web".into(),
        name: "tls".into(),
        r#type: "keystore".into(),
        version: 2,
        code: "key-size".into(),
        problem: "a key is RSA 2048, below 3072 bits".into(),
        remedy: "replace it by one of 3072 bits or more".into(),
        enforced: true,
    };
    let soon = v1::RuleFinding {
        code: "ends-soon".into(),
        problem: "it ends within 30 days".into(),
        remedy: "renew it".into(),
        enforced: false,
        ..small.clone()
    };
    vec![small, soon]
}
