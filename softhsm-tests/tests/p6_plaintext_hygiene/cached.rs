//! Data keys that are kept: where even root does not read them, and nowhere else.

use softhsm_tests::skip::skip;

use super::*;

/// What the log says of the kind of memory that they are in.
const SECRET: &str = "of memfd_secret";

#[test]
fn data_keys_that_are_kept_are_in_no_memory_that_can_be_read() {
    let name = "data_keys_that_are_kept_are_in_no_memory_that_can_be_read";
    if !is_root(name) {
        return;
    }
    let site = Site::new();
    let daemon = site.start();
    site.ctl(&["group", "create", "web"]);
    site.ctl(&["group", "cache", "web", "--for", "1h", "--uses", "1000"]);
    let uid = nix::unistd::getuid().to_string();
    site.ctl(&["grant", "add", "--allow-weak", "web", "*", "--uid", &uid]);
    let content = canary();
    let runtime = runtime();
    let provider = runtime.block_on(async {
        let (manager, provider) = (site.manager().await, site.provider().await);
        for name in ["key", "other"] {
            put(&manager, name, &content).await.unwrap();
        }
        for _ in 0..20 {
            for name in ["key", "other"] {
                assert_eq!(fetch(&provider, name).await.unwrap().0, content);
            }
        }
        // The connection's buffer is used again.
        let denied = fetch(&provider, "none").await;
        assert!(matches!(denied, Err(client::Error::Denied)));
        provider
    });
    let allowed = site.entries("allow");
    let cached = allowed.iter().filter(|entry| entry["cached"] == true);
    assert_eq!((allowed.len(), cached.count()), (40, 38));
    if !site.log().contains(SECRET) {
        return skip(name, "memfd_secret");
    }
    let forbidden = [
        Forbidden::new("content", &content),
        Forbidden::new("a data key", &data_key(&site, "key")),
        Forbidden::new("another data key", &data_key(&site, "other")),
    ];
    let there = Forbidden::new("the token's serial number", site.serial.as_bytes());
    not_in_their_memory(name, &daemon, &there, &forbidden);
    // They are still there.
    let (found, _) = runtime.block_on(fetch(&provider, "key")).unwrap();
    assert_eq!(found, content);
    assert_eq!(site.entries("allow").pop().unwrap()["cached"], true);
}
