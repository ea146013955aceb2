//! `certificate`: a certificate and the chain it came with, without its key.

use super::{
    Fields, Properties, Refused, Shape, Type, required,
    x509::{MAX_CHAIN, chain, describe, parse, read, to_pem},
};

pub(super) const CERTIFICATE: &str = "certificate";

pub(super) struct Certificate;

impl Type for Certificate {
    fn name(&self) -> &'static str {
        "certificate"
    }

    fn shape(&self) -> Shape {
        Shape::Fields(const { &[required(CERTIFICATE)] })
    }

    fn take(&self, given: Fields) -> Result<Fields, Refused> {
        let found = match given.get(CERTIFICATE) {
            None | Some([]) => return Ok(given),
            Some(value) => read(CERTIFICATE, value, MAX_CHAIN)?,
        };
        let mut fields = Fields::default();
        fields.push(CERTIFICATE.to_owned(), to_pem(&found));
        Ok(fields)
    }

    fn pem(&self) -> &'static [&'static str] {
        &[CERTIFICATE]
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
            "pin",
            "certificates",
            "chain",
            "chain-not-after",
        ]
    }

    fn ends(&self) -> Option<&'static str> {
        Some("chain-not-after")
    }

    fn validity(&self) -> Option<(&'static str, &'static str)> {
        Some(("not-before", "not-after"))
    }

    fn inspect(&self, values: &Fields) -> Result<Properties, Refused> {
        let value = values.get(CERTIFICATE).unwrap_or_default();
        let found = read(CERTIFICATE, value, MAX_CHAIN)?;
        let certificates = parse(CERTIFICATE, &found)?;
        chain::in_order(CERTIFICATE, &certificates)?;
        // `read` gives at least one.
        let mut properties = describe::certificate(&certificates[0]);
        properties.push(describe::property("pin", describe::pin(&certificates[0])));
        properties.push(describe::property("certificates", found.len().to_string()));
        properties.push(describe::property("chain", chain::extent(&certificates)));
        properties.extend(describe::first_end("chain-not-after", &certificates));
        Ok(properties)
    }
}

#[cfg(test)]
mod tests {
    use rcgen::PKCS_ECDSA_P256_SHA256;

    use super::*;
    use crate::secret::tool::{Bench, accept, leaf, property, refusal, root};

    #[test]
    fn a_certificate_is_stored_as_pem_and_described() {
        let root = root("root");
        let (certificate, _) = leaf(&root, &PKCS_ECDSA_P256_SHA256);
        let der = pem::parse(&certificate).unwrap().into_contents();
        for given in [der.as_slice(), certificate.as_bytes()] {
            let accepted = accept("certificate", &[(CERTIFICATE, given)]).unwrap();
            let stored = Fields::decode(&accepted.content).unwrap();
            assert_eq!(stored.get(CERTIFICATE), Some(certificate.as_bytes()));
            assert_eq!(property(&accepted.properties, "issuer"), "CN=root");
        }
    }

    #[test]
    fn the_pin_is_the_one_that_openssl_computes() {
        let Some(bench) = Bench::with("openssl") else {
            return;
        };
        let (certificate, _) = leaf(&root("root"), &PKCS_ECDSA_P256_SHA256);
        bench.put("certificate", &certificate);
        bench.put(
            "spki",
            bench.run("openssl x509 -in certificate -noout -pubkey"),
        );
        bench.run("openssl pkey -pubin -in spki -outform DER -out spki.der");
        bench.run("openssl dgst -sha256 -binary -out digest spki.der");
        let expected = bench.run("openssl base64 -in digest");
        let accepted = accept("certificate", &[(CERTIFICATE, certificate.as_bytes())]).unwrap();
        let pin = property(&accepted.properties, "pin");
        assert_eq!(pin, format!("sha256/{}", expected.trim()));
    }

    #[test]
    fn a_certificate_with_its_key_is_refused() {
        let (certificate, key) = leaf(&root("root"), &PKCS_ECDSA_P256_SHA256);
        let both = certificate + &key;
        let told = refusal("certificate", &[(CERTIFICATE, both.as_bytes())]);
        assert!(told.contains("holds a private key"), "{told}");
        assert_eq!(
            refusal("certificate", &[(CERTIFICATE, b"")]),
            "the field \"certificate\" is empty"
        );
    }
}
