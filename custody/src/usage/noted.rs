//! What the journal notes of use, as it is read back.

use serde::Deserialize;

use super::Consumer;
use crate::{
    name::{GroupName, RuleId, SecretName},
    outlook::Shift,
};

/// What an entry of the journal says of use.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[allow(missing_docs, reason = "as in Event")]
pub enum Noted {
    Allow {
        operation: String,
        caller: NotedCaller,
        group: GroupName,
        secret: SecretName,
        version: u32,
        grant: RuleId,
    },
    Undelivered {
        allowed: u64,
    },
    Prepare {
        change: NotedChange,
    },
    Findings {
        group: GroupName,
        secrets: Vec<Shift>,
    },
    #[serde(other)]
    Other,
}

/// What a change says of use.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
#[allow(missing_docs, reason = "as in Change")]
pub enum NotedChange {
    DeleteSecret {
        group: GroupName,
        secret: SecretName,
    },
    #[serde(other)]
    Other,
}

/// A caller as the journal has it.
#[derive(Clone, Debug, Deserialize)]
pub struct NotedCaller {
    uid: u32,
    pod: Option<String>,
    container: Option<String>,
    unit: Option<String>,
    exe: Option<String>,
}

impl NotedCaller {
    pub(super) fn consumer(&self) -> Consumer {
        Consumer::from_parts(
            self.uid,
            self.pod.as_deref(),
            self.container.as_deref(),
            self.unit.as_deref(),
            self.exe.as_deref(),
        )
    }
}
