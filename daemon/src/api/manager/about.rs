//! What is said about groups and secrets, and how long data keys are kept.

use std::collections::BTreeMap;

use custody::{
    cache::Terms,
    group::{Purpose, Repurposed},
    label::{About, Key, Labels, Said},
    name::GroupName,
};
use proto::v1;

use super::{Call, secret::secret_id};
use crate::{
    api::{parse, view},
    custodian::Error,
};

impl Call<'_> {
    pub(super) async fn update_group(
        self,
        request: v1::UpdateGroupRequest,
    ) -> Result<v1::Group, Error> {
        let name: GroupName = parse("name", &request.name)?;
        let line = |field, text: Option<String>| text.map(|text| parse(field, &text)).transpose();
        let repurposed = Repurposed {
            business_group: line("business_group", request.business_group)?,
            environment: line("environment", request.environment)?,
            said: said(request.description, request.labels, &request.remove_labels)?,
        };
        let manager = self.manager;
        manager
            .custodian
            .update_group(self.operator, name.clone(), repurposed)
            .await?;
        manager.group(&name)
    }

    pub(super) async fn set_cache(self, request: v1::SetCacheRequest) -> Result<v1::Group, Error> {
        let name: GroupName = parse("group", &request.group)?;
        let terms = request.cache.map(|given| {
            let terms = Terms::new(given.seconds, given.uses, given.outage_seconds);
            terms.map_err(|unfit| Error::Malformed {
                field: "cache",
                text: format!(
                    "{} s, {} uses, {} s",
                    given.seconds, given.uses, given.outage_seconds
                ),
                problem: unfit.to_string(),
            })
        });
        let manager = self.manager;
        manager
            .custodian
            .set_cache(self.operator, name.clone(), terms.transpose()?)
            .await?;
        manager.group(&name)
    }

    pub(super) async fn update_secret(
        self,
        request: v1::UpdateSecretRequest,
    ) -> Result<v1::Secret, Error> {
        let id = secret_id(&request.group, &request.name)?;
        let said = said(request.description, request.labels, &request.remove_labels)?;
        let manager = self.manager;
        manager
            .custodian
            .update_secret(self.operator, id.clone(), said)
            .await?;
        manager.with_secret(&id, |group, secret| Some(view::secret(group, secret)))
    }
}

/// What a new group is for.
pub(super) fn purpose(request: v1::CreateGroupRequest) -> Result<Purpose, Error> {
    Ok(Purpose {
        business_group: parse("business_group", &request.business_group)?,
        environment: parse("environment", &request.environment)?,
        about: about(&request.description, request.labels)?,
    })
}

/// What is said about a new group or secret.
pub(super) fn about(description: &str, given: BTreeMap<String, String>) -> Result<About, Error> {
    Ok(About {
        description: parse("description", description)?,
        labels: labels(given)?,
    })
}

fn said(
    description: Option<String>,
    given: BTreeMap<String, String>,
    removed: &[String],
) -> Result<Said, Error> {
    let description = description.map(|text| parse("description", &text));
    let keys = removed.iter().map(|key| parse::<Key>("remove_labels", key));
    Ok(Said {
        description: description.transpose()?,
        labels: labels(given)?,
        removed_labels: keys.collect::<Result<_, _>>()?,
    })
}

fn labels(given: BTreeMap<String, String>) -> Result<Labels, Error> {
    let label =
        |(key, value): (String, String)| Ok((parse("labels", &key)?, parse("labels", &value)?));
    let labels: BTreeMap<_, _> = given.into_iter().map(label).collect::<Result<_, Error>>()?;
    let labels = Labels::try_from(labels);
    labels.map_err(|error| custody::change::Error::Said(error).into())
}
