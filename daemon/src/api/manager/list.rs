//! Lists of groups, secrets, versions and grants, in pages.

use custody::{
    change,
    label::condition::Condition,
    name::{GroupName, RuleId, SecretId},
    search::{self, Glob},
    secret::Kind,
    state::view::GroupView,
};
use proto::v1;

use super::{Call, grant::some_group, page::Page, secret::secret_id};
use crate::{
    api::{malformed, parse, view},
    custodian::Error,
};

/// How many secrets are looked at before others get their turn.
const AT_ONCE: usize = 1000;

impl Call<'_> {
    pub(super) async fn list_groups(
        self,
        request: v1::ListGroupsRequest,
    ) -> Result<v1::ListGroupsResponse, Error> {
        let page: Page<GroupName, _> = Page::of(&request)?;
        let wanted = search::Groups {
            name: request.name.as_deref().map(like).transpose()?,
            ..of_group(
                request.business_group.as_deref(),
                request.environment.as_deref(),
                &request.labels,
            )?
        };
        let custodian = &self.manager.custodian;
        let state = custodian.state();
        let after = page.after().cloned();
        let groups = state.groups_from(after.as_ref(), None);
        let groups = groups
            .filter(|group| after.as_ref().is_none_or(|after| group.row().name > *after))
            .filter(|group| self.operator.sees(&group.row().name) && wanted.want(*group))
            .map(|group| (group.row().name.clone(), view::group(group, custodian)));
        let (groups, next_page_token) = page.fill(groups);
        Ok(v1::ListGroupsResponse {
            groups,
            next_page_token,
        })
    }

    pub(super) async fn list_secrets(
        self,
        request: v1::ListSecretsRequest,
    ) -> Result<v1::ListSecretsResponse, Error> {
        let mut page: Page<SecretId, v1::Secret> = Page::of(&request)?;
        let only = some_group(request.group.as_deref())?;
        let secrets = of_secret(&request)?;
        let groups = of_group(
            request.business_group.as_deref(),
            request.environment.as_deref(),
            &[],
        )?;
        self.exists(only.as_ref())?;
        let wanted =
            |group: GroupView<'_>| self.operator.sees(&group.row().name) && groups.want(group);
        let mut after = page.after().cloned();
        loop {
            let at_once = {
                let state = self.manager.custodian.state();
                let rest = state.secrets_after(after.as_ref(), only.as_ref(), wanted);
                let (mut looked_at, mut last) = (0, None);
                for (group, secret) in rest.take(AT_ONCE) {
                    let id = &secret.row().id;
                    if let Some(found) = secrets.find(secret) {
                        let shown = view::secret(group, secret);
                        if !page.offer(id.clone(), v1::Secret { found, ..shown }) {
                            return Ok(answer(page));
                        }
                    }
                    (looked_at, last) = (looked_at + 1, Some(id));
                }
                after = last.cloned();
                looked_at
            };
            if at_once < AT_ONCE {
                return Ok(answer(page));
            }
            tokio::task::yield_now().await;
        }
    }

    pub(super) async fn list_versions(
        self,
        request: v1::ListVersionsRequest,
    ) -> Result<v1::ListVersionsResponse, Error> {
        let page: Page<u32, _> = Page::of(&request)?;
        let id = secret_id(&request.group, &request.name)?;
        self.manager.with_secret(&id, |group, secret| {
            let after = page.after().copied().unwrap_or(0);
            let versions = secret
                .versions()
                .filter(|version| version.row().id.number > after)
                .map(|version| (version.row().id.number, view::version(group, version)));
            let (versions, next_page_token) = page.fill(versions);
            Some(v1::ListVersionsResponse {
                versions,
                next_page_token,
            })
        })
    }

    pub(super) async fn list_grants(
        self,
        request: v1::ListGrantsRequest,
    ) -> Result<v1::ListGrantsResponse, Error> {
        let page: Page<(GroupName, RuleId), _> = Page::of(&request)?;
        let only = some_group(request.group.as_deref())?;
        self.exists(only.as_ref())?;
        let custodian = &self.manager.custodian;
        let (state, usage) = (custodian.state(), custodian.usage());
        let after = page.after().cloned();
        let groups = state.groups_from(after.as_ref().map(|(group, _)| group), only.as_ref());
        let rules = groups
            .filter(|group| self.operator.sees(&group.row().name))
            .flat_map(GroupView::rules)
            .map(|rule| ((rule.group.clone(), rule.id), rule))
            .filter(|(position, _)| after.as_ref().is_none_or(|after| position > after))
            .map(|(position, rule)| (position, view::grant(rule, &usage)));
        let (grants, next_page_token) = page.fill(rules);
        Ok(v1::ListGrantsResponse {
            grants,
            next_page_token,
        })
    }

    /// Whether the group that is named is there.
    pub(super) fn exists(&self, group: Option<&GroupName>) -> Result<(), Error> {
        match group {
            Some(name) if self.manager.custodian.state().group(name).is_none() => {
                Err(change::Error::NoSuchGroup(name.clone()).into())
            }
            _ => Ok(()),
        }
    }
}

fn answer(page: Page<SecretId, v1::Secret>) -> v1::ListSecretsResponse {
    let (secrets, next_page_token) = page.finish();
    v1::ListSecretsResponse {
        secrets,
        next_page_token,
    }
}

fn of_group(
    business_group: Option<&str>,
    environment: Option<&str>,
    labels: &[String],
) -> Result<search::Groups, Error> {
    let line = |field, text: Option<&str>| text.map(|text| parse(field, text)).transpose();
    Ok(search::Groups {
        name: None,
        business_group: line("business_group", business_group)?,
        environment: line("environment", environment)?,
        labels: conditions(labels)?,
    })
}

fn of_secret(request: &v1::ListSecretsRequest) -> Result<search::Secrets, Error> {
    let kind = request.r#type.as_deref().map(Kind::from_name).transpose()?;
    let properties = request.properties.iter();
    let properties = properties.map(|property| of_property(kind, property));
    let text = request.text.as_deref();
    Ok(search::Secrets {
        name: request.name.as_deref().map(like).transpose()?,
        kind,
        labels: conditions(&request.labels)?,
        properties: properties.collect::<Result<_, _>>()?,
        text: text
            .map(|text| glob("text", text, Glob::within))
            .transpose()?,
    })
}

fn of_property(kind: Option<Kind>, wanted: &v1::Property) -> Result<(String, Glob), Error> {
    let has = |kind: Kind| kind.publishes().contains(&&*wanted.name);
    if !kind.map_or_else(|| Kind::all().any(has), has) {
        let problem = match kind {
            Some(kind) => format!("a {} has no such property", kind.name()),
            None => "no type has such a property".to_owned(),
        };
        return Err(malformed("property", &wanted.name, &problem));
    }
    let value = glob("property", &wanted.value, Glob::whole)?;
    Ok((wanted.name.clone(), value))
}

fn like(name: &str) -> Result<Glob, Error> {
    glob("name", name, Glob::whole)
}

fn glob(
    field: &'static str,
    text: &str,
    make: fn(&str) -> Result<Glob, search::NoGlob>,
) -> Result<Glob, Error> {
    make(text).map_err(|problem| malformed(field, text, &problem.to_string()))
}

fn conditions(labels: &[String]) -> Result<Vec<Condition>, Error> {
    let labels = labels.iter();
    labels.map(|label| parse("label", label)).collect()
}
