//! Secrets and their versions: content goes in, metadata comes out.

use custody::{
    change::{self, put::Terms},
    name::{SecretId, VersionId},
    secret::{Kind, fields::Fields},
    state::view::{GroupView, SecretView},
};
use proto::v1;

use super::{Call, Manager, about::about, life::millis};
use crate::{
    api::{parse, view},
    custodian::{Error, Wish},
};

impl Call<'_> {
    pub(super) async fn put_secret(
        self,
        request: v1::PutSecretRequest,
    ) -> Result<v1::Version, Error> {
        let id = secret_id(&request.group, &request.name)?;
        let kind = Kind::from_name(&request.r#type)?;
        let mut fields = Fields::default();
        for mut field in request.fields {
            let name = std::mem::take(&mut field.name);
            fields.push(name, std::mem::take(&mut field.value));
        }
        let terms = Terms {
            expected: request.expected,
            is_pending: request.pending,
            overlap: request.overlap_seconds.map(millis),
            keep: request.keep,
            even_if_same: request.even_if_same,
            is_request: false,
        };
        let wish = Wish {
            id: id.clone(),
            kind,
            about: about(&request.description, request.labels)?,
            fields,
        };
        let manager = self.manager;
        let put = manager
            .custodian
            .put_secret(self.operator, wish, terms)
            .await?;
        Ok(v1::Version {
            unchanged: put.is_unchanged,
            ..manager.version(&put.version)?
        })
    }

    pub(super) async fn get_secret(
        self,
        request: v1::GetSecretRequest,
    ) -> Result<v1::Secret, Error> {
        let id = secret_id(&request.group, &request.name)?;
        self.manager
            .with_secret(&id, |group, secret| Some(view::secret(group, secret)))
    }

    pub(super) async fn delete_secret(
        self,
        request: v1::DeleteSecretRequest,
    ) -> Result<v1::DeleteSecretResponse, Error> {
        let id = secret_id(&request.group, &request.name)?;
        let versions = self
            .manager
            .custodian
            .delete_secret(self.operator, id, request.force)
            .await?;
        Ok(v1::DeleteSecretResponse { versions })
    }
}

impl Manager {
    pub(super) fn version(&self, id: &VersionId) -> Result<v1::Version, Error> {
        self.with_secret(&id.secret, |group, secret| {
            let version = secret.version(id.number)?;
            Some(view::version(group, version))
        })
    }

    pub(super) fn with_secret<T>(
        &self,
        id: &SecretId,
        show: impl FnOnce(GroupView<'_>, SecretView<'_>) -> Option<T>,
    ) -> Result<T, Error> {
        let state = self.custodian.state();
        let group = state
            .group(&id.group)
            .ok_or_else(|| change::Error::NoSuchGroup(id.group.clone()))?;
        let shown = group
            .secret(&id.name)
            .and_then(|secret| show(group, secret));
        Ok(shown.ok_or_else(|| change::Error::NoSuchSecret(id.clone()))?)
    }
}

pub(super) fn secret_id(group: &str, name: &str) -> Result<SecretId, Error> {
    Ok(SecretId {
        group: parse("group", group)?,
        name: parse("name", name)?,
    })
}
