//! Group master keys: rotation, the end of old ones, and the loss of a token.

use custody::{change::key::Deed, group::Millis, name::GroupName};
use proto::v1;

use super::{Call, group, life::millis};
use crate::{api::parse, custodian::Error};

/// The usual time to spare a master key.
const GRACE: Millis = 30 * 24 * 60 * 60 * 1000;

impl Call<'_> {
    pub(super) async fn rotate_group(
        self,
        request: v1::RotateGroupRequest,
    ) -> Result<v1::Group, Error> {
        let name: GroupName = parse("group", &request.group)?;
        let v1::RotateGroupRequest {
            expected,
            compromised,
            keeping,
            ..
        } = request;
        let keeping = group::keeping(keeping.as_deref())?;
        self.manager
            .custodian
            .rotate_group(
                Some(self.operator),
                name.clone(),
                expected,
                keeping,
                compromised,
            )
            .await?;
        self.manager.group(&name)
    }

    pub(super) async fn compromise_master_key(
        self,
        request: v1::CompromiseMasterKeyRequest,
    ) -> Result<v1::Group, Error> {
        let name: GroupName = parse("group", &request.group)?;
        self.manager
            .custodian
            .compromise_key(self.operator, name.clone(), request.generation)
            .await?;
        self.manager.group(&name)
    }

    pub(super) async fn destroy_master_key(
        self,
        request: v1::DestroyMasterKeyRequest,
    ) -> Result<v1::Group, Error> {
        let deed = Deed::Destroy(request.grace_seconds.map_or(GRACE, millis));
        self.live_key(&request.group, request.generation, deed)
            .await
    }

    pub(super) async fn spare_master_key(
        self,
        request: v1::SpareMasterKeyRequest,
    ) -> Result<v1::Group, Error> {
        self.live_key(&request.group, request.generation, Deed::Spare)
            .await
    }

    pub(super) async fn lose_token(
        self,
        request: v1::LoseTokenRequest,
    ) -> Result<v1::LoseTokenResponse, Error> {
        let v1::LoseTokenRequest { token, accept_loss } = request;
        let custodian = &self.manager.custodian;
        let (token, loss) = custodian
            .lose_token(self.operator, &token, accept_loss)
            .await?;
        Ok(v1::LoseTokenResponse {
            label: token.label,
            serial: token.serial,
            master_keys: loss.keys,
            wraps: loss.wraps,
            lost: loss.lost.iter().map(ToString::to_string).collect(),
        })
    }

    async fn live_key(self, group: &str, generation: u32, deed: Deed) -> Result<v1::Group, Error> {
        let name: GroupName = parse("group", group)?;
        self.manager
            .custodian
            .live_key(self.operator, name.clone(), generation, deed)
            .await?;
        self.manager.group(&name)
    }
}
