//! What lists are narrowed down by.

use clap::Args;
use client::v1;
use custody::{label::condition::Condition, name::GroupName, secret::Kind};

/// How much of a list is shown.
#[derive(Debug, Args)]
pub(crate) struct Limit {
    /// Show so many at most.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
}

impl Limit {
    pub(crate) fn most(&self) -> usize {
        let limit = self.limit.and_then(|limit| usize::try_from(limit).ok());
        limit.unwrap_or(usize::MAX)
    }
}

/// Which groups are meant.
#[derive(Debug, Args)]
#[command(next_help_heading = "Filters, all of which hold")]
pub(crate) struct OfGroups {
    /// The part of the organisation; '' for groups without.
    #[arg(long, value_name = "TEXT")]
    business_group: Option<String>,
    /// Such as production or test; '' for groups without.
    #[arg(long, value_name = "TEXT")]
    environment: Option<String>,
}

/// What names and labels are like.
#[derive(Debug, Args)]
#[command(next_help_heading = "Filters, all of which hold")]
pub(crate) struct OfNames {
    /// A name, in which '*' stands for any characters.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// A condition on labels: KEY=VALUE, KEY!=VALUE, KEY (has it) or '!KEY' (has it not); may be
    /// given several times.
    #[arg(long = "label", value_name = "CONDITION")]
    labels: Vec<Condition>,
}

/// What secrets and their versions are like.
#[derive(Debug, Args)]
#[command(next_help_heading = "Filters, all of which hold")]
pub(crate) struct OfSecrets {
    /// The type.
    #[arg(long = "type", value_name = "TYPE", value_parser = Kind::names())]
    kind: Option<String>,
    /// A public property of a version, such as issuer='*Example CA*' or
    /// names=dns:www.example.org: of a list, one item; '*' stands for any characters. May be
    /// given several times. 'custodyctl types' names the properties.
    #[arg(long = "property", value_name = "NAME=VALUE", value_parser = property)]
    properties: Vec<(String, String)>,
}

#[derive(Debug, thiserror::Error)]
#[error("write NAME=VALUE, such as issuer='*Example CA*'")]
struct NoProperty;

fn property(text: &str) -> Result<(String, String), NoProperty> {
    let (name, value) = text.split_once('=').ok_or(NoProperty)?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Which secrets are meant.
#[derive(Debug, Args)]
pub(crate) struct Filter {
    #[command(flatten)]
    names: OfNames,
    #[command(flatten)]
    secrets: OfSecrets,
    #[command(flatten)]
    groups: OfGroups,
    #[command(flatten)]
    pub(crate) limit: Limit,
}

impl Filter {
    pub(crate) fn into_request(
        self,
        group: Option<GroupName>,
        text: Option<String>,
    ) -> v1::ListSecretsRequest {
        let properties = self.secrets.properties.into_iter();
        let properties = properties.map(|(name, value)| v1::Property { name, value });
        v1::ListSecretsRequest {
            group: group.map(Into::into),
            name: self.names.name,
            r#type: self.secrets.kind,
            labels: texts(&self.names.labels),
            business_group: self.groups.business_group,
            environment: self.groups.environment,
            properties: properties.collect(),
            text,
            ..v1::ListSecretsRequest::default()
        }
    }
}

pub(crate) fn groups(names: OfNames, groups: OfGroups) -> v1::ListGroupsRequest {
    v1::ListGroupsRequest {
        name: names.name,
        business_group: groups.business_group,
        environment: groups.environment,
        labels: texts(&names.labels),
        ..v1::ListGroupsRequest::default()
    }
}

fn texts(conditions: &[Condition]) -> Vec<String> {
    conditions.iter().map(ToString::to_string).collect()
}
