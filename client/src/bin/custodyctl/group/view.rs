//! How groups and their master keys are shown.

use std::collections::BTreeMap;

use client::v1;
use serde::Serialize;

use super::cache;
use crate::{
    about::{lines, said},
    compliance,
    output::{View, columns, or_dash, properties, time},
};

#[derive(Debug, Serialize)]
pub(super) struct Group {
    name: String,
    description: String,
    business_group: String,
    environment: String,
    labels: BTreeMap<String, String>,
    created: Option<String>,
    master_keys: Vec<MasterKey>,
    holders: Vec<Holder>,
    writes: String,
    keeping: String,
    secrets: u64,
    grants: u64,
    rules: Option<serde_json::Value>,
    cache: Option<Cache>,
}

#[derive(Debug, Serialize)]
struct Cache {
    seconds: u32,
    uses: u32,
    outage_seconds: u32,
    #[serde(skip)]
    said: String,
}

/// A token that holds a group.
#[derive(Debug, Serialize)]
struct Holder {
    label: String,
    serial: String,
    problem: Option<String>,
    lacks: Option<u64>,
}

#[derive(Debug, Serialize)]
pub(super) struct MasterKey {
    id: String,
    generation: u32,
    state: String,
    wrapping: String,
    token_label: String,
    token_serial: String,
    created: Option<String>,
    refused: Option<String>,
    canary: Option<String>,
    canary_problem: Option<String>,
    wraps: u64,
    emptied: Option<String>,
    doom: Option<String>,
    invocations: u64,
    renewals: u64,
    root: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Groups {
    pub(super) groups: Vec<Group>,
    pub(super) more: bool,
    #[serde(skip)]
    pub(super) is_filtered: bool,
}

impl From<v1::Group> for Group {
    fn from(group: v1::Group) -> Self {
        Self {
            name: group.name,
            description: group.description,
            business_group: group.business_group,
            environment: group.environment,
            labels: group.labels,
            created: time(group.created.as_ref()),
            master_keys: group.master_keys.into_iter().map(Into::into).collect(),
            holders: group.holders.into_iter().map(Into::into).collect(),
            writes: group.writes,
            keeping: group.keeping,
            secrets: group.secrets,
            grants: group.grants,
            rules: group.rules.as_ref().map(compliance::document),
            cache: group.cache.map(|cache| Cache {
                seconds: cache.seconds,
                uses: cache.uses,
                outage_seconds: cache.outage_seconds,
                said: cache::said(&cache),
            }),
        }
    }
}

impl From<v1::Holder> for Holder {
    fn from(holder: v1::Holder) -> Self {
        Self {
            label: holder.label,
            serial: holder.serial,
            problem: holder.problem,
            lacks: holder.lacks,
        }
    }
}

impl Holder {
    fn text(&self) -> String {
        let lacks = match self.lacks {
            Some(0) => None,
            Some(lacks) => Some(format!("lacks {lacks} of the versions")),
            None => Some("has no master key yet".to_owned()),
        };
        let amiss: Vec<_> = lacks.iter().chain(&self.problem).cloned().collect();
        let name = format!("{} ({})", self.label, self.serial);
        match amiss.is_empty() {
            true => name,
            false => format!("{name}: {}", amiss.join("; ")),
        }
    }
}

impl From<v1::MasterKey> for MasterKey {
    fn from(key: v1::MasterKey) -> Self {
        Self {
            id: key.id,
            generation: key.generation,
            state: key.state,
            wrapping: key.wrapping,
            token_label: key.token_label,
            token_serial: key.token_serial,
            created: time(key.created.as_ref()),
            refused: key.refused,
            canary: time(key.canary.as_ref()),
            canary_problem: key.canary_problem,
            wraps: key.wraps,
            emptied: time(key.emptied.as_ref()),
            doom: time(key.doom.as_ref()),
            invocations: key.invocations,
            renewals: key.renewals,
            root: key.root,
        }
    }
}

impl Group {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    fn holders(&self) -> Option<String> {
        let holders: Vec<_> = self.holders.iter().map(Holder::text).collect();
        (!holders.is_empty()).then(|| holders.join("\n"))
    }

    /// Where new master keys are kept, unless it is where they usually are.
    fn keeping(&self) -> Option<String> {
        (self.keeping == "wrapped").then(|| "outside the token, wrapped".to_owned())
    }

    /// What a write needs, where that is a question.
    fn writes(&self) -> Option<String> {
        let what = match self.writes.as_str() {
            "require-all" => "need all of its tokens",
            "majority" => "need more than half of its tokens",
            "any-then-repair" => "need one of its tokens",
            other => other,
        };
        (self.holders.len() > 1).then(|| what.to_owned())
    }
}

impl MasterKey {
    /// The token that it is in, or that alone can unwrap it.
    fn token(&self) -> String {
        let token = format!("{} ({})", self.token_label, self.token_serial);
        match self.root {
            Some(_) => format!("{token}, wrapped"),
            None => token,
        }
    }

    /// Its state, and what is to be known of it besides.
    fn standing(&self) -> String {
        match (&self.refused, &self.doom) {
            (Some(reason), _) => format!("refused: {reason}"),
            (None, Some(doom)) => format!("{}, to be destroyed at {doom}", self.state),
            (None, None) if self.emptied.is_some() => format!("{}, empty", self.state),
            (None, None) => self.state.clone(),
        }
    }
}

impl View for Group {
    fn text(&self) -> Option<String> {
        let facts = properties([
            ("name", Some(self.name.clone())),
            ("description", said(&self.description)),
            ("business group", said(&self.business_group)),
            ("environment", said(&self.environment)),
            ("labels", lines(&self.labels)),
            ("created", self.created.clone()),
            ("tokens", self.holders()),
            ("writes", self.writes()),
            ("master keys", self.keeping()),
            ("secrets", Some(self.secrets.to_string())),
            ("grants", Some(self.grants.to_string())),
            ("rules", self.rules.as_ref().and_then(compliance::lines)),
            ("cache", self.cache.as_ref().map(|cache| cache.said.clone())),
        ])?;
        let keys = columns(
            [
                "GENERATION",
                "STATE",
                "VERSIONS",
                "TO RENEW",
                "WRAPPING",
                "TOKEN",
                "MASTER KEY",
            ],
            self.master_keys.iter().map(|key| {
                [
                    key.generation.to_string(),
                    key.standing(),
                    key.wraps.to_string(),
                    key.renewals.to_string(),
                    key.wrapping.clone(),
                    key.token(),
                    key.id.clone(),
                ]
            }),
        );
        Some(match keys {
            Some(keys) => format!("{facts}\n\n{keys}"),
            None => facts,
        })
    }
}

impl View for Groups {
    fn text(&self) -> Option<String> {
        columns(
            [
                "GROUP",
                "BUSINESS GROUP",
                "ENVIRONMENT",
                "SECRETS",
                "GRANTS",
                "CREATED",
                "LABELS",
                "DESCRIPTION",
            ],
            self.groups.iter().map(|group| {
                [
                    group.name.clone(),
                    or_dash(Some(&group.business_group)),
                    or_dash(Some(&group.environment)),
                    group.secrets.to_string(),
                    group.grants.to_string(),
                    or_dash(group.created.as_deref()),
                    or_dash(lines(&group.labels).as_deref()),
                    or_dash(Some(&group.description)),
                ]
            }),
        )
    }

    fn nothing(&self) -> &'static str {
        match self.is_filtered {
            true => "no such groups",
            false => "no groups yet; 'custodyctl group create NAME' makes one",
        }
    }

    fn is_cut(&self) -> bool {
        self.more
    }
}
