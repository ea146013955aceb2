//! What is evidence, and what is not.

use super::{observation::*, *};

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
        groups: vec![7, 4, 7],
        label: Some("confined".into()),
        pinned: Pinned::AtConnect,
        namespaces: Namespaces {
            mnt: Some(true),
            user: Some(true),
            pid: Some(false),
        },
        cgroup: Some(Cgroup {
            path: "/system.slice/nginx.service".into(),
            id: Some(5),
            invocation: Some("0123456789abcdef0123456789abcdef".into()),
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
            "unix:supplementary_gid:4",
            "unix:supplementary_gid:7",
            "systemd:id:nginx.service",
            "systemd:invocation_id:0123456789abcdef0123456789abcdef",
            "unix:path:/usr/sbin/nginx",
            "namespace:mnt:host",
            "namespace:user:host",
            "lsm:label:confined",
        ]
    );
}

#[test]
fn any_doubt_is_no_evidence() {
    type Bend = fn(&mut Observation);
    let doubts: [(Bend, Doubt); 5] = [
        (|s| s.connected.pid = 0, Doubt::OutsidePidNamespace),
        (|s| s.connected.pid = -1, Doubt::OutsidePidNamespace),
        (|s| s.process.pid = 8, Doubt::OtherProcess),
        (|s| s.connected.uid = 0, Doubt::MixedUids),
        (|s| s.connected.gid = 0, Doubt::MixedGids),
    ];
    for (bend, doubt) in doubts {
        let mut seen = seen();
        bend(&mut seen);
        assert_eq!(Evidence::examine(seen), Err(doubt));
    }
    // Real, effective, saved and filesystem id.
    for at in 0..4 {
        for other in [0, 33 + 1] {
            let mut mixed = seen();
            mixed.process.uids[at] = other;
            assert_eq!(Evidence::examine(mixed), Err(Doubt::MixedUids));
        }
        for other in [0, 34 + 1] {
            let mut mixed = seen();
            mixed.process.gids[at] = other;
            assert_eq!(Evidence::examine(mixed), Err(Doubt::MixedGids));
        }
    }
}

#[test]
fn a_control_group_that_moved_gives_no_unit() {
    for id in [None, Some(6)] {
        let mut seen = seen();
        seen.cgroup.as_mut().unwrap().id = id;
        let evidence = Evidence::examine(seen).unwrap();
        assert_eq!((evidence.unit, evidence.cgroup), (None, None));
        assert_eq!(evidence.invocation, None);
    }
}

#[test]
fn drift_is_noticed_in_every_respect() {
    let before = Evidence::examine(seen()).unwrap();
    assert_eq!(before.unchanged(&before), Ok(()));
    type Bend = fn(&mut Evidence);
    let drifts: [(Bend, Drift); 12] = [
        (|e| e.process = 1, Drift::Process),
        (|e| e.pid = 1, Drift::Process),
        (|e| e.uid = 0, Drift::Ids),
        (|e| e.gid = 0, Drift::Ids),
        (|e| e.groups = vec![4], Drift::Ids),
        (|e| e.pinned = Pinned::ByNumber, Drift::Process),
        (|e| e.cgroup = None, Drift::Cgroup),
        (|e| e.invocation = None, Drift::Cgroup),
        (|e| e.namespaces.mnt = None, Drift::Namespaces),
        (|e| e.label = None, Drift::Namespaces),
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
fn a_tracer_is_looked_for_again_where_it_mattered() {
    let traced = |traced| {
        let facts = Facts {
            traced,
            ..Facts::default()
        };
        Evidence::examine(seen()).unwrap().with(facts)
    };
    let untraced = traced(Some(false));
    assert_eq!(untraced.unchanged(&untraced), Ok(()));
    assert_eq!(untraced.unchanged(&traced(Some(true))), Err(Drift::Tracer));
    assert_eq!(untraced.unchanged(&traced(None)), Err(Drift::Tracer));
    assert_eq!(traced(None).unchanged(&untraced), Ok(()));
    assert!(untraced.selectors().contains(&Selector::Untraced));
    assert!(!traced(Some(true)).selectors().contains(&Selector::Untraced));
}

#[test]
fn what_another_users_manager_says_is_not_believed() {
    for (owner, unit) in [(33, Some("a.service")), (34, None)] {
        let mut seen = seen();
        seen.cgroup.as_mut().unwrap().path =
            format!("/user.slice/user-{owner}.slice/user@{owner}.service/a.service");
        let evidence = Evidence::examine(seen).unwrap();
        assert_eq!(evidence.user_unit.as_deref(), unit);
    }
}
