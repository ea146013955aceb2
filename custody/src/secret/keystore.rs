//! `keystore`: a certificate chain, leaf first, and the private key of its leaf.

use std::net::IpAddr;

use aws_lc_rs::digest;
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use x509_parser::{
    extensions::GeneralName,
    oid_registry::{OID_KEY_TYPE_EC_PUBLIC_KEY, OID_PKCS1_RSAENCRYPTION, OID_SIG_ED25519},
    prelude::{FromDer as _, X509Certificate},
    public_key::PublicKey,
};

use super::{
    Fields, Properties, Shape, Type,
    key::{self, PrivateKey},
    required,
    time::rfc3339,
};

const CHAIN: &str = "certificate-chain";
const KEY: &str = "private-key";

/// More certificates than any honest chain has.
const MAX_CHAIN: usize = 16;

/// Why a chain and a key are no key store.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum Refused {
    #[error("{CHAIN:?} holds no PEM certificate")]
    NoCertificate,
    #[error("{CHAIN:?} is not well-formed PEM")]
    BrokenPem,
    #[error("certificate {number} of {CHAIN:?} is not a well-formed X.509 certificate")]
    BrokenCertificate { number: usize },
    #[error("{CHAIN:?} has over {MAX_CHAIN} certificates")]
    LongChain,
    #[error(
        "certificate {number} of {CHAIN:?} was issued by {issuer:?}, but the one after it is {next:?}; \
         put the leaf first and each issuer after what it issued"
    )]
    ChainOrder {
        number: usize,
        issuer: String,
        next: String,
    },
    #[error("{KEY:?} {0}")]
    Key(#[from] key::Refused),
    #[error("{KEY:?} is not the key of the first certificate in {CHAIN:?}")]
    OtherKey,
}

impl From<Refused> for super::Refused {
    fn from(refused: Refused) -> Self {
        Self::Invalid(refused.to_string())
    }
}

pub(super) struct Keystore;

impl Type for Keystore {
    fn name(&self) -> &'static str {
        "keystore"
    }

    fn shape(&self) -> Shape {
        Shape::Fields(const { &[required(CHAIN), required(KEY)] })
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
            "certificates",
            "sha256",
        ]
    }

    fn inspect(&self, values: &Fields) -> Result<Properties, super::Refused> {
        let chain = chain(values.get(CHAIN).unwrap_or_default())?;
        let certificates = parse(&chain)?;
        in_order(&certificates)?;
        // `parse` gave as many as there are, and `chain` at least one.
        let leaf = &certificates[0];
        let key =
            PrivateKey::from_pem(values.get(KEY).unwrap_or_default()).map_err(Refused::Key)?;
        if leaf.public_key().subject_public_key.data.as_ref() != key.public() {
            return Err(Refused::OtherKey.into());
        }
        Ok(describe(leaf, &chain))
    }
}

fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Refused> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .take(MAX_CHAIN + 1)
        .collect::<Result<_, _>>()
        .map_err(|_| Refused::BrokenPem)?;
    match chain.len() {
        0 => Err(Refused::NoCertificate),
        1..=MAX_CHAIN => Ok(chain),
        _ => Err(Refused::LongChain),
    }
}

fn parse<'a>(chain: &'a [CertificateDer<'_>]) -> Result<Vec<X509Certificate<'a>>, Refused> {
    chain
        .iter()
        .zip(1..)
        .map(|(der, number)| match X509Certificate::from_der(der) {
            Ok(([], certificate)) => Ok(certificate),
            _ => Err(Refused::BrokenCertificate { number }),
        })
        .collect()
}

fn in_order(certificates: &[X509Certificate<'_>]) -> Result<(), Refused> {
    for (pair, number) in certificates.windows(2).zip(1..) {
        let [issued, issuer] = pair else { continue };
        if issued.issuer().as_raw() != issuer.subject().as_raw() {
            return Err(Refused::ChainOrder {
                number,
                issuer: issued.issuer().to_string(),
                next: issuer.subject().to_string(),
            });
        }
    }
    Ok(())
}

fn describe(leaf: &X509Certificate<'_>, chain: &[CertificateDer<'_>]) -> Properties {
    let names = leaf
        .subject_alternative_name()
        .ok()
        .flatten()
        .map(|names| {
            names
                .value
                .general_names
                .iter()
                .filter_map(show)
                .collect::<Vec<_>>()
        })
        .unwrap_or_default();
    let fingerprint = digest::digest(&digest::SHA256, &chain[0]);
    let mut properties = vec![
        ("subject", leaf.subject().to_string()),
        ("issuer", leaf.issuer().to_string()),
        ("serial", leaf.raw_serial_as_string()),
        (
            "not-before",
            rfc3339(leaf.validity().not_before.timestamp()),
        ),
        ("not-after", rfc3339(leaf.validity().not_after.timestamp())),
        ("key-algorithm", algorithm(leaf)),
        ("certificates", chain.len().to_string()),
        ("sha256", hex::encode(fingerprint)),
    ];
    if !names.is_empty() {
        properties.insert(3, ("names", names.join(" ")));
    }
    properties
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

fn show(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::URI(uri) => Some((*uri).to_owned()),
        GeneralName::IPAddress(bytes) => address(bytes).map(|address| address.to_string()),
        _ => None,
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}

fn algorithm(leaf: &X509Certificate<'_>) -> String {
    let oid = &leaf.public_key().algorithm.algorithm;
    let bits = match leaf.public_key().parsed() {
        Ok(PublicKey::RSA(key)) => key.key_size(),
        Ok(PublicKey::EC(point)) => point.key_size(),
        _ => 0,
    };
    if *oid == OID_PKCS1_RSAENCRYPTION {
        format!("RSA {bits}")
    } else if *oid == OID_KEY_TYPE_EC_PUBLIC_KEY {
        format!("EC {bits}")
    } else if *oid == OID_SIG_ED25519 {
        "Ed25519".to_owned()
    } else {
        oid.to_id_string()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair,
        PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, SignatureAlgorithm,
    };

    use super::*;
    use crate::secret::Kind;

    fn accept(chain: &str, key: &str) -> Result<Properties, super::super::Refused> {
        let mut fields = Fields::default();
        fields.push(KEY.into(), key.into());
        fields.push(CHAIN.into(), chain.into());
        let kind = Kind::from_name("keystore")?;
        kind.accept(fields).map(|accepted| accepted.properties)
    }

    fn authority() -> CertifiedIssuer<'static, KeyPair> {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "an authority");
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    fn leaf(
        authority: &CertifiedIssuer<'static, KeyPair>,
        algorithm: &'static SignatureAlgorithm,
    ) -> (String, String) {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let params = CertificateParams::new(vec!["www.example.org".into()]).unwrap();
        let certificate = params.signed_by(&key, authority).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    #[test]
    fn a_chain_and_its_key_are_described() {
        let authority = authority();
        for (algorithm, shown) in [
            (&PKCS_ECDSA_P256_SHA256, "EC 256"),
            (&PKCS_ECDSA_P384_SHA384, "EC 384"),
            (&PKCS_ED25519, "Ed25519"),
        ] {
            let (certificate, key) = leaf(&authority, algorithm);
            let properties = accept(&(certificate + &authority.pem()), &key).unwrap();
            let value = |name| {
                let found = properties.iter().find(|(property, _)| property == name);
                found.map(|(_, value)| value.as_str())
            };
            assert_eq!(value("names"), Some("www.example.org"));
            assert_eq!(value("issuer"), Some("CN=an authority"));
            assert_eq!(value("certificates"), Some("2"));
            assert_eq!(value("key-algorithm"), Some(shown));
            assert_eq!(value("not-after"), Some("4096-01-01T00:00:00Z"));
            let base64 = key.lines().nth(1).unwrap();
            assert!(properties.iter().all(|(_, value)| !value.contains(base64)));
        }
    }

    #[test]
    fn the_key_of_another_certificate_is_refused() {
        let authority = authority();
        let (certificate, _) = leaf(&authority, &PKCS_ECDSA_P256_SHA256);
        let (_, other) = leaf(&authority, &PKCS_ECDSA_P256_SHA256);
        assert_eq!(accept(&certificate, &other), Err(Refused::OtherKey.into()));
    }

    #[test]
    fn a_chain_in_the_wrong_order_is_refused() {
        let authority = authority();
        let (certificate, key) = leaf(&authority, &PKCS_ECDSA_P256_SHA256);
        let (stranger, _) = leaf(&authority, &PKCS_ECDSA_P256_SHA256);
        let refusal = accept(&(certificate + &stranger), &key).unwrap_err();
        assert!(
            refusal.to_string().starts_with("certificate 1 of "),
            "{refusal}"
        );
    }

    #[test]
    fn what_is_no_certificate_or_key_is_refused_for_what_it_is() {
        let authority = authority();
        let (certificate, key) = leaf(&authority, &PKCS_ECDSA_P256_SHA256);
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let cases = [
            ("x", key.as_str(), Refused::NoCertificate),
            (broken, &key, Refused::BrokenCertificate { number: 1 }),
            (&broken[..40], &key, Refused::BrokenPem),
            (&certificate, "x", key::Refused::NoKey.into()),
            (&certificate, &certificate, key::Refused::NoKey.into()),
        ];
        for (chain, key, refusal) in cases {
            assert_eq!(accept(chain, key), Err(refusal.into()));
        }
        let twice = key.clone() + &key;
        assert_eq!(
            accept(&certificate, &twice),
            Err(Refused::Key(key::Refused::SeveralKeys).into())
        );
        let long = certificate.repeat(MAX_CHAIN + 1);
        assert_eq!(accept(&long, &key), Err(Refused::LongChain.into()));
    }
}
