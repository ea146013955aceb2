//! Backups: taken while custodyd runs, restored when it does not, and tried out on a token.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use std::{
    path::PathBuf,
    process::{Command, Output},
};

use client::v1;
use serde_json::Value;
use softhsm_tests::{Site, text};

mod drill;
mod interrupted;
mod restore;
mod save;

/// What is in every secret here, and must be in no file and no output.
const CANARY: &[u8] = b"canary-of-the-backup";

/// A backup that was saved.
struct Saved {
    path: PathBuf,
    /// What `custodyctl` said of it.
    told: Value,
}

/// `custodyctl backup save`, to the file `name`.
fn save(site: &Site, name: &str) -> Command {
    let mut save = site.custodyctl();
    save.args(["backup", "save", "--output", "json"])
        .arg(site.path(name))
        .arg("--public-key")
        .arg(site.path("state/journal.pub"));
    save
}

/// Saves a backup to the file `name`.
fn saved(site: &Site, name: &str) -> Saved {
    let output = save(site, name).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    Saved {
        path: site.path(name),
        told: serde_json::from_slice(&output.stdout).unwrap(),
    }
}

/// Verifies the file `name` with the public key of `site`, and without its daemon.
fn verify(site: &Site, name: &str) -> Output {
    site.custodyctl()
        .env("CUSTODY_MANAGER", "/nowhere")
        .args(["backup", "verify"])
        .arg(site.path(name))
        .arg("--public-key")
        .arg(site.path("state/journal.pub"))
        .output()
        .unwrap()
}

/// Writes so many blobs of `size` bytes to the group `web`, each of which begins with
/// [`CANARY`].
async fn fill(site: &Site, count: u32, size: usize) {
    let manager = site.manager().await;
    for number in 0..count {
        let mut value = CANARY.to_vec();
        value.resize(size, b'.');
        let put = v1::PutSecretRequest {
            group: "web".into(),
            name: format!("big-{number}"),
            r#type: "blob".into(),
            fields: vec![v1::Field {
                name: "content".into(),
                value,
            }],
            ..Default::default()
        };
        manager.put_secret(put).await.unwrap();
    }
}

/// Whether `bytes` have the canary in them, as it is or as it is often written.
fn shows_canary(bytes: &[u8]) -> bool {
    let hex = hex::encode(CANARY).into_bytes();
    let shows = |needle: &[u8]| bytes.windows(needle.len()).any(|part| part == needle);
    shows(CANARY) || shows(&hex)
}
