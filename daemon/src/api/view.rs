//! Rows and evidence as the wire shows them.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::{NonZeroU32, NonZeroU64},
    time::SystemTime,
};

use custody::{
    caller::{Evidence, observation::Pinned},
    compliance::rules::Rules,
    group::{MasterKey, Millis},
    holder::TokenId,
    label::Labels,
    lint::Finding,
    policy::rule::{Rule, Terms},
    role::Assignment,
    secret::{fields::Fields, version::Secret},
    selector::Selector,
    state::view::{GroupView, SecretView, VersionView},
    usage::{
        Usage,
        visits::{Fetched, Visits},
    },
};
use hsm::WorkerState;
use prost_types::Timestamp;
use proto::v1;

use crate::{
    custodian::{Custodian, Error, Use},
    tokens::{Presence, Token},
};

pub(super) fn timestamp(millis: Millis) -> Timestamp {
    let (seconds, rest) = (millis / 1000, millis % 1000);
    Timestamp {
        seconds: i64::try_from(seconds).unwrap_or(i64::MAX),
        nanos: i32::try_from(rest * 1_000_000).expect("below a second"),
    }
}

/// A time on the wire.
pub(super) fn millis(time: Timestamp) -> Result<Millis, Error> {
    let millis = || {
        let seconds = Millis::try_from(time.seconds).ok()?.checked_mul(1000)?;
        seconds.checked_add(Millis::try_from(time.nanos).ok()? / 1_000_000)
    };
    millis().ok_or_else(|| Error::Malformed {
        field: "time",
        text: time.to_string(),
        problem: "no time since 1970".to_owned(),
    })
}

/// Content, on its way out. Nothing of it stays here.
pub(super) fn fields(fields: Fields) -> Vec<v1::Field> {
    let fields = fields.into_iter();
    fields
        .map(|(name, mut value)| v1::Field {
            name,
            value: std::mem::take(&mut *value),
        })
        .collect()
}

pub(super) fn evidence(evidence: &Evidence) -> v1::Evidence {
    v1::Evidence {
        pid: evidence.pid,
        uid: evidence.uid,
        gid: evidence.gid,
        unit: evidence.unit.clone(),
        cgroup: evidence.cgroup.clone(),
        exe: evidence.exe.clone(),
        exe_doubt: evidence.exe_doubt.map(|doubt| doubt.to_string()),
        invocation: evidence.invocation.clone(),
        container: evidence.container.clone(),
        pod: evidence.pod.clone(),
        by_number: evidence.pinned == Pinned::ByNumber,
    }
}

pub(super) fn selectors(evidence: &Evidence) -> Vec<v1::Selector> {
    evidence.selectors().iter().map(selector).collect()
}

pub(super) fn selector(selector: &Selector) -> v1::Selector {
    v1::Selector {
        text: selector.to_string(),
        strength: selector.strength().name().to_owned(),
        caution: selector.caution().to_owned(),
    }
}

pub(super) fn finding(finding: &Finding) -> v1::Finding {
    v1::Finding {
        code: finding.code.to_owned(),
        hopeless: finding.hopeless,
        problem: finding.problem.clone(),
        remedy: finding.remedy.to_owned(),
    }
}

pub(super) fn role(held: &Assignment) -> v1::Role {
    v1::Role {
        id: held.id.to_string(),
        role: held.role.name().to_owned(),
        group: held.group.as_ref().map(ToString::to_string),
        selectors: texts(held.selectors.as_slice()),
        created: Some(timestamp(held.created)),
        created_by: held.created_by,
    }
}

pub(super) fn consumer(secret: &Secret, used: &Use) -> v1::Consumer {
    let visits = used.visits.as_ref();
    let version = visits.and_then(Visits::version);
    v1::Consumer {
        name: secret.id.name.to_string(),
        uid: used.consumer.uid,
        what: used.consumer.what.as_ref().map(ToString::to_string),
        version: version.unwrap_or(0),
        outdated: version.is_some() && version != secret.current,
        fetches: visits.map_or(0, |visits| visits.fetches),
        first: visits.map(|visits| timestamp(visits.first)),
        last: visits.map(|visits| timestamp(visits.last)),
        watching: used.is_watching,
        recent: used.is_recent,
        versions: visits.map_or_else(Vec::new, |visits| {
            let newest_first = visits.versions.iter().rev();
            newest_first.map(fetched).collect()
        }),
    }
}

fn fetched(fetched: &Fetched) -> v1::FetchedVersion {
    v1::FetchedVersion {
        version: fetched.version,
        last: Some(timestamp(fetched.last)),
    }
}

fn texts<T: ToString>(items: &[T]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}

pub(super) fn group(group: GroupView<'_>, custodian: &Custodian) -> v1::Group {
    let row = group.row();
    v1::Group {
        name: row.name.to_string(),
        description: row.purpose.about.description.to_string(),
        business_group: row.purpose.business_group.to_string(),
        environment: row.purpose.environment.to_string(),
        labels: labels(&row.purpose.about.labels),
        created: Some(timestamp(row.created)),
        master_keys: group
            .keys()
            .map(|key| master_key(group, key, custodian))
            .collect(),
        secrets: group.secrets().len() as u64,
        grants: group.rules().len() as u64,
        rules: group.compliance().map(|adopted| rules(&adopted.rules)),
        cache: row.cache.map(|terms| v1::Cache {
            seconds: terms.seconds(),
            uses: terms.uses(),
            outage_seconds: terms.outage_seconds(),
        }),
        holders: row
            .holders
            .tokens()
            .iter()
            .map(|token| holder(group, token, custodian))
            .collect(),
        writes: row.holders.writes().name().to_owned(),
        keeping: row.keeping.name().to_owned(),
    }
}

pub(super) fn rules(rules: &Rules) -> v1::Rules {
    let number = |number: Option<NonZeroU32>| number.map(NonZeroU32::get);
    v1::Rules {
        mode: rules.mode.name().to_owned(),
        min_rsa_bits: number(rules.min_rsa_bits),
        min_ec_bits: number(rules.min_ec_bits),
        min_symmetric_bits: number(rules.min_symmetric_bits),
        key_algorithms: texts_of(&rules.key_algorithms),
        signature_algorithms: texts_of(&rules.signature_algorithms),
        symmetric_algorithms: texts_of(&rules.symmetric_algorithms),
        min_tls_version: rules.min_tls_version.map(|version| version.to_string()),
        max_validity_days: number(rules.max_validity_days),
        warn_before_days: number(rules.warn_before_days),
        max_age_days: number(rules.max_age_days),
        required_labels: texts_of(&rules.required_labels),
    }
}

fn texts_of<T: ToString>(items: &BTreeSet<T>) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}

pub(super) fn moment(at: SystemTime) -> Timestamp {
    let since = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    timestamp(Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX))
}

fn holder(group: GroupView<'_>, token: &TokenId, custodian: &Custodian) -> v1::Holder {
    let key = group.protecting().find(|key| key.token == *token);
    let problem = match custodian.tokens().get(token).map(Token::presence) {
        Some(Presence::Here(client)) => match client.health().borrow().state.clone() {
            WorkerState::Failed { problem, .. } => Some(problem),
            _ => None,
        },
        Some(Presence::Away(Some(why))) => Some(format!("away: {why}")),
        Some(Presence::Away(None) | Presence::Arrived(_)) => {
            Some("it is being looked for".to_owned())
        }
        None => Some("the configuration does not have it".to_owned()),
    };
    v1::Holder {
        label: token.label.clone(),
        serial: token.serial.clone(),
        problem,
        lacks: key.map(|key| group.lacks(&key.id)),
    }
}

pub(super) fn master_key(
    group: GroupView<'_>,
    key: &MasterKey,
    custodian: &Custodian,
) -> v1::MasterKey {
    let client = custodian.tokens().client(&key.token).ok();
    let canary = client.as_ref().and_then(|client| client.canary(&key.id));
    v1::MasterKey {
        id: key.id.to_string(),
        generation: key.generation,
        state: key.state.name().to_owned(),
        wrapping: key.wrapping.name().to_owned(),
        token_label: key.token.label.clone(),
        token_serial: key.token.serial.clone(),
        created: Some(timestamp(key.created)),
        refused: client.and_then(|client| client.refused(&key.id)),
        canary: canary.as_ref().map(|canary| moment(canary.at)),
        canary_problem: canary.and_then(|canary| canary.problem),
        wraps: group.wraps(&key.id),
        emptied: key.state.emptied().map(timestamp),
        doom: key.state.doom().map(timestamp),
        invocations: key.reserved,
        renewals: group.renewals(key),
        root: key.blob.as_ref().map(|blob| blob.root.to_string()),
    }
}

pub(super) fn secret(group: GroupView<'_>, secret: SecretView<'_>) -> v1::Secret {
    let row = secret.row();
    v1::Secret {
        group: row.id.group.to_string(),
        name: row.id.name.to_string(),
        r#type: row.kind.name().to_owned(),
        created: Some(timestamp(row.created)),
        current: secret.current().map(|current| version(group, current)),
        versions: u32::try_from(secret.versions().len()).unwrap_or(u32::MAX),
        previous: row.previous,
        pending: row.pending,
        keep: row.keep.map(NonZeroU32::get),
        description: row.about.description.to_string(),
        labels: labels(&row.about.labels),
        found: Vec::new(),
    }
}

/// Bytes of a fingerprint that are shown: enough to tell versions apart.
const SHOWN: usize = 16;

fn labels(labels: &Labels) -> BTreeMap<String, String> {
    let labels = labels.as_slice().iter();
    let texts = labels.map(|(key, value)| (key.to_string(), value.to_string()));
    texts.collect()
}

pub(super) fn version(group: GroupView<'_>, version: VersionView<'_>) -> v1::Version {
    let row = version.row();
    let keys = version.wraps().filter_map(|wrap| group.key(&wrap.gmk));
    v1::Version {
        number: row.id.number,
        created: Some(timestamp(row.created)),
        created_by: row.created_by,
        size: row.size,
        properties: row
            .published()
            .map(|(name, value)| v1::Property {
                name: name.to_owned(),
                value: value.to_owned(),
            })
            .collect(),
        master_keys: version.wraps().map(|wrap| wrap.gmk.to_string()).collect(),
        state: row.state.name().to_owned(),
        doom: row.state.doom().map(timestamp),
        valid_until: row.valid_until.map(timestamp),
        fingerprint: hex::encode(&row.fingerprint.as_bytes()[..SHOWN]),
        unchanged: false,
        generation: keys.map(|key| key.generation).max(),
    }
}

pub(super) fn grant(rule: &Rule, usage: &Usage) -> v1::Grant {
    let uses = usage.of_rule(&rule.id);
    v1::Grant {
        id: rule.id.to_string(),
        group: rule.group.to_string(),
        patterns: texts(rule.patterns.as_slice()),
        selectors: texts(rule.selectors.as_slice()),
        created: Some(timestamp(rule.created)),
        created_by: rule.created_by,
        terms: Some(terms(&rule.terms)),
        used: uses.map_or(0, |uses| uses.count),
        last_used: uses.map(|uses| timestamp(uses.last)),
    }
}

fn terms(terms: &Terms) -> v1::Terms {
    v1::Terms {
        r#type: terms.kind.map(|kind| kind.name().to_owned()),
        fields: terms.fields.iter().cloned().collect(),
        not_before: terms.not_before.map(timestamp),
        not_after: terms.not_after.map(timestamp),
        uses: terms.uses.map(NonZeroU64::get),
        rate_uses: terms.rate.map(|rate| rate.uses),
        rate_seconds: terms.rate.map(|rate| rate.seconds),
    }
}
