//! Control groups, as a process may have made them: what lies below a unit never
//! matters, and nothing that leads outside has a unit.
#![no_main]

use custody::caller::cgroup;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Some(path) = cgroup::path(text) {
        assert!(path.starts_with('/'));
        assert!(!path.split('/').any(|component| component == ".."));
        if let Some(unit) = cgroup::unit(path) {
            assert!(!unit.contains('/') && !unit.ends_with(".slice"));
            let below = format!("{path}/system.slice/other.service");
            assert_eq!(cgroup::unit(&below), Some(unit));
        }
    }
    if !text.split('/').any(|component| component == "..") {
        let delegated = format!("/system.slice/real.service/{text}");
        assert_eq!(cgroup::unit(&delegated).as_deref(), Some("real.service"));
    }
});
