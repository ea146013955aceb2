//! Requests for certificates (PKCS#10, RFC 2986), and the key pairs that they are for.

use std::{fmt, net::IpAddr, str::FromStr};

use asn1_rs::{Oid, oid};
use aws_lc_rs::{
    agreement::{ECDH_P256, ECDH_P384, PrivateKey as EcPrivateKey},
    encoding::{AsDer, EcPrivateKeyRfc5915Der, Pkcs8V1Der},
    rand::SystemRandom,
    rsa::{KeyPair as RsaKeyPair, KeySize},
    signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair,
        Ed25519KeyPair, RSA_PKCS1_SHA256,
    },
};
use x509_parser::{
    oid_registry::OID_X509_EXT_SUBJECT_ALT_NAME,
    prelude::{FromDer as _, X509Certificate, X509Name},
};
use zeroize::Zeroizing;

use super::{
    Accepted, Fields, Kind, Properties, Refused,
    format::der::{self, Element, element, explicit, integer, octets, sequence, set},
    key::PrivateKey,
    keystore::{CHAIN, KEY},
    x509::{MAX_CHAIN, describe, encode, invalid, parse, read},
};
use crate::random::Random;

/// Name of the property that holds a request; a version with it has a key and no certificate.
pub(super) const REQUEST: &str = "request";

/// What a key pair is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "as they are called")]
pub enum KeyAlgorithm {
    EcP256,
    EcP384,
    Ed25519,
    Rsa3072,
    Rsa4096,
}

/// A text that is no such algorithm.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is no algorithm of keys that are made; there are {known}",
    known = KeyAlgorithm::ALL.map(KeyAlgorithm::name).join(", "))]
pub struct NoSuchAlgorithm(String);

impl KeyAlgorithm {
    /// Every algorithm.
    pub const ALL: [Self; 5] = [
        Self::EcP256,
        Self::EcP384,
        Self::Ed25519,
        Self::Rsa3072,
        Self::Rsa4096,
    ];

    /// The name by which it is asked for.
    pub fn name(self) -> &'static str {
        match self {
            Self::EcP256 => "ec-p256",
            Self::EcP384 => "ec-p384",
            Self::Ed25519 => "ed25519",
            Self::Rsa3072 => "rsa-3072",
            Self::Rsa4096 => "rsa-4096",
        }
    }

    /// The one in place of a key with these properties: the same, or the nearest that is
    /// not weaker.
    fn after(former: &Properties) -> Self {
        let found = former.iter().find(|(name, _)| name == "key-algorithm");
        match found.map_or("", |(_, value)| value.as_str()) {
            "EC 384" | "EC 521" => Self::EcP384,
            "Ed25519" => Self::Ed25519,
            "RSA 2048" | "RSA 3072" => Self::Rsa3072,
            rsa if rsa.starts_with("RSA ") => Self::Rsa4096,
            _ => Self::EcP256,
        }
    }

    /// A key pair as DER that [`PrivateKey`] reads. An RSA key comes from the library's own
    /// generator, which the system seeds; the others from `random`.
    fn generate(self, random: &mut Random) -> Option<Zeroizing<Vec<u8>>> {
        let mut scalar = |length| {
            let mut bytes = Zeroizing::new(vec![0; length]);
            random.fill(&mut bytes);
            bytes
        };
        let wiped = |der: &[u8]| Zeroizing::new(der.to_vec());
        let mut on_curve = |curve, length| {
            // FIPS 186-5 A.2.2: what is no scalar is drawn again, which never comes to pass.
            (0..8).find_map(|_| {
                let key = EcPrivateKey::from_private_key(curve, &scalar(length)).ok()?;
                let der = AsDer::<EcPrivateKeyRfc5915Der<'_>>::as_der(&key).ok()?;
                Some(wiped(der.as_ref()))
            })
        };
        match self {
            Self::EcP256 => on_curve(&ECDH_P256, 32),
            Self::EcP384 => on_curve(&ECDH_P384, 48),
            Self::Ed25519 => {
                let pair = Ed25519KeyPair::from_seed_unchecked(&scalar(32)).ok()?;
                Some(wiped(pair.to_pkcs8v1().ok()?.as_ref()))
            }
            Self::Rsa3072 | Self::Rsa4096 => {
                let size = match self {
                    Self::Rsa3072 => KeySize::Rsa3072,
                    _ => KeySize::Rsa4096,
                };
                let pair = RsaKeyPair::generate(size).ok()?;
                let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).ok()?;
                Some(wiped(der.as_ref()))
            }
        }
    }
}

impl FromStr for KeyAlgorithm {
    type Err = NoSuchAlgorithm;

    fn from_str(name: &str) -> Result<Self, NoSuchAlgorithm> {
        let mut all = Self::ALL.into_iter();
        let found = all.find(|algorithm| algorithm.name() == name);
        found.ok_or_else(|| NoSuchAlgorithm(name.to_owned()))
    }
}

/// What a certificate is asked for; what is missing is as in the certificate there is.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// What the key is for.
    pub algorithm: Option<KeyAlgorithm>,
    /// The subject, as in `CN=www.example.org,O=Example`.
    pub subject: Option<String>,
    /// Its other names: `dns:…`, `ip:…`, `uri:…` or `email:…`.
    pub names: Vec<String>,
}

impl Wish {
    /// Whether something has to be taken from the certificate there is.
    pub fn lacks(&self) -> bool {
        self.subject.is_none() || self.names.is_empty()
    }

    /// Makes a key pair and a request for it, as content of a key store that has no
    /// certificate yet. `chain` is that of the certificate there is, `former` what is public
    /// of it. Takes a second for RSA.
    ///
    /// # Errors
    ///
    /// If it is not said for whom the certificate is to be.
    pub fn make(
        &self,
        chain: Option<&[u8]>,
        former: &Properties,
        random: &mut Random,
    ) -> Result<Accepted, Refused> {
        let ders = chain
            .map(|chain| read(CHAIN, chain, MAX_CHAIN))
            .transpose()?;
        let parsed = parse(CHAIN, ders.as_deref().unwrap_or_default())?;
        let leaf = parsed.first();
        let subject = match (&self.subject, leaf) {
            (Some(text), _) => subject(text)?,
            (None, Some(leaf)) => Zeroizing::new(leaf.subject().as_raw().to_vec()),
            (None, None) => sequence(&[]),
        };
        let names: Option<Element> = match (&self.names[..], leaf) {
            ([], Some(leaf)) => alternative_names(leaf),
            ([], None) => None,
            (given, _) => Some(general_names(given)?),
        };
        let is_nameless = subject[..] == [0x30, 0];
        if is_nameless && names.is_none() {
            return Err(invalid(
                "there is no certificate to take subject and names from, so they must be given"
                    .to_owned(),
            ));
        }
        let algorithm = self
            .algorithm
            .unwrap_or_else(|| KeyAlgorithm::after(former));
        let key = algorithm.generate(random);
        let key = key.and_then(|der| PrivateKey::from_der(&der));
        let failed = || invalid(format!("no {} key could be made", algorithm.name()));
        let key = key.ok_or_else(failed)?;
        let request = sign(
            algorithm,
            &key,
            &subject,
            names.as_ref().map(|names| &names[..]),
        )
        .ok_or_else(failed)?;
        let mut properties = vec![
            describe::property("subject", shown(&subject)),
            describe::property("key-algorithm", key.algorithm()),
        ];
        properties.push(describe::property(
            REQUEST,
            encode("CERTIFICATE REQUEST", &request),
        ));
        let mut fields = Fields::default();
        fields.push_wiped(KEY.to_owned(), key.to_pem());
        Ok(Accepted {
            kind: Kind::from_name("keystore")?,
            size: fields.size() as u64,
            content: fields.encode(),
            properties,
        })
    }
}

/// The subject in words.
fn shown(subject: &[u8]) -> String {
    X509Name::from_der(subject).map_or_else(|_| String::new(), |(_, name)| describe::text(name))
}

/// The extension for other names as it stands in `certificate`.
fn alternative_names(certificate: &X509Certificate<'_>) -> Option<Element> {
    let found = certificate.get_extension_unique(&OID_X509_EXT_SUBJECT_ALT_NAME);
    let extension = found.ok().flatten()?;
    Some(Zeroizing::new(extension.value.to_vec()))
}

/// RFC 5280 §4.2.1.6.
fn general_names(names: &[String]) -> Result<Element, Refused> {
    let written = names.iter().map(|text| {
        let (kind, value) = text.split_once(':').unwrap_or(("", text));
        let address = value.parse::<IpAddr>();
        let is_plain = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic());
        match (kind, address) {
            ("ip", Ok(IpAddr::V4(address))) => Ok(element(0x87, &[&address.octets()])),
            ("ip", Ok(IpAddr::V6(address))) => Ok(element(0x87, &[&address.octets()])),
            ("email", _) if is_plain => Ok(element(0x81, &[value.as_bytes()])),
            ("dns", _) if is_plain => Ok(element(0x82, &[value.as_bytes()])),
            ("uri", _) if is_plain => Ok(element(0x86, &[value.as_bytes()])),
            _ => Err(invalid(format!(
                "{text:?} is no name for a certificate: write dns:NAME, ip:ADDRESS, uri:URI or \
                 email:ADDRESS"
            ))),
        }
    });
    let written = written.collect::<Result<Vec<_>, _>>()?;
    let parts: Vec<_> = written.iter().map(|name| &name[..]).collect();
    Ok(sequence(&parts))
}

/// The longest value in a subject (RFC 5280, upper bounds: 64 for most, 128 for places).
const MAX_VALUE: usize = 64;

/// Writes `CN=…,O=…` as a distinguished name; a comma in a value is written `\,`.
fn subject(text: &str) -> Result<Element, Refused> {
    let mut parts = vec![String::new()];
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        let last = parts.last_mut().expect("there is always one");
        match c {
            '\\' => last.extend(characters.next()),
            ',' => parts.push(String::new()),
            _ => last.push(c),
        }
    }
    let written = parts.iter().map(|part| attribute(part.trim()));
    let written = written.collect::<Result<Vec<_>, _>>()?;
    let parts: Vec<_> = written.iter().map(|name| &name[..]).collect();
    Ok(sequence(&parts))
}

fn attribute(part: &str) -> Result<Element, Refused> {
    let known: [(&str, Oid<'_>); 6] = [
        ("CN", oid!(2.5.4.3)),
        ("C", oid!(2.5.4.6)),
        ("L", oid!(2.5.4.7)),
        ("ST", oid!(2.5.4.8)),
        ("O", oid!(2.5.4.10)),
        ("OU", oid!(2.5.4.11)),
    ];
    let wrong = || {
        invalid(format!(
            "{part:?} cannot be part of a subject: write CN=NAME,O=ORGANISATION, with CN, O, OU, \
             L, ST and C (two letters), of at most {MAX_VALUE} characters each"
        ))
    };
    let (kind, value) = part.split_once('=').ok_or_else(wrong)?;
    let (_, oid) = known
        .iter()
        .find(|(name, _)| *name == kind)
        .ok_or_else(wrong)?;
    let is_country = kind == "C";
    let fits = match is_country {
        true => value.len() == 2 && value.bytes().all(|byte| byte.is_ascii_uppercase()),
        false => (1..=MAX_VALUE).contains(&value.chars().count()),
    };
    if !fits || value.chars().any(char::is_control) {
        return Err(wrong());
    }
    // A country is a PrintableString, everything else UTF-8.
    let tag = if is_country { 0x13 } else { 0x0c };
    let value = element(tag, &[value.as_bytes()]);
    Ok(set(vec![sequence(&[&der::oid(oid), &value])]))
}

/// RFC 2986 §4.
fn sign(
    algorithm: KeyAlgorithm,
    key: &PrivateKey,
    subject: &[u8],
    names: Option<&[u8]>,
) -> Option<Element> {
    let extensions = names.map(|names| {
        let extension = sequence(&[&der::oid(&oid!(2.5.29.17)), &octets(names)]);
        let asked = set(vec![sequence(&[&extension])]);
        sequence(&[&der::oid(&oid!(1.2.840.113549.1.9.14)), &asked])
    });
    let attributes = explicit(extensions.as_deref().map_or(&[], Vec::as_slice));
    let info = sequence(&[&integer(0), subject, key.spki(), &attributes]);
    let random = SystemRandom::new();
    let (signature, oid) = match algorithm {
        KeyAlgorithm::EcP256 | KeyAlgorithm::EcP384 => {
            let (curve, oid) = match algorithm {
                KeyAlgorithm::EcP256 => {
                    (&ECDSA_P256_SHA256_ASN1_SIGNING, oid!(1.2.840.10045.4.3.2))
                }
                _ => (&ECDSA_P384_SHA384_ASN1_SIGNING, oid!(1.2.840.10045.4.3.3)),
            };
            let pair = EcdsaKeyPair::from_pkcs8(curve, key.pkcs8()).ok()?;
            let signature = pair.sign(&random, &info).ok()?;
            (signature.as_ref().to_vec(), oid)
        }
        KeyAlgorithm::Ed25519 => {
            let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(key.pkcs8()).ok()?;
            (pair.sign(&info).as_ref().to_vec(), oid!(1.3.101.112))
        }
        KeyAlgorithm::Rsa3072 | KeyAlgorithm::Rsa4096 => {
            let pair = RsaKeyPair::from_pkcs8(key.pkcs8()).ok()?;
            let mut signature = vec![0; pair.public_modulus_len()];
            pair.sign(&RSA_PKCS1_SHA256, &random, &info, &mut signature)
                .ok()?;
            (signature, oid!(1.2.840.113549.1.1.11))
        }
    };
    let is_rsa = matches!(algorithm, KeyAlgorithm::Rsa3072 | KeyAlgorithm::Rsa4096);
    let parameters = if is_rsa { der::NULL } else { &[] };
    let method = sequence(&[&der::oid(&oid), parameters]);
    let bits = element(0x03, &[&[0], &signature]);
    Some(sequence(&[&info, &method, &bits]))
}

/// The key of a request, which waits for its certificate. Its `Debug` says nothing.
pub struct Requested(Zeroizing<Vec<u8>>);

impl Requested {
    /// The key in `fields`, if there is one.
    pub(crate) fn of(mut fields: Fields) -> Option<Self> {
        fields.remove(KEY).map(Self)
    }

    /// A key store of the key and the chain that was signed for it, to be accepted like
    /// what people give.
    pub fn with(self, chain: Vec<u8>) -> Fields {
        let mut fields = Fields::default();
        fields.push(CHAIN.to_owned(), chain);
        fields.push_wiped(KEY.to_owned(), self.0);
        fields
    }
}

impl fmt::Debug for Requested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Requested(..)")
    }
}

/// The certificate chain in the fields of a key store; the key is wiped.
pub(crate) fn chain(mut fields: Fields) -> Option<Vec<u8>> {
    fields
        .remove(CHAIN)
        .map(|mut chain| std::mem::take(&mut *chain))
}
