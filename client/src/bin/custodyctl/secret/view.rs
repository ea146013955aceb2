//! How secrets and their versions are shown.

use std::collections::BTreeMap;

use client::{Listed, v1};
use custody::name::SecretId;
use serde::Serialize;

use crate::{
    about::{lines, said},
    output::{View, columns, or_dash, properties, time},
};

#[derive(Debug, Serialize)]
pub(super) struct Secret {
    group: String,
    name: String,
    r#type: String,
    created: Option<String>,
    current: Option<Version>,
    versions: u32,
    previous: Option<u32>,
    pending: Option<u32>,
    keep: Option<u32>,
    description: String,
    labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    found: Vec<u32>,
}

#[derive(Debug, Serialize)]
pub(super) struct Secrets {
    secrets: Vec<Secret>,
    more: bool,
    #[serde(skip)]
    is_filtered: bool,
}

impl Secrets {
    pub(super) fn new(listed: Listed<v1::Secret>, is_filtered: bool) -> Self {
        Self {
            secrets: listed.items.into_iter().map(Into::into).collect(),
            more: listed.more,
            is_filtered,
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Version {
    number: u32,
    created: Option<String>,
    created_by: u32,
    size: u64,
    properties: Vec<Property>,
    master_keys: Vec<String>,
    generation: Option<u32>,
    state: String,
    doom: Option<String>,
    valid_until: Option<String>,
    fingerprint: String,
}

#[derive(Debug, Serialize)]
struct Property {
    name: String,
    value: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Versions {
    versions: Vec<Version>,
}

/// What `put` did.
#[derive(Debug, Serialize)]
pub(super) struct Stored {
    group: String,
    name: String,
    r#type: String,
    version: Version,
    unchanged: bool,
}

/// What `delete` did.
#[derive(Debug, Serialize)]
pub(super) struct Deleted {
    group: String,
    name: String,
    versions: u32,
}

impl Stored {
    pub(super) fn new(secret: &SecretId, kind: String, version: v1::Version) -> Self {
        Self {
            group: secret.group.to_string(),
            name: secret.name.to_string(),
            r#type: kind,
            unchanged: version.unchanged,
            version: version.into(),
        }
    }
}

impl Deleted {
    pub(super) fn new(secret: &SecretId, versions: u32) -> Self {
        Self {
            group: secret.group.to_string(),
            name: secret.name.to_string(),
            versions,
        }
    }
}

impl From<v1::Secret> for Secret {
    fn from(secret: v1::Secret) -> Self {
        Self {
            group: secret.group,
            name: secret.name,
            r#type: secret.r#type,
            created: time(secret.created.as_ref()),
            current: secret.current.map(Into::into),
            versions: secret.versions,
            previous: secret.previous,
            pending: secret.pending,
            keep: secret.keep,
            description: secret.description,
            labels: secret.labels,
            found: secret.found,
        }
    }
}

impl From<v1::Version> for Version {
    fn from(version: v1::Version) -> Self {
        let property = |v1::Property { name, value }| Property { name, value };
        Self {
            number: version.number,
            created: time(version.created.as_ref()),
            created_by: version.created_by,
            size: version.size,
            properties: version.properties.into_iter().map(property).collect(),
            master_keys: version.master_keys,
            generation: version.generation,
            doom: time(version.doom.as_ref()),
            valid_until: time(version.valid_until.as_ref()),
            state: version.state,
            fingerprint: version.fingerprint,
        }
    }
}

impl From<Vec<v1::Version>> for Versions {
    fn from(versions: Vec<v1::Version>) -> Self {
        Self {
            versions: versions.into_iter().map(Into::into).collect(),
        }
    }
}

impl Version {
    /// Whether it is delivered, and until when.
    fn standing(&self) -> String {
        match (&self.doom, &self.valid_until) {
            (Some(doom), _) => format!("destroyed at {doom}"),
            (None, Some(end)) if self.state == "enabled" => format!("enabled until {end}"),
            _ => self.state.clone(),
        }
    }

    /// It and its secret, with what else there is to say.
    pub(super) fn with<const N: usize>(
        &self,
        secret: &str,
        more: [(&str, Option<String>); N],
    ) -> Option<String> {
        let secret = [("secret", Some(secret.to_owned()))].into_iter();
        properties(secret.chain(self.facts("version")).chain(more))
    }

    pub(super) fn facts<'a>(
        &'a self,
        label: &'a str,
    ) -> impl Iterator<Item = (&'a str, Option<String>)> {
        let fixed = [
            (label, Some(self.number.to_string())),
            ("stored", self.created.clone()),
            ("stored by", Some(format!("uid {}", self.created_by))),
            ("size", Some(format!("{} bytes", self.size))),
            ("state", Some(self.standing())),
            ("fingerprint", Some(self.fingerprint.clone())),
        ];
        let properties = self
            .properties
            .iter()
            .map(|property| (&*property.name, Some(property.value.clone())));
        let generation = self.generation.map(|number| number.to_string());
        let keys = Some(self.master_keys.join(" ")).filter(|keys| !keys.is_empty());
        fixed
            .into_iter()
            .chain(properties)
            .chain([("master key", keys), ("generation", generation)])
    }
}

impl View for Secret {
    fn text(&self) -> Option<String> {
        let fixed = [
            ("secret", Some(format!("{}/{}", self.group, self.name))),
            ("type", Some(self.r#type.clone())),
            ("description", said(&self.description)),
            ("labels", lines(&self.labels)),
            ("created", self.created.clone()),
            ("versions", Some(self.versions.to_string())),
            ("kept", self.keep.map(|keep| keep.to_string())),
            ("previous", self.previous.map(|number| number.to_string())),
            ("pending", self.pending.map(|number| number.to_string())),
        ];
        let current = self.current.iter().flat_map(|v| v.facts("current version"));
        properties(fixed.into_iter().chain(current))
    }
}

impl View for Secrets {
    fn text(&self) -> Option<String> {
        let row = |secret: &Secret| {
            let current = secret.current.as_ref();
            [
                format!("{}/{}", secret.group, secret.name),
                secret.r#type.clone(),
                or_dash(current.map(|v| v.number.to_string()).as_deref()),
                or_dash(current.and_then(|v| v.created.as_deref())),
                or_dash(current.map(|v| v.size.to_string()).as_deref()),
                or_dash(lines(&secret.labels).as_deref()),
            ]
        };
        let heading = ["SECRET", "TYPE", "VERSION", "STORED", "SIZE", "LABELS"];
        if self.secrets.iter().all(|secret| secret.found.is_empty()) {
            return columns(heading, self.secrets.iter().map(row));
        }
        let [name, kind, version, stored, size, labels] = heading;
        let heading = [name, kind, version, "FOUND IN", stored, size, labels];
        columns(
            heading,
            self.secrets.iter().map(|secret| {
                let [name, kind, version, stored, size, labels] = row(secret);
                let found = secret.found.iter().map(ToString::to_string);
                let found = or_dash(Some(&found.collect::<Vec<_>>().join(", ")));
                [name, kind, version, found, stored, size, labels]
            }),
        )
    }

    fn nothing(&self) -> &'static str {
        match self.is_filtered {
            true => "no such secrets",
            false => "no secrets yet; 'custodyctl secret put' stores one",
        }
    }

    fn is_cut(&self) -> bool {
        self.more
    }
}

impl View for Versions {
    fn text(&self) -> Option<String> {
        columns(
            [
                "VERSION",
                "STATE",
                "STORED",
                "STORED BY",
                "SIZE",
                "PROPERTIES",
            ],
            self.versions.iter().map(|version| {
                let properties: Vec<_> = version
                    .properties
                    .iter()
                    .map(|property| format!("{}: {}", property.name, property.value))
                    .collect();
                [
                    version.number.to_string(),
                    version.standing(),
                    or_dash(version.created.as_deref()),
                    format!("uid {}", version.created_by),
                    version.size.to_string(),
                    or_dash(Some(&properties.join("\n"))),
                ]
            }),
        )
    }

    fn nothing(&self) -> &'static str {
        "no versions"
    }
}

impl View for Stored {
    fn text(&self) -> Option<String> {
        let secret = [
            ("secret", Some(format!("{}/{}", self.group, self.name))),
            ("type", Some(self.r#type.clone())),
            (
                "unchanged",
                self.unchanged.then(|| {
                    "the current version has this content; nothing was written".to_owned()
                }),
            ),
        ];
        properties(secret.into_iter().chain(self.version.facts("version")))
    }
}

impl View for Deleted {
    fn text(&self) -> Option<String> {
        let versions = match self.versions {
            1 => "version".to_owned(),
            n => format!("{n} versions"),
        };
        Some(format!(
            "destroyed {}/{} and its {versions}",
            self.group, self.name
        ))
    }
}
