//! Reading PKCS#12 (RFC 7292).

use std::borrow::Cow;

use asn1_rs::{Oid, oid};
use aws_lc_rs::{constant_time, digest, hmac};
use zeroize::Zeroizing;

use super::{Container, Der, Entry, KeyEntry, Locked, Unread};
use crate::secret::{
    ber::{Broken, Reader},
    pbe::{
        Effort, Encrypted, Error,
        kdf::{Passphrase, Purpose},
        salt,
    },
    x509::MAX_COLLECTION,
};

/// More bags than anything honest has.
const MAX_BAGS: usize = 2 * MAX_COLLECTION;

/// How deep bags may be in bags.
const MAX_DEPTH: usize = 4;

const BROKEN: &str = "is not a well-formed PKCS#12 file";

fn broken(_: Broken) -> String {
    BROKEN.to_owned()
}

/// Reads into `container`. What is refused is told as the rest of a sentence that
/// begins with the file.
pub(super) fn read(
    container: &mut Container,
    bytes: &[u8],
    passphrase: Option<&str>,
) -> Result<(), Unread> {
    let mut pfx = Reader::new(bytes).sequence().map_err(broken)?;
    let version = pfx.integer().map_err(|_| {
        "is binary, but no PKCS#12 file; a DER certificate or key goes into the field of its own"
    })?;
    if version != 3 {
        return Err(format!("is PKCS#12 of version {version}; only 3 exists").into());
    }
    let (kind, mut content) = content_info(&mut pfx).map_err(broken)?;
    if kind != DATA {
        return Err(
            "is protected by a signature instead of a passphrase; export it with a \
                    passphrase"
                .into(),
        );
    }
    let safes = content.octets().map_err(broken)?;
    let text = passphrase.unwrap_or_default();
    let passphrase = if pfx.is_empty() {
        Passphrase::new(text)
    } else {
        authenticate(pfx, &safes, text, &mut container.effort)
            .map_err(|error| hint(&error, passphrase))?
    };
    let mut safes = Reader::new(&safes).sequence().map_err(broken)?;
    let mut number = 0;
    while !safes.is_empty() {
        number += 1;
        let contents = decrypt(&mut safes, &passphrase, &mut container.effort)
            .map_err(|error| format!("cannot be read in its part {number}: {error}"))?;
        let mut bags = Reader::new(&contents).sequence().map_err(broken)?;
        read_bags(container, &mut bags, MAX_DEPTH)?;
    }
    Ok(())
}

const DATA: Oid<'static> = oid!(1.2.840.113549.1.7.1);

fn content_info<'a>(reader: &mut Reader<'a>) -> Result<(Oid<'a>, Reader<'a>), Broken> {
    let mut info = reader.sequence()?;
    Ok((info.oid()?, info.explicit(0)?))
}

fn hint(error: &Error, passphrase: Option<&str>) -> Unread {
    match (error, passphrase) {
        (Error::Passphrase, None) => {
            Unread::locked("is under a passphrase; give it as \"passphrase\"")
        }
        (Error::Passphrase, _) => {
            Unread::locked("does not open with that passphrase, or is damaged")
        }
        _ => format!("cannot be checked: {error}").into(),
    }
}

/// Checks the MAC over the whole file, which is what tells a wrong passphrase from a
/// damaged file, and an empty one from none.
fn authenticate<'a>(
    mut pfx: Reader<'_>,
    safes: &[u8],
    text: &'a str,
    effort: &mut Effort,
) -> Result<Passphrase<'a>, Error> {
    let mut mac = pfx.sequence()?;
    let mut info = mac.sequence()?;
    let (algorithm, _) = info.algorithm()?;
    let expected = info.octets()?;
    let salt = salt(&mut mac)?;
    let iterations = if mac.is_empty() { 1 } else { mac.integer()? };
    let (digest, hmac) = [
        (
            oid!(1.3.14.3.2.26),
            &digest::SHA1_FOR_LEGACY_USE_ONLY,
            hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        ),
        (
            oid!(2.16.840.1.101.3.4.2.1),
            &digest::SHA256,
            hmac::HMAC_SHA256,
        ),
        (
            oid!(2.16.840.1.101.3.4.2.2),
            &digest::SHA384,
            hmac::HMAC_SHA384,
        ),
        (
            oid!(2.16.840.1.101.3.4.2.3),
            &digest::SHA512,
            hmac::HMAC_SHA512,
        ),
    ]
    .into_iter()
    .find_map(|(oid, digest, hmac)| (oid == algorithm).then_some((digest, hmac)))
    .ok_or_else(|| Error::Unknown("of the MAC".to_owned()))?;
    let mut candidates = vec![Passphrase::new(text)];
    if text.is_empty() {
        candidates.push(Passphrase::none());
    }
    for candidate in candidates {
        let iterations = effort.spend(iterations)?;
        let key = candidate.derive(digest, Purpose::Mac, &salt, iterations, digest.output_len());
        let tag = hmac::sign(&hmac::Key::new(hmac, &key), safes);
        if constant_time::verify_slices_are_equal(tag.as_ref(), &expected).is_ok() {
            return Ok(candidate);
        }
    }
    Err(Error::Passphrase)
}

/// The bags of the next part, decrypted if it is encrypted.
fn decrypt(
    safes: &mut Reader<'_>,
    passphrase: &Passphrase<'_>,
    effort: &mut Effort,
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let (kind, mut content) = content_info(safes)?;
    if kind == DATA {
        return Ok(Zeroizing::new(content.octets()?.into_owned()));
    }
    if kind != oid!(1.2.840.113549.1.7.6) {
        return Err(Error::Unknown("that is no passphrase's".to_owned()));
    }
    let mut data = content.sequence()?;
    data.integer()?;
    let mut info = data.sequence()?;
    info.oid()?;
    let algorithm = info.algorithm()?;
    let ciphertext = info.implicit_octets(0)?;
    Encrypted::new(algorithm, ciphertext).open_with(passphrase, effort)
}

fn read_bags(container: &mut Container, bags: &mut Reader<'_>, depth: usize) -> Result<(), String> {
    let depth = depth
        .checked_sub(1)
        .ok_or_else(|| "has bags nested too deep".to_owned())?;
    while !bags.is_empty() {
        let number = container.keys.len() + container.certificates.len() + 1;
        if number > MAX_BAGS || container.certificates.len() > MAX_COLLECTION {
            return Err(format!("has over {MAX_COLLECTION} certificates or keys"));
        }
        let bag = Bag::read(bags)
            .map_err(|_| format!("is not well-formed in its key or certificate {number}"))?;
        match bag {
            Bag::Key(entry) => container.keys.push(entry),
            Bag::Certificate(entry) => container.certificates.push(entry),
            Bag::Bags(mut inner) => read_bags(container, &mut inner, depth)?,
            Bag::Other => {}
        }
    }
    Ok(())
}

enum Bag<'a> {
    Key(KeyEntry),
    Certificate(Entry),
    Bags(Reader<'a>),
    /// A CRL, a symmetric key, or a certificate that is not X.509.
    Other,
}

impl<'a> Bag<'a> {
    fn read(bags: &mut Reader<'a>) -> Result<Self, Broken> {
        let mut bag = bags.sequence()?;
        let kind = bag.oid()?;
        let mut value = bag.explicit(0)?;
        let (alias, id) = attributes(bag)?;
        let key = |locked| {
            Self::Key(KeyEntry {
                alias,
                id: id.clone(),
                locked,
                chain: Vec::new(),
            })
        };
        Ok(if kind == oid!(1.2.840.113549.1.12.10.1.1) {
            key(Locked::Plain(Zeroizing::new(value.raw()?.to_vec())))
        } else if kind == oid!(1.2.840.113549.1.12.10.1.2) {
            key(Locked::Pkcs8(value.raw()?.to_vec()))
        } else if kind == oid!(1.2.840.113549.1.12.10.1.3) {
            match certificate(&mut value)? {
                Some(der) => Self::Certificate(Entry {
                    id,
                    der: Der::from(der.into_owned()),
                }),
                None => Self::Other,
            }
        } else if kind == oid!(1.2.840.113549.1.12.10.1.6) {
            Self::Bags(value.sequence()?)
        } else {
            Self::Other
        })
    }
}

/// `None` if it is not X.509.
fn certificate<'a>(value: &mut Reader<'a>) -> Result<Option<Cow<'a, [u8]>>, Broken> {
    let mut bag = value.sequence()?;
    let kind = bag.oid()?;
    let mut value = bag.explicit(0)?;
    if kind != oid!(1.2.840.113549.1.9.22.1) {
        return Ok(None);
    }
    value.octets().map(Some)
}

/// The alias, and the id that pairs a key with its certificate.
fn attributes(mut bag: Reader<'_>) -> Result<(Option<String>, Option<Vec<u8>>), Broken> {
    let (mut alias, mut id) = (None, None);
    if bag.is_empty() {
        return Ok((alias, id));
    }
    let mut attributes = bag.set()?;
    while !attributes.is_empty() {
        let mut attribute = attributes.sequence()?;
        let kind = attribute.oid()?;
        let mut values = attribute.set()?;
        if kind == oid!(1.2.840.113549.1.9.20) {
            alias = Some(values.bmp_string()?).filter(|alias| !alias.is_empty());
        } else if kind == oid!(1.2.840.113549.1.9.21) {
            id = Some(values.octets()?.into_owned());
        }
    }
    Ok((alias, id))
}
