//! A secret of every type, with content to look for.

use custody::secret::Kind;
use proto::v1;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, IsCa,
    KeyIdMethod, KeyPair, SerialNumber,
};
use softhsm_tests::world::TlsPair;

/// One secret of a type, its content, and what to look for of it.
pub(super) struct Planted {
    pub(super) r#type: &'static str,
    pub(super) fields: Vec<(&'static str, Vec<u8>)>,
    traces: Vec<Vec<u8>>,
}

pub(super) fn planted() -> Vec<Planted> {
    let all = vec![
        plain("password", "password", &[]),
        plain("blob", "content", &[]),
        plain("basic-auth", "password", &[("username", "joe")]),
        plain("api-key", "key", &[("id", "billing"), ("header", "X-Key")]),
        plain(
            "s3-credentials",
            "secret-access-key",
            &[("access-key-id", "AKIA1")],
        ),
        plain("key-value", "DB_PASSWORD", &[("EMPTY", "")]),
        keystore(),
        private_key(),
        jwt(),
        symmetric_key(),
        certificates("truststore", "certificates"),
        certificates("certificate", "certificate"),
        crl_distributor(),
        public(
            "certificate-pin-set",
            "pins",
            "sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
        ),
        public("tls-context", "keystore", "custody:web/target"),
    ];
    for kind in Kind::names() {
        assert!(
            all.iter().any(|planted| planted.r#type == kind),
            "{kind} is not planted"
        );
    }
    all
}

/// A type with one field to look for.
fn plain(r#type: &'static str, field: &'static str, public: &[(&'static str, &str)]) -> Planted {
    let canary = format!("canary-{type}-7b1f0c5ad3").into_bytes();
    let public = public
        .iter()
        .map(|(name, value)| (*name, value.as_bytes().to_vec()));
    Planted {
        r#type,
        traces: vec![canary.clone()],
        fields: [(field, canary)].into_iter().chain(public).collect(),
    }
}

/// The key store that the TLS context refers to.
pub(super) fn target() -> v1::PutSecretRequest {
    keystore().put("target")
}

fn keystore() -> Planted {
    let pair = TlsPair::new();
    Planted {
        r#type: "keystore",
        traces: lines(&pair.key),
        fields: vec![
            ("certificate-chain", pair.certificate.clone().into_bytes()),
            ("private-key", pair.key.clone().into_bytes()),
        ],
    }
}

/// Given as SEC1 and stored as PKCS#8: neither may show.
fn private_key() -> Planted {
    let sec1 = include_str!("../../../custody/src/secret/key/samples/p384-sec1.pem");
    let pkcs8 = include_str!("../../../custody/src/secret/key/samples/p384-pkcs8.pem");
    Planted {
        r#type: "private-key",
        traces: [lines(sec1), lines(pkcs8)].concat(),
        fields: vec![("private-key", sec1.into())],
    }
}

/// The canary is in a claim that is not registered, and in the signature.
fn jwt() -> Planted {
    let claims = "eyJpc3MiOiJqb2UiLCJleHAiOjEzMDA4MTkzODAsInBpbiI6ImNhbmFyeS1qd3QtN2IxZjBjNWFkMyJ9";
    let signature = "Y2FuYXJ5LXNpZ25hdHVyZS03YjFmMGM1YWQz";
    let header = "eyJhbGciOiJFUzI1NiIsImtpZCI6IjEifQ";
    Planted {
        r#type: "jwt",
        traces: vec![
            claims.into(),
            signature.into(),
            b"canary-jwt-7b1f0c5ad3".to_vec(),
        ],
        fields: vec![(
            "token",
            format!("{header}.{claims}.{signature}").into_bytes(),
        )],
    }
}

fn symmetric_key() -> Planted {
    let key: Vec<u8> = (0xa0..0xc0).collect();
    Planted {
        r#type: "symmetric-key",
        fields: vec![
            ("key-hex", hex::encode(&key).into_bytes()),
            ("algorithm", b"aes".to_vec()),
        ],
        traces: vec![key],
    }
}

/// A type whose whole content is metadata: there is nothing to look for.
fn public(r#type: &'static str, field: &'static str, value: &str) -> Planted {
    Planted {
        r#type,
        traces: Vec::new(),
        fields: vec![(field, value.as_bytes().to_vec())],
    }
}

/// What a certificate says is metadata; the certificate itself is content.
fn certificates(r#type: &'static str, field: &'static str) -> Planted {
    let pair = TlsPair::new();
    Planted {
        r#type,
        traces: lines(&pair.certificate),
        fields: vec![(field, pair.certificate.clone().into_bytes())],
    }
}

fn crl_distributor() -> Planted {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let crl = CertificateRevocationListParams {
        this_update: rcgen::date_time_ymd(2026, 1, 1),
        next_update: rcgen::date_time_ymd(2027, 1, 1),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let crl = crl.signed_by(&authority).unwrap().pem().unwrap();
    Planted {
        r#type: "crl-distributor",
        traces: lines(&crl),
        fields: vec![
            ("crls", crl.into_bytes()),
            ("issuers", authority.pem().into_bytes()),
        ],
    }
}

/// The lines of a PEM file that hold something.
fn lines(pem: &str) -> Vec<Vec<u8>> {
    let lines = pem.lines().filter(|line| !line.starts_with("-----"));
    lines.map(|line| line.as_bytes().to_vec()).collect()
}

impl Planted {
    pub(super) fn put(&self, name: &str) -> v1::PutSecretRequest {
        let field = |(name, value): &(&str, Vec<u8>)| v1::Field {
            name: (*name).to_owned(),
            value: value.clone(),
        };
        v1::PutSecretRequest {
            group: "web".into(),
            name: name.into(),
            r#type: self.r#type.into(),
            fields: self.fields.iter().map(field).collect(),
            ..Default::default()
        }
    }

    /// What to look for that is text.
    pub(super) fn texts(&self) -> impl Iterator<Item = String> {
        let texts = self.traces.iter().cloned().map(String::from_utf8);
        texts.filter_map(Result::ok)
    }

    /// Whether some of the content shows in `bytes`, as it is or in hexadecimal.
    pub(super) fn shows_in(&self, bytes: &[u8]) -> bool {
        let contains = |needle: &[u8]| bytes.windows(needle.len()).any(|part| part == needle);
        self.traces.iter().any(|trace| {
            contains(trace)
                || contains(hex::encode(trace).as_bytes())
                || contains(hex::encode_upper(trace).as_bytes())
        })
    }
}
