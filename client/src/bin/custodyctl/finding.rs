//! What the linter says against a grant or a role, and how custodyd refuses for it.

use client::{Error as Call, v1};
use serde::Serialize;

use crate::{
    failure::{Exit, Failure},
    output,
};

/// Something that is wrong with a grant.
#[derive(Debug, Serialize)]
pub(crate) struct Finding {
    pub(crate) code: String,
    pub(crate) hopeless: bool,
    pub(crate) problem: String,
    pub(crate) remedy: String,
}

impl From<v1::Finding> for Finding {
    fn from(finding: v1::Finding) -> Self {
        Self {
            code: finding.code,
            hopeless: finding.hopeless,
            problem: finding.problem,
            remedy: finding.remedy,
        }
    }
}

impl Finding {
    /// As custodyd writes it in an error.
    pub(crate) fn line(&self) -> String {
        format!("{}: {}; {}", self.code, self.problem, self.remedy)
    }
}

/// Something was not done for what was found.
#[derive(Debug, thiserror::Error)]
#[error("{undone}: it {}", if *.weak { "is weak" } else { "cannot do what it says" })]
pub(crate) struct Refusal {
    /// What was not done.
    undone: &'static str,
    /// Whether it can be insisted on.
    weak: bool,
    /// The findings, one a line.
    pub(crate) lines: Vec<String>,
}

impl Refusal {
    pub(crate) fn exit(&self) -> Exit {
        if self.weak {
            Exit::Conflict
        } else {
            Exit::Invalid
        }
    }

    pub(crate) fn hint(&self) -> String {
        let hint = if self.weak {
            "name the callers better, or insist with --allow-weak: the journal keeps that"
        } else {
            "change it as it says; --allow-weak would not help"
        };
        hint.to_owned()
    }
}

/// Warns of what was found in something that was done.
pub(crate) fn warn(findings: &[Finding]) {
    for finding in findings {
        output::note(&output::plain(&format!("warning: {}", finding.line())));
    }
}

/// Refuses, as custodyd would, for findings that came without an error.
pub(crate) fn refuse(
    undone: &'static str,
    findings: &[Finding],
    allow_weak: bool,
) -> Result<(), Refusal> {
    let hopeless = findings.iter().any(|finding| finding.hopeless);
    if !hopeless && (allow_weak || findings.is_empty()) {
        return Ok(());
    }
    Err(Refusal {
        undone,
        weak: !hopeless,
        lines: findings.iter().map(Finding::line).collect(),
    })
}

/// What custodyd answered, with its findings taken apart if that is what they are.
pub(crate) fn explain(undone: &'static str, call: Call) -> Failure {
    let (weak, message) = match &call {
        Call::Precondition(message) => (true, message),
        Call::Invalid(message) => (false, message),
        _ => return Failure::Manager(call),
    };
    let lines: Vec<_> = message.lines().map(str::to_owned).collect();
    if lines.is_empty() || !lines.iter().all(|line| is_finding(line)) {
        return Failure::Manager(call);
    }
    Failure::Refused(Refusal {
        undone,
        weak,
        lines,
    })
}

/// Whether it is "CODE: problem; remedy".
fn is_finding(line: &str) -> bool {
    let word = |code: &str| {
        !code.is_empty()
            && code
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    line.split_once(": ")
        .is_some_and(|(code, rest)| word(code) && rest.contains("; "))
}

#[cfg(test)]
mod tests {
    use super::is_finding;

    #[test]
    fn a_message_is_not_taken_for_a_finding() {
        assert!(is_finding("exe-writable: uid 33 can write it; name a unit"));
        for line in [
            "",
            "the group web is not there",
            ": no code; no finding",
            "\"unix:uid:x\" wants a number below 4294967295",
            "no group web: there are db; and more",
            "exe-writable: uid 33 can write it",
        ] {
            assert!(!is_finding(line), "{line:?}");
        }
    }
}
