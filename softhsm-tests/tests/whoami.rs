//! What the daemon tells a process of itself, and what it says that each selector is worth.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use nix::unistd::{getgid, getuid};
use serde_json::Value;
use softhsm_tests::{Site, command};

/// What `custodyctl whoami` with `more` shows.
fn whoami(site: &Site, more: &[&str]) -> Value {
    site.ctl_json(&[&["whoami"], more].concat())
}

/// The selector whose text begins with `start`.
fn selector<'a>(shown: &'a Value, start: &str) -> &'a Value {
    let all = shown["selectors"].as_array().unwrap();
    let found = all
        .iter()
        .find(|one| one["text"].as_str().unwrap().starts_with(start));
    found.unwrap_or_else(|| panic!("{start}: {shown}"))
}

#[test]
fn a_process_is_told_what_is_seen_of_it_and_what_each_selector_is_worth() {
    let site = Site::new();
    let _daemon = site.start();
    let shown = whoami(&site, &[]);
    let own = command("custodyctl").canonicalize().unwrap();
    assert_eq!(shown["evidence"]["uid"], getuid().as_raw(), "{shown}");
    assert_eq!(shown["evidence"]["gid"], getgid().as_raw());
    assert_eq!(shown["evidence"]["exe"], own.to_str().unwrap());
    assert!(shown["evidence"]["pid"].as_u64().unwrap() > 1);
    let hash = std::process::Command::new("sha256sum").arg(&own).output();
    let hash = softhsm_tests::text(&hash.unwrap());
    let hash = hash.split(' ').next().unwrap();
    for (text, strength, caution) in [
        (format!("unix:uid:{}", getuid()), "user", "any code"),
        (format!("unix:gid:{}", getgid()), "shared", "every member"),
        (format!("unix:path:{}", own.display()), "shared", "borrow"),
        (format!("unix:sha256:{hash}"), "shared", "libraries"),
        ("namespace:mnt:host".to_owned(), "user", "containers"),
        ("process:traced:no".to_owned(), "claimed", "can leave"),
    ] {
        let found = selector(&shown, &text);
        assert_eq!(found["text"], text);
        assert_eq!(found["strength"], strength, "{text}");
        let said = found["caution"].as_str().unwrap();
        assert!(said.contains(caution), "{said}");
    }
    // Nothing of it is a request for a secret.
    assert!(site.entries("allow").is_empty() && site.entries("deny").is_empty());
}
