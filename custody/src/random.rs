//! Random bytes that new secrets are made of: from the token's generator and the system's,
//! so that either of them may be bad.

use std::fmt;

use aws_lc_rs::{
    hkdf::{HKDF_SHA256, KeyType, Prk, Salt},
    rand,
};
use zeroize::Zeroizing;

use crate::envelope::Failed;

/// What is expanded at once; HKDF with SHA-256 gives 8160 bytes at most.
const STRETCH: usize = 1024;

/// A generator for one secret: HKDF (RFC 5869) with SHA-256, the system's bytes as salt and
/// the token's as keying material.
///
/// Its bytes cannot be told from random ones by anybody who lacks the token's, whatever the
/// system's were, nor by anybody who lacks the system's: the token never sees those, so it
/// cannot choose its own to fit. Wiped when dropped; its `Debug` says nothing.
pub struct Random {
    key: Prk,
    stretches: u64,
}

impl Random {
    /// How many bytes the token gives: twice the strength that is wanted, for a generator
    /// that gives less than it says.
    pub const SEED: u32 = 64;

    /// Starts from what the token gave and as fresh bytes of the system's.
    ///
    /// # Errors
    ///
    /// If the system's generator fails, or the token gave too little.
    pub fn seeded(token: &[u8]) -> Result<Self, Failed> {
        let mut system = Zeroizing::new([0; 32]);
        rand::fill(&mut system[..]).map_err(|_| Failed::Random)?;
        let enough = u32::try_from(token.len()).is_ok_and(|length| length >= Self::SEED);
        enough
            .then(|| Self::mixed(token, &system))
            .ok_or(Failed::Random)
    }

    fn mixed(token: &[u8], system: &[u8; 32]) -> Self {
        Self {
            key: Salt::new(HKDF_SHA256, system).extract(token),
            stretches: 0,
        }
    }

    /// Fills `out`.
    pub fn fill(&mut self, out: &mut [u8]) {
        for part in out.chunks_mut(STRETCH) {
            let number = self.stretches.to_be_bytes();
            self.stretches += 1;
            self.key
                .expand(&[b"custodyd new secret", &number], Length(part.len()))
                .and_then(|bytes| bytes.fill(part))
                .expect("a stretch is within the limit of HKDF");
        }
    }

    /// `length` of `symbols`, each of which is as likely as any other. There must be some,
    /// and 256 at most.
    pub fn symbols(&mut self, symbols: &[u8], length: usize) -> Zeroizing<Vec<u8>> {
        // Enough room from the start, so that growing leaves no copies behind.
        let mut text = Zeroizing::new(Vec::with_capacity(length));
        let mut bytes = Zeroizing::new([0; 64]);
        // Bytes beyond the last multiple would make the first symbols likelier.
        let fair = 256 - 256 % symbols.len();
        while text.len() < length {
            self.fill(&mut bytes[..]);
            let chosen = bytes.iter().map(|byte| usize::from(*byte));
            let chosen = chosen.filter(|byte| *byte < fair);
            let missing = length - text.len();
            text.extend(
                chosen
                    .map(|byte| symbols[byte % symbols.len()])
                    .take(missing),
            );
        }
        text
    }
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

impl fmt::Debug for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Random(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(token: u8, system: u8) -> [u8; 3000] {
        let mut out = [0; 3000];
        Random::mixed(&[token; 64], &[system; 32]).fill(&mut out);
        out
    }

    #[test]
    fn either_source_changes_everything() {
        let first = bytes(1, 1);
        assert_eq!(first, bytes(1, 1));
        for other in [bytes(2, 1), bytes(1, 2), bytes(2, 2)] {
            let same = first.iter().zip(other).filter(|(a, b)| **a == *b).count();
            // 3000/256 by chance.
            assert!(same < 40, "{same} of 3000 bytes are the same");
        }
    }

    #[test]
    fn no_stretch_is_like_another() {
        let bytes = bytes(1, 1);
        assert_ne!(bytes[..1024], bytes[1024..2048]);
        let mut random = Random::mixed(&[1; 64], &[1; 32]);
        let [mut one, mut other] = [[0; 32]; 2];
        random.fill(&mut one);
        random.fill(&mut other);
        assert_ne!(one, other);
    }

    #[test]
    fn a_token_that_always_says_the_same_gives_other_bytes_each_time() {
        let fill = || {
            let mut out = [0; 32];
            Random::seeded(&[0; 64]).unwrap().fill(&mut out);
            out
        };
        assert_ne!(fill(), fill());
        assert_eq!(Random::seeded(&[0; 63]).unwrap_err(), Failed::Random);
    }

    #[test]
    fn every_symbol_is_as_likely_as_any_other() {
        let mut random = Random::mixed(&[3; 64], &[4; 32]);
        // With a plain remainder the first 56 of 200 symbols would be twice as likely.
        let symbols: Vec<u8> = (0..200).collect();
        let mut counts = [0_u32; 200];
        for symbol in &*random.symbols(&symbols, 200_000) {
            counts[usize::from(*symbol)] += 1;
        }
        // 1000 each; seven standard deviations are 220.
        for (symbol, count) in counts.into_iter().enumerate() {
            assert!((780..=1220).contains(&count), "{symbol}: {count}");
        }
        for length in [0, 1, 63, 64, 65, 1000] {
            assert_eq!(random.symbols(b"abc", length).len(), length);
        }
    }
}
