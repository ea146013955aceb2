//! Key derivation of PKCS#12 (RFC 7292, appendix B).

use std::num::NonZeroU32;

use aws_lc_rs::digest::{self, Context};
use zeroize::Zeroizing;

/// What a derived key is for.
#[derive(Clone, Copy)]
pub(in crate::secret) enum Purpose {
    Key = 1,
    Iv = 2,
    Mac = 3,
}

/// A passphrase, in the two forms in which PKCS#12 uses it.
pub(in crate::secret) struct Passphrase<'a> {
    /// For PBES2.
    pub(in crate::secret) text: &'a str,
    /// For everything older: UTF-16, big-endian, with a terminator.
    wide: Zeroizing<Vec<u8>>,
}

impl<'a> Passphrase<'a> {
    pub(in crate::secret) fn new(text: &'a str) -> Self {
        let mut wide = Zeroizing::new(Vec::with_capacity(2 * text.len() + 2));
        for unit in text.encode_utf16().chain([0]) {
            wide.extend_from_slice(&unit.to_be_bytes());
        }
        Self { text, wide }
    }

    /// No passphrase, which some tools tell from an empty one.
    pub(in crate::secret) fn none() -> Self {
        Self {
            text: "",
            wide: Zeroizing::default(),
        }
    }

    pub(in crate::secret) fn derive(
        &self,
        algorithm: &'static digest::Algorithm,
        purpose: Purpose,
        salt: &[u8],
        iterations: NonZeroU32,
        length: usize,
    ) -> Zeroizing<Vec<u8>> {
        let block = algorithm.block_len();
        let mut input = Zeroizing::new(fill(salt, block));
        input.extend_from_slice(&Zeroizing::new(fill(&self.wide, block)));
        let diversifier = vec![purpose as u8; block];
        let mut derived = Zeroizing::new(Vec::with_capacity(length + algorithm.output_len()));
        while derived.len() < length {
            let mut context = Context::new(algorithm);
            context.update(&diversifier);
            context.update(&input);
            let mut chunk = context.finish();
            for _ in 1..iterations.get() {
                chunk = digest::digest(algorithm, chunk.as_ref());
            }
            derived.extend_from_slice(chunk.as_ref());
            let repeated = Zeroizing::new(fill_to(chunk.as_ref(), block));
            for part in input.chunks_exact_mut(block) {
                add(part, &repeated);
            }
        }
        derived.truncate(length);
        derived
    }
}

/// Repeats `bytes` up to the next multiple of `block`; nothing stays nothing.
fn fill(bytes: &[u8], block: usize) -> Vec<u8> {
    fill_to(bytes, bytes.len().next_multiple_of(block))
}

fn fill_to(bytes: &[u8], length: usize) -> Vec<u8> {
    bytes.iter().copied().cycle().take(length).collect()
}

/// `number` + `other` + 1, without what overflows.
fn add(number: &mut [u8], other: &[u8]) {
    let mut carry = 1;
    for (byte, other) in number.iter_mut().zip(other).rev() {
        let sum = u16::from(*byte) + u16::from(*other) + carry;
        let [high, low] = sum.to_be_bytes();
        carry = u16::from(high);
        *byte = low;
    }
}
