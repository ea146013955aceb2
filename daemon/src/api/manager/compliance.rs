//! The rules of groups, and what falls foul of them.

use std::{collections::BTreeSet, fmt::Display, num::NonZeroU32, str::FromStr};

use custody::{
    change,
    compliance::rules::{Mode, Rules},
    group::Millis,
    name::{GroupName, SecretName},
    outlook::{Outlook, findings},
    state::view::{GroupView, SecretView},
};
use proto::v1;

use super::{Call, expiring::groups};
use crate::{
    api::{parse, view},
    custodian::{Custodian, Error, now},
};

/// How many findings are listed, but for those of one secret.
const LISTED: usize = 10_000;

/// How many secrets are looked at before others get their turn.
const AT_ONCE: usize = 1000;

impl Call<'_> {
    pub(super) async fn set_rules(
        self,
        request: v1::SetRulesRequest,
    ) -> Result<v1::SetRulesResponse, Error> {
        let name: GroupName = parse("group", &request.group)?;
        let rules = request.rules.map(rules).transpose()?;
        let custodian = &self.manager.custodian;
        let mut list = List::default();
        match (request.dry_run, &rules) {
            (true, rules) => {
                if custodian.state().group(&name).is_none() {
                    return Err(change::Error::NoSuchGroup(name).into());
                }
                if let Some(rules) = rules {
                    list.try_out(custodian, &name, rules).await;
                }
            }
            (false, _) => {
                custodian
                    .set_rules(self.operator, name.clone(), rules.clone())
                    .await?;
                let outlook = custodian.outlook();
                if let Some(group) = custodian.state().group(&name) {
                    list.take_in(&outlook, group, now());
                }
            }
        }
        Ok(v1::SetRulesResponse {
            rules: rules.as_ref().map(view::rules),
            findings: list.findings,
            more: list.more,
        })
    }

    pub(super) async fn list_findings(
        self,
        request: v1::ListFindingsRequest,
    ) -> Result<v1::ListFindingsResponse, Error> {
        let custodian = &self.manager.custodian;
        let outlook = custodian.outlook();
        let state = custodian.state();
        let now = now();
        let mut list = List::default();
        for group in groups(&state, &self.operator, request.group.as_deref())? {
            list.take_in(&outlook, group, now);
        }
        Ok(v1::ListFindingsResponse {
            findings: list.findings,
            more: list.more,
        })
    }
}

/// Findings, as many as are listed.
#[derive(Default)]
struct List {
    findings: Vec<v1::RuleFinding>,
    /// How many secrets there are besides.
    more: u64,
}

impl List {
    /// Takes in what is found of the secrets of `group`.
    fn take_in(&mut self, outlook: &Outlook, group: GroupView<'_>, now: Millis) {
        let Some(adopted) = group.compliance() else {
            return;
        };
        for name in outlook.foul(&group.row().name) {
            if let Some(secret) = group.secret(name) {
                self.add(secret, &adopted.rules, now);
            }
        }
    }

    /// Takes in what would be found in all of the group called `name`.
    async fn try_out(&mut self, custodian: &Custodian, name: &GroupName, rules: &Rules) {
        let mut last: Option<SecretName> = None;
        loop {
            let at_once = {
                let state = custodian.state();
                let Some(group) = state.group(name) else {
                    return;
                };
                let secrets = group.secrets_after(last.as_ref());
                let secrets: Vec<_> = secrets.take(AT_ONCE).collect();
                last = secrets.last().map(|secret| secret.row().id.name.clone());
                for secret in &secrets {
                    self.add(*secret, rules, now());
                }
                secrets.len()
            };
            if at_once < AT_ONCE {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    fn add(&mut self, secret: SecretView<'_>, rules: &Rules, now: Millis) {
        let row = secret.row();
        let (found, _) = findings(secret, rules, now);
        if self.findings.len() >= LISTED {
            self.more += u64::from(!found.is_empty());
            return;
        }
        let shown = found.into_iter().map(|(version, finding)| v1::RuleFinding {
            group: row.id.group.to_string(),
            name: row.id.name.to_string(),
            r#type: row.kind.name().to_owned(),
            version,
            code: finding.code.name().to_owned(),
            problem: finding.problem,
            remedy: finding.remedy,
            enforced: rules.mode == Mode::Enforce && finding.code.refuses(),
        });
        self.findings.extend(shown);
    }
}

/// Rules as a request has them.
fn rules(given: v1::Rules) -> Result<Rules, Error> {
    Ok(Rules {
        mode: parse("rules.mode", &given.mode)?,
        min_rsa_bits: number("rules.min_rsa_bits", given.min_rsa_bits)?,
        min_ec_bits: number("rules.min_ec_bits", given.min_ec_bits)?,
        min_symmetric_bits: number("rules.min_symmetric_bits", given.min_symmetric_bits)?,
        key_algorithms: names("rules.key_algorithms", &given.key_algorithms)?,
        signature_algorithms: names("rules.signature_algorithms", &given.signature_algorithms)?,
        symmetric_algorithms: names("rules.symmetric_algorithms", &given.symmetric_algorithms)?,
        min_tls_version: given
            .min_tls_version
            .map(|version| parse("rules.min_tls_version", &version))
            .transpose()?,
        max_validity_days: number("rules.max_validity_days", given.max_validity_days)?,
        warn_before_days: number("rules.warn_before_days", given.warn_before_days)?,
        max_age_days: number("rules.max_age_days", given.max_age_days)?,
        required_labels: names("rules.required_labels", &given.required_labels)?,
    })
}

fn number(field: &'static str, given: Option<u32>) -> Result<Option<NonZeroU32>, Error> {
    let number = |given: u32| parse(field, &given.to_string());
    given.map(number).transpose()
}

fn names<T>(field: &'static str, given: &[String]) -> Result<BTreeSet<T>, Error>
where
    T: FromStr<Err: Display> + Ord,
{
    given.iter().map(|name| parse(field, name)).collect()
}
