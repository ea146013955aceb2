//! Ciphers that only old files are encrypted with. They decrypt; nothing is written with
//! them.

use asn1_rs::{Oid, oid};
use des::{
    TdesEde3,
    cipher::{Block, BlockCipherDecrypt, KeyInit},
};
use rc2::Rc2;
use zeroize::Zeroizing;

/// Bytes of a block, of each of them.
pub(super) const BLOCK: usize = 8;

#[derive(Clone, Copy)]
pub(super) enum Cipher {
    TripleDes,
    Rc2Of40Bits,
    Rc2Of128Bits,
}

impl Cipher {
    /// That of a scheme of PKCS#12 (RFC 7292, appendix C).
    pub(super) fn from_pbe(scheme: &Oid<'_>) -> Option<Self> {
        [
            (oid!(1.2.840.113549.1.12.1.3), Self::TripleDes),
            (oid!(1.2.840.113549.1.12.1.5), Self::Rc2Of128Bits),
            (oid!(1.2.840.113549.1.12.1.6), Self::Rc2Of40Bits),
        ]
        .into_iter()
        .find_map(|(oid, cipher)| (oid == *scheme).then_some(cipher))
    }

    /// That of PBES2.
    pub(super) fn from_cipher(cipher: &Oid<'_>) -> Option<Self> {
        (*cipher == oid!(1.2.840.113549.3.7)).then_some(Self::TripleDes)
    }

    pub(super) fn key_len(self) -> usize {
        match self {
            Self::TripleDes => 24,
            Self::Rc2Of40Bits => 5,
            Self::Rc2Of128Bits => 16,
        }
    }

    /// `None` if key or initial vector are of the wrong length, or what comes out is not
    /// padded.
    pub(super) fn decrypt(
        self,
        key: &[u8],
        iv: &[u8],
        ciphertext: &[u8],
    ) -> Option<Zeroizing<Vec<u8>>> {
        match self {
            Self::TripleDes => cbc::<TdesEde3>(key, iv, ciphertext),
            Self::Rc2Of40Bits | Self::Rc2Of128Bits => cbc::<Rc2>(key, iv, ciphertext),
        }
    }
}

fn cbc<C: BlockCipherDecrypt + KeyInit>(
    key: &[u8],
    iv: &[u8],
    ciphertext: &[u8],
) -> Option<Zeroizing<Vec<u8>>> {
    let cipher = C::new_from_slice(key).ok()?;
    let mut previous = <[u8; BLOCK]>::try_from(iv).ok()?;
    let (blocks, []) = ciphertext.as_chunks::<BLOCK>() else {
        return None;
    };
    let mut text = Zeroizing::new(Vec::with_capacity(ciphertext.len()));
    for block in blocks {
        let mut decrypted = Block::<C>::try_from(&block[..]).ok()?;
        cipher.decrypt_block(&mut decrypted);
        text.extend(
            decrypted
                .iter()
                .zip(previous)
                .map(|(byte, before)| byte ^ before),
        );
        previous = *block;
    }
    let padding = usize::from(*text.last()?);
    let length = text.len().checked_sub(padding)?;
    let is_padded = (1..=BLOCK).contains(&padding)
        && text[length..]
            .iter()
            .all(|byte| usize::from(*byte) == padding);
    text.truncate(length);
    is_padded.then_some(text)
}
