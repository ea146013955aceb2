//! `custodyctl secret references`: what would break.

use client::v1;
use custody::name::SecretId;
use serde::Serialize;

use crate::{
    args::Global,
    consumers::Consumer,
    failure::Failure,
    output::{self, View, columns, or_dash, plain},
};

#[derive(Debug, Serialize)]
struct References {
    refers_to: Vec<Reference>,
    referred_by: Vec<Reference>,
    hidden: u32,
    /// What was asked about.
    #[serde(skip)]
    secret: SecretId,
}

#[derive(Debug, Serialize)]
struct Reference {
    group: String,
    name: String,
    version: u32,
    current: bool,
    field: String,
    reference: String,
    problem: Option<String>,
    consumers: Vec<Consumer>,
}

impl From<v1::Reference> for Reference {
    fn from(reference: v1::Reference) -> Self {
        Self {
            group: reference.group,
            name: reference.name,
            version: reference.version,
            current: reference.current,
            field: reference.field,
            reference: reference.reference,
            problem: reference.problem,
            consumers: reference.consumers.into_iter().map(Into::into).collect(),
        }
    }
}

impl Reference {
    fn version(&self) -> String {
        match self.current {
            true => format!("{} (current)", self.version),
            false => self.version.to_string(),
        }
    }

    fn consumers(&self) -> String {
        let who: Vec<_> = self.consumers.iter().map(Consumer::who).collect();
        or_dash(Some(&who.join("\n")))
    }
}

impl References {
    /// One sentence: what would break.
    fn loss(&self) -> String {
        let secret = &self.secret;
        let mut breaking: Vec<_> = self
            .referred_by
            .iter()
            .map(|by| format!("{}/{}@{}", by.group, by.name, by.version))
            .collect();
        breaking.dedup();
        let hidden = (self.hidden > 0).then(|| {
            let count = self.hidden;
            format!("{count} in groups that you have no role for")
        });
        breaking.extend(hidden);
        if breaking.is_empty() {
            return format!("Nothing refers to {secret}.");
        }
        let breaking = plain(&breaking.join(", "));
        format!("Without {secret} these would break: {breaking}. It cannot be deleted.")
    }
}

impl View for References {
    fn text(&self) -> Option<String> {
        let own = columns(
            ["VERSION", "FIELD", "REFERS TO", "PROBLEM"],
            self.refers_to.iter().map(|reference| {
                [
                    reference.version(),
                    reference.field.clone(),
                    reference.reference.clone(),
                    or_dash(reference.problem.as_deref()),
                ]
            }),
        );
        let others = columns(
            ["REFERRED TO BY", "VERSION", "FIELD", "AS", "USED BY"],
            self.referred_by.iter().map(|reference| {
                [
                    format!("{}/{}", reference.group, reference.name),
                    reference.version(),
                    reference.field.clone(),
                    reference.reference.clone(),
                    reference.consumers(),
                ]
            }),
        );
        let parts: Vec<_> = [own, others, Some(self.loss())]
            .into_iter()
            .flatten()
            .collect();
        Some(parts.join("\n\n"))
    }
}

pub(super) async fn run(global: &Global, secret: &SecretId) -> Result<(), Failure> {
    let request = v1::ListReferencesRequest {
        group: secret.group.to_string(),
        name: secret.name.to_string(),
    };
    let answer = global.manager().await?.list_references(request).await;
    let answer = answer.map_err(Failure::Manager)?;
    let references = References {
        refers_to: answer.refers_to.into_iter().map(Into::into).collect(),
        referred_by: answer.referred_by.into_iter().map(Into::into).collect(),
        hidden: answer.hidden,
        secret: secret.clone(),
    };
    output::show(global.output, &references)
}
