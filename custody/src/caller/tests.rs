//! What is evidence, and what is not.

use super::*;

fn seen() -> Observation {
    Observation {
        connected: Credentials {
            pid: 7,
            uid: 33,
            gid: 34,
        },
        process: Process {
            id: 70,
            pid: 7,
            uids: [33; 4],
            gids: [34; 4],
            cgroup: 5,
        },
        cgroup: Some(Cgroup {
            path: "/system.slice/nginx.service".into(),
            id: Some(5),
        }),
        exe: Ok(Exe {
            device: 1,
            inode: 2,
            path: Ok("/usr/sbin/nginx".into()),
        }),
    }
}

#[test]
fn a_plain_service_is_evidence() {
    let evidence = Evidence::examine(seen()).unwrap();
    let selectors: Vec<_> = evidence
        .selectors()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        selectors,
        [
            "unix:uid:33",
            "unix:gid:34",
            "systemd:id:nginx.service",
            "unix:path:/usr/sbin/nginx"
        ]
    );
}

#[test]
fn any_doubt_is_no_evidence() {
    type Bend = fn(&mut Observation);
    let doubts: [(Bend, Doubt); 6] = [
        (|s| s.connected.pid = 0, Doubt::OutsidePidNamespace),
        (|s| s.process.pid = 8, Doubt::OtherProcess),
        (|s| s.process.uids[1] = 0, Doubt::MixedUids),
        (|s| s.process.uids[3] = 0, Doubt::MixedUids),
        (|s| s.process.gids[2] = 0, Doubt::MixedGids),
        (|s| s.connected.uid = 0, Doubt::MixedUids),
    ];
    for (bend, doubt) in doubts {
        let mut seen = seen();
        bend(&mut seen);
        assert_eq!(Evidence::examine(seen), Err(doubt));
    }
}

#[test]
fn a_control_group_that_moved_gives_no_unit() {
    for id in [None, Some(6)] {
        let mut seen = seen();
        seen.cgroup.as_mut().unwrap().id = id;
        let evidence = Evidence::examine(seen).unwrap();
        assert_eq!((evidence.unit, evidence.cgroup), (None, None));
    }
}

#[test]
fn drift_is_noticed_in_every_respect() {
    let before = Evidence::examine(seen()).unwrap();
    assert_eq!(before.unchanged(&before), Ok(()));
    type Bend = fn(&mut Evidence);
    let drifts: [(Bend, Drift); 7] = [
        (|e| e.process = 1, Drift::Process),
        (|e| e.pid = 1, Drift::Process),
        (|e| e.uid = 0, Drift::Ids),
        (|e| e.gid = 0, Drift::Ids),
        (|e| e.unit = None, Drift::Cgroup),
        (|e| e.exe_file = Some((1, 3)), Drift::Exe),
        (|e| e.exe = None, Drift::Exe),
    ];
    for (bend, drift) in drifts {
        let mut after = before.clone();
        bend(&mut after);
        assert_eq!(before.unchanged(&after), Err(drift));
    }
}

#[test]
fn operators_are_known_by_uid_or_gid() {
    let evidence = Evidence::examine(seen()).unwrap();
    let admit = |uids: &[u32], gids: &[u32]| {
        let operators = Operators {
            uids: uids.into(),
            gids: gids.into(),
        };
        operators.admit(evidence.clone()).is_ok()
    };
    assert!(admit(&[33], &[]));
    assert!(admit(&[], &[34]));
    assert!(!admit(&[34], &[33]));
    assert!(!admit(&[], &[]));
}
