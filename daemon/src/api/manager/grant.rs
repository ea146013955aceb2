//! Grants.

use custody::{
    change,
    lint::{self, Finding},
    name::{GroupName, RuleId},
    policy::rule::{Patterns, Rate, Rule, Selectors, Senseless, Terms},
    secret::Kind,
    selector::{Selector, written::Written},
};
use proto::v1;

use super::Call;
use crate::{
    api::{parse, view},
    custodian::{Error, now},
    names,
};

impl Call<'_> {
    pub(super) async fn add_grant(
        self,
        request: v1::AddGrantRequest,
    ) -> Result<v1::AddGrantResponse, Error> {
        let patterns = request.patterns.iter();
        let patterns: Vec<_> = patterns
            .map(|pattern| parse("pattern", pattern))
            .collect::<Result<_, _>>()?;
        let terms = request.terms.map_or_else(|| Ok(Terms::default()), terms)?;
        terms.check()?;
        let rule = Rule {
            id: RuleId::random().map_err(|_| Error::Random)?,
            group: parse("group", &request.group)?,
            patterns: Patterns::new(patterns)?,
            selectors: Selectors::new(self.resolve(&request.selectors).await?)?,
            terms,
            created: now(),
            created_by: self.operator.evidence().uid,
        };
        let custodian = &self.manager.custodian;
        let surroundings = custodian.surroundings(&rule.selectors).await;
        let findings = lint::grant(&rule.patterns, &rule.selectors, &surroundings);
        let shown = findings.iter().map(view::finding).collect();
        let mut grant = view::grant(&rule, &custodian.usage());
        if request.dry_run {
            if custodian.state().group(&rule.group).is_none() {
                return Err(change::Error::NoSuchGroup(rule.group).into());
            }
            grant.id.clear();
        } else {
            let weak = insisted(&findings, request.allow_weak)?;
            custodian.add_grant(self.operator, rule, weak).await?;
        }
        Ok(v1::AddGrantResponse {
            grant: Some(grant),
            findings: shown,
        })
    }

    pub(super) async fn revoke_grant(
        self,
        request: v1::RevokeGrantRequest,
    ) -> Result<v1::RevokeGrantResponse, Error> {
        let id: RuleId = parse("id", &request.id)?;
        let group = self.operator.act().group.clone();
        let same = {
            let state = self.manager.custodian.state();
            state.rule(&id).map(|rule| rule.group.clone()) == group
        };
        if !same {
            return Err(change::Error::NoSuchGrant(id).into());
        }
        self.manager
            .custodian
            .revoke_grant(self.operator, id)
            .await?;
        Ok(v1::RevokeGrantResponse {})
    }

    pub(super) async fn lint_grants(
        self,
        request: v1::LintGrantsRequest,
    ) -> Result<v1::LintGrantsResponse, Error> {
        let custodian = &self.manager.custodian;
        let mut grants = Vec::new();
        let group = some_group(request.group.as_deref())?;
        for rule in self.rules(group.as_ref())? {
            let surroundings = custodian.surroundings(&rule.selectors).await;
            let mut findings = lint::grant(&rule.patterns, &rule.selectors, &surroundings);
            let sees = |group: &GroupName| self.operator.sees(group);
            findings.extend(lint::parts::ungranted(&custodian.state(), &rule, sees));
            if !findings.is_empty() {
                grants.push(v1::lint_grants_response::Linted {
                    grant: Some(view::grant(&rule, &custodian.usage())),
                    findings: findings.iter().map(view::finding).collect(),
                });
            }
        }
        Ok(v1::LintGrantsResponse { grants })
    }

    /// The grants of one group, or of all that the operator has a role for.
    fn rules(&self, group: Option<&GroupName>) -> Result<Vec<Rule>, Error> {
        self.exists(group)?;
        let state = self.manager.custodian.state();
        let groups = state.groups_from(None, group);
        let seen = groups.filter(|seen| self.operator.sees(&seen.row().name));
        Ok(seen.flat_map(|group| group.rules().cloned()).collect())
    }

    /// The selectors that were written, with numbers for names.
    pub(super) async fn resolve(&self, written: &[String]) -> Result<Vec<Selector>, Error> {
        let written: Vec<Written> = written
            .iter()
            .map(|selector| parse("selector", selector))
            .collect::<Result<_, _>>()?;
        // A directory service may take its time.
        let resolve = move || {
            written
                .into_iter()
                .map(names::resolve)
                .collect::<Result<_, _>>()
        };
        let resolved = tokio::task::spawn_blocking(resolve).await;
        Ok(resolved.map_err(|_| Error::Stopping)??)
    }
}

pub(super) fn some_group(name: Option<&str>) -> Result<Option<GroupName>, Error> {
    name.map(|name| parse("group", name)).transpose()
}

/// The findings that were insisted on; if they were not, or that does not help, they are
/// the error.
pub(super) fn insisted(findings: &[Finding], allow_weak: bool) -> Result<Vec<&'static str>, Error> {
    if findings.iter().any(|finding| finding.hopeless) {
        return Err(Error::Hopeless(findings.to_vec()));
    }
    if !findings.is_empty() && !allow_weak {
        return Err(Error::Weak(findings.to_vec()));
    }
    Ok(findings.iter().map(|finding| finding.code).collect())
}

fn terms(written: v1::Terms) -> Result<Terms, Error> {
    let uses = match written.uses {
        None => None,
        Some(uses) => Some(uses.try_into().map_err(|_| Error::Malformed {
            field: "uses",
            text: "0".to_owned(),
            problem: "a grant for no use is no grant".to_owned(),
        })?),
    };
    let rate = match (written.rate_uses, written.rate_seconds) {
        (None, None) => None,
        (uses, seconds) => Some(Rate {
            uses: uses.ok_or(Senseless::Rate)?,
            seconds: seconds.ok_or(Senseless::Rate)?,
        }),
    };
    Ok(Terms {
        kind: written.r#type.as_deref().map(Kind::from_name).transpose()?,
        fields: written.fields.into_iter().collect(),
        not_before: written.not_before.map(view::millis).transpose()?,
        not_after: written.not_after.map(view::millis).transpose()?,
        uses,
        rate,
    })
}
