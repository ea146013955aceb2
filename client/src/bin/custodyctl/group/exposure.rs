//! `custodyctl group exposure`: what may be known since someone got a master key, and who is to be
//! told.

use client::{Manager, v1};
use custody::name::GroupName;
use serde::Serialize;

use super::view::MasterKey;
use crate::{
    args::Global,
    consumers::Consumer,
    failure::Failure,
    grant::view::Grant,
    output::{self, View, columns, or_dash},
};

#[derive(Debug, Serialize)]
pub(super) struct Exposure {
    master_keys: Vec<MasterKey>,
    secrets: Vec<Secret>,
    consumers: Vec<Consumer>,
    grants: Vec<Grant>,
    since: u64,
    #[serde(skip)]
    group: String,
}

#[derive(Debug, Serialize)]
struct Secret {
    name: String,
    r#type: String,
    versions: Vec<Version>,
    in_use: bool,
}

#[derive(Debug, Serialize)]
struct Version {
    number: u32,
    state: String,
    generation: u32,
    to_renew: bool,
}

impl From<v1::ExposedSecret> for Secret {
    fn from(secret: v1::ExposedSecret) -> Self {
        let versions = secret.versions.into_iter().map(|version| Version {
            number: version.number,
            state: version.state,
            generation: version.generation,
            to_renew: version.to_renew,
        });
        Self {
            name: secret.name,
            r#type: secret.r#type,
            versions: versions.collect(),
            in_use: secret.in_use,
        }
    }
}

impl Secret {
    fn numbers(&self) -> String {
        let numbers = self.versions.iter().map(|version| match &*version.state {
            "enabled" => version.number.to_string(),
            state => format!("{} ({state})", version.number),
        });
        numbers.collect::<Vec<_>>().join(", ")
    }

    fn to_renew(&self) -> usize {
        let left = self.versions.iter().filter(|version| version.to_renew);
        left.count()
    }
}

impl Exposure {
    /// What is exposed in a group.
    pub(super) async fn of(manager: &Manager, group: String) -> Result<Self, client::Error> {
        let request = v1::ListExposureRequest {
            group: group.clone(),
        };
        let answer = manager.list_exposure(request).await?;
        Ok(Self {
            master_keys: answer.master_keys.into_iter().map(Into::into).collect(),
            secrets: answer.secrets.into_iter().map(Into::into).collect(),
            consumers: answer.consumers.into_iter().map(Into::into).collect(),
            grants: answer.grants.into_iter().map(Into::into).collect(),
            since: answer.since,
            group,
        })
    }

    /// What there is to do.
    fn closing(&self) -> String {
        let Self { group, since, .. } = self;
        if self.master_keys.is_empty() {
            return format!("No master key of {group} was called compromised.");
        }
        let in_use = self.secrets.iter().filter(|secret| secret.in_use).count();
        let next = match in_use {
            0 => "No secret is in use whose content may be known.".to_owned(),
            _ => format!(
                "A fresh data key does not help against who knows the content: rotate what is in use \
                 ({in_use} of them), at its source."
            ),
        };
        format!("{next}\nWho used it is drawn from the journal since its entry {since}.")
    }
}

impl View for Exposure {
    fn text(&self) -> Option<String> {
        let secrets = columns(
            ["MAY BE KNOWN", "TYPE", "VERSIONS", "TO RENEW", "IN USE"],
            self.secrets.iter().map(|secret| {
                [
                    format!("{}/{}", self.group, secret.name),
                    secret.r#type.clone(),
                    secret.numbers(),
                    secret.to_renew().to_string(),
                    if secret.in_use { "yes" } else { "no" }.to_owned(),
                ]
            }),
        );
        let consumers = columns(
            ["TO BE TOLD", "SECRET", "VERSION", "LAST SEEN", "WATCHES"],
            self.consumers.iter().map(|consumer| {
                [
                    consumer.who(),
                    format!("{}/{}", self.group, consumer.name()),
                    consumer.version(),
                    or_dash(consumer.last()),
                    if consumer.watches() { "yes" } else { "no" }.to_owned(),
                ]
            }),
        );
        let grants = columns(
            ["GIVEN BY", "SECRETS", "CALLERS", "ADDED"],
            self.grants.iter().map(|grant| {
                [
                    grant.id(),
                    grant.secrets(),
                    grant.callers(),
                    grant.created(),
                ]
            }),
        );
        let parts = [secrets, consumers, grants, Some(self.closing())];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        Some(parts.join("\n\n"))
    }
}

pub(super) async fn run(
    global: &Global,
    manager: &Manager,
    group: GroupName,
) -> Result<(), Failure> {
    let exposure = Exposure::of(manager, group.into()).await;
    output::show(global.output, &exposure.map_err(Failure::Manager)?)
}
