//! What a configuration may say of a token's codes, and what comes of it.

use nix::sys::signal::{Signal, kill};
use softhsm_tests::{Site, daemon::Daemon, fault::answering, kind::Kind, text};

const CONTENT: &[u8] = b"-- what the token's codes are about --";

/// A site whose token answers CKR_FUNCTION_REJECTED, once, to a decryption, with `more` in its
/// configuration; what a fetch then said, and whether the worker was replaced.
fn rejected(more: &str) -> (Site, std::process::Output, bool) {
    let site = Site::without_init();
    site.configure_faulty(more);
    assert!(
        site.init()
            .output()
            .expect("custodyd runs")
            .status
            .success()
    );
    let daemon = site.start();
    site.furnish(CONTENT);
    let worker = daemon.worker();
    let mut fault = answering("C_Decrypt", "CKR_FUNCTION_REJECTED");
    fault.times = Some(1);
    site.fault(fault);
    let fetched = site.fetch("web/key");
    let replaced = has_gone(&daemon, worker);
    daemon.stop();
    (site, fetched, replaced)
}

fn has_gone(daemon: &Daemon<'_>, worker: nix::unistd::Pid) -> bool {
    kill(worker, None::<Signal>).is_err() || daemon.worker() != worker
}

#[test]
fn a_code_that_is_policy_by_the_table_leaves_the_worker() {
    let (site, fetched, replaced) = rejected("");
    assert!(!replaced, "{}{}", text(&fetched), site.log());
}

#[test]
fn a_code_that_the_configuration_says_is_the_devices_replaces_the_worker() {
    // A TPM's token is not used by what holds for others.
    let profile = match Kind::chosen() {
        Kind::SoftHsm | Kind::Kryoptic | Kind::OpenCryptoki => "profile = \"generic\"\n",
        Kind::Tpm2 => "",
    };
    let overrides = "ckr-overrides = { CKR_FUNCTION_REJECTED = \"device\" }\n";
    let (site, fetched, replaced) = rejected(&format!("{profile}{overrides}"));
    assert!(replaced, "{}{}", text(&fetched), site.log());
}
