//! Content that the daemon opened to seal it anew.

use softhsm_tests::{
    Site, is_root,
    memory::{Forbidden, not_in_their_memory},
};

use super::{canary, data_key, use_them};

#[test]
fn what_was_renewed_is_not_left_in_memory() {
    let name = "what_was_renewed_is_not_left_in_memory";
    if !is_root(name) {
        return;
    }
    let site = Site::new();
    let daemon = site.start();
    let (short, long) = (canary(), canary());
    let large = [&long[..], &vec![b'.'; 100_000]].concat();
    drop(use_them(&site, &short, &large));
    let keys = || [data_key(&site, "key"), data_key(&site, "large")];
    let before = keys();
    daemon.stop();
    let daemon = site.start();
    site.ctl(&["group", "rotate", "web", "--compromised", "--wait"]);
    let after = keys();
    assert!(before.iter().all(|key| !after.contains(key)));
    let mut forbidden = vec![
        Forbidden::new("short content", &short),
        Forbidden::new("long content", &long),
    ];
    let keys = before.iter().chain(&after);
    forbidden.extend(keys.map(|key| Forbidden::new("a data key", key)));
    let there = Forbidden::new("the token's serial number", site.serial.as_bytes());
    not_in_their_memory(name, &daemon, &there, &forbidden);
}
