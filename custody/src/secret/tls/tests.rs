use super::*;
use crate::secret::tool::{accept, property, refusal};

/// A context with those settings besides its key store.
fn with<'a>(settings: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a [u8])> {
    let keystore: (&str, &[u8]) = (KEYSTORE, b"custody:web/tls\n");
    let settings = settings
        .iter()
        .map(|(name, value)| (*name, value.as_bytes()));
    [keystore].into_iter().chain(settings).collect()
}

#[test]
fn settings_are_public_and_written_in_one_way() {
    let given = with(&[
        (TRUSTSTORE, "custody:web/authorities@2"),
        (
            CIPHER_SUITES,
            "TLS13_AES_256_GCM_SHA384, ECDHE-RSA-AES128-GCM-SHA256\nDHE-RSA-AES128-CCM",
        ),
        (CLIENT_AUTH, "require"),
        (ALPN, "h2, http/1.1"),
    ]);
    let properties = accept("tls-context", &given).unwrap().properties;
    for (name, value) in [
        (KEYSTORE, "custody:web/tls"),
        (TRUSTSTORE, "custody:web/authorities@2"),
        (
            CIPHER_SUITES,
            "TLS_AES_256_GCM_SHA384:TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256:TLS_DHE_RSA_WITH_AES_128_CCM",
        ),
        ("not-in-rustls", "TLS_DHE_RSA_WITH_AES_128_CCM"),
        (ALPN, "h2,http/1.1"),
    ] {
        assert_eq!(property(&properties, name), value);
    }
}

#[test]
fn settings_that_cannot_be_meant_are_refused_for_what_is_wrong() {
    let long = "a".repeat(256);
    let many = "h2 ".repeat(MAX_LIST + 1);
    for (settings, told) in [
        (
            &[(TRUSTSTORE, "web/authorities")][..],
            "\"truststore\": a reference is written",
        ),
        (
            &[(PIN_SET, "custody:web/pins@0")],
            "\"pin-set\": the version",
        ),
        (&[(CRLS, "custody:../crls")], "\"crls\": the group"),
        (
            &[(CRLS, "custody:web/crls#crls")],
            "\"crls\": the whole secret is wanted",
        ),
        (
            &[(TRUSTSTORE, "custody:web/authorities@pending")],
            "\"truststore\": a pending version",
        ),
        (
            &[(TRUSTSTORE, "custody:web/authorities@current")],
            "leave @current out",
        ),
        (&[(MIN_VERSION, "TLSv1.1")], "neither TLSv1.2 nor TLSv1.3"),
        (
            &[(MIN_VERSION, "TLSv1.3"), (MAX_VERSION, "TLSv1.2")],
            "is above",
        ),
        (
            &[(CIPHER_SUITES, "TLS_AES_256_GCM_SHA384 RC4-MD5")],
            "element 2 of",
        ),
        (&[(CIPHER_SUITES, "ECDHE-RSA-AES128-SHA")], "element 1 of"),
        (
            &[(CIPHER_SUITES, "TLS_AES_256_GCM_SHA384")],
            "has none of TLSv1.2",
        ),
        (
            &[
                (CIPHER_SUITES, "ECDHE-RSA-AES128-GCM-SHA256"),
                (MIN_VERSION, "TLSv1.3"),
            ],
            "has none of TLSv1.3",
        ),
        (
            &[(
                CIPHER_SUITES,
                "ECDHE-RSA-AES128-GCM-SHA256 TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
            )],
            "twice",
        ),
        (&[(CIPHER_SUITES, " : ")], "an empty list"),
        (&[(CLIENT_AUTH, "require")], "needs a \"truststore\""),
        (&[(CLIENT_AUTH, "maybe")], "none of none, request, require"),
        (&[(ALPN, &long)], "element 1 of \"alpn\""),
        (&[(ALPN, &many)], "has 1 to 100 protocols"),
        (&[(MIN_VERSION, "")], "the field \"min-version\" is empty"),
    ] {
        let refusal = refusal("tls-context", &with(settings));
        assert!(refusal.contains(told), "{settings:?}: {refusal}");
    }
    assert!(refusal("tls-context", &[]).contains("needs the field \"keystore\""));
}

#[test]
fn suites_are_asked_for_only_of_versions_that_are_used() {
    for settings in [
        &[
            (CIPHER_SUITES, "TLS_AES_256_GCM_SHA384"),
            (MIN_VERSION, "TLSv1.3"),
        ][..],
        &[
            (CIPHER_SUITES, "ECDHE-RSA-AES128-GCM-SHA256"),
            (MAX_VERSION, "TLSv1.2"),
        ],
        &[(MIN_VERSION, "TLSv1.2")],
        &[(CLIENT_AUTH, "none")],
    ] {
        assert!(
            accept("tls-context", &with(settings)).is_ok(),
            "{settings:?}"
        );
    }
}
