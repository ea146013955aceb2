//! What is said about groups and secrets: descriptions and labels.

use std::collections::BTreeMap;

use clap::Args;
use custody::label::{Error, Key, Line};

/// What a new group or secret is for.
#[derive(Debug, Args)]
pub(crate) struct About {
    /// What it is for, for people.
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) description: String,
    /// A label, such as team=edge; may be given several times.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(Key, Line)>,
}

impl About {
    pub(crate) fn labels(&self) -> BTreeMap<String, String> {
        texts(&self.labels)
    }
}

/// What is said from now on.
#[derive(Debug, Args)]
#[group(id = "said", multiple = true)]
pub(crate) struct Said {
    /// What it is for, for people, from now on.
    #[arg(long, value_name = "TEXT")]
    pub(crate) description: Option<String>,
    /// A label to set, such as team=edge; may be given several times.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(Key, Line)>,
    /// The key of a label to take away; may be given several times.
    #[arg(long = "remove-label", value_name = "KEY")]
    removed: Vec<Key>,
}

impl Said {
    pub(crate) fn labels(&self) -> BTreeMap<String, String> {
        texts(&self.labels)
    }

    pub(crate) fn removed(&self) -> Vec<String> {
        self.removed.iter().map(ToString::to_string).collect()
    }
}

/// A label that is not written as one.
#[derive(Debug, thiserror::Error)]
enum NoLabel {
    #[error("write KEY=VALUE, such as team=edge")]
    Shape,
    #[error(transparent)]
    Part(#[from] Error),
}

fn label(text: &str) -> Result<(Key, Line), NoLabel> {
    let (key, value) = text.split_once('=').ok_or(NoLabel::Shape)?;
    Ok((key.parse()?, value.parse()?))
}

fn texts(labels: &[(Key, Line)]) -> BTreeMap<String, String> {
    let labels = labels.iter();
    let texts = labels.map(|(key, value)| (key.to_string(), value.to_string()));
    texts.collect()
}

/// Labels, one a line; none if there are none.
pub(crate) fn lines(labels: &BTreeMap<String, String>) -> Option<String> {
    let lines = labels.iter().map(|(key, value)| format!("{key}={value}"));
    let lines: Vec<_> = lines.collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// The text, if it says anything.
pub(crate) fn said(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
