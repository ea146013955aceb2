//! `custodyctl grant list`, `show` and `revoke`.

use client::v1;
use custody::name::GroupName;
use serde::Serialize;

use super::view::Grant;
use crate::{
    args::Global,
    confirm::confirm,
    failure::Failure,
    output::{self, View, columns},
};

#[derive(Debug, Serialize)]
struct Grants {
    grants: Vec<Grant>,
}

#[derive(Debug, Serialize)]
struct Revoked {
    id: String,
}

impl View for Grants {
    fn text(&self) -> Option<String> {
        columns(
            ["GRANT", "SECRETS", "CALLERS", "TERMS", "USED", "LAST USED"],
            self.grants.iter().map(|grant| {
                [
                    grant.id(),
                    grant.secrets(),
                    grant.callers(),
                    grant.terms(),
                    grant.used(),
                    grant.last_used(),
                ]
            }),
        )
    }

    fn nothing(&self) -> &'static str {
        "no grants: nobody can fetch; 'custodyctl grant add' adds one"
    }
}

impl View for Revoked {
    fn text(&self) -> Option<String> {
        Some(format!("revoked {}", self.id))
    }
}

pub(super) async fn list(global: &Global, group: Option<GroupName>) -> Result<(), Failure> {
    let grants = all(global, group).await?;
    output::show(global.output, &Grants { grants })
}

pub(super) async fn show(global: &Global, id: String) -> Result<(), Failure> {
    let mut grants = all(global, None).await?.into_iter();
    match grants.find(|grant| grant.id.as_ref() == Some(&id)) {
        Some(grant) => output::show(global.output, &grant),
        None => Err(Failure::NoGrant(id)),
    }
}

async fn all(global: &Global, group: Option<GroupName>) -> Result<Vec<Grant>, Failure> {
    let request = v1::ListGrantsRequest {
        group: group.map(Into::into),
        ..v1::ListGrantsRequest::default()
    };
    let listed = global.manager().await?.grants(request, usize::MAX).await;
    let grants = listed.map_err(Failure::Manager)?.items;
    Ok(grants.into_iter().map(Into::into).collect())
}

pub(super) async fn revoke(global: &Global, id: String, yes: bool) -> Result<(), Failure> {
    if !yes {
        confirm(
            &format!("revoke the grant {id}"),
            "--yes revokes it without asking",
        )?;
    }
    let request = v1::RevokeGrantRequest { id: id.clone() };
    let answer = global.manager().await?.revoke_grant(request).await;
    answer.map_err(Failure::Manager)?;
    output::show(global.output, &Revoked { id })
}
