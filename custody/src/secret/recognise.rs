//! What a file holds, told from its bytes: for taking over what people have.

use std::fmt;

use pem::Pem;
use x509_parser::prelude::{CertificateRevocationList, FromDer as _, X509Certificate};
use zeroize::Zeroizing;

use super::{
    Refused,
    container::{Container, JKS, PKCS12},
    key::PrivateKey,
    pbe::Encrypted,
    x509::{
        self, Der, MAX_COLLECTION, contains, describe::text, encode, invalid, is_binary, sections,
        to_pem,
    },
};

const KEY: &str = "private-key";
const CERTIFICATE: &str = "certificate";
const CRLS: &str = "crls";

/// The most issuers, and issuers of issuers, that are looked at for one chain.
const MAX_NEAR: usize = 128;

/// One thing in a file.
#[derive(Debug)]
pub enum Found {
    /// A private key; out of a container, with its chain.
    Key(Key),
    /// A certificate; out of a container, one that is in no key's chain.
    Certificate(Certificate),
    /// A certificate revocation list.
    Crl(Crl),
    /// What is no secret, and what it is: "a public key".
    Public(&'static str),
    /// A key, a certificate or a container that is not taken, and why; [`Refused::Locked`] if
    /// it may be with another passphrase.
    Refused(Refused),
}

/// A private key that is kept. Its `Debug` shows none of it.
pub struct Key {
    pem: Zeroizing<Vec<u8>>,
    public: Vec<u8>,
    alias: Option<String>,
    chain: Vec<Certificate>,
}

impl Key {
    fn new(key: &PrivateKey) -> Self {
        Self {
            pem: key.to_pem(),
            public: key.public().to_vec(),
            alias: None,
            chain: Vec::new(),
        }
    }

    /// The key as PKCS#8 PEM: content.
    pub fn expose(&self) -> &[u8] {
        &self.pem
    }

    /// What its container calls it.
    pub fn alias(&self) -> Option<&str> {
        self.alias.as_deref()
    }

    /// Its certificates out of the same container, leaf first.
    pub fn chain(&self) -> &[Certificate] {
        &self.chain
    }

    /// Whether both have the same public key.
    pub fn is_same(&self, other: &Self) -> bool {
        self.public == other.public
    }

    /// Whether the certificate is for this key.
    pub fn fits(&self, certificate: &Certificate) -> bool {
        self.public == certificate.public
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("alias", &self.alias)
            .field("chain", &self.chain)
            .finish_non_exhaustive()
    }
}

/// A certificate, and what is compared of it.
#[derive(Clone)]
pub struct Certificate {
    der: Der,
    public: Vec<u8>,
    subject: Vec<u8>,
    issuer: Vec<u8>,
    name: String,
    is_authority: bool,
    not_before: i64,
}

impl Certificate {
    fn read(der: &[u8]) -> Result<Self, Refused> {
        let Ok(([], parsed)) = X509Certificate::from_der(der) else {
            return Err(invalid(format!(
                "{CERTIFICATE:?} is not a well-formed X.509 certificate"
            )));
        };
        let subject = parsed.subject().as_raw().to_vec();
        let issuer = parsed.issuer().as_raw().to_vec();
        // Roots of the time before extensions have none that says so.
        let is_old_root = parsed.extensions().is_empty() && subject == issuer;
        Ok(Self {
            der: Der::from(der.to_vec()),
            public: parsed.public_key().subject_public_key.data.to_vec(),
            name: text(parsed.subject()),
            is_authority: parsed.is_ca() || is_old_root,
            not_before: parsed.validity().not_before.timestamp(),
            subject,
            issuer,
        })
    }

    /// The certificate as PEM.
    pub fn to_pem(&self) -> Vec<u8> {
        to_pem(std::slice::from_ref(&self.der))
    }

    /// Its subject, as it is shown.
    pub fn subject(&self) -> &str {
        &self.name
    }

    /// Whether it may issue others.
    pub fn is_authority(&self) -> bool {
        self.is_authority
    }

    /// Whether it names itself as its issuer, as roots do.
    pub fn is_self_issued(&self) -> bool {
        self.subject == self.issuer
    }

    /// From when on it is valid, in seconds since 1970.
    pub fn not_before(&self) -> i64 {
        self.not_before
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.der == other.der
    }
}

impl Eq for Certificate {}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Certificate").field(&self.name).finish()
    }
}

/// A certificate revocation list.
pub struct Crl {
    der: Vec<u8>,
    issuer: Vec<u8>,
    name: String,
}

impl Crl {
    fn read(der: &[u8]) -> Result<Self, Refused> {
        match CertificateRevocationList::from_der(der) {
            Ok(([], crl)) => Ok(Self {
                der: der.to_vec(),
                issuer: crl.issuer().as_raw().to_vec(),
                name: text(crl.issuer()),
            }),
            _ => Err(invalid(format!(
                "{CRLS:?} is not a well-formed certificate revocation list"
            ))),
        }
    }

    /// The list as PEM.
    pub fn to_pem(&self) -> Vec<u8> {
        encode("X509 CRL", &self.der).into_bytes()
    }

    /// Who issued it, as it is shown.
    pub fn issuer(&self) -> &str {
        &self.name
    }

    /// Whether it names the certificate's subject as its issuer.
    pub fn names(&self, certificate: &Certificate) -> bool {
        self.issuer == certificate.subject
    }
}

impl fmt::Debug for Crl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Crl").field(&self.name).finish()
    }
}

/// What `bytes` hold, in order: keys, certificates and lists in PEM or DER, or all that is in a
/// PKCS#12 file or a JKS key store. Nothing if they are of no such form.
pub fn recognise(bytes: &[u8], passphrase: Option<&str>) -> Vec<Found> {
    if bytes.starts_with(&[0xfe, 0xed, 0xfe, 0xed]) || bytes.starts_with(&[0xce; 4]) {
        return container(JKS, bytes, passphrase);
    }
    if is_binary(bytes) {
        return der(bytes, passphrase);
    }
    if !contains(bytes, b"-----BEGIN ") {
        return Vec::new();
    }
    match sections("PEM", bytes, MAX_COLLECTION, "sections") {
        Ok(found) => found
            .into_iter()
            .filter_map(|pem| section(pem, passphrase))
            .collect(),
        Err(refused) => vec![Found::Refused(refused)],
    }
}

/// The certificate at `leaf` and those that issued it, as far as they are in `pool`: their
/// positions, each followed by that of its issuer.
pub fn chain(pool: &[Certificate], leaf: usize) -> Vec<usize> {
    // The others need not be taken apart.
    let mut near = vec![leaf];
    let mut next = 0;
    while next < near.len() && near.len() < MAX_NEAR {
        let issuer = &pool[near[next]].issuer;
        let issuers = (0..pool.len()).filter(|at| pool[*at].subject == *issuer);
        let more: Vec<_> = issuers.filter(|at| !near.contains(at)).collect();
        near.extend(more);
        next += 1;
    }
    let ders: Vec<_> = near.iter().map(|at| pool[*at].der.clone()).collect();
    match x509::parse(CERTIFICATE, &ders) {
        Ok(parsed) => x509::chain::order(&parsed, 0)
            .into_iter()
            .map(|at| near[at])
            .collect(),
        Err(_) => vec![leaf],
    }
}

impl<T: Into<Self>> From<Result<T, Refused>> for Found {
    fn from(read: Result<T, Refused>) -> Self {
        read.map_or_else(Self::Refused, Into::into)
    }
}

impl From<Key> for Found {
    fn from(key: Key) -> Self {
        Self::Key(key)
    }
}

impl From<Certificate> for Found {
    fn from(certificate: Certificate) -> Self {
        Self::Certificate(certificate)
    }
}

impl From<Crl> for Found {
    fn from(crl: Crl) -> Self {
        Self::Crl(crl)
    }
}

fn der(bytes: &[u8], passphrase: Option<&str>) -> Vec<Found> {
    if X509Certificate::from_der(bytes).is_ok() {
        return match x509::read(CERTIFICATE, bytes, MAX_COLLECTION) {
            Ok(ders) => ders
                .iter()
                .map(|der| Certificate::read(der).into())
                .collect(),
            Err(refused) => vec![Found::Refused(refused)],
        };
    }
    if CertificateRevocationList::from_der(bytes).is_ok() {
        return vec![Crl::read(bytes).into()];
    }
    if Encrypted::from_ber(bytes).is_some() || PrivateKey::from_der(bytes).is_some() {
        return vec![key(bytes, passphrase).into()];
    }
    container(PKCS12, bytes, passphrase)
}

/// `None` for what only goes before a key.
fn section(pem: Pem, passphrase: Option<&str>) -> Option<Found> {
    let is_old = pem
        .headers()
        .get("Proc-Type")
        .is_some_and(|kind| kind.contains("ENCRYPTED"));
    let tag = pem.tag().to_owned();
    let bytes = Zeroizing::new(pem.into_contents());
    Some(match tag.as_str() {
        "CERTIFICATE" | "X509 CERTIFICATE" => Certificate::read(&bytes).into(),
        "X509 CRL" => Crl::read(&bytes).into(),
        "OPENSSH PRIVATE KEY" => Found::Refused(invalid(
            "is a key of OpenSSH, which no type takes apart; a blob holds it as it is",
        )),
        tag if tag.ends_with("PRIVATE KEY") && is_old => Found::Refused(invalid(format!(
            "{KEY:?} is encrypted in the way of old OpenSSL, whose key derivation is weak; convert \
             it by: openssl pkcs8 -topk8 -in FILE -out KEY, and give that passphrase"
        ))),
        tag if tag.ends_with("PRIVATE KEY") => key(&bytes, passphrase).into(),
        "TRUSTED CERTIFICATE" => Found::Refused(invalid(
            "is a TRUSTED CERTIFICATE, which only OpenSSL reads; convert it by: openssl x509 -in \
             FILE -out CERTIFICATE",
        )),
        "PKCS7" | "CMS" => Found::Refused(invalid(
            "is PKCS#7; convert it by: openssl pkcs7 -in FILE -print_certs",
        )),
        "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => Found::Public("a certificate request"),
        tag if tag.ends_with("PUBLIC KEY") => Found::Public("a public key"),
        "EC PARAMETERS" => return None,
        tag if tag.ends_with(" PARAMETERS") => Found::Public("parameters"),
        tag => Found::Refused(invalid(format!("is a {:?}, which is not known", text(tag)))),
    })
}

fn key(der: &[u8], passphrase: Option<&str>) -> Result<Key, Refused> {
    if !is_binary(der) {
        return Err(invalid(format!("{KEY:?} is not well-formed")));
    }
    x509::key::read(KEY, der, passphrase).map(|key| Key::new(&key))
}

fn container(field: &'static str, bytes: &[u8], passphrase: Option<&str>) -> Vec<Found> {
    let opened = Container::read(field, bytes, passphrase);
    let opened = opened.and_then(|container| container.open(passphrase.unwrap_or_default()));
    let opened = match opened {
        Ok(opened) => opened,
        Err(refused) => return vec![Found::Refused(refused)],
    };
    let mut found = Vec::new();
    for (alias, opening) in opened.keys {
        let key = opening.and_then(|opening| {
            let chain = opening.chain.iter().map(|der| Certificate::read(der));
            Ok(Key {
                alias: Some(alias),
                chain: chain.collect::<Result<_, _>>()?,
                ..Key::new(&opening.key)
            })
        });
        found.push(key.into());
    }
    let others = opened
        .others
        .iter()
        .map(|der| Certificate::read(der).into());
    found.extend(others);
    if found.is_empty() {
        found.push(Found::Refused(invalid(format!(
            "{field:?} holds no private key and no certificate"
        ))));
    }
    found
}

#[cfg(test)]
mod tests;
