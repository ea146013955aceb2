//! `truststore`: certificates that are trusted, of authorities or of peers.

use super::{
    Fields, Properties, Refused, Shape, Type,
    container::{self, JKS, PASSPHRASE, PKCS12},
    required,
    x509::{MAX_COLLECTION, describe, invalid, parse, read, to_pem},
};

pub(super) const CERTIFICATES: &str = "certificates";

pub(super) struct Truststore;

impl Type for Truststore {
    fn name(&self) -> &'static str {
        "truststore"
    }

    fn shape(&self) -> Shape {
        Shape::Fields(const { &[required(CERTIFICATES)] })
    }

    fn inputs(&self) -> &'static [&'static str] {
        &[PKCS12, JKS, PASSPHRASE]
    }

    fn take(&self, mut given: Fields) -> Result<Fields, Refused> {
        let passphrase = container::take_text(&mut given, PASSPHRASE)?;
        let passphrase = passphrase.as_deref().map(String::as_str);
        let found = match container::take(&mut given, passphrase)? {
            Some(_) if !given.is_empty() => {
                return Err(invalid(format!(
                    "give either a container or {CERTIFICATES:?}, not both"
                )));
            }
            Some(container) => container.only_certificates()?,
            None => match given.get(CERTIFICATES) {
                None | Some([]) => return Ok(given),
                Some(value) => read(CERTIFICATES, value, MAX_COLLECTION)?,
            },
        };
        let mut fields = Fields::default();
        fields.push(CERTIFICATES.to_owned(), to_pem(&found));
        Ok(fields)
    }

    fn lines(&self) -> &'static [&'static str] {
        &[PASSPHRASE]
    }

    fn pem(&self) -> &'static [&'static str] {
        &[CERTIFICATES]
    }

    fn publishes(&self) -> &'static [&'static str] {
        &[
            "certificates",
            "not-after",
            "key-algorithms",
            "subjects",
            "sha256",
        ]
    }

    fn ends(&self) -> Option<&'static str> {
        Some("not-after")
    }

    fn inspect(&self, values: &Fields) -> Result<Properties, Refused> {
        let value = values.get(CERTIFICATES).unwrap_or_default();
        let found = read(CERTIFICATES, value, MAX_COLLECTION)?;
        Ok(describe::collection(&parse(CERTIFICATES, &found)?))
    }
}

#[cfg(test)]
mod tests;
