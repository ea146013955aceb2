//! The life of versions.

use custody::{
    change::{self, life::Deed},
    group::Millis,
    secret::version::Which,
};
use proto::v1;

use super::{Call, secret::secret_id};
use crate::{
    api::{parse, view},
    custodian::Error,
};

/// How long a version that is to be destroyed can be restored, unless it is said: 7 days.
const GRACE: Millis = 7 * 24 * 60 * 60 * 1000;

impl Call<'_> {
    pub(super) async fn activate_version(
        self,
        request: v1::ActivateVersionRequest,
    ) -> Result<v1::Secret, Error> {
        let id = secret_id(&request.group, &request.name)?;
        let which: Which = parse("which", &request.which)?;
        let overlap = request.overlap_seconds.map(millis);
        let manager = self.manager;
        manager
            .custodian
            .activate(self.operator, id.clone(), which, overlap)
            .await?;
        manager.with_secret(&id, |group, secret| Some(view::secret(group, secret)))
    }

    pub(super) async fn enable_version(
        self,
        request: v1::EnableVersionRequest,
    ) -> Result<v1::Version, Error> {
        let v1::EnableVersionRequest { group, name, which } = request;
        self.live(&group, &name, &which, Deed::Enable, false).await
    }

    pub(super) async fn disable_version(
        self,
        request: v1::DisableVersionRequest,
    ) -> Result<v1::Version, Error> {
        let v1::DisableVersionRequest {
            group,
            name,
            which,
            force,
        } = request;
        self.live(&group, &name, &which, Deed::Disable, force).await
    }

    pub(super) async fn destroy_version(
        self,
        request: v1::DestroyVersionRequest,
    ) -> Result<v1::Version, Error> {
        let v1::DestroyVersionRequest {
            group,
            name,
            which,
            force,
            grace_seconds,
        } = request;
        let deed = Deed::Destroy(grace_seconds.map_or(GRACE, millis));
        self.live(&group, &name, &which, deed, force).await
    }

    pub(super) async fn restore_version(
        self,
        request: v1::RestoreVersionRequest,
    ) -> Result<v1::Version, Error> {
        let v1::RestoreVersionRequest { group, name, which } = request;
        self.live(&group, &name, &which, Deed::Restore, false).await
    }

    async fn live(
        self,
        group: &str,
        name: &str,
        which: &str,
        deed: Deed,
        force: bool,
    ) -> Result<v1::Version, Error> {
        let id = secret_id(group, name)?;
        let which: Which = parse("which", which)?;
        let manager = self.manager;
        let number = manager
            .custodian
            .live(self.operator, id.clone(), which, deed, force)
            .await?;
        let shown = manager.with_secret(&id, |group, secret| {
            let version = secret.version(number);
            Some(version.map(|version| view::version(group, version)))
        })?;
        let gone = change::Error::NoSuchVersion { secret: id, which };
        Ok(shown.ok_or(gone)?)
    }
}

pub(super) fn millis(seconds: u64) -> Millis {
    seconds.saturating_mul(1000)
}
