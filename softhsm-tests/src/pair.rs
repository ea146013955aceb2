//! A site whose daemon has two tokens, each of which can misbehave without the other.

use std::path::PathBuf;

use faulty_pkcs11::{Control, Counts, Fault};
use serde_json::Value;

use crate::{
    LABEL, Site,
    fault::{answering, faulty_module, write_control},
    kind::Kind,
    text,
};

/// The label of the second token.
pub const OTHER: &str = "other";

/// One of two tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The one that has the keys of the installation.
    First,
    /// The other.
    Second,
}

impl Which {
    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }

    /// Its label.
    pub fn label(self) -> &'static str {
        match self {
            Self::First => LABEL,
            Self::Second => OTHER,
        }
    }
}

/// The site, and the serial number of its second token.
#[derive(Debug)]
pub struct Pair {
    /// The site; its own token is the first.
    pub site: Site,
    second: String,
}

impl Pair {
    /// Sets an installation up whose configuration has both tokens, which behave so far.
    /// `more` is at the end of either's table, but for a `[limits]` in it, which is after both.
    pub fn new(more: &str) -> Self {
        Self::after(more, |_| {})
    }

    /// The same after `change`, which may have a token misbehave.
    pub fn after(more: &str, change: impl FnOnce(&Self)) -> Self {
        let site = Site::without_init();
        let second = site.init_token(OTHER);
        let pair = Self { site, second };
        pair.mend(Which::First);
        pair.mend(Which::Second);
        pair.configure(more);
        change(&pair);
        let output = pair.site.init().output().expect("custodyd runs");
        assert!(output.status.success(), "init: {}", text(&output));
        pair
    }

    /// Writes the configuration with both tokens.
    pub fn configure(&self, more: &str) {
        let site = &self.site;
        let table = |which| {
            let environment = site.faulty_environment(&self.control(which));
            let serial = self.serial(which);
            let table = site.token_table(which.label(), serial, &faulty_module(), &environment);
            format!("[[token]]\n{table}")
        };
        let first = table(Which::First);
        let settings = Kind::settings_unless(more);
        let (of_each, _) = more.split_once("[limits]").unwrap_or((more, ""));
        let of_each = Kind::patient(of_each);
        let tokens = format!("{first}{settings}{of_each}\n{}", table(Which::Second));
        site.write_configuration(&tokens, more);
    }

    /// The serial number of a token.
    pub fn serial(&self, which: Which) -> &str {
        match which {
            Which::First => &self.site.serial,
            Which::Second => &self.second,
        }
    }

    /// Has a token misbehave from now on.
    pub fn misbehave(&self, which: Which, change: impl FnOnce(&mut Control)) {
        write_control(&self.control(which), change);
    }

    /// Has the calls of a token that `fault` is for go wrong from now on.
    pub fn fault(&self, which: Which, fault: Fault) {
        self.misbehave(which, |control| control.faults.push(fault));
    }

    /// Takes a token away: whatever it is asked, it is not there.
    pub fn take_away(&self, which: Which) {
        self.fault(which, answering("*", "CKR_DEVICE_REMOVED"));
    }

    /// Has a token behave again.
    pub fn mend(&self, which: Which) {
        self.misbehave(which, |_| {});
    }

    /// What a token was asked.
    pub fn counts(&self, which: Which) -> Counts {
        Counts::read(&self.control(which)).expect("counts")
    }

    /// What `softhsm-intruder` finds or does in a token.
    pub fn intrude(&self, which: Which, arguments: &[&str]) -> Value {
        self.site.intrude_into(self.serial(which), arguments)
    }

    /// How many objects there are in a token.
    pub fn objects(&self, which: Which) -> u64 {
        let total = self.intrude(which, &["total"]);
        total.as_u64().expect("a number")
    }

    /// How custodyd says that a token does.
    pub fn token(&self, which: Which) -> Value {
        let status = self.site.ctl_json(&["status"]);
        match which {
            Which::First => status["token"].clone(),
            Which::Second => status["other_tokens"][0].clone(),
        }
    }

    /// How many versions each token wraps of a group, by label; `None` without a master key that
    /// protects.
    pub fn wraps(&self, group: &str) -> [Option<u64>; 2] {
        let group = self.site.ctl_json(&["group", "show", group]);
        let keys = group["master_keys"].as_array().expect("keys");
        [Which::First, Which::Second].map(|which| {
            let mut keys = keys.iter();
            let key = keys
                .find(|key| key["token_serial"] == self.serial(which) && key["state"] == "active");
            key.map(|key| key["wraps"].as_u64().expect("a number"))
        })
    }

    fn control(&self, which: Which) -> PathBuf {
        match which {
            Which::First => self.site.control(),
            Which::Second => self.site.path("control-of-other.toml"),
        }
    }
}
