//! What was released, and where it was written; never the content.

use std::path::PathBuf;

use client::Fetched;
use custody::name::SecretId;
use serde::Serialize;

use crate::output::{self, View};

/// A secret, with what it refers to.
#[derive(Debug, Serialize)]
pub(super) struct Release {
    #[serde(flatten)]
    secret: Secret,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    parts: Vec<Part>,
    files: Vec<Written>,
}

#[derive(Debug, Serialize)]
struct Secret {
    group: String,
    name: String,
    version: u32,
    r#type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<String>,
    receipt: u64,
}

#[derive(Debug, Serialize)]
struct Part {
    field: String,
    #[serde(flatten)]
    secret: Secret,
}

/// A file.
#[derive(Debug, Serialize)]
pub(super) struct Written {
    pub(super) path: PathBuf,
    pub(super) fields: Vec<String>,
    pub(super) bytes: usize,
}

impl Release {
    pub(super) fn of(id: &SecretId, fetched: &Fetched, files: Vec<Written>) -> Self {
        let parts = fetched.parts.iter();
        Self {
            secret: Secret::of(id.group.to_string(), id.name.to_string(), fetched),
            parts: parts
                .map(|part| Part {
                    field: part.field.clone(),
                    secret: Secret::of(part.group.clone(), part.name.clone(), &part.secret),
                })
                .collect(),
            files,
        }
    }
}

impl Secret {
    fn of(group: String, name: String, fetched: &Fetched) -> Self {
        Self {
            group,
            name,
            version: fetched.version,
            r#type: fetched.kind.clone(),
            format: fetched.format.clone(),
            receipt: fetched.receipt,
        }
    }

    fn line(&self, what: &str) -> String {
        let (group, name) = (output::plain(&self.group), output::plain(&self.name));
        let (version, receipt) = (self.version, self.receipt);
        format!("{what} {group}/{name}@{version}, journal entry {receipt}")
    }
}

impl View for Release {
    fn text(&self) -> Option<String> {
        let files = self.files.iter().map(|file| {
            let fields = output::plain(&file.fields.join(", "));
            format!("wrote {} ({fields})", file.path.display())
        });
        let parts = self.parts.iter().map(|part| {
            let as_what = format!("with the {}", output::plain(&part.field));
            part.secret.line(&as_what)
        });
        let whole = std::iter::once(self.secret.line("fetched"));
        let lines: Vec<_> = files.chain(whole).chain(parts).collect();
        Some(lines.join("\n"))
    }
}
