//! Reading JKS, the key stores of Java before 9.
//!
//! The format is what `sun.security.provider.JavaKeyStore` and `KeyProtector` of OpenJDK
//! write. Numbers are big-endian:
//!
//! ```text
//! u32 0xfeedfeed, u32 version (1 or 2), u32 number of entries, then of each:
//!   u32 1 (a key), text alias, u64 time, bytes EncryptedPrivateKeyInfo,
//!     u32 number of certificates, those
//!   u32 2 (a certificate), text alias, u64 time, certificate
//! certificate: text type (version 2 only), bytes DER
//! text: u16 length, bytes; bytes: u32 length, bytes
//! SHA-1 of passphrase (UTF-16), "Mighty Aphrodite", and all before it
//! ```

use aws_lc_rs::{
    constant_time,
    digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA1_OUTPUT_LEN},
};
use zeroize::Zeroizing;

use super::{Container, Der, Entry, KeyEntry, Locked, Unread};
use crate::secret::{
    ber::Reader,
    x509::{MAX_CHAIN, MAX_COLLECTION},
};

/// Reads into `container`. What is refused is told as the rest of a sentence that
/// begins with the file.
pub(super) fn read(
    container: &mut Container,
    bytes: &[u8],
    passphrase: Option<&str>,
) -> Result<(), Unread> {
    let (body, digest) = bytes
        .split_last_chunk::<SHA1_OUTPUT_LEN>()
        .ok_or("is a JKS key store that is cut off")?;
    if let Some(passphrase) = passphrase {
        let expected = sha1(&[&wide(passphrase), b"Mighty Aphrodite", body]);
        constant_time::verify_slices_are_equal(&expected, digest)
            .map_err(|_| Unread::locked("does not open with that passphrase, or is damaged"))?;
    }
    let mut input = Input(body.get(4..).unwrap_or_default());
    let start = input.u32().zip(input.u32());
    let (version, count) = start.ok_or("is a JKS key store that is cut off")?;
    if !matches!(version, 1 | 2) {
        return Err(format!("is a JKS key store of version {version}; there are 1 and 2").into());
    }
    if usize::try_from(count).map_or(true, |count| count > MAX_COLLECTION) {
        return Err(format!("has {count} entries; at most {MAX_COLLECTION} are read").into());
    }
    for number in 1..=count {
        input
            .entry(container, version)
            .ok_or_else(|| format!("is not a well-formed JKS key store in its entry {number}"))?;
    }
    if !input.0.is_empty() {
        return Err("is a JKS key store with something after its last entry".into());
    }
    Ok(())
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn entry(&mut self, container: &mut Container, version: u32) -> Option<()> {
        let tag = self.u32()?;
        let length = u16::from_be_bytes(*self.chunk()?);
        let alias = self.take(usize::from(length))?;
        let alias = String::from_utf8_lossy(alias).into_owned();
        self.chunk::<8>()?;
        match tag {
            1 => {
                let locked = Locked::Jks(self.bytes()?.to_vec());
                let count = usize::try_from(self.u32()?).ok()?;
                if count > MAX_CHAIN {
                    return None;
                }
                let chain = (0..count).map(|_| self.certificate(version));
                container.keys.push(KeyEntry {
                    alias: Some(alias),
                    id: None,
                    chain: chain.collect::<Option<_>>()?,
                    locked,
                });
            }
            2 => container.certificates.push(Entry {
                id: None,
                der: self.certificate(version)?,
            }),
            _ => return None,
        }
        Some(())
    }

    fn certificate(&mut self, version: u32) -> Option<Der> {
        if version == 2 {
            let length = u16::from_be_bytes(*self.chunk()?);
            if self.take(usize::from(length))? != b"X.509" {
                return None;
            }
        }
        Some(Der::from(self.bytes()?.to_vec()))
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.u32()?.try_into().ok()?;
        self.take(length)
    }

    fn u32(&mut self) -> Option<u32> {
        self.chunk().copied().map(u32::from_be_bytes)
    }

    fn chunk<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (chunk, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(chunk)
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }
}

/// Opens a private key: it is combined with a stream of SHA-1 digests, each of the
/// passphrase and the one before, from a salt on.
pub(super) fn unlock(encrypted: &[u8], passphrase: &str) -> Result<Zeroizing<Vec<u8>>, Unread> {
    let parts = Reader::new(encrypted).sequence().and_then(|mut parts| {
        let (algorithm, _) = parts.algorithm()?;
        Ok((algorithm, parts.octets()?))
    });
    let (algorithm, protected) = parts.map_err(|_| "is not well-formed")?;
    if algorithm != asn1_rs::oid!(1.3.6.1.4.1.42.2.17.1.1) {
        return Err("is not encrypted in the way of JKS".into());
    }
    let (salt, rest) = protected
        .split_first_chunk::<SHA1_OUTPUT_LEN>()
        .ok_or("is cut off")?;
    let (ciphertext, check) = rest
        .split_last_chunk::<SHA1_OUTPUT_LEN>()
        .ok_or("is cut off")?;
    let passphrase = wide(passphrase);
    let mut link = Zeroizing::new(salt.to_vec());
    let mut plain = Zeroizing::new(Vec::with_capacity(ciphertext.len()));
    for chunk in ciphertext.chunks(SHA1_OUTPUT_LEN) {
        *link = sha1(&[&passphrase, &link]);
        plain.extend(chunk.iter().zip(&*link).map(|(byte, mask)| byte ^ mask));
    }
    constant_time::verify_slices_are_equal(&sha1(&[&passphrase, &plain]), check).map_err(|_| {
        Unread::locked(
            "does not open with that passphrase; if it has its own, give it as \"key-passphrase\"",
        )
    })?;
    Ok(plain)
}

fn sha1(parts: &[&[u8]]) -> Vec<u8> {
    let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    for part in parts {
        context.update(part);
    }
    context.finish().as_ref().to_vec()
}

fn wide(passphrase: &str) -> Zeroizing<Vec<u8>> {
    let mut wide = Zeroizing::new(Vec::with_capacity(2 * passphrase.len()));
    for unit in passphrase.encode_utf16() {
        wide.extend_from_slice(&unit.to_be_bytes());
    }
    wide
}
