//! Chains: which certificate was issued by which.

use x509_parser::{error::X509Error, prelude::X509Certificate, public_key::PublicKey};

use super::{Der, MAX_CHAIN, describe::text, invalid};
use crate::secret::Refused;

/// How many issuers of the same name are tried: cross-signed authorities have two or three.
const MAX_NAMESAKES: usize = 8;

/// Refuses a chain in which a certificate was not issued by the one after it.
pub(in crate::secret) fn in_order(
    field: &str,
    certificates: &[X509Certificate<'_>],
) -> Result<(), Refused> {
    for (pair, number) in certificates.windows(2).zip(1..) {
        let [issued, issuer] = pair else { continue };
        if !names(issued, issuer) {
            return Err(invalid(format!(
                "certificate {number} of {field:?} was issued by {:?}, but the one after it is \
                 {:?}; put the leaf first and each issuer after what it issued",
                text(issued.issuer()),
                text(issuer.subject()),
            )));
        }
        if signed(issued, issuer) == Signed::No {
            return Err(invalid(format!(
                "certificate {number} of {field:?} names the one after it as its issuer, but is \
                 not signed by its key; there may be another certificate of the same name"
            )));
        }
    }
    Ok(())
}

/// How far a chain goes.
pub(in crate::secret) fn extent(certificates: &[X509Certificate<'_>]) -> String {
    let Some(last) = certificates.last() else {
        return String::new();
    };
    match (names(last, last), certificates.len()) {
        (true, 1) => "complete (self-signed)".to_owned(),
        (true, _) => "complete (ends in a self-signed root)".to_owned(),
        (false, 1) => format!("only the leaf, issued by {}", text(last.issuer())),
        (false, _) => format!("ends in an intermediate issued by {}", text(last.issuer())),
    }
}

/// The chain of `leaf`, each followed by its issuer, as far as there are issuers in `pool`.
/// Both are positions in the same list.
pub(in crate::secret) fn order(pool: &[X509Certificate<'_>], leaf: usize) -> Vec<usize> {
    let mut chain = vec![leaf];
    let mut last = leaf;
    while chain.len() < MAX_CHAIN && !names(&pool[last], &pool[last]) {
        let namesakes: Vec<_> = (0..pool.len())
            .filter(|at| !chain.contains(at) && names(&pool[last], &pool[*at]))
            .take(MAX_NAMESAKES)
            .collect();
        let by_key = namesakes
            .iter()
            .find(|at| signed(&pool[last], &pool[**at]) == Signed::Yes);
        let Some(next) = by_key.or(namesakes.first()) else {
            break;
        };
        chain.push(*next);
        last = *next;
    }
    chain
}

/// Copies of the certificates at those positions.
pub(in crate::secret) fn select(pool: &[Der], chain: &[usize]) -> Vec<Der> {
    chain.iter().map(|at| pool[*at].clone()).collect()
}

fn names(issued: &X509Certificate<'_>, issuer: &X509Certificate<'_>) -> bool {
    issued.issuer().as_raw() == issuer.subject().as_raw()
}

#[derive(PartialEq, Eq)]
enum Signed {
    Yes,
    No,
    /// With an algorithm, or a size of key, that is not checked here.
    Unknown,
}

fn signed(issued: &X509Certificate<'_>, issuer: &X509Certificate<'_>) -> Signed {
    match issued.verify_signature(Some(issuer.public_key())) {
        Ok(()) => Signed::Yes,
        Err(X509Error::SignatureVerificationError) if is_checked(issuer) => Signed::No,
        Err(_) => Signed::Unknown,
    }
}

/// Whether a failed verification means a wrong signature: RSA is verified from 2048 to
/// 8192 bits only.
fn is_checked(issuer: &X509Certificate<'_>) -> bool {
    match issuer.public_key().parsed() {
        Ok(PublicKey::RSA(key)) => (2048..=8192).contains(&key.key_size()),
        _ => true,
    }
}
