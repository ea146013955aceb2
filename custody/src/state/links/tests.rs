use super::*;
use crate::{envelope::SealedDigest, secret::version::Fingerprint};

/// The first version of `web/NAME`, which refers to `web/key`.
fn version(name: &str, state: VersionState) -> Version {
    Version {
        id: VersionId {
            secret: SecretId {
                group: "web".parse().unwrap(),
                name: name.parse().unwrap(),
            },
            number: 1,
        },
        size: 0,
        sealed: SealedDigest::from_bytes([0; 32]),
        dek_generation: 1,
        exposed: None,
        fingerprint: Fingerprint::from_bytes([0; 32]),
        properties: vec![("keystore".into(), "custody:web/key".into())],
        state,
        valid_until: None,
        created: 0,
        created_by: 0,
    }
}

#[test]
fn what_refers_no_more_takes_no_room() {
    let kind = Kind::from_name("tls-context").unwrap();
    let mut referrers = Referrers::default();
    for name in ["a", "b"] {
        referrers.follow(kind, &version(name, VersionState::Enabled));
        referrers.follow(kind, &version(name, VersionState::Disabled));
    }
    let [targets] = &referrers.0.values().collect::<Vec<_>>()[..] else {
        panic!("there is one target");
    };
    assert_eq!(targets.len(), 2);
    referrers.follow(kind, &version("a", VersionState::Doomed(1)));
    referrers.forget(kind, &version("b", VersionState::Enabled));
    assert!(referrers.0.is_empty());
}
