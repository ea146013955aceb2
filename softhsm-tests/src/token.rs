//! The site's token as an intruder with its PIN sees it.

use std::process::Command;

use custody::{
    envelope::{Context, PlaintextDek},
    name::{KeyId, SecretId, VersionId},
};
use serde_json::Value;

use crate::{PIN, Site, command, kind::Kind, module, text};

impl Site {
    /// Has another process do something to the token: "look ID", "modulus ID", "read ID", "wrap ID",
    /// "unwrap ROOT BLOB", "destroy ID", "destroy-public ID", "forge ID LABEL FLAW", "forge-pair ID LABEL
    /// FLAW" or "set-pin NEW"; gives what it found.
    pub fn intrude(&self, arguments: &[&str]) -> Value {
        self.intrude_into(&self.serial, arguments)
    }

    /// As [`Self::intrude`], of the token called `serial`.
    pub(crate) fn intrude_into(&self, serial: &str, arguments: &[&str]) -> Value {
        self.enter();
        let output = Command::new(command("softhsm-intruder"))
            .envs(self.module_environment())
            .arg(module())
            .args([serial, PIN])
            .args(arguments)
            .output()
            .expect("softhsm-intruder runs");
        assert!(output.status.success(), "{arguments:?}: {}", text(&output));
        serde_json::from_slice(&output.stdout).expect("a line of JSON")
    }

    /// Puts another key in the place of the key `id`, with the same identifier.
    pub fn replace_key(&self, id: &str, label: &str, flaw: &str) {
        self.intrude(&["destroy", id]);
        if Kind::chosen().makes_pairs() {
            self.intrude(&["destroy-public", id]);
        }
        self.forge_key(id, label, flaw);
    }

    /// Puts a key called `id` into the token that is as a master key must be there, but for `flaw`.
    pub fn forge_key(&self, id: &str, label: &str, flaw: &str) {
        let forge = if Kind::chosen().makes_pairs() {
            "forge-pair"
        } else {
            "forge"
        };
        self.intrude(&[forge, id, label, flaw]);
    }

    /// The data key of the version `GROUP/NAME@NUMBER` of a blob that is `wrapped` under `gmk`, as
    /// whoever has the token's files and the PIN can unwrap it.
    pub fn data_key(&self, version: &str, gmk: &str, wrapped: &str) -> Vec<u8> {
        let version = version_id(version).expect("a version");
        let id = hex::decode(gmk).ok().and_then(|id| KeyId::from_bytes(&id));
        let context = Context::Dek {
            version: &version,
            kind: "blob",
            gmk: &id.expect("the name of a key"),
        };
        self.enter();
        let output = Command::new(command("unwrap"))
            .envs(self.module_environment())
            .arg(module())
            .args([PIN, gmk, wrapped, &hex::encode(context.encode())])
            .output()
            .expect("unwrap runs");
        assert!(output.status.success(), "{}", text(&output));
        let key = hex::decode(String::from_utf8_lossy(&output.stdout).trim()).expect("a key");
        assert_eq!(key.len(), PlaintextDek::LEN);
        key
    }

    /// Takes the token out of SoftHSM.
    pub fn remove_token(&self, serial: &str) {
        let output = Command::new("softhsm2-util")
            .env("SOFTHSM2_CONF", self.path("softhsm2.conf"))
            .args(["--delete-token", "--serial", serial])
            .output()
            .expect("softhsm2-util runs");
        assert!(output.status.success(), "{}", text(&output));
    }

    /// `CKA_ID` of the system GMK.
    pub fn system_gmk(&self) -> String {
        self.one("SELECT lower(hex(gmk)) FROM system")
    }

    /// `CKA_ID` of the journal key.
    pub fn journal_key(&self) -> String {
        self.one("SELECT lower(hex(journal_key)) FROM system")
    }

    /// `CKA_ID` of a group's master key.
    pub fn gmk(&self, group: &str) -> String {
        self.one(&format!(
            r#"SELECT lower(hex(id)) FROM master_key WHERE "group" = '{group}'"#
        ))
    }

    fn one(&self, query: &str) -> String {
        self.sqlite(query).trim().to_owned()
    }
}

/// The version that `text` names as `GROUP/NAME@NUMBER`.
pub fn version_id(text: &str) -> Option<VersionId> {
    let (secret, number) = text.split_once('@')?;
    let (group, name) = secret.split_once('/')?;
    Some(VersionId {
        secret: SecretId {
            group: group.parse().ok()?,
            name: name.parse().ok()?,
        },
        number: number.parse().ok()?,
    })
}
