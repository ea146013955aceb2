//! The Manager service: what operators do.

use std::sync::Arc;

use custody::{
    caller::observation::Pinned,
    change,
    journal::Surface,
    name::{GroupName, SecretId},
    policy::Selectors,
    secret::{Fields, Kind},
    state::view::SecretView,
};
use hsm::WorkerState;
use proto::v1::{self, manager_server};
use tonic::{Request, Response, Status};

use super::{parse, peer, status::Asked, view};
use crate::{
    custodian::{Custodian, Error},
    run::About,
};

/// The service.
#[derive(Clone, Debug)]
pub(crate) struct Manager {
    pub(crate) custodian: Arc<Custodian>,
    pub(crate) about: Arc<About>,
}

/// Implements a method: admits the operator, does what the method of the same name
/// below says, and answers.
macro_rules! methods {
    ($($name:ident($request:ty) -> $response:ty;)*) => {
        #[tonic::async_trait]
        impl manager_server::Manager for Manager {
            $(async fn $name(
                &self,
                request: Request<$request>,
            ) -> Result<Response<$response>, Status> {
                let asked = Asked {
                    surface: Surface::Manager,
                    operation: stringify!($name),
                    peer: peer(&request),
                    secret: None,
                };
                let admitted = self.custodian.admit(&asked.peer, asked.operation).await;
                let result = match admitted {
                    Ok(operator) => {
                        Call { manager: self, operator }.$name(request.into_inner()).await
                    }
                    Err(error) => Err(error),
                };
                asked.answer(result).map(Response::new)
            })*
        }
    };
}

methods! {
    create_group(v1::CreateGroupRequest) -> v1::Group;
    list_groups(v1::ListGroupsRequest) -> v1::ListGroupsResponse;
    get_group(v1::GetGroupRequest) -> v1::Group;
    put_secret(v1::PutSecretRequest) -> v1::Version;
    list_secrets(v1::ListSecretsRequest) -> v1::ListSecretsResponse;
    get_secret(v1::GetSecretRequest) -> v1::Secret;
    list_versions(v1::ListVersionsRequest) -> v1::ListVersionsResponse;
    delete_secret(v1::DeleteSecretRequest) -> v1::DeleteSecretResponse;
    add_grant(v1::AddGrantRequest) -> v1::Grant;
    list_grants(v1::ListGrantsRequest) -> v1::ListGrantsResponse;
    revoke_grant(v1::RevokeGrantRequest) -> v1::RevokeGrantResponse;
    status(v1::StatusRequest) -> v1::StatusResponse;
}

/// A call by an operator.
struct Call<'a> {
    manager: &'a Manager,
    operator: custody::role::Operator,
}

impl Call<'_> {
    async fn create_group(self, request: v1::CreateGroupRequest) -> Result<v1::Group, Error> {
        let name: GroupName = parse("name", &request.name)?;
        self.manager
            .custodian
            .create_group(self.operator, name.clone(), request.description)
            .await?;
        self.manager.group(&name)
    }

    async fn list_groups(self, _: v1::ListGroupsRequest) -> Result<v1::ListGroupsResponse, Error> {
        let custodian = &self.manager.custodian;
        let state = custodian.state();
        let groups = state.groups().map(|group| view::group(group, custodian));
        Ok(v1::ListGroupsResponse {
            groups: groups.collect(),
        })
    }

    async fn get_group(self, request: v1::GetGroupRequest) -> Result<v1::Group, Error> {
        self.manager.group(&parse("name", &request.name)?)
    }

    async fn put_secret(self, request: v1::PutSecretRequest) -> Result<v1::Version, Error> {
        let id = secret_id(&request.group, &request.name)?;
        let kind = Kind::from_name(&request.r#type)?;
        let mut fields = Fields::default();
        for mut field in request.fields {
            let name = std::mem::take(&mut field.name);
            fields.push(name, std::mem::take(&mut field.value));
        }
        let written = self
            .manager
            .custodian
            .put_secret(self.operator, id.clone(), kind, fields)
            .await?;
        self.manager.with_secret(&id, |secret| {
            let mut versions = secret.versions();
            versions
                .find(|version| version.row().id == written)
                .map(view::version)
        })
    }

    async fn list_secrets(
        self,
        request: v1::ListSecretsRequest,
    ) -> Result<v1::ListSecretsResponse, Error> {
        let name: GroupName = parse("group", &request.group)?;
        let state = self.manager.custodian.state();
        let group = state.group(&name).ok_or(change::Error::NoSuchGroup(name))?;
        Ok(v1::ListSecretsResponse {
            secrets: group.secrets().map(view::secret).collect(),
        })
    }

    async fn get_secret(self, request: v1::GetSecretRequest) -> Result<v1::Secret, Error> {
        let id = secret_id(&request.group, &request.name)?;
        self.manager
            .with_secret(&id, |secret| Some(view::secret(secret)))
    }

    async fn list_versions(
        self,
        request: v1::ListVersionsRequest,
    ) -> Result<v1::ListVersionsResponse, Error> {
        let id = secret_id(&request.group, &request.name)?;
        self.manager.with_secret(&id, |secret| {
            Some(v1::ListVersionsResponse {
                versions: secret.versions().map(view::version).collect(),
            })
        })
    }

    async fn delete_secret(
        self,
        request: v1::DeleteSecretRequest,
    ) -> Result<v1::DeleteSecretResponse, Error> {
        let id = secret_id(&request.group, &request.name)?;
        let versions = self
            .manager
            .custodian
            .delete_secret(self.operator, id)
            .await?;
        Ok(v1::DeleteSecretResponse { versions })
    }

    async fn add_grant(self, request: v1::AddGrantRequest) -> Result<v1::Grant, Error> {
        let group = parse("group", &request.group)?;
        let pattern = parse("pattern", &request.pattern)?;
        let selectors = request.selectors.iter();
        let selectors: Vec<_> = selectors
            .map(|selector| parse("selector", selector))
            .collect::<Result<_, _>>()?;
        let selectors = Selectors::new(selectors)?;
        let id = self
            .manager
            .custodian
            .add_grant(self.operator, group, pattern, selectors)
            .await?;
        let state = self.manager.custodian.state();
        let rule = state.rule(&id).ok_or(change::Error::NoSuchGrant(id))?;
        Ok(view::grant(rule))
    }

    async fn list_grants(
        self,
        request: v1::ListGrantsRequest,
    ) -> Result<v1::ListGrantsResponse, Error> {
        let state = self.manager.custodian.state();
        let grants = match request.group {
            Some(name) => {
                let name: GroupName = parse("group", &name)?;
                let group = state.group(&name).ok_or(change::Error::NoSuchGroup(name))?;
                group.rules().map(view::grant).collect()
            }
            None => state
                .groups()
                .flat_map(|group| group.rules().map(view::grant))
                .collect(),
        };
        Ok(v1::ListGrantsResponse { grants })
    }

    async fn revoke_grant(
        self,
        request: v1::RevokeGrantRequest,
    ) -> Result<v1::RevokeGrantResponse, Error> {
        let id = parse("id", &request.id)?;
        self.manager
            .custodian
            .revoke_grant(self.operator, id)
            .await?;
        Ok(v1::RevokeGrantResponse {})
    }

    async fn status(self, _: v1::StatusRequest) -> Result<v1::StatusResponse, Error> {
        let custodian = &self.manager.custodian;
        let about = &self.manager.about;
        let counts = custodian.state().counts();
        Ok(v1::StatusResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            instance: custodian.system().instance.to_string(),
            started: Some(view::timestamp(about.started)),
            development: about.is_development(),
            token: Some(token_status(custodian)),
            journal: Some(journal_status(custodian)),
            groups: counts.groups,
            secrets: counts.secrets,
            grants: counts.rules,
            memory_locked: about.memory == crate::harden::Memory::Locked,
            attestation: match custodian.attestor().method() {
                Pinned::AtConnect => "kernel".to_owned(),
                Pinned::ByNumber => "start-time".to_owned(),
            },
            attestation_lacks: custodian.attestor().lacks(),
        })
    }
}

impl Manager {
    fn group(&self, name: &GroupName) -> Result<v1::Group, Error> {
        let state = self.custodian.state();
        let group = state.group(name);
        let group = group.ok_or_else(|| change::Error::NoSuchGroup(name.clone()))?;
        Ok(view::group(group, &self.custodian))
    }

    fn with_secret<T>(
        &self,
        id: &SecretId,
        show: impl FnOnce(SecretView<'_>) -> Option<T>,
    ) -> Result<T, Error> {
        let state = self.custodian.state();
        let group = state
            .group(&id.group)
            .ok_or_else(|| change::Error::NoSuchGroup(id.group.clone()))?;
        let shown = group.secret(&id.name).and_then(show);
        Ok(shown.ok_or_else(|| change::Error::NoSuchSecret(id.clone()))?)
    }
}

fn secret_id(group: &str, name: &str) -> Result<SecretId, Error> {
    Ok(SecretId {
        group: parse("group", group)?,
        name: parse("name", name)?,
    })
}

fn token_status(custodian: &Custodian) -> v1::TokenStatus {
    let token = custodian.hsm().token();
    let health = custodian.hsm().health().borrow().clone();
    let (state, problem) = match health.state {
        WorkerState::Starting => ("starting", None),
        WorkerState::Serving => ("serving", None),
        WorkerState::Failed { problem, .. } => ("failed", Some(problem)),
    };
    v1::TokenStatus {
        label: token.label,
        serial: token.serial,
        manufacturer: token.manufacturer,
        model: token.model,
        module: token.module.display().to_string(),
        state: state.to_owned(),
        problem,
        worker_generation: health.generation,
    }
}

fn journal_status(custodian: &Custodian) -> v1::JournalStatus {
    let journal = custodian.journal();
    let position = journal.position();
    v1::JournalStatus {
        sequence: position.head.seq,
        hash: position.head.hash.to_string(),
        checkpoint: (position.covered > 0).then_some(position.covered),
        public_key: journal.origin().public_key.clone(),
        directory: journal.directory().display().to_string(),
    }
}
