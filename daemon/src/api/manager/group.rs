//! Groups.

use custody::{change, group::Keeping, holder::Writes, name::GroupName};
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
        let custodian = &self.manager.custodian;
        let writes = writes(request.writes.as_deref())?.unwrap_or_default();
        let holders = custodian.holders_of(&request.tokens, writes)?;
        let keeping = keeping(request.keeping.as_deref())?.unwrap_or_default();
        custodian
            .create_group(
                self.operator,
                name.clone(),
                purpose(request)?,
                holders,
                keeping,
            )
            .await?;
        self.manager.group(&name)
    }

    pub(super) async fn hold_group(
        self,
        request: v1::HoldGroupRequest,
    ) -> Result<v1::Group, Error> {
        let name: GroupName = parse("group", &request.group)?;
        let custodian = &self.manager.custodian;
        let before = custodian.holders(&name)?;
        let writes = writes(request.writes.as_deref())?.unwrap_or(before.writes());
        let tokens = match &request.tokens[..] {
            [] => before,
            names => custodian.holders_of(names, writes)?,
        };
        let holders = tokens.with(writes);
        custodian
            .hold_group(self.operator, name.clone(), holders)
            .await?;
        self.manager.group(&name)
    }

    pub(super) async fn get_group(self, request: v1::GetGroupRequest) -> Result<v1::Group, Error> {
        self.manager.group(&parse("name", &request.name)?)
    }
}

fn writes(name: Option<&str>) -> Result<Option<Writes>, Error> {
    let Some(name) = name else {
        return Ok(None);
    };
    let known = Writes::ALL.map(Writes::name).join(", ");
    Writes::from_name(name).map(Some).ok_or(Error::Malformed {
        field: "writes",
        text: name.to_owned(),
        problem: format!("there is {known}"),
    })
}

pub(super) fn keeping(name: Option<&str>) -> Result<Option<Keeping>, Error> {
    let Some(name) = name else {
        return Ok(None);
    };
    let known = Keeping::ALL.map(Keeping::name).join(", ");
    Keeping::from_name(name).map(Some).ok_or(Error::Malformed {
        field: "keeping",
        text: name.to_owned(),
        problem: format!("there is {known}"),
    })
}

impl Manager {
    pub(super) fn group(&self, name: &GroupName) -> Result<v1::Group, Error> {
        let state = self.custodian.state();
        let group = state.group(name);
        let group = group.ok_or_else(|| change::Error::NoSuchGroup(name.clone()))?;
        Ok(view::group(group, &self.custodian))
    }
}
