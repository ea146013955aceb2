//! What refers to what.

use custody::{
    change,
    name::SecretId,
    role::{Operation, Operator},
    state::{State, links::Link},
};
use proto::v1;

use super::{Call, secret::secret_id};
use crate::{
    api::view,
    custodian::{Custodian, Error},
};

impl Call<'_> {
    pub(super) async fn list_references(
        self,
        request: v1::ListReferencesRequest,
    ) -> Result<v1::ListReferencesResponse, Error> {
        let id = secret_id(&request.group, &request.name)?;
        let custodian = &self.manager.custodian;
        let state = custodian.state();
        let group = state
            .group(&id.group)
            .ok_or_else(|| change::Error::NoSuchGroup(id.group.clone()))?;
        let secret = group
            .secret(&id.name)
            .ok_or_else(|| change::Error::NoSuchSecret(id.clone()))?;
        let evidence = self.operator.evidence();
        let (seen, hidden): (Vec<_>, Vec<_>) = state
            .referred_by(&id)
            .into_iter()
            .partition(|link| state.is_seen(evidence, &link.from.secret));
        let own = secret
            .versions()
            .flat_map(|version| state.refers_to(&version.row().id));
        Ok(v1::ListReferencesResponse {
            refers_to: own
                .map(|link| reference(&state, &self.operator, &link))
                .collect(),
            referred_by: seen
                .iter()
                .map(|link| v1::Reference {
                    consumers: consumers(custodian, &state, &self.operator, &link.from.secret),
                    ..reference(&state, &self.operator, link)
                })
                .collect(),
            hidden: u32::try_from(hidden.len()).unwrap_or(u32::MAX),
        })
    }
}

fn reference(state: &State, operator: &Operator, link: &Link) -> v1::Reference {
    let from = &link.from;
    let secret = state.secret(&from.secret);
    let problem = state
        .problem(link)
        .filter(|_| state.is_seen(operator.evidence(), &link.to.secret));
    v1::Reference {
        group: from.secret.group.to_string(),
        name: from.secret.name.to_string(),
        version: from.number,
        current: secret.is_ok_and(|secret| secret.row().current == Some(from.number)),
        field: link.field.to_owned(),
        reference: link.to.to_string(),
        problem: problem.map(|problem| problem.to_string()),
        consumers: Vec::new(),
    }
}

fn consumers(
    custodian: &Custodian,
    state: &State,
    operator: &Operator,
    id: &SecretId,
) -> Vec<v1::Consumer> {
    let is_open = state.is_open(operator.evidence(), id, Operation::ListConsumers);
    match state.secret(id) {
        Ok(secret) if is_open => {
            let uses = custodian.uses(id);
            uses.iter()
                .map(|one| view::consumer(secret.row(), one))
                .collect()
        }
        _ => Vec::new(),
    }
}
