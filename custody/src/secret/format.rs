//! The forms in which content is delivered.

use std::{collections::BTreeSet, fmt};

use aws_lc_rs::rand;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use super::{
    Fields, Kind, Refused,
    certificate::CERTIFICATE,
    keystore::{CHAIN, KEY},
    truststore::CERTIFICATES,
    x509::{MAX_COLLECTION, invalid, key, read},
};

pub(in crate::secret) mod der;
mod dotenv;
mod fit;
mod pkcs12;

/// How content is written for whoever fetches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Each field that is PEM, as a file.
    Pem,
    /// All of them in one file: certificates, then the key, as HAProxy wants them.
    PemBundle,
    /// Each certificate, key or revocation list, as a file.
    Der,
    /// A key store under a password: PBES2 with AES-256.
    Pkcs12,
    /// Certificates as Java trusts them: PKCS#12 under a password, with its attribute.
    JavaTruststore,
    /// An object with a member for each field: text, or `{"base64": …}`.
    Json,
    /// The bytes of the only field.
    Raw,
    /// `NAME='value'` for each field.
    Dotenv,
}

/// Passwords that Java's keytool takes are at least as long.
const MIN_PASSWORD: usize = 6;
const MAX_PASSWORD: usize = 1024;

/// The field in which a password is delivered that was made for the occasion.
const PASSWORD: &str = "password";

impl Format {
    /// Every format.
    pub const ALL: [Self; 8] = [
        Self::Pem,
        Self::PemBundle,
        Self::Der,
        Self::Pkcs12,
        Self::JavaTruststore,
        Self::Json,
        Self::Raw,
        Self::Dotenv,
    ];

    /// The name by which it is asked for.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pem => "pem",
            Self::PemBundle => "pem-bundle",
            Self::Der => "der",
            Self::Pkcs12 => "pkcs12",
            Self::JavaTruststore => "java-truststore",
            Self::Json => "json",
            Self::Raw => "raw",
            Self::Dotenv => "dotenv",
        }
    }

    /// The format of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }

    /// Whether it is a key store, which is under a password.
    pub fn takes_password(self) -> bool {
        matches!(self, Self::Pkcs12 | Self::JavaTruststore)
    }
}

/// How a caller wants content written. Its `Debug` does not show the password.
pub struct Rendering {
    format: Format,
    password: Option<Zeroizing<String>>,
}

impl Rendering {
    /// `format`; a key store under `password`, or under one that is made each time.
    ///
    /// # Errors
    ///
    /// If the format takes no password, or Java would not take this one.
    pub fn new(format: Format, password: Option<Zeroizing<String>>) -> Result<Self, Refused> {
        if let Some(password) = &password {
            if !format.takes_password() {
                return Err(invalid(format!("{} takes no password", format.name())));
            }
            check(password)?;
        }
        Ok(Self { format, password })
    }

    /// The format.
    pub fn format(&self) -> Format {
        self.format
    }
}

impl fmt::Debug for Rendering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rendering")
            .field("format", &self.format)
            .finish_non_exhaustive()
    }
}

/// Writes `fields` of a secret of `kind` as `rendering` says: each document under the name
/// of a file. A password that is made for a key store is a document beside it.
///
/// This may take tenths of a second: the keys of a key store are derived slowly.
///
/// # Errors
///
/// If the format cannot hold what there is.
pub fn render(kind: Kind, fields: &Fields, rendering: &Rendering) -> Result<Fields, Refused> {
    let format = rendering.format;
    let names: BTreeSet<_> = fields.names().map(str::to_owned).collect();
    format.fits(kind, &names)?;
    let mut documents = Fields::default();
    match format {
        Format::Pem => {
            for (name, pem) in pems(kind, fields)? {
                documents.push(format!("{name}.pem"), pem.to_vec());
            }
        }
        Format::PemBundle => {
            let all: Vec<_> = pems(kind, fields)?
                .into_iter()
                .map(|(_, pem)| pem)
                .collect();
            let bundle = Zeroizing::new(all.concat());
            documents.push_wiped("bundle.pem".to_owned(), bundle);
        }
        Format::Der => ders(kind, fields, &mut documents)?,
        Format::Pkcs12 | Format::JavaTruststore => {
            let made = match &rendering.password {
                Some(_) => None,
                None => Some(make()?),
            };
            let password = rendering.password.as_ref().or(made.as_ref());
            let password = password.map_or("", |password| password.as_str());
            let (name, store) = if format == Format::Pkcs12 && kind.has(KEY) {
                ("keystore.p12", keystore(kind, fields, password)?)
            } else {
                ("truststore.p12", truststore(kind, fields, password)?)
            };
            documents.push_wiped(name.to_owned(), store);
            if let Some(made) = made {
                documents.push(PASSWORD.to_owned(), made.as_bytes().to_vec());
            }
        }
        Format::Json => documents.push_wiped("secret.json".to_owned(), json(fields)),
        Format::Raw => {
            let mut all = fields.iter();
            let (Some((name, value)), None) = (all.next(), all.next()) else {
                return Err(fit::several(kind, fields.len()));
            };
            documents.push(name.to_owned(), value.to_vec());
        }
        Format::Dotenv => documents.push_wiped("secret.env".to_owned(), dotenv::write(fields)?),
    }
    Ok(documents)
}

/// The fields that are PEM, in order.
fn pems(kind: Kind, fields: &Fields) -> Result<Vec<(&str, &[u8])>, Refused> {
    let found: Vec<_> = fields
        .iter()
        .filter(|(name, value)| kind.may_be_pem(name) && is_armoured(value))
        .collect();
    if found.is_empty() {
        return Err(fit::lacking(kind, "PEM"));
    }
    Ok(found)
}

/// Whether `value` is written like PEM (RFC 7468). What a type knows to be PEM is; what people
/// put into a blob need not be.
fn is_armoured(value: &[u8]) -> bool {
    value.starts_with(b"-----BEGIN ") && value.is_ascii()
}

fn ders(kind: Kind, fields: &Fields, documents: &mut Fields) -> Result<(), Refused> {
    for (name, value) in pems(kind, fields)? {
        let sections = pem::parse_many(value).map_err(|_| fit::lacking(kind, "DER"))?;
        let is_alone = sections.len() == 1;
        for (section, number) in sections.into_iter().zip(1..) {
            let file = match is_alone {
                true => format!("{name}.der"),
                false => format!("{name}-{number}.der"),
            };
            documents.push(file, section.into_contents());
        }
    }
    Ok(())
}

fn keystore(kind: Kind, fields: &Fields, password: &str) -> Result<Zeroizing<Vec<u8>>, Refused> {
    let (Some(chain), Some(key)) = (fields.get(CHAIN), fields.get(KEY)) else {
        return Err(fit::half(kind));
    };
    let chain = read(CHAIN, chain, MAX_COLLECTION)?;
    let key = key::read(KEY, key, None)?;
    pkcs12::keystore(&chain, key.pkcs8(), password).map_err(|_| failed())
}

fn truststore(kind: Kind, fields: &Fields, password: &str) -> Result<Zeroizing<Vec<u8>>, Refused> {
    let found = [CERTIFICATES, CERTIFICATE]
        .into_iter()
        .find_map(|name| Some((name, fields.get(name)?)));
    let (name, value) =
        found.ok_or_else(|| fit::lacking(kind, "a store of trusted certificates"))?;
    let trusted = read(name, value, MAX_COLLECTION)?;
    pkcs12::truststore(&trusted, password).map_err(|_| failed())
}

fn failed() -> Refused {
    invalid("the key store cannot be written: the cryptographic library failed")
}

fn check(password: &str) -> Result<(), Refused> {
    let length = password.chars().count();
    if !(MIN_PASSWORD..=MAX_PASSWORD).contains(&length) || password.chars().any(char::is_control) {
        return Err(invalid(format!(
            "the password of a key store has {MIN_PASSWORD} to {MAX_PASSWORD} characters, none of \
             them control characters"
        )));
    }
    Ok(())
}

/// 128 random bits in base32 (RFC 4648), which every shell and configuration file takes.
fn make() -> Result<Zeroizing<String>, Refused> {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut bytes = Zeroizing::new([0; 16]);
    rand::fill(&mut bytes[..]).map_err(|_| failed())?;
    let mut number = Zeroizing::new(u128::from_be_bytes(*bytes));
    let mut password = Zeroizing::new(String::with_capacity(26));
    for _ in 0..26 {
        password.push(char::from(ALPHABET[(*number & 31) as usize]));
        *number >>= 5;
    }
    Ok(password)
}

fn json(fields: &Fields) -> Zeroizing<Vec<u8>> {
    let quote = |text: &str| serde_json::Value::from(text).to_string();
    let mut written = Zeroizing::new(Vec::with_capacity(2 * fields.size() + 64));
    for (name, value) in fields.iter() {
        let before = if written.is_empty() { "{" } else { "," };
        let value = Zeroizing::new(match str::from_utf8(value) {
            Ok(text) => quote(text),
            Err(_) => format!("{{\"base64\":\"{}\"}}", STANDARD.encode(value)),
        });
        for part in [before, &quote(name), ":", &value] {
            written.extend_from_slice(part.as_bytes());
        }
    }
    let end: &[u8] = if written.is_empty() { b"{}\n" } else { b"}\n" };
    written.extend_from_slice(end);
    written
}

#[cfg(test)]
mod tests;
