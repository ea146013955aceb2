//! A map of maps whose keys are no text, as a list of triples.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::name::SecretId;

type Secrets<K, V> = BTreeMap<SecretId, BTreeMap<K, V>>;

pub(super) fn serialize<S, K, V>(map: &Secrets<K, V>, to: S) -> Result<S::Ok, S::Error>
where
    S: Serializer,
    K: Serialize,
    V: Serialize,
{
    to.collect_seq(map.iter().flat_map(|(id, inner)| {
        let triple = move |(key, value)| (id, key, value);
        inner.iter().map(triple)
    }))
}

pub(super) fn deserialize<'de, D, K, V>(from: D) -> Result<Secrets<K, V>, D::Error>
where
    D: Deserializer<'de>,
    K: Deserialize<'de> + Ord,
    V: Deserialize<'de>,
{
    let mut map = Secrets::new();
    for (id, key, value) in Vec::<(SecretId, K, V)>::deserialize(from)? {
        map.entry(id).or_default().insert(key, value);
    }
    Ok(map)
}
