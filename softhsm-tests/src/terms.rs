//! Grants on terms, and what came of them. The secret is `web/key` where no other is named.

use nix::unistd::getuid;
use serde_json::Value;

use crate::{Site, text, verdict::CONTENT};

impl Site {
    /// Grants `secret` of the group `web` to our uid, on `terms`; gives the grant's id.
    pub fn grant_on(&self, secret: &str, terms: &[&str]) -> String {
        let uid = getuid().to_string();
        let add = ["grant", "add", "--allow-weak", "web", secret, "--uid", &uid];
        let added = self.ctl_json(&[&add, terms].concat());
        added["grant"]["id"].as_str().expect("an id").to_owned()
    }

    /// How often the grant was used, as an operator sees it.
    pub fn used(&self, grant: &str) -> Value {
        self.ctl_json(&["grant", "show", grant])["used"].clone()
    }

    /// A fetch of `web/key` gets its content.
    pub fn is_had(&self) {
        let output = self.fetch("web/key");
        assert_eq!(output.stdout, CONTENT, "{}", text(&output));
    }

    /// A fetch of `secret` with `more` is denied, for `reason`, which only the journal says.
    pub fn is_withheld(&self, secret: &str, more: &[&str], reason: &str) {
        let allowed = self.entries("allow").len();
        let output = self.try_ctl(&[&["fetch", secret], more].concat());
        assert_eq!(output.status.code(), Some(3), "{}", text(&output));
        assert!(output.stdout.is_empty());
        assert!(!text(&output).contains(reason), "{}", text(&output));
        let denial = self.entries("deny").pop().expect("a denial");
        assert_eq!(denial["reason"], reason);
        assert_eq!(self.entries("allow").len(), allowed);
    }
}
