//! Roles.

use custody::{
    change, lint,
    name::{GroupName, RuleId},
    policy::rule::Selectors,
    role::{Assignment, Role},
};
use proto::v1;

use super::Call;
use crate::{
    api::{parse, view},
    custodian::{Error, now},
};

impl Call<'_> {
    pub(super) async fn assign_role(
        self,
        request: v1::AssignRoleRequest,
    ) -> Result<v1::Role, Error> {
        let role: Role = parse("role", &request.role)?;
        let group = request.group.as_deref();
        let group: Option<GroupName> = group.map(|name| parse("group", name)).transpose()?;
        let selectors = Selectors::new(self.resolve(&request.selectors).await?)?;
        let custodian = &self.manager.custodian;
        let surroundings = custodian.surroundings(&selectors).await;
        let findings = {
            let state = custodian.state();
            let held: Vec<_> = state
                .assignments()
                .filter(|held| held.group.is_none() || group.is_none() || held.group == group)
                .collect();
            lint::role(role, &selectors, &held, &surroundings)
        };
        let weak = super::grant::insisted(&findings, request.allow_weak)?;
        let assignment = Assignment {
            id: RuleId::random().map_err(|_| Error::Random)?,
            role,
            group,
            selectors,
            created: now(),
            created_by: Some(self.operator.evidence().uid),
        };
        custodian
            .assign_role(Some(self.operator), assignment.clone(), weak)
            .await?;
        Ok(view::role(&assignment))
    }

    pub(super) async fn list_roles(
        self,
        _: v1::ListRolesRequest,
    ) -> Result<v1::ListRolesResponse, Error> {
        let state = self.manager.custodian.state();
        // Who has a role for one group sees who has one for it.
        let everything = self.operator.held().iter().any(|held| held.group.is_none());
        let seen = state.assignments().filter(|held| {
            everything
                || held
                    .group
                    .as_ref()
                    .is_none_or(|group| self.operator.sees(group))
        });
        Ok(v1::ListRolesResponse {
            roles: seen.map(view::role).collect(),
        })
    }

    pub(super) async fn revoke_role(
        self,
        request: v1::RevokeRoleRequest,
    ) -> Result<v1::RevokeRoleResponse, Error> {
        let id: RuleId = parse("id", &request.id)?;
        let act = self.operator.act();
        let same = {
            let state = self.manager.custodian.state();
            let held = state
                .assignment(&id)
                .ok_or(change::Error::NoSuchAssignment(id))?;
            (Some(held.role), &held.group) == (act.role, &act.group)
        };
        if !same {
            return Err(change::Error::NoSuchAssignment(id).into());
        }
        self.manager
            .custodian
            .revoke_role(self.operator, id)
            .await?;
        Ok(v1::RevokeRoleResponse {})
    }
}
