//! What may be known since someone got a master key, and who is to be told.

use custody::{
    change,
    name::GroupName,
    state::view::{GroupView, SecretView},
};
use proto::v1;

use super::{Call, inventory::most_recent_first};
use crate::{
    api::{parse, view},
    custodian::Error,
};

impl Call<'_> {
    pub(super) async fn list_exposure(
        self,
        request: v1::ListExposureRequest,
    ) -> Result<v1::ListExposureResponse, Error> {
        let name: GroupName = parse("group", &request.group)?;
        let custodian = &self.manager.custodian;
        let state = custodian.state();
        let group = state.group(&name);
        let group = group.ok_or_else(|| change::Error::NoSuchGroup(name.clone()))?;
        let keys = group.keys().filter(|key| key.state.is_compromised());
        let master_keys = keys
            .map(|key| view::master_key(group, key, custodian))
            .collect();
        let mut secrets = Vec::new();
        let mut rows = Vec::new();
        let mut consumers = Vec::new();
        for secret in group.secrets() {
            if let Some(exposed) = exposed(group, secret) {
                let row = secret.row();
                let uses = custodian.uses(&row.id).into_iter();
                consumers.extend(uses.map(|one| view::consumer(row, &one)));
                rows.push(row);
                secrets.push(exposed);
            }
        }
        most_recent_first(&mut consumers);
        let usage = custodian.usage();
        let rules = group.rules().filter(|rule| {
            let mut rows = rows.iter();
            rows.any(|row| {
                let kind = rule.terms.kind.is_none_or(|kind| kind == row.kind);
                kind && rule.patterns.cover(&row.id.name)
            })
        });
        Ok(v1::ListExposureResponse {
            master_keys,
            secrets,
            consumers,
            grants: rules.map(|rule| view::grant(rule, &usage)).collect(),
            since: usage.since().seq,
        })
    }
}

/// What of a secret may be known, if anything may.
fn exposed(group: GroupView<'_>, secret: SecretView<'_>) -> Option<v1::ExposedSecret> {
    let mut versions = Vec::new();
    let mut known = Vec::new();
    for version in secret.versions() {
        if let Some(generation) = group.exposed(version) {
            known.push(version.row().fingerprint);
            versions.push(v1::ExposedVersion {
                number: version.row().id.number,
                state: version.row().state.name().to_owned(),
                generation,
                to_renew: group.is_to_renew(version),
            });
        }
    }
    let row = secret.row();
    let used = [row.current, row.pending].into_iter().flatten();
    let mut used = used.filter_map(|number| secret.version(number));
    (!versions.is_empty()).then(|| v1::ExposedSecret {
        name: row.id.name.to_string(),
        r#type: row.kind.name().to_owned(),
        in_use: used.any(|version| known.contains(&version.row().fingerprint)),
        versions,
    })
}
