//! Who uses which secret.

use custody::{
    change,
    name::{GroupName, SecretId, SecretName},
    policy::rule::Rule,
};
use proto::v1;

use super::Call;
use crate::{
    api::{parse, view},
    custodian::Error,
};

impl Call<'_> {
    pub(super) async fn list_consumers(
        self,
        request: v1::ListConsumersRequest,
    ) -> Result<v1::ListConsumersResponse, Error> {
        let group: GroupName = parse("group", &request.group)?;
        let name: Option<SecretName> = request
            .name
            .as_deref()
            .map(|name| parse("name", name))
            .transpose()?;
        let custodian = &self.manager.custodian;
        let state = custodian.state();
        let view = state
            .group(&group)
            .ok_or_else(|| change::Error::NoSuchGroup(group.clone()))?;
        let id = |name: SecretName| SecretId {
            group: group.clone(),
            name,
        };
        if let Some(name) = name.clone()
            && view.secret(&name).is_none()
        {
            return Err(change::Error::NoSuchSecret(id(name)).into());
        }
        let wanted = |secret: &SecretName| name.as_ref().is_none_or(|name| name == secret);
        let mut consumers = Vec::new();
        for secret in view
            .secrets()
            .filter(|secret| wanted(&secret.row().id.name))
        {
            let row = secret.row();
            let uses = custodian.uses(&row.id).into_iter();
            consumers.extend(uses.map(|one| view::consumer(row, &one)));
        }
        most_recent_first(&mut consumers);
        let usage = custodian.usage();
        let asked = name.as_ref().and_then(|name| view.secret(name));
        // Of one secret, those that could give it and did not; of a group, those that gave
        // nothing at all.
        let is_unused = |rule: &&Rule| match asked.as_ref().map(|secret| secret.row()) {
            Some(secret) => {
                let kind = rule.terms.kind.is_none_or(|kind| kind == secret.kind);
                let covers = rule.patterns.cover(&secret.id.name);
                kind && covers && !usage.gave(&rule.id, &secret.id)
            }
            None => usage.of_rule(&rule.id).is_none_or(|uses| uses.count == 0),
        };
        let unused = view.rules().filter(is_unused);
        Ok(v1::ListConsumersResponse {
            consumers,
            unused: unused.map(|rule| view::grant(rule, &usage)).collect(),
            since: usage.since().seq,
        })
    }
}

/// Who only watches comes first.
pub(super) fn most_recent_first(consumers: &mut [v1::Consumer]) {
    consumers.sort_by_key(|consumer| {
        let last = consumer
            .last
            .as_ref()
            .map(|last| (last.seconds, last.nanos));
        std::cmp::Reverse((last.is_none(), last))
    });
}
