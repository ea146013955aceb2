//! All that a container holds: its keys, and the certificates that are no key's.

use std::collections::BTreeSet;

use super::{Container, Der, apart};
use crate::secret::{
    Refused,
    key::PrivateKey,
    x509::{chain, parse},
};

/// A container, opened.
pub(in crate::secret) struct Opened {
    /// Each key, by its alias.
    pub(in crate::secret) keys: Vec<(String, Result<Opening, Refused>)>,
    /// The certificates that are in no key's chain.
    pub(in crate::secret) others: Vec<Der>,
}

/// A key that opened.
pub(in crate::secret) struct Opening {
    pub(in crate::secret) key: PrivateKey,
    /// Leaf first; empty if the container has no certificate of the key.
    pub(in crate::secret) chain: Vec<Der>,
}

impl Container {
    /// Opens every key; one that stays closed keeps none of the others so.
    pub(in crate::secret) fn open(mut self, passphrase: &str) -> Result<Opened, Refused> {
        let aliases = self.aliases();
        let field = self.field;
        let (ids, pool) = apart(self.certificates);
        let parsed = parse(field, &pool)?;
        let mut used = BTreeSet::new();
        let mut keys = Vec::new();
        for (alias, entry) in aliases.into_iter().zip(self.keys) {
            let key = entry.unlock(field, passphrase, &mut self.effort);
            let chain = match entry.leaf(&ids, &parsed, key.as_ref().ok()) {
                Some(leaf) if entry.chain.is_empty() => chain::order(&parsed, leaf),
                _ => Vec::new(),
            };
            used.extend(chain.iter().copied());
            let opening = key.map(|key| Opening {
                key,
                chain: match entry.chain.is_empty() {
                    true => chain::select(&pool, &chain),
                    false => entry.chain,
                },
            });
            keys.push((alias, opening));
        }
        let others = (0..pool.len()).filter(|at| !used.contains(at));
        let others = chain::select(&pool, &others.collect::<Vec<_>>());
        Ok(Opened { keys, others })
    }
}
