//! What custodyd sees of a process, and which selectors that satisfies.

use client::v1;
use serde::Serialize;

use crate::output::columns;

#[derive(Debug, Serialize)]
pub(crate) struct Evidence {
    pid: i32,
    uid: u32,
    gid: u32,
    unit: Option<String>,
    invocation: Option<String>,
    container: Option<String>,
    pod: Option<String>,
    cgroup: Option<String>,
    exe: Option<String>,
    exe_doubt: Option<String>,
    by_number: bool,
}

/// A property of a process, with what it is worth in a grant.
#[derive(Debug, Serialize)]
pub(crate) struct Selector {
    pub(crate) text: String,
    strength: String,
    caution: String,
}

impl From<v1::Evidence> for Evidence {
    fn from(evidence: v1::Evidence) -> Self {
        Self {
            pid: evidence.pid,
            uid: evidence.uid,
            gid: evidence.gid,
            unit: evidence.unit,
            invocation: evidence.invocation,
            container: evidence.container,
            pod: evidence.pod,
            cgroup: evidence.cgroup,
            exe: evidence.exe,
            exe_doubt: evidence.exe_doubt,
            by_number: evidence.by_number,
        }
    }
}

impl From<v1::Selector> for Selector {
    fn from(selector: v1::Selector) -> Self {
        Self {
            text: selector.text,
            strength: selector.strength,
            caution: selector.caution,
        }
    }
}

impl Evidence {
    /// Everything, for a list of properties.
    pub(crate) fn facts(&self) -> Vec<(&'static str, Option<String>)> {
        let exe = match (&self.exe, &self.exe_doubt) {
            (Some(exe), _) => exe.clone(),
            (None, Some(doubt)) => format!("not established: {doubt}"),
            (None, None) => "not established".to_owned(),
        };
        let weaker = "held by its number only, after it connected: this kernel is too old to do \
                      better, and another process could have taken its place";
        vec![
            ("pid", Some(self.pid.to_string())),
            ("uid", Some(self.uid.to_string())),
            ("gid", Some(self.gid.to_string())),
            ("unit", Some(self.unit.clone().unwrap_or("none".into()))),
            ("invocation", self.invocation.clone()),
            ("container", self.container.clone()),
            ("pod", self.pod.clone()),
            ("cgroup", self.cgroup.clone()),
            ("executable", Some(exe)),
            ("warning", self.by_number.then(|| weaker.to_owned())),
        ]
    }

    /// The process in a few words.
    pub(crate) fn brief(&self) -> String {
        let place = self.unit.as_ref().or(self.container.as_ref());
        let mut words = vec![format!("pid {}: uid {}", self.pid, self.uid)];
        words.extend(place.into_iter().chain(&self.exe).cloned());
        words.join(", ")
    }
}

/// The selectors, each with what it is worth.
pub(crate) fn table(selectors: &[Selector]) -> Option<String> {
    columns(
        ["SELECTOR", "STRENGTH", "CAUTION"],
        selectors.iter().map(|selector| {
            [
                selector.text.clone(),
                selector.strength.clone(),
                selector.caution.clone(),
            ]
        }),
    )
}
