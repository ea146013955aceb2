//! Each finding, and what gives none.

use super::{
    surroundings::{Place, Unit},
    *,
};
use crate::name::RuleId;

fn selectors(texts: &[&str]) -> Selectors {
    Selectors::new(texts.iter().map(|text| text.parse().unwrap()).collect()).unwrap()
}

fn findings(
    pattern: &str,
    texts: &[&str],
    surroundings: &Surroundings,
) -> Vec<(&'static str, bool)> {
    let patterns = Patterns::new(vec![pattern.parse().unwrap()]).unwrap();
    let findings = grant(&patterns, &selectors(texts), surroundings);
    assert!(
        findings
            .iter()
            .all(|finding| !finding.problem.is_empty() && !finding.remedy.is_empty())
    );
    findings
        .iter()
        .map(|finding| (finding.code, finding.hopeless))
        .collect()
}

fn place(path: &str, uid: u32, gid: u32, mode: u32) -> Place {
    Place {
        path: path.into(),
        uid,
        gid,
        mode,
    }
}

fn file(places: Vec<Place>) -> Surroundings {
    Surroundings {
        exe: Some(File {
            real_path: "/usr/sbin/nginx".into(),
            places,
            runs_as_other: false,
        }),
        ..Surroundings::default()
    }
}

fn unit(change: fn(&mut Unit)) -> Surroundings {
    let mut unit = Unit {
        is_loaded: true,
        ..Unit::default()
    };
    change(&mut unit);
    Surroundings {
        unit: Some(unit),
        ..Surroundings::default()
    }
}

const NGINX: &str = "systemd:id:nginx.service";
const EXE: &str = "unix:path:/usr/sbin/nginx";

#[test]
fn a_plain_grant_gives_no_finding() {
    let sound = file(vec![
        place("/usr/sbin/nginx", 0, 0, 0o755),
        place("/usr/sbin", 0, 0, 0o775),
        place("/", 0, 0, 0o755),
    ]);
    for texts in [
        &["unix:uid:1000"][..],
        &[NGINX],
        &["unix:uid:0", NGINX],
        &["unix:uid:33", NGINX, EXE],
    ] {
        assert_eq!(findings("tls", texts, &sound), []);
    }
}

#[test]
fn patterns_that_give_everything_are_weak() {
    let none = Surroundings::default();
    assert_eq!(findings("*", &[NGINX], &none), [("pattern-all", false)]);
    assert_eq!(findings("t*", &[NGINX], &none), []);
}

#[test]
fn users_that_are_no_one_service_are_weak_without_a_unit() {
    let named = |name: &str| Surroundings {
        user: Some(name.into()),
        ..Surroundings::default()
    };
    for (uid, name, code) in [
        ("unix:uid:0", "root", "root"),
        ("unix:uid:65534", "nobody", "shared-user"),
        ("unix:uid:33", "www-data", "shared-user"),
    ] {
        assert_eq!(findings("a", &[uid], &named(name)), [(code, false)]);
        assert_eq!(findings("a", &[uid, NGINX], &named(name)), []);
    }
    assert_eq!(
        findings("a", &["unix:uid:65534"], &Surroundings::default()),
        [("shared-user", false)]
    );
    assert_eq!(findings("a", &["unix:uid:1000"], &named("alice")), []);
    let claimed = ["unix:uid:1000", "systemd:user_unit:a.service"];
    assert_eq!(
        findings("a", &claimed, &named("alice")),
        [("claimed-unit", false)]
    );
}

#[test]
fn units_that_anyone_fills_are_weak() {
    assert_eq!(findings("a", &[NGINX], &unit(|_| ())), []);
    assert_eq!(
        findings("a", &[NGINX], &unit(|unit| unit.is_delegated = true)),
        [("delegated-unit", false)]
    );
    assert_eq!(
        findings("a", &[NGINX], &unit(|unit| unit.is_loaded = false)),
        [("no-such-unit", false)]
    );
    let run = "systemd:invocation_id:0123456789abcdef0123456789abcdef";
    assert_eq!(
        findings(
            "a",
            &[NGINX, run],
            &unit(|unit| unit.invocation = Some("0".into()))
        ),
        [("past-run", false)]
    );
    for session in ["systemd:id:user@1000.service", "systemd:id:session-3.scope"] {
        assert_eq!(
            findings("a", &[session], &Surroundings::default()),
            [("session-unit", false)]
        );
    }
}

#[test]
fn executables_that_can_be_replaced_are_weak() {
    let root = place("/", 0, 0, 0o755);
    for (places, uid, weak) in [
        (
            vec![place("/usr/sbin/nginx", 33, 0, 0o755), root.clone()],
            "unix:uid:33",
            true,
        ),
        (
            vec![place("/usr/sbin/nginx", 34, 0, 0o755), root.clone()],
            "unix:uid:33",
            true,
        ),
        (
            vec![place("/usr/sbin/nginx", 0, 0, 0o755), root.clone()],
            "unix:uid:33",
            false,
        ),
        (
            vec![place("/usr/sbin/nginx", 0, 0, 0o777), root.clone()],
            "unix:uid:33",
            true,
        ),
        (
            vec![place("/usr/sbin/nginx", 0, 5, 0o775), root.clone()],
            "unix:uid:33",
            true,
        ),
        (
            vec![
                place("/usr/sbin/nginx", 0, 0, 0o755),
                place("/usr", 0, 0, 0o757),
            ],
            "unix:uid:33",
            true,
        ),
        (
            vec![
                place("/usr/sbin/nginx", 0, 0, 0o755),
                place("/tmp", 0, 0, 0o1777),
            ],
            "unix:uid:33",
            false,
        ),
    ] {
        let expected: &[_] = if weak {
            &[("exe-writable", false)]
        } else {
            &[]
        };
        assert_eq!(
            findings("a", &[uid, EXE], &file(places.clone())),
            expected,
            "{places:?}"
        );
    }
}

#[test]
fn executables_that_say_nothing_are_weak_or_hopeless() {
    let missing = Surroundings {
        is_complete: true,
        ..Surroundings::default()
    };
    assert_eq!(
        findings("a", &[NGINX, EXE], &missing),
        [("no-such-file", false)]
    );
    assert_eq!(findings("a", &[NGINX, EXE], &Surroundings::default()), []);
    let link = [NGINX, "unix:path:/sbin/nginx"];
    assert_eq!(
        findings("a", &link, &file(Vec::new())),
        [("not-real-path", true)]
    );
    let mut setuid = file(Vec::new());
    setuid.exe.as_mut().unwrap().runs_as_other = true;
    assert_eq!(findings("a", &[NGINX, EXE], &setuid), [("setuid", false)]);
    let hash = "0".repeat(64);
    let known = Surroundings {
        interpreters: vec![(hash.clone(), "/usr/bin/python3.11".into())],
        ..Surroundings::default()
    };
    assert_eq!(
        findings("a", &[NGINX, &format!("unix:sha256:{hash}")], &known),
        [("interpreter", false)]
    );
    assert_eq!(
        findings(
            "a",
            &[NGINX, "unix:path:/usr/bin/python3.11"],
            &Surroundings::default()
        ),
        [("interpreter", false)]
    );
}

#[test]
fn units_that_run_what_they_are_told_are_weak_without_a_user() {
    let nothing = Surroundings::default();
    let weak = [("others-code", false)];
    for unit in [
        "systemd:id:cron.service",
        "systemd:id:sshd@3-1.2.3.4:22.service",
        "systemd:fragment_path:/usr/lib/systemd/system/atd.service",
    ] {
        assert_eq!(findings("tls", &[unit], &nothing), weak, "{unit}");
        assert_eq!(findings("tls", &["unix:uid:1000", unit], &nothing), []);
    }
    assert_eq!(
        findings("tls", &["systemd:id:cronie-web.service"], &nothing),
        []
    );
}

#[test]
fn delegation_is_weak_however_the_unit_is_named() {
    let delegated = unit(|unit| unit.is_delegated = true);
    let weak = [("delegated-unit", false)];
    for named in [
        NGINX,
        "systemd:id:run-3.scope",
        "systemd:fragment_path:/etc/systemd/system/nginx.service",
        "systemd:invocation_id:0123456789abcdef0123456789abcdef",
    ] {
        assert_eq!(findings("tls", &[named], &delegated), weak, "{named}");
    }
    let template = "systemd:fragment_path:/etc/systemd/system/web@.service";
    assert_eq!(findings("tls", &[template], &delegated), []);
}

#[test]
fn an_interpreter_is_known_by_either_digest() {
    let sha256 = "0".repeat(64);
    let verity = format!("sha256:{sha256}");
    let known = Surroundings {
        interpreters: vec![
            (sha256.clone(), "/usr/bin/sh".into()),
            (verity.clone(), "/usr/bin/sh".into()),
        ],
        ..Surroundings::default()
    };
    for digest in [
        format!("unix:sha256:{sha256}"),
        format!("unix:verity:{verity}"),
    ] {
        let found = findings("tls", &["unix:uid:1000", &digest], &known);
        assert_eq!(found, [("interpreter", false)], "{digest}");
    }
}

#[test]
fn nobody_is_crypto_officer_for_one_run_of_a_unit() {
    let run = selectors(&["systemd:invocation_id:0123456789abcdef0123456789abcdef"]);
    let hopeless = |of| {
        let found = role(of, &run, &[], &Surroundings::default());
        let codes: Vec<_> = found.iter().map(|one| one.code).collect();
        assert_eq!(codes, ["one-run"]);
        found[0].hopeless
    };
    assert!(hopeless(Role::CryptoOfficer));
    assert!(!hopeless(Role::Reader));
}

#[test]
fn interpreters_are_known_by_any_version() {
    for path in [
        "/usr/bin/python3.11",
        "/bin/sh",
        "/opt/node-20",
        "/usr/bin/perl5.36.0",
        "/lib64/ld-linux-x86-64.so.2",
    ] {
        assert!(is_interpreter(path), "{path}");
    }
    for path in [
        "/usr/sbin/nginx",
        "/usr/bin/shred",
        "/usr/bin/envoy",
        "/srv/python/app",
    ] {
        assert!(!is_interpreter(path), "{path}");
    }
}

#[test]
fn duties_that_should_be_apart_are_said_when_they_meet() {
    let held = |role, texts: &[&str]| Assignment {
        id: RuleId::from_bytes(&[1; 8]).unwrap(),
        role,
        group: None,
        selectors: selectors(texts),
        created: 0,
        created_by: None,
    };
    let codes = |is: Role, already: &Assignment| {
        let findings = role(
            is,
            &selectors(&["unix:uid:5"]),
            &[already],
            &Surroundings::default(),
        );
        findings
            .iter()
            .map(|finding| finding.code)
            .collect::<Vec<_>>()
    };
    let auditor = held(Role::Auditor, &["unix:uid:5"]);
    assert_eq!(codes(Role::Writer, &auditor), ["separation-of-duties"]);
    assert_eq!(codes(Role::Auditor, &auditor), [""; 0]);
    let officer = held(Role::CryptoOfficer, &["unix:uid:5"]);
    assert_eq!(
        codes(Role::GroupAdministrator, &officer),
        ["separation-of-duties"]
    );
    assert_eq!(codes(Role::Reader, &officer), [""; 0]);
    let other = held(Role::Auditor, &["unix:uid:6"]);
    assert_eq!(codes(Role::Writer, &other), [""; 0]);
}
