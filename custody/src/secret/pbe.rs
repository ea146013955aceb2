//! Encryption under a passphrase, as PKCS#8 and PKCS#12 have it (RFC 8018, RFC 7292).

use std::{borrow::Cow, num::NonZeroU32};

use asn1_rs::{Oid, oid};
use aws_lc_rs::{
    cipher::{
        AES_128, AES_192, AES_256, Algorithm, DecryptionContext, PaddedBlockDecryptingKey,
        UnboundCipherKey,
    },
    digest,
    iv::FixedLength,
    pbkdf2,
};
use zeroize::Zeroizing;

use super::ber::{Broken, Reader};

pub(super) mod kdf;
mod legacy;

use kdf::Purpose;

/// Why something encrypted stays closed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum Error {
    #[error("the parameters of its encryption are not well-formed")]
    Broken,
    #[error(
        "it asks for over {max} iterations of key derivation in all; write it anew with fewer, \
         which PKCS#12 and PKCS#8 made by openssl or keytool have",
        max = Effort::MAX
    )]
    Effort,
    #[error("its algorithm {0} is not read here; write it anew with PBES2 and AES-256")]
    Unknown(String),
    #[error("the passphrase does not open it")]
    Passphrase,
}

impl From<Broken> for Error {
    fn from(_: Broken) -> Self {
        Self::Broken
    }
}

/// How many iterations of key derivation may still be done for one request. A file asks
/// for them, so a hostile one would ask for years.
pub(super) struct Effort(u32);

impl Effort {
    /// Some seconds' worth. Openssl asks for 2,048 a piece, keytool for 10,000, OWASP's
    /// advice for 600,000.
    const MAX: u32 = 5_000_000;

    pub(super) fn spend(&mut self, iterations: u32) -> Result<NonZeroU32, Error> {
        let iterations = NonZeroU32::new(iterations).ok_or(Error::Broken)?;
        self.0 = self.0.checked_sub(iterations.get()).ok_or(Error::Effort)?;
        Ok(iterations)
    }
}

impl Default for Effort {
    fn default() -> Self {
        Self(Self::MAX)
    }
}

/// More salt than anything honest has.
const MAX_SALT: usize = 1024;

pub(super) fn salt<'a>(reader: &mut Reader<'a>) -> Result<Cow<'a, [u8]>, Error> {
    let salt = reader.octets()?;
    let fits = salt.len() <= MAX_SALT;
    fits.then_some(salt).ok_or(Error::Broken)
}

/// A ciphertext, and how it was made.
pub(super) struct Encrypted<'a> {
    algorithm: Oid<'a>,
    parameters: Reader<'a>,
    ciphertext: Cow<'a, [u8]>,
}

impl<'a> Encrypted<'a> {
    /// Reads an `EncryptedPrivateKeyInfo`. `None` if it is none.
    pub(super) fn from_ber(bytes: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let mut parts = reader.sequence().ok()?;
        let algorithm = parts.algorithm().ok()?;
        let ciphertext = parts.octets().ok()?;
        let is_whole = parts.is_empty() && reader.is_empty();
        is_whole.then(|| Self::new(algorithm, ciphertext))
    }

    pub(super) fn new(
        (algorithm, parameters): (Oid<'a>, Reader<'a>),
        ciphertext: Cow<'a, [u8]>,
    ) -> Self {
        Self {
            algorithm,
            parameters,
            ciphertext,
        }
    }

    pub(super) fn open(
        &self,
        passphrase: &str,
        effort: &mut Effort,
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        self.open_with(&kdf::Passphrase::new(passphrase), effort)
    }

    pub(super) fn open_with(
        &self,
        passphrase: &kdf::Passphrase<'_>,
        effort: &mut Effort,
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let plain = self.decrypt(passphrase, effort)?;
        // One wrong passphrase in 256 leaves something like padding. What is encrypted is always
        // a sequence: a key (PKCS#8), or the contents of a part (PKCS#12).
        match Reader::new(&plain).sequence() {
            Ok(_) => Ok(plain),
            Err(_) => Err(Error::Passphrase),
        }
    }

    fn decrypt(
        &self,
        passphrase: &kdf::Passphrase<'_>,
        effort: &mut Effort,
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        if self.algorithm == oid!(1.2.840.113549.1.5.13) {
            return self.pbes2(passphrase, effort);
        }
        let legacy = legacy::Cipher::from_pbe(&self.algorithm)
            .ok_or_else(|| Error::Unknown(name(&self.algorithm)))?;
        let mut outer = self.parameters;
        let mut parameters = outer.sequence()?;
        let salt = salt(&mut parameters)?;
        let iterations = effort.spend(parameters.integer()?)?;
        let derive = |purpose, length| {
            let sha1 = &digest::SHA1_FOR_LEGACY_USE_ONLY;
            passphrase.derive(sha1, purpose, &salt, iterations, length)
        };
        let key = derive(Purpose::Key, legacy.key_len());
        let iv = derive(Purpose::Iv, legacy::BLOCK);
        legacy
            .decrypt(&key, &iv, &self.ciphertext)
            .ok_or(Error::Passphrase)
    }

    fn pbes2(
        &self,
        passphrase: &kdf::Passphrase<'_>,
        effort: &mut Effort,
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let mut outer = self.parameters;
        let mut parameters = outer.sequence()?;
        let (derivation, derivation_parameters) = parameters.algorithm()?;
        let (cipher, mut cipher_parameters) = parameters.algorithm()?;
        if derivation != oid!(1.2.840.113549.1.5.12) {
            return Err(Error::Unknown(name(&derivation)));
        }
        let triple_des = legacy::Cipher::from_cipher(&cipher);
        let aes = aes(&cipher);
        let length = match (&triple_des, aes) {
            (Some(cipher), _) => cipher.key_len(),
            (None, Some((_, length))) => length,
            (None, None) => return Err(Error::Unknown(name(&cipher))),
        };
        let mut key = Zeroizing::new(vec![0; length]);
        stretch(derivation_parameters, passphrase.text, effort, &mut key)?;
        let iv = cipher_parameters.octets()?;
        if let Some((algorithm, _)) = aes {
            return decrypt_aes(algorithm, &key, &iv, &self.ciphertext);
        }
        let legacy = triple_des.ok_or(Error::Broken)?;
        legacy
            .decrypt(&key, &iv, &self.ciphertext)
            .ok_or(Error::Passphrase)
    }
}

/// An algorithm's number, unless it is longer than any that exist.
fn name(oid: &Oid<'_>) -> String {
    if oid.as_bytes().len() > 32 {
        return "(unknown)".to_owned();
    }
    oid.to_id_string()
}

fn aes(cipher: &Oid<'_>) -> Option<(&'static Algorithm, usize)> {
    [
        (oid!(2.16.840.1.101.3.4.1.2), &AES_128, 16),
        (oid!(2.16.840.1.101.3.4.1.22), &AES_192, 24),
        (oid!(2.16.840.1.101.3.4.1.42), &AES_256, 32),
    ]
    .into_iter()
    .find_map(|(oid, algorithm, length)| (oid == *cipher).then_some((algorithm, length)))
}

/// PBKDF2.
fn stretch(
    mut parameters: Reader<'_>,
    passphrase: &str,
    effort: &mut Effort,
    key: &mut [u8],
) -> Result<(), Error> {
    let mut parameters = parameters.sequence()?;
    let salt = salt(&mut parameters)?;
    let iterations = effort.spend(parameters.integer()?)?;
    let mut after_length = parameters;
    if let Ok(length) = after_length.integer() {
        if usize::try_from(length) != Ok(key.len()) {
            return Err(Error::Broken);
        }
        parameters = after_length;
    }
    let algorithm = if parameters.is_empty() {
        pbkdf2::PBKDF2_HMAC_SHA1
    } else {
        let (prf, _) = parameters.algorithm()?;
        [
            (oid!(1.2.840.113549.2.7), pbkdf2::PBKDF2_HMAC_SHA1),
            (oid!(1.2.840.113549.2.9), pbkdf2::PBKDF2_HMAC_SHA256),
            (oid!(1.2.840.113549.2.10), pbkdf2::PBKDF2_HMAC_SHA384),
            (oid!(1.2.840.113549.2.11), pbkdf2::PBKDF2_HMAC_SHA512),
        ]
        .into_iter()
        .find_map(|(oid, algorithm)| (oid == prf).then_some(algorithm))
        .ok_or_else(|| Error::Unknown(name(&prf)))?
    };
    pbkdf2::derive(algorithm, iterations, &salt, passphrase.as_bytes(), key);
    Ok(())
}

fn decrypt_aes(
    algorithm: &'static Algorithm,
    key: &[u8],
    iv: &[u8],
    ciphertext: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let iv = <[u8; 16]>::try_from(iv).map_err(|_| Error::Broken)?;
    let key = UnboundCipherKey::new(algorithm, key).map_err(|_| Error::Broken)?;
    let key = PaddedBlockDecryptingKey::cbc_pkcs7(key).map_err(|_| Error::Broken)?;
    let mut text = Zeroizing::new(ciphertext.to_vec());
    let length = key
        .decrypt(
            &mut text[..],
            DecryptionContext::Iv128(FixedLength::from(iv)),
        )
        .map_err(|_| Error::Passphrase)?
        .len();
    text.truncate(length);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_passphrase_is_told_whatever_it_leaves() {
        // PBES2 with AES-256 and one iteration, under "secret".
        let sample = include_bytes!("key/samples/encrypted-once.pem");
        let der = pem::parse(sample).unwrap().into_contents();
        let encrypted = Encrypted::from_ber(&der).unwrap();
        let open = |passphrase| encrypted.open(passphrase, &mut Effort::default());
        assert!(open("secret").is_ok());
        // After all but the first there is what looks like padding.
        for wrong in [
            "other",
            "wrong483",
            "wrong606",
            "wrong735",
            "wrong930",
            "wrong1160",
        ] {
            assert_eq!(open(wrong), Err(Error::Passphrase), "{wrong}");
        }
    }
}
