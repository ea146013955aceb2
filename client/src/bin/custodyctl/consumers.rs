//! `custodyctl consumers`: who uses a secret, and who never came.

use client::v1;
use serde::Serialize;

use crate::{
    args::Global,
    element::Scope,
    failure::Failure,
    grant::view::Grant,
    output::{self, View, columns, or_dash, plain, time},
};

#[derive(Debug, Serialize)]
struct Consumers {
    consumers: Vec<Consumer>,
    unused: Vec<Grant>,
    since: u64,
    /// What was asked about.
    #[serde(skip)]
    scope: Scope,
}

/// A service that uses a secret.
#[derive(Debug, Serialize)]
pub(crate) struct Consumer {
    name: String,
    uid: u32,
    what: Option<String>,
    version: u32,
    outdated: bool,
    fetches: u64,
    first: Option<String>,
    last: Option<String>,
    watching: bool,
    recent: bool,
    /// Last fetched first.
    versions: Vec<Fetched>,
}

#[derive(Debug, Serialize)]
struct Fetched {
    version: u32,
    last: Option<String>,
}

impl From<v1::Consumer> for Consumer {
    fn from(consumer: v1::Consumer) -> Self {
        Self {
            name: consumer.name,
            uid: consumer.uid,
            what: consumer.what,
            version: consumer.version,
            outdated: consumer.outdated,
            fetches: consumer.fetches,
            first: time(consumer.first.as_ref()),
            last: time(consumer.last.as_ref()),
            watching: consumer.watching,
            recent: consumer.recent,
            versions: consumer.versions.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<v1::FetchedVersion> for Fetched {
    fn from(fetched: v1::FetchedVersion) -> Self {
        Self {
            version: fetched.version,
            last: time(fetched.last.as_ref()),
        }
    }
}

impl Consumer {
    pub(crate) fn who(&self) -> String {
        match &self.what {
            Some(what) => format!("uid {} {what}", self.uid),
            None => format!("uid {}", self.uid),
        }
    }

    /// Who, and of which secret.
    fn of_secret(&self) -> String {
        format!("{} ({})", self.who(), self.name)
    }

    /// The secret.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// When it fetched last.
    pub(crate) fn last(&self) -> Option<&str> {
        self.last.as_deref()
    }

    pub(crate) fn watches(&self) -> bool {
        self.watching
    }

    pub(crate) fn version(&self) -> String {
        // One who only watches has fetched none.
        match (self.version, self.outdated) {
            (0, _) => "-".to_owned(),
            (number, true) => format!("{number} (outdated)"),
            (number, false) => number.to_string(),
        }
    }

    /// What it fetched before that, and until when.
    fn earlier(&self) -> String {
        let earlier = self.versions.iter().skip(1).map(|fetched| {
            let last = or_dash(fetched.last.as_deref());
            format!("{} until {last}", fetched.version)
        });
        let earlier: Vec<_> = earlier.collect();
        or_dash(
            Some(earlier.join(", "))
                .filter(|text| !text.is_empty())
                .as_deref(),
        )
    }
}

impl Consumers {
    /// One sentence: what would stop.
    fn loss(&self) -> String {
        let mut losers: Vec<_> = self
            .consumers
            .iter()
            .filter(|consumer| consumer.recent || consumer.watching)
            .map(|consumer| match self.scope.name {
                Some(_) => consumer.who(),
                None => consumer.of_secret(),
            })
            .collect();
        losers.dedup();
        let what = match self.scope.name {
            Some(_) => self.scope.to_string(),
            None => format!("the secrets of {}", self.scope),
        };
        if losers.is_empty() {
            format!(
                "Without {what} nothing would stop that custodyd knows of: nobody fetched of late, \
                 nobody watches."
            )
        } else {
            plain(&format!(
                "Without {what} these would stop: {}.",
                losers.join(", ")
            ))
        }
    }
}

impl View for Consumers {
    fn text(&self) -> Option<String> {
        let consumers = columns(
            [
                "SECRET",
                "WHO",
                "VERSION",
                "FETCHES",
                "FIRST",
                "LAST SEEN",
                "WATCHES",
                "EARLIER",
            ],
            self.consumers.iter().map(|consumer| {
                [
                    format!("{}/{}", self.scope.group, consumer.name),
                    consumer.who(),
                    consumer.version(),
                    consumer.fetches.to_string(),
                    or_dash(consumer.first.as_deref()),
                    or_dash(consumer.last.as_deref()),
                    if consumer.watching { "yes" } else { "no" }.to_owned(),
                    consumer.earlier(),
                ]
            }),
        );
        let unused = columns(
            ["NEVER USED", "SECRETS", "CALLERS", "ADDED"],
            self.unused.iter().map(|grant| {
                [
                    grant.id(),
                    grant.secrets(),
                    grant.callers(),
                    grant.created(),
                ]
            }),
        );
        let since = format!(
            "This is drawn from the journal since its entry {}.",
            self.since
        );
        let closing = format!("{}\n{since}", self.loss());
        let parts: Vec<_> = [consumers, unused, Some(closing)]
            .into_iter()
            .flatten()
            .collect();
        Some(parts.join("\n\n"))
    }
}

pub(crate) async fn run(global: &Global, scope: Scope) -> Result<(), Failure> {
    let request = v1::ListConsumersRequest {
        group: scope.group.to_string(),
        name: scope.name.as_ref().map(ToString::to_string),
    };
    let answer = global.manager().await?.list_consumers(request).await;
    let answer = answer.map_err(Failure::Manager)?;
    let consumers = Consumers {
        consumers: answer.consumers.into_iter().map(Into::into).collect(),
        unused: answer.unused.into_iter().map(Into::into).collect(),
        since: answer.since,
        scope,
    };
    output::show(global.output, &consumers)
}
