//! A secret of every type, with content to look for.

use custody::secret::Kind;
use proto::v1;
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
        }
    }

    /// What shows in `bytes` of the content, as it is or in hexadecimal.
    pub(super) fn shows_in(&self, bytes: &[u8]) -> bool {
        let contains = |needle: &[u8]| bytes.windows(needle.len()).any(|part| part == needle);
        self.traces.iter().any(|trace| {
            contains(trace)
                || contains(hex::encode(trace).as_bytes())
                || contains(hex::encode_upper(trace).as_bytes())
        })
    }
}
