//! Which key goes with which certificates, over all files.

use std::{collections::BTreeSet, mem};

use custody::secret::{
    fields::Fields,
    recognise::{self, Certificate, Crl, Found, Key},
};

use super::{
    plan::{Candidate, Left, Plan},
    walk::Source,
};

/// Keys, certificates and revocation lists out of all sources, which go by number.
#[derive(Default)]
pub(super) struct Parts {
    keys: Vec<Owned>,
    /// Each certificate once.
    pool: Vec<Certificate>,
    /// Where each in the pool is.
    places: Vec<BTreeSet<usize>>,
    /// Whether each in the pool is in the chain of a key.
    used: Vec<bool>,
    crls: Vec<(usize, Crl)>,
}

/// A key, and where it is.
struct Owned {
    key: Key,
    /// The source that it was first seen in, and is called after.
    at: usize,
    places: BTreeSet<usize>,
    /// Its chain in a container that it was seen in later.
    spare: Vec<Certificate>,
}

impl Parts {
    /// Takes what was found in a source.
    pub(super) fn take(&mut self, at: usize, source: &Source, found: Vec<Found>, plan: &mut Plan) {
        for one in found {
            match one {
                Found::Key(key) => self.take_key(at, key),
                Found::Certificate(certificate) => self.take_certificate(at, certificate),
                Found::Crl(crl) => self.crls.push((at, crl)),
                Found::Public(what) => {
                    let why = format!("holds {what}, which is no secret");
                    plan.leave(at, Left::new(source, why, false));
                }
                Found::Refused(refused) => {
                    plan.leave(at, Left::new(source, refused.to_string(), true));
                }
            }
        }
    }

    fn take_key(&mut self, at: usize, key: Key) {
        match self.keys.iter_mut().find(|one| one.key.is_same(&key)) {
            None => self.keys.push(Owned {
                key,
                at,
                places: BTreeSet::from([at]),
                spare: Vec::new(),
            }),
            Some(before) => {
                before.places.insert(at);
                if before.spare.is_empty() {
                    before.spare = key.chain().to_vec();
                }
            }
        }
    }

    fn take_certificate(&mut self, at: usize, certificate: Certificate) {
        if let Some(there) = self.position(&certificate) {
            self.places[there].insert(at);
            return;
        }
        self.pool.push(certificate);
        self.places.push(BTreeSet::from([at]));
        self.used.push(false);
    }

    fn position(&self, certificate: &Certificate) -> Option<usize> {
        self.pool.iter().position(|one| one == certificate)
    }

    /// Makes candidates of everything, and leaves what cannot be one.
    pub(super) fn sort(mut self, sources: &[Source], plan: &mut Plan) -> Vec<Candidate> {
        let keys = mem::take(&mut self.keys);
        let mut candidates = Vec::new();
        for owned in &keys {
            let all = keys.iter().filter(|other| other.at == owned.at);
            let number = all.clone().position(|other| other.key.is_same(&owned.key));
            let number = number.filter(|_| all.count() > 1);
            candidates.push(self.keystore(owned, number, sources));
        }
        for (at, source) in sources.iter().enumerate() {
            let has_key = keys.iter().any(|owned| owned.at == at);
            candidates.extend(self.certificates(at, source, has_key));
            candidates.extend(self.lists(at, source, plan));
        }
        candidates
    }

    /// A key with its chain, or by itself. It has a number if it shares its source with others.
    fn keystore(&mut self, owned: &Owned, number: Option<usize>, sources: &[Source]) -> Candidate {
        let key = &owned.key;
        let (mut shown, mut touched) = (owned.places.clone(), owned.places.clone());
        let mut name = sources[owned.at].secret_name();
        let mut chain = key.chain().to_vec();
        if chain.is_empty()
            && let Some(leaf) = self.leaf(owned)
        {
            chain = self.chain(leaf);
            let places = &self.places[leaf];
            shown.extend(places);
            let mut named = places.iter().map(|&at| &sources[at]);
            if sources[owned.at].is_usual()
                && let Some(other) = named.find(|source| !source.is_usual())
            {
                name = other.secret_name();
            }
        }
        if chain.is_empty() {
            chain.clone_from(&owned.spare);
        }
        for certificate in &chain {
            let there = self.position(certificate);
            // A root in a file of its own is there to be trusted.
            let is_here =
                |at: &usize| !certificate.is_self_issued() || !self.places[*at].is_disjoint(&shown);
            if let Some(there) = there.filter(is_here) {
                self.used[there] = true;
                touched.extend(&self.places[there]);
            }
        }
        if let Some(number) = number {
            let number = (number + 1).to_string();
            let alias = key.alias().filter(|alias| !alias.starts_with('#'));
            name = format!("{name}-{}", alias.unwrap_or(&number));
        }
        let mut fields = Fields::default();
        let kind = match chain.is_empty() {
            true => "private-key",
            false => {
                fields.push("certificate-chain".to_owned(), pem(&chain));
                "keystore"
            }
        };
        fields.push("private-key".to_owned(), key.expose().to_vec());
        let shown = shown.iter().map(|&at| sources[at].shown.as_str());
        Candidate {
            name,
            kind,
            fields,
            from: shown.collect::<Vec<_>>().join(", "),
            sources: touched,
        }
    }

    /// The certificate of a key: one that is beside it, and of several the newest.
    fn leaf(&self, owned: &Owned) -> Option<usize> {
        let fits = |at: &usize| owned.key.fits(&self.pool[*at]);
        (0..self.pool.len()).filter(fits).max_by_key(|&at| {
            let is_beside = !self.places[at].is_disjoint(&owned.places);
            (is_beside, self.pool[at].not_before())
        })
    }

    fn chain(&self, leaf: usize) -> Vec<Certificate> {
        let mut chain = recognise::chain(&self.pool, leaf);
        // A root that came apart from the leaf is there to be trusted, not to be shown.
        if let [first, .., last] = chain[..]
            && self.pool[last].is_self_issued()
            && self.places[last].is_disjoint(&self.places[first])
        {
            chain.pop();
        }
        chain.into_iter().map(|at| self.pool[at].clone()).collect()
    }

    /// What the certificates of a source are, apart from those that are in chains of keys.
    fn certificates(&self, at: usize, source: &Source, has_key: bool) -> Option<Candidate> {
        let here = (0..self.pool.len()).filter(|one| self.places[*one].contains(&at));
        // One that is in several places is imported from the first.
        let is_new = |one: &usize| !self.used[*one] && self.places[*one].first() == Some(&at);
        let new: Vec<_> = here.clone().filter(is_new).collect();
        let ends = new.iter().filter(|&&one| !self.pool[one].is_authority());
        let all: Vec<_> = here.map(|one| self.pool[one].clone()).collect();
        let (kind, field, content) = match ends.clone().count() {
            _ if new.is_empty() => return None,
            1 => {
                let leaf = ends.copied().next().unwrap_or_default();
                let leaf = all.iter().position(|one| *one == self.pool[leaf]);
                let chain = recognise::chain(&all, leaf.unwrap_or_default());
                match chain.len() == all.len() {
                    true => ("certificate", "certificate", reordered(&all, &chain)),
                    false => ("truststore", "certificates", all),
                }
            }
            _ => ("truststore", "certificates", all),
        };
        let mut fields = Fields::default();
        fields.push(field.to_owned(), pem(&content));
        let name = source.secret_name();
        Some(Candidate {
            name: match has_key {
                true => format!("{name}-trust"),
                false => name,
            },
            kind,
            fields,
            from: source.shown.clone(),
            sources: new
                .iter()
                .flat_map(|&one| self.places[one].clone())
                .collect(),
        })
    }

    /// The revocation lists of a source, with the certificates of their issuers.
    fn lists(&self, at: usize, source: &Source, plan: &mut Plan) -> Option<Candidate> {
        let (mut lists, mut issuers) = (Vec::new(), Vec::new());
        for (_, crl) in self.crls.iter().filter(|(place, _)| *place == at) {
            let mut named = self.pool.iter().filter(|one| crl.names(one)).peekable();
            if named.peek().is_none() {
                let why = format!(
                    "is a revocation list of {}, whose certificate is in none of the files",
                    crl.issuer()
                );
                plan.leave(at, Left::new(source, why, true));
                continue;
            }
            lists.extend(crl.to_pem());
            for issuer in named {
                if !issuers.contains(issuer) {
                    issuers.push(issuer.clone());
                }
            }
        }
        if lists.is_empty() {
            return None;
        }
        let mut fields = Fields::default();
        fields.push("crls".to_owned(), lists);
        fields.push("issuers".to_owned(), pem(&issuers));
        let has_more = self.places.iter().any(|places| places.contains(&at));
        let name = source.secret_name();
        Some(Candidate {
            name: match has_more {
                true => format!("{name}-crl"),
                false => name,
            },
            kind: "crl-distributor",
            fields,
            from: source.shown.clone(),
            sources: BTreeSet::from([at]),
        })
    }
}

fn pem(certificates: &[Certificate]) -> Vec<u8> {
    certificates.iter().flat_map(Certificate::to_pem).collect()
}

fn reordered(all: &[Certificate], order: &[usize]) -> Vec<Certificate> {
    order.iter().map(|&at| all[at].clone()).collect()
}
