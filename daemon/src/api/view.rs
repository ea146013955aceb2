//! Rows and evidence as the wire shows them.

use custody::{
    caller::Evidence,
    group::{MasterKey, Millis},
    policy::Rule,
    state::view::{GroupView, SecretView, VersionView},
};
use prost_types::Timestamp;
use proto::v1;

use crate::custodian::Custodian;

pub(super) fn timestamp(millis: Millis) -> Timestamp {
    let (seconds, rest) = (millis / 1000, millis % 1000);
    Timestamp {
        seconds: i64::try_from(seconds).unwrap_or(i64::MAX),
        nanos: i32::try_from(rest * 1_000_000).expect("below a second"),
    }
}

pub(super) fn evidence(evidence: Evidence) -> v1::Evidence {
    v1::Evidence {
        pid: evidence.pid,
        uid: evidence.uid,
        gid: evidence.gid,
        unit: evidence.unit,
        cgroup: evidence.cgroup,
        exe: evidence.exe,
        exe_doubt: evidence.exe_doubt.map(|doubt| doubt.to_string()),
    }
}

pub(super) fn group(group: GroupView<'_>, custodian: &Custodian) -> v1::Group {
    let row = group.row();
    v1::Group {
        name: row.name.to_string(),
        description: row.description.clone(),
        created: Some(timestamp(row.created)),
        master_keys: group.keys().map(|key| master_key(key, custodian)).collect(),
        secrets: group.secrets().len() as u64,
        grants: group.rules().len() as u64,
    }
}

fn master_key(key: &MasterKey, custodian: &Custodian) -> v1::MasterKey {
    v1::MasterKey {
        id: key.id.to_string(),
        generation: key.generation,
        state: key.state.name().to_owned(),
        wrapping: key.wrapping.name().to_owned(),
        token_label: key.token_label.clone(),
        token_serial: key.token_serial.clone(),
        created: Some(timestamp(key.created)),
        refused: custodian.hsm().refused(&key.id),
    }
}

pub(super) fn secret(secret: SecretView<'_>) -> v1::Secret {
    let row = secret.row();
    v1::Secret {
        group: row.id.group.to_string(),
        name: row.id.name.to_string(),
        r#type: row.kind.name().to_owned(),
        created: Some(timestamp(row.created)),
        current: secret.current().map(version),
        versions: u32::try_from(secret.versions().len()).unwrap_or(u32::MAX),
    }
}

pub(super) fn version(version: VersionView<'_>) -> v1::Version {
    let row = version.row();
    v1::Version {
        number: row.id.number,
        created: Some(timestamp(row.created)),
        created_by: row.created_by,
        size: row.size,
        properties: row
            .properties
            .iter()
            .map(|(name, value)| v1::Property {
                name: name.clone(),
                value: value.clone(),
            })
            .collect(),
        master_keys: version.wraps().map(|wrap| wrap.gmk.to_string()).collect(),
    }
}

pub(super) fn grant(rule: &Rule) -> v1::Grant {
    v1::Grant {
        id: rule.id.to_string(),
        group: rule.group.to_string(),
        pattern: rule.pattern.to_string(),
        selectors: rule
            .selectors
            .as_slice()
            .iter()
            .map(ToString::to_string)
            .collect(),
        created: Some(timestamp(rule.created)),
        created_by: rule.created_by,
    }
}
