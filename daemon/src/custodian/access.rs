//! Changes of who may do what: grants and roles.

use std::sync::Arc;

use custody::{
    change,
    name::RuleId,
    policy::rule::Rule,
    role::{Assignment, Operator},
};

use super::{Custodian, Error, changes::to_its_end};

impl Custodian {
    /// Adds a grant; `weak` says what was found weak about it and insisted on.
    pub(crate) async fn add_grant(
        self: &Arc<Self>,
        operator: Operator,
        rule: Rule,
        weak: Vec<&'static str>,
    ) -> Result<(), Error> {
        let this = Arc::clone(self);
        to_its_end(async move {
            let writer = &mut *this.writer().await?;
            let (edit, change) = change::add_grant(&this.state(), rule, weak)?;
            this.commit(writer, Some(&operator), edit, change).await
        })
        .await
    }

    /// Takes a grant back.
    pub(crate) async fn revoke_grant(
        self: &Arc<Self>,
        operator: Operator,
        id: RuleId,
    ) -> Result<(), Error> {
        let this = Arc::clone(self);
        to_its_end(async move {
            let writer = &mut *this.writer().await?;
            let (edit, change) = change::revoke_grant(&this.state(), &id)?;
            this.commit(writer, Some(&operator), edit, change).await
        })
        .await
    }

    /// Gives a role; `weak` says what was found weak about that and insisted on. There is no
    /// operator to one that is given on the machine.
    pub(crate) async fn assign_role(
        self: &Arc<Self>,
        operator: Option<Operator>,
        assignment: Assignment,
        weak: Vec<&'static str>,
    ) -> Result<(), Error> {
        let this = Arc::clone(self);
        to_its_end(async move {
            let writer = &mut *this.writer().await?;
            let (edit, change) = change::assign_role(&this.state(), assignment, weak)?;
            this.commit(writer, operator.as_ref(), edit, change).await
        })
        .await
    }

    /// Takes a role back.
    pub(crate) async fn revoke_role(
        self: &Arc<Self>,
        operator: Operator,
        id: RuleId,
    ) -> Result<(), Error> {
        let this = Arc::clone(self);
        to_its_end(async move {
            let writer = &mut *this.writer().await?;
            let (edit, change) = change::revoke_role(&this.state(), &id)?;
            this.commit(writer, Some(&operator), edit, change).await
        })
        .await
    }
}
