//! `custodyctl grant suggest`.

use client::v1;
use custody::name::GroupName;
use serde::Serialize;

use crate::{
    args::Global,
    callers,
    evidence::{Evidence, Selector},
    failure::Failure,
    finding::Finding,
    output::{self, View, plain},
};

/// A draft, and what it was drawn from.
#[derive(Debug, Serialize)]
struct Draft {
    selectors: Vec<Selector>,
    processes: Vec<Evidence>,
    findings: Vec<Finding>,
    /// What the grant is for: the group and the patterns, or what stands for them.
    #[serde(skip)]
    secrets: Vec<String>,
}

impl Draft {
    /// The command line, a flag each line.
    fn command(&self) -> String {
        let texts: Vec<_> = self.selectors.iter().map(|s| s.text.clone()).collect();
        let secrets: Vec<_> = self.secrets.iter().map(|word| quoted(word)).collect();
        let mut lines = vec![format!("custodyctl grant add {}", secrets.join(" "))];
        for words in callers::flags(&texts) {
            let words: Vec<_> = words.iter().map(|word| quoted(word)).collect();
            lines.push(words.join(" "));
        }
        lines.join(" \\\n    ")
    }
}

impl View for Draft {
    /// What is no command is a comment, so that all of it can be pasted into a shell.
    fn text(&self) -> Option<String> {
        let drawn = match self.processes.len() {
            0 => "no process".to_owned(),
            1 => "1 process".to_owned(),
            n => format!("{n} processes"),
        };
        let mut lines = vec![format!("# drawn from {drawn}")];
        for process in &self.processes {
            lines.push(format!("#   {}", plain(&process.brief())));
        }
        for finding in &self.findings {
            let weight = if finding.hopeless { "hopeless" } else { "weak" };
            lines.push(format!("# {weight}: {}", plain(&finding.line())));
        }
        lines.push(self.command());
        Some(lines.join("\n"))
    }
}

/// A word of a command line, as a shell takes it for one.
fn quoted(word: &str) -> String {
    let word = plain(word);
    let harmless = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    if !word.is_empty() && word.chars().all(harmless) {
        word
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

pub(super) async fn run(
    global: &Global,
    unit: String,
    group: Option<GroupName>,
    patterns: &[String],
) -> Result<(), Failure> {
    let request = v1::SuggestGrantRequest { unit };
    let answer = global.manager().await?.suggest_grant(request).await;
    let answer = answer.map_err(Failure::Manager)?;
    let mut secrets = vec![group.map_or("GROUP".to_owned(), Into::into)];
    secrets.extend_from_slice(patterns);
    if patterns.is_empty() {
        secrets.push("PATTERN".to_owned());
    }
    let draft = Draft {
        selectors: answer.selectors.into_iter().map(Into::into).collect(),
        processes: answer.processes.into_iter().map(Into::into).collect(),
        findings: answer.findings.into_iter().map(Into::into).collect(),
        secrets,
    };
    output::show(global.output, &draft)
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_word_does_nothing_in_a_shell() {
        for (word, safe) in [
            ("nginx.service", "nginx.service"),
            ("tls-*", "'tls-*'"),
            ("", "''"),
            ("a b;$(id)`id`", "'a b;$(id)`id`'"),
            ("it's", r"'it'\''s'"),
            ("app\\x2d1.service", r"'app\x2d1.service'"),
            ("a\nid", "'a\u{fffd}id'"),
            ("~root", "'~root'"),
        ] {
            assert_eq!(quoted(word), safe);
        }
    }
}
