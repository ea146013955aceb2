//! What a request is about, which decides who may make it.

use custody::{
    name::{GroupName, SecretName},
    role::Act,
    state::State,
};
use proto::v1;

use crate::{api::parse, custodian::Error};

/// A request that says what it is about.
pub(super) trait Aim {
    /// `act`, about that.
    fn aim(&self, state: &State, act: Act) -> Result<Act, Error>;
}

fn group(name: &str) -> Result<Option<GroupName>, Error> {
    parse("group", name).map(Some)
}

fn name(name: &str) -> Result<Option<SecretName>, Error> {
    parse("name", name).map(Some)
}

/// About nothing in particular.
macro_rules! about_nothing {
    ($($request:ident)*) => {
        $(impl Aim for v1::$request {
            fn aim(&self, _: &State, act: Act) -> Result<Act, Error> {
                Ok(act)
            }
        })*
    };
}

about_nothing! {
    ListGroupsRequest SuggestGrantRequest ListRolesRequest ReadJournalRequest
    BackupRequest OperatorWhoAmIRequest StatusRequest LoseTokenRequest
}

/// About a group.
macro_rules! about_group {
    ($($request:ident.$field:ident)*) => {
        $(impl Aim for v1::$request {
            fn aim(&self, _: &State, act: Act) -> Result<Act, Error> {
                Ok(Act { group: group(&self.$field)?, ..act })
            }
        })*
    };
}

about_group! {
    CreateGroupRequest.name GetGroupRequest.name UpdateGroupRequest.name AddGrantRequest.group
    SetRulesRequest.group SetCacheRequest.group RotateGroupRequest.group DestroyMasterKeyRequest.group
    SpareMasterKeyRequest.group CompromiseMasterKeyRequest.group
    ListExposureRequest.group HoldGroupRequest.group
}

/// About a secret.
macro_rules! about_secret {
    ($($request:ident)*) => {
        $(impl Aim for v1::$request {
            fn aim(&self, _: &State, act: Act) -> Result<Act, Error> {
                Ok(Act {
                    group: group(&self.group)?,
                    secret: name(&self.name)?,
                    ..act
                })
            }
        })*
    };
}

about_secret! {
    PutSecretRequest GetSecretRequest ListVersionsRequest DeleteSecretRequest ExplainGrantRequest
    ActivateVersionRequest EnableVersionRequest DisableVersionRequest DestroyVersionRequest
    RestoreVersionRequest ListReferencesRequest RotateSecretRequest
    RequestCertificateRequest GetCertificateRequestRequest CertifySecretRequest UpdateSecretRequest
}

/// About a group, or all that the operator has a role for.
macro_rules! about_some {
    ($($request:ident)*) => {
        $(impl Aim for v1::$request {
            fn aim(&self, _: &State, act: Act) -> Result<Act, Error> {
                let group = self.group.as_deref().map_or(Ok(None), group)?;
                Ok(Act { group, ..act })
            }
        })*
    };
}

about_some! { ListSecretsRequest ListGrantsRequest LintGrantsRequest ListExpiringRequest ListFindingsRequest }

impl Aim for v1::ListConsumersRequest {
    fn aim(&self, _: &State, act: Act) -> Result<Act, Error> {
        Ok(Act {
            group: group(&self.group)?,
            secret: self.name.as_deref().map_or(Ok(None), name)?,
            ..act
        })
    }
}

impl Aim for v1::RevokeGrantRequest {
    fn aim(&self, state: &State, act: Act) -> Result<Act, Error> {
        let rule = state.rule(&parse("id", &self.id)?);
        let group = rule.map(|rule| rule.group.clone());
        Ok(Act { group, ..act })
    }
}

impl Aim for v1::AssignRoleRequest {
    fn aim(&self, _: &State, act: Act) -> Result<Act, Error> {
        Ok(Act {
            group: self.group.as_deref().map_or(Ok(None), group)?,
            role: Some(parse("role", &self.role)?),
            ..act
        })
    }
}

impl Aim for v1::RevokeRoleRequest {
    fn aim(&self, state: &State, act: Act) -> Result<Act, Error> {
        let held = state.assignment(&parse("id", &self.id)?);
        Ok(Act {
            group: held.and_then(|held| held.group.clone()),
            role: held.map(|held| held.role),
            ..act
        })
    }
}
