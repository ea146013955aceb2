//! Control groups, as a process may have made them: what lies below the first owner never
//! matters, and nothing that leads outside is a place.
#![no_main]

use custody::caller::cgroup::{self, Place};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Some(path) = cgroup::path(text) {
        assert!(path.starts_with('/'));
        assert!(!leaves(path));
        let place = Place::of(path);
        if let Some(unit) = &place.unit {
            assert!(!unit.contains('/') && !unit.ends_with(".slice"));
        }
        if let Some(id) = &place.container {
            assert_eq!(id.len(), 64);
        }
        assert!(place.pod.is_none() || place.container.is_some());
        if place.unit.is_some() || place.container.is_some() {
            let below = Place::of(&format!("{path}/system.slice/other.service"));
            assert_eq!(below.unit, place.unit);
            assert_eq!((below.container, below.pod), (place.container, place.pod));
        }
    }
    if !leaves(text) {
        let delegated = Place::of(&format!("/system.slice/real.service/{text}"));
        assert_eq!(delegated.unit.as_deref(), Some("real.service"));
        assert_eq!(
            (delegated.container.clone(), delegated.pod.clone()),
            (None, None)
        );
        for uid in [0, 1000] {
            assert_eq!(delegated.user_unit(uid), None);
        }
    }
});

fn leaves(path: &str) -> bool {
    path.split('/').any(|component| component == "..")
}
