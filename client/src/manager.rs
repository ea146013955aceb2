//! The surface for operators: a method for each call of `custody.v1.Manager`.

use std::{path::PathBuf, time::Duration};

use tonic::{Streaming, transport::Channel};

use crate::{
    Error, channel,
    retry::{once, persist, repeat},
    v1::{self, backup_response::Step as BackupStep, manager_client::ManagerClient},
};

mod pages;

pub use pages::Listed;

/// The largest answer taken: lists without pages, of everything there is, fit.
const MAX_ANSWER: usize = 128 << 20;

/// A connection to the Manager surface. Cloning shares it; it mends itself.
#[derive(Clone, Debug)]
pub struct Manager(ManagerClient<Channel>);

impl Manager {
    /// Connects to the socket at `path`, usually [`MANAGER_SOCKET`](crate::MANAGER_SOCKET).
    ///
    /// # Errors
    ///
    /// [`Error::Connect`] if nothing answers there.
    pub async fn connect(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let channel = channel::connect(path.into()).await?;
        Ok(Self(
            ManagerClient::new(channel).max_decoding_message_size(MAX_ANSWER),
        ))
    }

    /// Asks what custodyd sees of this process as an operator, and which roles that gives.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] if it cannot tell right now.
    pub async fn whoami(&self) -> Result<v1::OperatorWhoAmIResponse, Error> {
        repeat(|| {
            let mut client = self.0.clone();
            async move { client.who_am_i(v1::OperatorWhoAmIRequest {}).await }
        })
        .await
    }

    /// Writes a version as [`put_secret`](Self::put_secret) does, if version `expected` is
    /// current (0: none). While custodyd is unavailable or asks for patience, it tries again for
    /// up to `patience`: a write that took effect although its answer was lost is answered as
    /// unchanged.
    ///
    /// # Errors
    ///
    /// What custodyd answers, as an [`Error`].
    pub async fn put_secret_over(
        &self,
        expected: u32,
        request: v1::PutSecretRequest,
        patience: Duration,
    ) -> Result<v1::Version, Error> {
        let request = v1::PutSecretRequest {
            expected: Some(expected),
            even_if_same: false,
            ..request
        };
        persist(patience, || {
            let (mut client, request) = (self.0.clone(), request.clone());
            async move { client.put_secret(request).await }
        })
        .await
    }

    /// Reads the journal from entry `from` on (0: from the first there is); with `follow`,
    /// goes on with new entries as they are written.
    ///
    /// # Errors
    ///
    /// [`Error::NoRole`] for all but auditors.
    pub async fn read_journal(&self, from: u64, follow: bool) -> Result<JournalLines, Error> {
        let stream = repeat(|| {
            let mut client = self.0.clone();
            async move {
                let request = v1::ReadJournalRequest { from, follow };
                client.read_journal(request).await
            }
        })
        .await?;
        Ok(JournalLines(stream))
    }

    /// Has a backup of database and journal made, and takes it.
    ///
    /// # Errors
    ///
    /// [`Error::NoRole`] for all but crypto officers and auditors.
    pub async fn backup(&self) -> Result<Backup, Error> {
        self.take_backup(v1::BackupRequest::default()).await
    }

    /// Takes the rest of a backup, of which `offset` bytes are there already.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] if it is kept no longer.
    pub async fn go_on_with_backup(&self, backup: &str, offset: u64) -> Result<Backup, Error> {
        let backup = Some(backup.to_owned());
        self.take_backup(v1::BackupRequest { backup, offset }).await
    }

    async fn take_backup(&self, request: v1::BackupRequest) -> Result<Backup, Error> {
        Ok(Backup(once(self.0.clone().backup(request)).await?))
    }
}

/// A backup on its way: [`Manager::backup`] begins it, [`Manager::go_on_with_backup`] goes on.
#[derive(Debug)]
pub struct Backup(Streaming<v1::BackupResponse>);

impl Backup {
    /// Waits for what comes next. After an error or `None` there is no more.
    pub async fn next(&mut self) -> Option<Result<BackupStep, Error>> {
        loop {
            match self.0.message().await {
                // A kind of step that a newer custodyd has.
                Ok(Some(v1::BackupResponse { step: None })) => {}
                Ok(Some(v1::BackupResponse { step: Some(step) })) => return Some(Ok(step)),
                Ok(None) => return None,
                Err(status) => return Some(Err(status.into())),
            }
        }
    }
}

/// Lines of the journal, as they are in its files.
#[derive(Debug)]
pub struct JournalLines(Streaming<v1::ReadJournalResponse>);

impl JournalLines {
    /// Waits for the next lines, each of which ends in a newline. After an error or `None`
    /// there are no more.
    pub async fn next(&mut self) -> Option<Result<String, Error>> {
        match self.0.message().await {
            Ok(Some(response)) => Some(Ok(response.lines)),
            Ok(None) => None,
            Err(status) => Some(Err(status.into())),
        }
    }
}

macro_rules! calls {
    ($($way:ident $name:ident($request:ident) -> $answer:ident: $doc:literal;)*) => {
        impl Manager {$(
            #[doc = $doc]
            ///
            /// # Errors
            ///
            /// What custodyd answers, as an [`Error`].
            pub async fn $name(&self, request: v1::$request) -> Result<v1::$answer, Error> {
                calls!(@$way self.0, $name, request)
            }
        )*}
    };
    (@read $client:expr, $name:ident, $request:ident) => {
        repeat(|| {
            let (mut client, request) = ($client.clone(), $request.clone());
            async move { client.$name(request).await }
        })
        .await
    };
    (@write $client:expr, $name:ident, $request:ident) => {
        once($client.clone().$name($request)).await
    };
}

calls! {
    write create_group(CreateGroupRequest) -> Group:
        "Makes a group and its group master key in the token.";
    read list_groups(ListGroupsRequest) -> ListGroupsResponse:
        "A page of the groups that the operator has a role for, by name; [`groups`](Self::groups) turns them.";
    read get_group(GetGroupRequest) -> Group:
        "One group with the generations of its master key.";
    write set_cache(SetCacheRequest) -> Group:
        "Has the data keys of a group kept for a while, or not.";
    write update_group(UpdateGroupRequest) -> Group:
        "Says what else a group is for; what is missing stays as it is.";
    write rotate_group(RotateGroupRequest) -> Group:
        "Makes the next generation of a group's master key, which protects from now on.";
    write compromise_master_key(CompromiseMasterKeyRequest) -> Group:
        "Says of a master key that someone may have it; what it may have wrapped is renewed.";
    write hold_group(HoldGroupRequest) -> Group:
        "Has other tokens hold a group, or has writes need more or fewer of them.";
    write lose_token(LoseTokenRequest) -> LoseTokenResponse:
        "Gives a token up for good that is lost; what it alone had is lost with it.";
    write destroy_master_key(DestroyMasterKeyRequest) -> Group:
        "Destroys a former master key, which nothing is left under, after some time.";
    write spare_master_key(SpareMasterKeyRequest) -> Group:
        "Takes back that a master key is to be destroyed.";
    write put_secret(PutSecretRequest) -> Version:
        "Writes a new version, which becomes the current one, of a secret that need not be there yet.";
    write rotate_secret(RotateSecretRequest) -> Version:
        "Makes new content and writes it as a new version, of a secret that need not be there yet.";
    write request_certificate(RequestCertificateRequest) -> CertificateRequest:
        "Makes a key pair for a keystore and a request for its certificate.";
    read get_certificate_request(GetCertificateRequestRequest) -> CertificateRequest:
        "The request of a keystore that waits for its certificate.";
    write certify_secret(CertifySecretRequest) -> Version:
        "Takes the certificate that was signed for a request, which becomes a version.";
    read list_secrets(ListSecretsRequest) -> ListSecretsResponse:
        "A page of the secrets that are looked for, by group and name; [`secrets`](Self::secrets) turns them.";
    read get_secret(GetSecretRequest) -> Secret:
        "One secret and its current version.";
    write update_secret(UpdateSecretRequest) -> Secret:
        "Says something else about a secret; what is missing stays as it is.";
    read list_versions(ListVersionsRequest) -> ListVersionsResponse:
        "A page of the versions of a secret, oldest first; [`versions`](Self::versions) turns them.";
    write activate_version(ActivateVersionRequest) -> Secret:
        "Makes a version the current one: a pending one, or a former one to roll back to.";
    write enable_version(EnableVersionRequest) -> Version:
        "Delivers a disabled version again.";
    write disable_version(DisableVersionRequest) -> Version:
        "Delivers a version no more; one that was fetched of late only if forced.";
    write destroy_version(DestroyVersionRequest) -> Version:
        "Destroys a version after some time, in which it can be restored.";
    write restore_version(RestoreVersionRequest) -> Version:
        "Takes back that a version is to be destroyed.";
    write delete_secret(DeleteSecretRequest) -> DeleteSecretResponse:
        "Destroys a secret with all its versions, for good; one that was used of late only if forced.";
    write add_grant(AddGrantRequest) -> AddGrantResponse:
        "Lets the callers that satisfy every selector have the secrets that match.";
    read list_grants(ListGrantsRequest) -> ListGrantsResponse:
        "A page of the grants of one group or of all; [`grants`](Self::grants) turns them.";
    write revoke_grant(RevokeGrantRequest) -> RevokeGrantResponse:
        "Takes a grant back; what was fetched under it is not called back.";
    read lint_grants(LintGrantsRequest) -> LintGrantsResponse:
        "The grants that are weak or hopeless, as they would be judged now.";
    read explain_grant(ExplainGrantRequest) -> ExplainGrantResponse:
        "Whether a process would get a secret, and by which grant or what is missing; releases nothing.";
    read suggest_grant(SuggestGrantRequest) -> SuggestGrantResponse:
        "Drafts the selectors of a grant from a unit's running processes; adds nothing.";
    read list_consumers(ListConsumersRequest) -> ListConsumersResponse:
        "Who fetched what when, who watches, and which grants nobody ever used.";
    read list_exposure(ListExposureRequest) -> ListExposureResponse:
        "What may be known since someone got a master key, and who is to be told.";
    read list_references(ListReferencesRequest) -> ListReferencesResponse:
        "What a secret refers to, what refers to it, and who uses that.";
    read list_expiring(ListExpiringRequest) -> ListExpiringResponse:
        "What ends soon: certificates, tokens, CRLs, and versions whose delivery has a limit.";
    write set_rules(SetRulesRequest) -> SetRulesResponse:
        "Says what the secrets of a group have to comply with, and what does not.";
    read list_findings(ListFindingsRequest) -> ListFindingsResponse:
        "What falls foul of the rules of its group now.";
    write assign_role(AssignRoleRequest) -> Role:
        "Gives a role to the operators that satisfy every selector.";
    read list_roles(ListRolesRequest) -> ListRolesResponse:
        "The roles that are held.";
    write revoke_role(RevokeRoleRequest) -> RevokeRoleResponse:
        "Takes a role back; never the last crypto officer's.";
    read status(StatusRequest) -> StatusResponse:
        "The state of the daemon, its token and its journal.";
}
