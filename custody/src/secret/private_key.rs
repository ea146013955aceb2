//! `private-key`: an RSA, EC or Ed25519 key without a certificate.

use aws_lc_rs::digest;

use super::{
    Fields, Properties, Refused, Shape, Type,
    container::{self, PASSPHRASE},
    required,
    x509::key,
};

const KEY: &str = "private-key";

pub(super) struct Private;

impl Type for Private {
    fn name(&self) -> &'static str {
        "private-key"
    }

    fn shape(&self) -> Shape {
        Shape::Fields(const { &[required(KEY)] })
    }

    fn inputs(&self) -> &'static [&'static str] {
        &[PASSPHRASE]
    }

    fn lines(&self) -> &'static [&'static str] {
        &[PASSPHRASE]
    }

    fn pem(&self) -> &'static [&'static str] {
        &[KEY]
    }

    fn publishes(&self) -> &'static [&'static str] {
        &["key-algorithm", "spki-sha256"]
    }

    /// Whatever form the key came in, PKCS#8 PEM is what is stored.
    fn take(&self, mut given: Fields) -> Result<Fields, Refused> {
        let passphrase = container::take_text(&mut given, PASSPHRASE)?;
        let passphrase = passphrase.as_deref().map(String::as_str);
        let pem = match given.get(KEY) {
            None | Some([]) => return Ok(given),
            Some(bytes) => key::read(KEY, bytes, passphrase)?.to_pem(),
        };
        given.remove(KEY);
        given.push_wiped(KEY.to_owned(), pem);
        Ok(given)
    }

    fn inspect(&self, values: &Fields) -> Result<Properties, Refused> {
        let key = key::read(KEY, values.get(KEY).unwrap_or_default(), None)?;
        let sha256 = digest::digest(&digest::SHA256, key.spki());
        Ok(vec![
            ("key-algorithm".to_owned(), key.algorithm().to_owned()),
            ("spki-sha256".to_owned(), hex::encode(sha256)),
        ])
    }
}

#[cfg(test)]
mod tests {
    use rustls_pki_types::{PrivateKeyDer, pem::PemObject as _};

    use super::*;
    use crate::secret::Kind;

    const SEC1: &str = include_str!("key/samples/p256-sec1.pem");
    const PKCS8: &str = include_str!("key/samples/p256-pkcs8.pem");

    fn accept(key: &[u8]) -> Result<(Fields, Properties), Refused> {
        let mut fields = Fields::default();
        fields.push(KEY.into(), key.into());
        let accepted = Kind::from_name("private-key")?.accept(fields)?;
        let stored = Fields::decode(&accepted.content).unwrap();
        Ok((stored, accepted.properties))
    }

    #[test]
    fn any_form_of_a_key_is_stored_as_pkcs8_pem_and_described_alike() {
        let sec1 = PrivateKeyDer::from_pem_slice(SEC1.as_bytes()).unwrap();
        for given in [SEC1.as_bytes(), PKCS8.as_bytes(), sec1.secret_der()] {
            let (stored, properties) = accept(given).unwrap();
            assert_eq!(stored.get(KEY), Some(PKCS8.as_bytes()));
            let [(first, algorithm), (second, sha256)] = &properties[..] else {
                panic!("{properties:?}");
            };
            assert_eq!((&**first, &**algorithm), ("key-algorithm", "EC 256"));
            assert_eq!(second, "spki-sha256");
            // openssl pkey -in … -pubout -outform DER | sha256sum
            let expected = "ec3ec6a0f07f8858d1a4614500b2712468217670c20be89ef4f1a4ea035cbd88";
            assert_eq!(sha256, expected);
        }
    }

    #[test]
    fn a_refusal_names_the_field_and_what_is_wrong_with_it() {
        let encrypted = include_str!("key/samples/encrypted-pkcs8.pem");
        let refusal = accept(encrypted.as_bytes()).unwrap_err().to_string();
        assert!(
            refusal.starts_with("\"private-key\" is encrypted"),
            "{refusal}"
        );
        assert_eq!(accept(b"").unwrap_err(), Refused::Empty(KEY));
    }
}
