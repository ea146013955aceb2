//! The site's token as an intruder with its PIN sees it.

use std::process::Command;

use serde_json::Value;

use crate::{PIN, Site, command, module, text};

impl Site {
    /// Has another process do something to the token: "look ID", "read ID", "wrap ID",
    /// "destroy ID", "forge ID LABEL FLAW" or "set-pin NEW"; gives what it found.
    pub fn intrude(&self, arguments: &[&str]) -> Value {
        let (variable, file) = self.module_environment();
        let output = Command::new(command("softhsm-intruder"))
            .env(variable, file)
            .arg(module())
            .args([&*self.serial, PIN])
            .args(arguments)
            .output()
            .expect("softhsm-intruder runs");
        assert!(output.status.success(), "{arguments:?}: {}", text(&output));
        serde_json::from_slice(&output.stdout).expect("a line of JSON")
    }

    /// Puts another key in the place of the key `id`, with the same identifier.
    pub fn replace_key(&self, id: &str, label: &str, flaw: &str) {
        self.intrude(&["destroy", id]);
        self.intrude(&["forge", id, label, flaw]);
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
