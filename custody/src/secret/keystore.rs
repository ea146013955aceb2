//! `keystore`: a certificate chain, leaf first, and the private key of its leaf.

use super::{
    Fields, Makes, Properties, Refused, Shape, Type,
    container::{self, ALIAS, JKS, KEY_PASSPHRASE, PASSPHRASE, PKCS12},
    request::REQUEST,
    required,
    x509::{MAX_CHAIN, chain, describe, invalid, key, parse, read, to_pem},
};

pub(super) const CHAIN: &str = "certificate-chain";
pub(super) const KEY: &str = "private-key";

pub(super) struct Keystore;

impl Type for Keystore {
    fn name(&self) -> &'static str {
        "keystore"
    }

    fn shape(&self) -> Shape {
        Shape::Fields(const { &[required(CHAIN), required(KEY)] })
    }

    fn inputs(&self) -> &'static [&'static str] {
        &[PKCS12, JKS, PASSPHRASE, KEY_PASSPHRASE, ALIAS]
    }

    fn take(&self, mut given: Fields) -> Result<Fields, Refused> {
        let passphrase = container::take_text(&mut given, PASSPHRASE)?;
        let passphrase = passphrase.as_deref().map(String::as_str);
        let own = container::take_text(&mut given, KEY_PASSPHRASE)?;
        let own = own.as_deref().map(String::as_str);
        let alias = container::take_text(&mut given, ALIAS)?;
        let mut fields = Fields::default();
        if let Some(container) = container::take(&mut given, passphrase)? {
            if !given.is_empty() {
                return Err(invalid(format!(
                    "give either a container, or {CHAIN:?} and {KEY:?}"
                )));
            }
            let alias = alias.as_deref().map(String::as_str);
            let (chain, key) = container.key(alias, own.or(passphrase))?;
            fields.push(CHAIN.to_owned(), to_pem(&chain));
            fields.push_wiped(KEY.to_owned(), key.to_pem());
            return Ok(fields);
        }
        if own.is_some() || alias.is_some() {
            return Err(invalid(format!(
                "{KEY_PASSPHRASE:?} and {ALIAS:?} go with {PKCS12:?} or {JKS:?}"
            )));
        }
        for (name, value) in given {
            // An empty one is refused by name, as in every type.
            if value.is_empty() {
                fields.push_wiped(name, value);
            } else if name == CHAIN {
                fields.push(name, to_pem(&read(CHAIN, &value, MAX_CHAIN)?));
            } else {
                fields.push_wiped(name, key::read(KEY, &value, passphrase)?.to_pem());
            }
        }
        Ok(fields)
    }

    fn lines(&self) -> &'static [&'static str] {
        &[PASSPHRASE, KEY_PASSPHRASE, ALIAS]
    }

    fn pem(&self) -> &'static [&'static str] {
        &[CHAIN, KEY]
    }

    fn makes(&self) -> Makes {
        Makes::Not(
            "an authority signs its certificate; have a key and a request for it made with \
             'custodyctl secret rotate GROUP/NAME --csr FILE'",
        )
    }

    fn publishes(&self) -> &'static [&'static str] {
        &[
            "subject",
            "issuer",
            "serial",
            "names",
            "not-before",
            "not-after",
            "key-algorithm",
            "signature-algorithm",
            "sha256",
            "certificates",
            "chain",
            "chain-not-after",
            REQUEST,
        ]
    }

    fn ends(&self) -> Option<&'static str> {
        Some("chain-not-after")
    }

    fn validity(&self) -> Option<(&'static str, &'static str)> {
        Some(("not-before", "not-after"))
    }

    fn inspect(&self, values: &Fields) -> Result<Properties, Refused> {
        let ders = read(CHAIN, values.get(CHAIN).unwrap_or_default(), MAX_CHAIN)?;
        let certificates = parse(CHAIN, &ders)?;
        chain::in_order(CHAIN, &certificates)?;
        // `read` gives at least one.
        let leaf = &certificates[0];
        let key = key::read(KEY, values.get(KEY).unwrap_or_default(), None)?;
        if *leaf.public_key().subject_public_key.data != *key.public() {
            return Err(invalid(format!(
                "{KEY:?} is not the key of the first certificate in {CHAIN:?}"
            )));
        }
        let mut properties = describe::certificate(leaf);
        properties.push(describe::property("certificates", ders.len().to_string()));
        properties.push(describe::property("chain", chain::extent(&certificates)));
        properties.extend(describe::first_end("chain-not-after", &certificates));
        Ok(properties)
    }
}

#[cfg(test)]
mod tests;
