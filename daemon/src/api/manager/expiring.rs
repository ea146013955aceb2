//! What ends soon.

use custody::{
    change,
    group::Millis,
    name::{GroupName, SecretName},
    outlook::End,
    role::Operator,
    state::{State, view::GroupView},
};
use proto::v1;

use super::{Call, life::millis};
use crate::{
    api::{parse, view},
    custodian::{Error, now},
};

/// How many are listed.
const LISTED: usize = 10_000;

impl Call<'_> {
    pub(super) async fn list_expiring(
        self,
        request: v1::ListExpiringRequest,
    ) -> Result<v1::ListExpiringResponse, Error> {
        let custodian = &self.manager.custodian;
        let now = now();
        let last = now.saturating_add(millis(request.within_seconds));
        let outlook = custodian.outlook();
        let state = custodian.state();
        let groups = groups(&state, &self.operator, request.group.as_deref())?;
        let mut ends: Vec<(End, GroupView<'_>, &SecretName)> = Vec::new();
        for group in groups {
            let of_group = outlook.expiring(&group.row().name, now, last);
            ends.extend(of_group.map(|(end, name)| (end, group, name)));
        }
        ends.sort_by(|a, b| (a.0, &a.1.row().name, a.2).cmp(&(b.0, &b.1.row().name, b.2)));
        let more = ends.len().saturating_sub(LISTED) as u64;
        let listed = ends.into_iter().take(LISTED);
        Ok(v1::ListExpiringResponse {
            expiring: listed
                .filter_map(|(end, group, name)| expiring(group, name, end, now))
                .collect(),
            more,
        })
    }
}

/// The group of that name; all that `operator` has a role for if there is none.
pub(super) fn groups<'a>(
    state: &'a State,
    operator: &Operator,
    name: Option<&str>,
) -> Result<Vec<GroupView<'a>>, Error> {
    let Some(name) = name else {
        let seen = |group: &GroupView<'_>| operator.sees(&group.row().name);
        return Ok(state.groups().filter(seen).collect());
    };
    let name: GroupName = parse("group", name)?;
    let group = state.group(&name);
    Ok(vec![group.ok_or(change::Error::NoSuchGroup(name))?])
}

fn expiring(
    group: GroupView<'_>,
    name: &SecretName,
    end: End,
    now: Millis,
) -> Option<v1::Expiring> {
    let row = group.secret(name)?.row();
    let number = Some(end.version);
    let parts = [("current", row.current), ("pending", row.pending)];
    let part = parts.into_iter().find(|(_, is)| *is == number);
    Some(v1::Expiring {
        group: row.id.group.to_string(),
        name: row.id.name.to_string(),
        r#type: row.kind.name().to_owned(),
        version: end.version,
        part: part.map(|(part, _)| part.to_owned()),
        ends: Some(view::timestamp(end.at)),
        property: end.property.map(str::to_owned),
        ended: end.at <= now,
    })
}
