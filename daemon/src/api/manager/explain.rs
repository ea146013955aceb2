//! Why a process gets a secret or not, and what a grant to a unit would look like.

use std::collections::BTreeSet;

use custody::{
    caller::Evidence,
    lint,
    policy::{
        Deliver, Moment, Wanted,
        rule::{Patterns, Selectors},
    },
    role::Operation,
    selector::Selector,
    state::resolve::Part,
};
use proto::v1;

use super::Call;
use crate::{
    api::{parse, view},
    custodian::{Error, now},
};

/// How many grants are shown that do not match.
const NEAREST: usize = 10;

impl Call<'_> {
    pub(super) async fn explain_grant(
        self,
        request: v1::ExplainGrantRequest,
    ) -> Result<v1::ExplainGrantResponse, Error> {
        let wanted = Wanted {
            group: parse("group", &request.group)?,
            name: parse("name", &request.name)?,
            version: crate::api::which(request.version, None)?,
            fields: BTreeSet::new(),
        };
        let custodian = &self.manager.custodian;
        let evidence = custodian.process(request.pid).await?;
        let state = custodian.state();
        let usage = custodian.usage();
        let moment = Moment {
            now: now(),
            usage: &usage,
        };
        let explained = state.explain::<Deliver>(&evidence, &wanted, moment);
        let considered = explained.considered.iter().take(NEAREST);
        let delivered = match explained.outcome {
            Ok(rule) => rule.terms.fields.clone(),
            Err(_) => BTreeSet::new(),
        };
        let followed = Wanted {
            fields: delivered,
            ..wanted.clone()
        };
        let parts = state.explain_parts::<Deliver>(&evidence, &followed, moment);
        let asker = self.operator.evidence();
        let part = |Part { link, outcome }: Part| {
            let known = state.is_open(asker, &link.to.secret, Operation::ExplainGrant);
            let outcome = known.then_some(outcome);
            v1::ExplainedPart {
                field: link.field.to_owned(),
                reference: link.to.to_string(),
                granted_by: outcome.and_then(|outcome| Some(outcome.ok()?.to_string())),
                reason: outcome.and_then(|outcome| Some(outcome.err()?.to_string())),
            }
        };
        Ok(v1::ExplainGrantResponse {
            granted_by: explained.outcome.ok().map(|rule| rule.id.to_string()),
            reason: explained.outcome.err().map(|reason| reason.to_string()),
            parts: parts.into_iter().map(part).collect(),
            considered: considered
                .map(|(rule, obstacles)| v1::Considered {
                    grant: Some(view::grant(rule, &usage)),
                    missing: obstacles
                        .iter()
                        .map(|obstacle| v1::Missing {
                            demands: obstacle.demands(rule),
                            found: obstacle.found(&evidence, &wanted),
                        })
                        .collect(),
                })
                .collect(),
            selectors: view::selectors(&evidence),
            evidence: Some(view::evidence(&evidence)),
        })
    }

    pub(super) async fn suggest_grant(
        self,
        request: v1::SuggestGrantRequest,
    ) -> Result<v1::SuggestGrantResponse, Error> {
        let unit: Selector = parse("unit", &format!("systemd:id:{}", request.unit))?;
        let custodian = &self.manager.custodian;
        let members = custodian.members(&request.unit).await;
        if members.is_empty() {
            return Err(Error::NobodyInUnit(request.unit));
        }
        let drafted = Selectors::new(draft(unit, &members))?;
        let surroundings = custodian.surroundings(&drafted).await;
        let one = Patterns::new(vec![parse("pattern", "name")?])?;
        let findings = lint::grant(&one, &drafted, &surroundings);
        let drafted = drafted.as_slice().iter();
        Ok(v1::SuggestGrantResponse {
            selectors: drafted.map(view::selector).collect(),
            processes: members.iter().map(view::evidence).collect(),
            findings: findings.iter().map(view::finding).collect(),
        })
    }
}

/// The unit, and its user and defining file if all of its processes have the same. An
/// executable says little and changes often: it is left out.
fn draft(unit: Selector, members: &[Evidence]) -> Vec<Selector> {
    let mut selectors = vec![unit];
    let same = |of: fn(&Evidence) -> Option<Selector>| {
        let mut all = members.iter().map(of);
        let first = all.next().flatten();
        first.filter(|first| all.all(|other| other.as_ref() == Some(first)))
    };
    selectors.extend(same(|member| Some(Selector::Uid(member.uid))));
    selectors.extend(same(|member| {
        member.facts.fragment.clone().map(Selector::Fragment)
    }));
    selectors
}
