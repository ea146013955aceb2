//! What a drill found: for people, and for programs.

use comfy_table::{Table, presets::NOTHING};
use custody::{
    backup::Sealed,
    group::MasterKey,
    name::{GroupName, KeyId},
};
use hsm::TokenDescription;
use serde::Serialize;

/// How many of what would be lost a person is shown.
const SHOWN: usize = 20;

#[derive(Debug, Serialize)]
pub(super) struct Report {
    backup: String,
    instance: String,
    made: String,
    /// Number of the newest change in it.
    change: u64,
    token_label: String,
    token_serial: String,
    /// How long it took.
    pub(super) seconds: f64,
    /// The keys of the installation.
    pub(super) system: Vec<Key>,
    /// None, if the token cannot open the database.
    pub(super) groups: Vec<Group>,
}

#[derive(Debug, Serialize)]
pub(super) struct Key {
    id: KeyId,
    /// "system", "journal" or the generation.
    key: String,
    /// Of a group's.
    state: Option<&'static str>,
    /// Why it cannot be used.
    problem: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Group {
    group: String,
    keys: Vec<Key>,
    /// How many have content.
    pub(super) versions: u64,
    /// How many of them opened.
    pub(super) open: u64,
    /// The others.
    pub(super) lost: Vec<Lost>,
}

#[derive(Debug, Serialize)]
pub(super) struct Lost {
    pub(super) secret: String,
    pub(super) version: u32,
    /// Whether it is what is delivered when no version is named.
    pub(super) current: bool,
    pub(super) problem: String,
}

impl Key {
    pub(super) fn of_system(purpose: &str, id: KeyId, problem: Option<String>) -> Self {
        Self {
            id,
            key: purpose.to_owned(),
            state: None,
            problem,
        }
    }

    pub(super) fn of_group(key: &MasterKey, problem: Option<String>) -> Self {
        Self {
            id: key.id,
            key: key.generation.to_string(),
            state: Some(key.state.name()),
            problem,
        }
    }
}

impl Group {
    pub(super) fn of(name: &GroupName, keys: Vec<Key>) -> Self {
        Self {
            group: name.to_string(),
            keys,
            versions: 0,
            open: 0,
            lost: Vec::new(),
        }
    }

    /// Keys that are of no use, though maybe nothing is lost with them.
    fn refused(&self) -> impl Iterator<Item = (String, &String)> {
        self.keys.iter().filter_map(|key| {
            let name = format!("{} key {} ({})", self.group, key.key, key.id);
            Some((name, key.problem.as_ref()?))
        })
    }
}

impl Report {
    pub(super) fn of(sealed: &Sealed, token: &TokenDescription) -> Self {
        let manifest = sealed.manifest();
        Self {
            backup: manifest.backup.to_string(),
            instance: manifest.instance.to_string(),
            made: manifest.created.clone(),
            change: manifest.settled.number,
            token_label: token.label.clone(),
            token_serial: token.serial.clone(),
            seconds: 0.0,
            system: Vec::new(),
            groups: Vec::new(),
        }
    }

    /// What would be lost on this token, in a sentence; `None` if nothing.
    pub(super) fn lost(&self) -> Option<String> {
        let broken = |purpose| {
            let mut keys = self.system.iter();
            keys.any(|key| key.key == purpose && key.problem.is_some())
        };
        if broken("system") {
            return Some("everything would be lost: the token does not open the database".into());
        }
        let lost: usize = self.groups.iter().map(|group| group.lost.len()).sum();
        let refused = self.groups.iter().flat_map(Group::refused).count();
        match (lost, broken("journal"), refused) {
            (0, false, 0) => None,
            (0, true, _) => Some(
                "custodyd would not start on this token: it cannot sign the journal".to_owned(),
            ),
            (0, false, refused) => Some(format!(
                "every version opens, but {refused} master keys cannot be used"
            )),
            (lost, ..) => Some(format!("{lost} versions would be lost")),
        }
    }

    pub(super) fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("text keys and finite numbers")
    }

    pub(super) fn text(&self) -> String {
        let mut parts = vec![self.head().to_string()];
        if !self.groups.is_empty() {
            parts.push(self.table().to_string());
        }
        let problems = self.problems();
        if !problems.is_empty() {
            parts.push(problems.join("\n"));
        }
        parts.join("\n\n")
    }

    fn head(&self) -> Table {
        let mut table = Table::new();
        table.load_style(NOTHING);
        let backup = format!("{} of {}", self.backup, self.made);
        let token = format!("{} (serial {})", self.token_label, self.token_serial);
        let seconds = format!("{:.1}", self.seconds);
        table.add_rows([
            ["backup", &backup],
            ["installation", &self.instance],
            ["tried on", &token],
            ["seconds", &seconds],
        ]);
        for key in &self.system {
            let state = key.problem.as_deref().unwrap_or("can be used");
            table.add_row([&format!("{} key", key.key), state]);
        }
        table
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(NOTHING);
        table.set_header(["GROUP", "KEYS", "REFUSED", "VERSIONS", "OPEN", "LOST"]);
        for group in &self.groups {
            table.add_row([
                group.group.clone(),
                group.keys.len().to_string(),
                group.refused().count().to_string(),
                group.versions.to_string(),
                group.open.to_string(),
                group.lost.len().to_string(),
            ]);
        }
        table
    }

    /// A line for each key that is refused, and for some of what would be lost.
    fn problems(&self) -> Vec<String> {
        let refused = self.groups.iter().flat_map(Group::refused);
        let mut lines: Vec<_> = refused
            .map(|(key, problem)| format!("{key}: {problem}"))
            .collect();
        let lost = self.groups.iter().flat_map(|group| {
            let name = &group.group;
            group.lost.iter().map(move |lost| (name, lost))
        });
        let mut lost: Vec<_> = lost
            .map(|(group, lost)| {
                let current = if lost.current { ", current" } else { "" };
                let (secret, version) = (&lost.secret, lost.version);
                format!(
                    "lost: {group}/{secret}@{version}{current}: {}",
                    lost.problem
                )
            })
            .collect();
        let more = lost.len().saturating_sub(SHOWN);
        lost.truncate(SHOWN);
        lines.append(&mut lost);
        if more > 0 {
            lines.push(format!("and {more} more: --json lists them all"));
        }
        lines
    }
}
