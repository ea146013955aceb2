//! `tls-context`: what one end of TLS connections is set up with. It holds no keys, it
//! refers to them.

use super::{
    Fields, Makes, Properties, Refers, Refused, Shape, Type, optional, required,
    x509::{describe, invalid},
};
use crate::{reference::Reference, secret::version::Which};

mod suite;

use suite::Suite;

const KEYSTORE: &str = "keystore";
const TRUSTSTORE: &str = "truststore";
const PIN_SET: &str = "pin-set";
const CRLS: &str = "crls";
const MIN_VERSION: &str = "min-version";
const MAX_VERSION: &str = "max-version";
const CIPHER_SUITES: &str = "cipher-suites";
const CLIENT_AUTH: &str = "client-auth";
const ALPN: &str = "alpn";

/// More than all suites, or protocols, there are.
const MAX_LIST: usize = 100;

pub(super) struct TlsContext;

impl Type for TlsContext {
    fn name(&self) -> &'static str {
        "tls-context"
    }

    fn shape(&self) -> Shape {
        Shape::Fields(
            const {
                &[
                    required(KEYSTORE),
                    optional(TRUSTSTORE),
                    optional(PIN_SET),
                    optional(CRLS),
                    optional(MIN_VERSION),
                    optional(MAX_VERSION),
                    optional(CIPHER_SUITES),
                    optional(CLIENT_AUTH),
                    optional(ALPN),
                ]
            },
        )
    }

    fn refers(&self) -> &'static [Refers] {
        const {
            &[
                to(KEYSTORE, &["keystore"]),
                to(TRUSTSTORE, &["truststore"]),
                to(PIN_SET, &["certificate-pin-set"]),
                to(CRLS, &["crl-distributor"]),
            ]
        }
    }

    fn makes(&self) -> Makes {
        Makes::Not("its keystore is what is rotated; change the rest with 'custodyctl secret put'")
    }

    fn publishes(&self) -> &'static [&'static str] {
        &[
            KEYSTORE,
            TRUSTSTORE,
            PIN_SET,
            CRLS,
            MIN_VERSION,
            MAX_VERSION,
            CIPHER_SUITES,
            CLIENT_AUTH,
            ALPN,
            "not-in-rustls",
        ]
    }

    fn take(&self, given: Fields) -> Result<Fields, Refused> {
        let mut fields = Fields::default();
        for (name, value) in given {
            let text = str::from_utf8(&value)
                .map_err(|_| invalid(format!("{name:?} is not text")))?
                .trim();
            let stored = match name.as_str() {
                CIPHER_SUITES => {
                    let names: Vec<_> = suites(text)?.iter().map(|suite| suite.iana).collect();
                    names.join(":")
                }
                ALPN => protocols(text)?.join(","),
                _ => text.to_owned(),
            };
            fields.push(name, stored.into_bytes());
        }
        Ok(fields)
    }

    fn inspect(&self, values: &Fields) -> Result<Properties, Refused> {
        let text = |name| str::from_utf8(values.get(name).unwrap_or_default()).unwrap_or_default();
        for Refers { field, .. } in self.refers() {
            if values.get(field).is_some() {
                reference(field, text(field))?;
            }
        }
        let lowest = version(values, MIN_VERSION)?.unwrap_or(Version::Tls12);
        let highest = version(values, MAX_VERSION)?.unwrap_or(Version::Tls13);
        if lowest > highest {
            return Err(invalid(format!("{MIN_VERSION:?} is above {MAX_VERSION:?}")));
        }
        let suites = match values.get(CIPHER_SUITES) {
            Some(_) => suites(text(CIPHER_SUITES))?,
            None => Vec::new(),
        };
        for version in Version::ALL {
            let is_used = lowest <= version && version <= highest;
            let is_of_it = |suite: &&Suite| suite.is_tls12() == (version == Version::Tls12);
            if is_used && !suites.is_empty() && !suites.iter().any(is_of_it) {
                return Err(invalid(format!(
                    "{CIPHER_SUITES:?} has none of {}; add one, or change {MIN_VERSION:?} or \
                     {MAX_VERSION:?}",
                    version.name()
                )));
            }
        }
        if let Some(mode) = values.get(CLIENT_AUTH) {
            client_auth(mode, values.get(TRUSTSTORE).is_some())?;
        }
        let mut properties: Properties = values
            .names()
            .map(|name| describe::property(name, text(name)))
            .collect();
        let only: Vec<_> = suites.iter().filter(|suite| !suite.is_in_rustls).collect();
        if !only.is_empty() {
            let names: Vec<_> = only.iter().map(|suite| suite.iana.to_owned()).collect();
            let names = describe::some_of(&names, " ");
            properties.push(describe::property("not-in-rustls", names));
        }
        Ok(properties)
    }
}

const fn to(field: &'static str, kinds: &'static [&'static str]) -> Refers {
    Refers { field, kinds }
}

/// Whether `text` refers to a whole secret, and to a version of it that stays.
fn reference(field: &str, text: &str) -> Result<(), Refused> {
    let reference: Reference = text
        .parse()
        .map_err(|error| invalid(format!("{field:?}: {error}")))?;
    if reference.field.is_some() {
        return Err(invalid(format!(
            "{field:?}: the whole secret is wanted; leave #FIELD out"
        )));
    }
    if reference.version == Which::Pending {
        return Err(invalid(format!(
            "{field:?}: a pending version is pending no more once it is activated; refer to it by \
             its number"
        )));
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Version {
    Tls12,
    Tls13,
}

impl Version {
    const ALL: [Self; 2] = [Self::Tls12, Self::Tls13];

    fn name(self) -> &'static str {
        match self {
            Self::Tls12 => "TLSv1.2",
            Self::Tls13 => "TLSv1.3",
        }
    }
}

fn version(values: &Fields, name: &str) -> Result<Option<Version>, Refused> {
    let Some(value) = values.get(name) else {
        return Ok(None);
    };
    Version::ALL
        .into_iter()
        .find(|version| version.name().as_bytes() == value)
        .map(Some)
        .ok_or_else(|| invalid(format!("{name:?} is neither TLSv1.2 nor TLSv1.3")))
}

/// Whether peers must show certificates; those are checked against something.
fn client_auth(mode: &[u8], has_truststore: bool) -> Result<(), Refused> {
    match mode {
        b"none" => Ok(()),
        b"request" | b"require" if has_truststore => Ok(()),
        b"request" | b"require" => Err(invalid(format!(
            "{CLIENT_AUTH:?} needs a {TRUSTSTORE:?} to check certificates against"
        ))),
        _ => Err(invalid(format!(
            "{CLIENT_AUTH:?} is none of none, request, require"
        ))),
    }
}

fn list<'a>(field: &str, text: &'a str) -> Result<Vec<&'a str>, Refused> {
    let separator = |c: char| matches!(c, ':' | ',') || c.is_whitespace();
    let parts = text.split(separator).filter(|part| !part.is_empty());
    let parts: Vec<_> = parts.take(MAX_LIST + 1).collect();
    match parts.len() {
        0 => Err(invalid(format!("{field:?} is an empty list; leave it out"))),
        1..=MAX_LIST => Ok(parts),
        _ => Err(invalid(format!("{field:?} has over {MAX_LIST} elements"))),
    }
}

fn suites(text: &str) -> Result<Vec<&'static Suite>, Refused> {
    let mut found: Vec<&'static Suite> = Vec::new();
    for (name, number) in list(CIPHER_SUITES, text)?.into_iter().zip(1..) {
        let suite = Suite::from_name(name).ok_or_else(|| {
            invalid(format!(
                "element {number} of {CIPHER_SUITES:?} is no cipher suite with forward secrecy \
                 and authenticated encryption, by its IANA or OpenSSL name, such as {}",
                Suite::example()
            ))
        })?;
        if found.iter().any(|other| other.iana == suite.iana) {
            return Err(invalid(format!(
                "{CIPHER_SUITES:?} has {} twice",
                suite.iana
            )));
        }
        found.push(suite);
    }
    Ok(found)
}

/// Names of protocols, in order of preference (RFC 7301).
fn protocols(text: &str) -> Result<Vec<&str>, Refused> {
    let found: Vec<_> = text
        .split([',', ' ', '\n'])
        .filter(|part| !part.is_empty())
        .take(MAX_LIST + 1)
        .collect();
    if found.is_empty() || found.len() > MAX_LIST {
        return Err(invalid(format!("{ALPN:?} has 1 to {MAX_LIST} protocols")));
    }
    for (protocol, number) in found.iter().zip(1..) {
        let is_name = protocol.len() <= 255 && protocol.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_name {
            return Err(invalid(format!(
                "element {number} of {ALPN:?} is no protocol: at most 255 printable ASCII \
                 characters, such as h2 or http/1.1"
            )));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
