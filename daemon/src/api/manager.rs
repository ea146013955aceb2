//! The Manager service: what operators do.

use std::{sync::Arc, time::Instant};

use custody::{
    journal::Surface,
    role::{Act, Operation, Operator},
};
use proto::v1::{self, manager_server};
use tonic::{Request, Response, Status};

use super::{peer, status::Asked};
use crate::{
    attest::Peer,
    custodian::{Custodian, Error},
    run::About,
};

mod about;
mod aim;
mod backup;
mod certify;
mod compliance;
mod daemon;
mod expiring;
mod explain;
mod exposure;
mod grant;
mod group;
mod inventory;
mod journal;
mod key;
mod life;
mod list;
mod page;
mod reference;
mod role;
mod rotate;
mod secret;

use aim::Aim;

/// The service.
#[derive(Clone, Debug)]
pub(crate) struct Manager {
    pub(crate) custodian: Arc<Custodian>,
    pub(crate) about: Arc<About>,
}

/// Implements a method: admits the operator to what the request is about, does what the
/// method of the same name of [`Call`] says, and answers.
macro_rules! methods {
    ($($name:ident($request:ty) -> $response:ty = $operation:ident;)*) => {
        #[tonic::async_trait]
        impl manager_server::Manager for Manager {
            $(async fn $name(
                &self,
                request: Request<$request>,
            ) -> Result<Response<$response>, Status> {
                let asked = self.asked(Operation::$operation, peer(&request));
                let result = match self.admit(&asked, Operation::$operation, request).await {
                    Ok((call, request)) => call.$name(request).await,
                    Err(error) => Err(error),
                };
                asked.answer(result).map(Response::new)
            })*

            type ReadJournalStream = journal::Lines;

            async fn read_journal(
                &self,
                request: Request<v1::ReadJournalRequest>,
            ) -> Result<Response<journal::Lines>, Status> {
                let peer = peer(&request);
                let asked = self.asked(Operation::ReadJournal, Arc::clone(&peer));
                let result = match self.admit(&asked, Operation::ReadJournal, request).await {
                    Ok((call, request)) => call.read_journal(request, peer),
                    Err(error) => Err(error),
                };
                asked.answer(result).map(Response::new)
            }

            type BackupStream = backup::Pieces;

            async fn backup(
                &self,
                request: Request<v1::BackupRequest>,
            ) -> Result<Response<backup::Pieces>, Status> {
                let peer = peer(&request);
                let asked = self.asked(Operation::Backup, Arc::clone(&peer));
                let result = match self.admit(&asked, Operation::Backup, request).await {
                    Ok((call, request)) => call.backup(request, peer),
                    Err(error) => Err(error),
                };
                asked.answer(result).map(Response::new)
            }
        }
    };
}

methods! {
    create_group(v1::CreateGroupRequest) -> v1::Group = CreateGroup;
    list_groups(v1::ListGroupsRequest) -> v1::ListGroupsResponse = ListGroups;
    get_group(v1::GetGroupRequest) -> v1::Group = GetGroup;
    update_group(v1::UpdateGroupRequest) -> v1::Group = UpdateGroup;
    set_cache(v1::SetCacheRequest) -> v1::Group = SetCache;
    rotate_group(v1::RotateGroupRequest) -> v1::Group = RotateGroup;
    compromise_master_key(v1::CompromiseMasterKeyRequest) -> v1::Group = CompromiseMasterKey;
    lose_token(v1::LoseTokenRequest) -> v1::LoseTokenResponse = LoseToken;
    hold_group(v1::HoldGroupRequest) -> v1::Group = HoldGroup;
    destroy_master_key(v1::DestroyMasterKeyRequest) -> v1::Group = DestroyMasterKey;
    spare_master_key(v1::SpareMasterKeyRequest) -> v1::Group = SpareMasterKey;
    put_secret(v1::PutSecretRequest) -> v1::Version = PutSecret;
    rotate_secret(v1::RotateSecretRequest) -> v1::Version = RotateSecret;
    request_certificate(v1::RequestCertificateRequest) -> v1::CertificateRequest = RequestCertificate;
    get_certificate_request(v1::GetCertificateRequestRequest) -> v1::CertificateRequest = GetCertificateRequest;
    certify_secret(v1::CertifySecretRequest) -> v1::Version = CertifySecret;
    list_secrets(v1::ListSecretsRequest) -> v1::ListSecretsResponse = ListSecrets;
    get_secret(v1::GetSecretRequest) -> v1::Secret = GetSecret;
    update_secret(v1::UpdateSecretRequest) -> v1::Secret = UpdateSecret;
    list_versions(v1::ListVersionsRequest) -> v1::ListVersionsResponse = ListVersions;
    activate_version(v1::ActivateVersionRequest) -> v1::Secret = ActivateVersion;
    enable_version(v1::EnableVersionRequest) -> v1::Version = EnableVersion;
    disable_version(v1::DisableVersionRequest) -> v1::Version = DisableVersion;
    destroy_version(v1::DestroyVersionRequest) -> v1::Version = DestroyVersion;
    restore_version(v1::RestoreVersionRequest) -> v1::Version = RestoreVersion;
    delete_secret(v1::DeleteSecretRequest) -> v1::DeleteSecretResponse = DeleteSecret;
    add_grant(v1::AddGrantRequest) -> v1::AddGrantResponse = AddGrant;
    list_grants(v1::ListGrantsRequest) -> v1::ListGrantsResponse = ListGrants;
    revoke_grant(v1::RevokeGrantRequest) -> v1::RevokeGrantResponse = RevokeGrant;
    lint_grants(v1::LintGrantsRequest) -> v1::LintGrantsResponse = LintGrants;
    explain_grant(v1::ExplainGrantRequest) -> v1::ExplainGrantResponse = ExplainGrant;
    suggest_grant(v1::SuggestGrantRequest) -> v1::SuggestGrantResponse = SuggestGrant;
    list_consumers(v1::ListConsumersRequest) -> v1::ListConsumersResponse = ListConsumers;
    list_exposure(v1::ListExposureRequest) -> v1::ListExposureResponse = ListExposure;
    list_references(v1::ListReferencesRequest) -> v1::ListReferencesResponse = ListReferences;
    list_expiring(v1::ListExpiringRequest) -> v1::ListExpiringResponse = ListExpiring;
    set_rules(v1::SetRulesRequest) -> v1::SetRulesResponse = SetRules;
    list_findings(v1::ListFindingsRequest) -> v1::ListFindingsResponse = ListFindings;
    assign_role(v1::AssignRoleRequest) -> v1::Role = AssignRole;
    list_roles(v1::ListRolesRequest) -> v1::ListRolesResponse = ListRoles;
    revoke_role(v1::RevokeRoleRequest) -> v1::RevokeRoleResponse = RevokeRole;
    who_am_i(v1::OperatorWhoAmIRequest) -> v1::OperatorWhoAmIResponse = WhoAmI;
    status(v1::StatusRequest) -> v1::StatusResponse = Status;
}

impl Manager {
    fn asked(&self, operation: Operation, peer: Arc<Peer>) -> Asked {
        Asked {
            surface: Surface::Manager,
            operation: operation.name(),
            peer,
            secret: None,
            since: Instant::now(),
            requests: self.custodian.requests().clone(),
        }
    }

    /// Lets the operator do what its request is about. Whether it may comes before what is
    /// wrong with the request.
    async fn admit<T: Aim>(
        &self,
        asked: &Asked,
        operation: Operation,
        request: Request<T>,
    ) -> Result<(Call<'_>, T), Error> {
        let request = request.into_inner();
        let aimed = request.aim(&self.custodian.state(), Act::of(operation));
        let (act, malformed) = match aimed {
            Ok(act) => (act, None),
            Err(error) => (Act::of(operation), Some(error)),
        };
        let operator = self.custodian.admit(&asked.peer, act).await?;
        if let Some(error) = malformed {
            return Err(error);
        }
        let call = Call {
            manager: self,
            operator,
        };
        Ok((call, request))
    }
}

/// A call by an operator who may make it.
struct Call<'a> {
    manager: &'a Manager,
    operator: Operator,
}
