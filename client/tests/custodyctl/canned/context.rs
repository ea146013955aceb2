//! What comes with a TLS context.

use client::v1;

use super::CONTENT;

/// What a secret of type `kind` refers to.
pub(super) fn parts(kind: &str) -> Vec<v1::Part> {
    if kind != "tls-context" {
        return Vec::new();
    }
    let part = |field: &str, kind_of: &str, names: &[&str], receipt| v1::Part {
        field: field.into(),
        group: "pki".into(),
        name: format!("{field}-of-web"),
        version: 5,
        r#type: kind_of.into(),
        fields: names
            .iter()
            .map(|name| v1::Field {
                name: (*name).into(),
                value: format!("{name}: {CONTENT}").into(),
            })
            .collect(),
        receipt,
        format: None,
    };
    vec![
        part(
            "keystore",
            "keystore",
            &["certificate-chain", "private-key"],
            18,
        ),
        part("crls", "crl-distributor", &["crls"], 19),
    ]
}

pub(super) fn explained() -> Vec<v1::ExplainedPart> {
    let part = |field: &str, granted_by: Option<&str>, reason: Option<&str>| v1::ExplainedPart {
        field: field.into(),
        reference: format!("custody:pki/{field}-of-web"),
        granted_by: granted_by.map(Into::into),
        reason: reason.map(Into::into),
    };
    vec![
        part("keystore", None, Some("no grant matches")),
        part("truststore", Some("0011223344556677"), None),
        part("crls", None, None),
    ]
}
