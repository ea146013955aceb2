//! Groups.

use custody::{change, name::GroupName};
use proto::v1;

use super::{Call, Manager, about::purpose};
use crate::{
    api::{parse, view},
    custodian::Error,
};

impl Call<'_> {
    pub(super) async fn create_group(
        self,
        request: v1::CreateGroupRequest,
    ) -> Result<v1::Group, Error> {
        let name: GroupName = parse("name", &request.name)?;
        self.manager
            .custodian
            .create_group(self.operator, name.clone(), purpose(request)?)
            .await?;
        self.manager.group(&name)
    }

    pub(super) async fn get_group(self, request: v1::GetGroupRequest) -> Result<v1::Group, Error> {
        self.manager.group(&parse("name", &request.name)?)
    }
}

impl Manager {
    pub(super) fn group(&self, name: &GroupName) -> Result<v1::Group, Error> {
        let state = self.custodian.state();
        let group = state.group(name);
        let group = group.ok_or_else(|| change::Error::NoSuchGroup(name.clone()))?;
        Ok(view::group(group, &self.custodian))
    }
}
