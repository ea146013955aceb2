use std::collections::BTreeSet;

use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_ED25519};

use super::*;
use crate::secret::tool::{Bench, accept, intermediate, leaf, property, root};

/// A secret, as it is stored.
fn stored(kind: &str, values: &[(&str, &[u8])]) -> (Kind, Fields) {
    let accepted = accept(kind, values).unwrap();
    (accepted.kind, Fields::decode(&accepted.content).unwrap())
}

fn keystore_of(names: &[&str]) -> (Kind, Fields) {
    let root = root("root");
    let middle = intermediate("middle", &root);
    let (certificate, key) = leaf(&middle, &PKCS_ECDSA_P256_SHA256);
    let chain = certificate + &middle.pem();
    let values: &[(&str, &[u8])] = &[(CHAIN, chain.as_bytes()), (KEY, key.as_bytes())];
    let (kind, mut fields) = stored("keystore", values);
    fields.keep(&names.iter().map(|name| (*name).to_owned()).collect());
    (kind, fields)
}

fn text<'a>(documents: &'a Fields, name: &str) -> &'a str {
    str::from_utf8(documents.get(name).unwrap()).unwrap()
}

/// As [`super::render`], whatever is wrong with the password.
fn render(
    kind: Kind,
    fields: &Fields,
    format: Format,
    password: Option<&str>,
) -> Result<Fields, Refused> {
    let password = password.map(|password| Zeroizing::new(password.to_owned()));
    super::render(kind, fields, &Rendering::new(format, password)?)
}

fn refused(secret: &(Kind, Fields), format: Format, password: Option<&str>) -> String {
    let refused = render(secret.0, &secret.1, format, password);
    refused.unwrap_err().to_string()
}

#[test]
fn a_format_is_found_by_its_name() {
    for format in Format::ALL {
        assert_eq!(Format::from_name(format.name()), Some(format));
    }
    assert_eq!(Format::from_name("pfx"), None);
}

#[test]
fn a_key_store_is_delivered_as_pem_and_der() {
    let (kind, fields) = keystore_of(&[CHAIN, KEY]);
    let files = render(kind, &fields, Format::Pem, None).unwrap();
    assert_eq!(files.get("certificate-chain.pem"), fields.get(CHAIN));
    assert_eq!(files.get("private-key.pem"), fields.get(KEY));
    let bundle = render(kind, &fields, Format::PemBundle, None).unwrap();
    let both = [fields.get(CHAIN).unwrap(), fields.get(KEY).unwrap()].concat();
    assert_eq!(bundle.get("bundle.pem"), Some(&both[..]));
    let files = render(kind, &fields, Format::Der, None).unwrap();
    let names: Vec<_> = files.names().collect();
    assert_eq!(
        names,
        [
            "certificate-chain-1.der",
            "certificate-chain-2.der",
            "private-key.der"
        ]
    );
    let key = pem::parse(fields.get(KEY).unwrap()).unwrap();
    assert_eq!(files.get("private-key.der"), Some(key.contents()));
}

#[test]
fn a_pkcs12_is_read_back_and_needs_its_password() {
    let (kind, fields) = keystore_of(&[CHAIN, KEY]);
    for password in [None, Some("päss wörd")] {
        let files = render(kind, &fields, Format::Pkcs12, password).unwrap();
        let store = files.get("keystore.p12").unwrap();
        let password = password.unwrap_or_else(|| text(&files, "password"));
        let given: &[(&str, &[u8])] = &[("pkcs12", store), ("passphrase", password.as_bytes())];
        let (_, again) = stored("keystore", given);
        assert_eq!(again.get(CHAIN), fields.get(CHAIN));
        assert_eq!(again.get(KEY), fields.get(KEY));
        let wrong: &[(&str, &[u8])] = &[given[0], ("passphrase", b"changeit")];
        assert!(accept("keystore", wrong).is_err());
    }
}

#[test]
fn a_password_that_is_made_is_another_each_time_and_one_that_is_given_is_not_repeated() {
    let (kind, fields) = keystore_of(&[CHAIN, KEY]);
    let made = || {
        let files = render(kind, &fields, Format::Pkcs12, None).unwrap();
        text(&files, "password").to_owned()
    };
    let (one, two) = (made(), made());
    assert_ne!(one, two);
    assert_eq!(one.len(), 26, "128 bits, five to a character");
    let different: BTreeSet<_> = one.bytes().collect();
    assert!(different.len() > 4, "{one}");
    assert!(
        one.bytes()
            .all(|byte| matches!(byte, b'A'..=b'Z' | b'2'..=b'7'))
    );
    let files = render(kind, &fields, Format::Pkcs12, Some("geheim")).unwrap();
    assert_eq!(files.names().collect::<Vec<_>>(), ["keystore.p12"]);
}

#[test]
fn openssl_and_keytool_read_the_key_store() {
    let (kind, fields) = keystore_of(&[CHAIN, KEY]);
    let files = render(kind, &fields, Format::Pkcs12, Some("geheim")).unwrap();
    if let Some(bench) = Bench::with("openssl") {
        bench.put("store", files.get("keystore.p12").unwrap());
        let info = bench.run("openssl pkcs12 -in store -info -passin pass:geheim -noenc -out out");
        assert!(
            info.contains("PBES2, PBKDF2, AES-256-CBC, Iteration 100000"),
            "{info}"
        );
        assert!(info.contains("MAC: sha256, Iteration 100000"), "{info}");
        bench.run("openssl pkey -in out -out key");
        assert_eq!(fields.get(KEY), Some(&bench.take("key")[..]));
    }
    if let Some(bench) = Bench::with("keytool") {
        bench.put("store", files.get("keystore.p12").unwrap());
        let listed = bench.run("keytool -list -v -keystore store -storepass geheim");
        for told in ["contains 1 entry", "PrivateKeyEntry", "chain length: 2"] {
            assert!(listed.contains(told), "{listed}");
        }
        // Reads the key itself.
        bench.run(
            "keytool -importkeystore -srckeystore store -srcstorepass geheim -destkeystore copy \
             -deststorepass changeit",
        );
    }
}

#[test]
fn keytool_lists_every_certificate_of_a_java_truststore_as_trusted() {
    let Some(bench) = Bench::with("keytool") else {
        return;
    };
    let pems: String = (0..30)
        .map(|number| root(&format!("ca {number}")).pem())
        .collect();
    let (kind, fields) = stored("truststore", &[(CERTIFICATES, pems.as_bytes())]);
    for format in [Format::JavaTruststore, Format::Pkcs12] {
        let files = render(kind, &fields, format, None).unwrap();
        bench.put("store", files.get("truststore.p12").unwrap());
        let password = text(&files, "password");
        let listed = bench.run(&format!(
            "keytool -list -keystore store -storepass {password}"
        ));
        assert!(listed.contains("contains 30 entries"), "{listed}");
        assert_eq!(listed.matches("trustedCertEntry").count(), 30, "{listed}");
    }
}

#[test]
fn a_single_certificate_can_be_a_java_truststore() {
    let (certificate, _) = leaf(&root("root"), &PKCS_ED25519);
    let (kind, fields) = stored("certificate", &[(CERTIFICATE, certificate.as_bytes())]);
    let files = render(kind, &fields, Format::JavaTruststore, Some("geheim")).unwrap();
    let store = files.get("truststore.p12").unwrap();
    let given: &[(&str, &[u8])] = &[("pkcs12", store), ("passphrase", b"geheim")];
    let again = accept("truststore", given).unwrap();
    assert_eq!(property(&again.properties, "certificates"), "1");
}

#[test]
fn what_a_format_cannot_hold_is_refused() {
    let whole = keystore_of(&[CHAIN, KEY]);
    let public = keystore_of(&[CHAIN]);
    let blob = stored("blob", &[("content", b"\xff")]);
    for (secret, format, password, told) in [
        (&blob, Format::Pem, None, "as PEM"),
        (&blob, Format::Der, None, "as PEM"),
        (
            &blob,
            Format::Pkcs12,
            None,
            "a store of trusted certificates",
        ),
        (&blob, Format::Dotenv, None, "is not text"),
        (&public, Format::Pkcs12, None, "lacks one"),
        (
            &whole,
            Format::JavaTruststore,
            None,
            "a store of trusted certificates",
        ),
        (&whole, Format::Raw, None, "2 are delivered"),
        (&whole, Format::Pem, Some("geheim"), "takes no password"),
        (
            &whole,
            Format::Pkcs12,
            Some("short"),
            "6 to 1024 characters",
        ),
        (
            &whole,
            Format::Pkcs12,
            Some("new\nline"),
            "control characters",
        ),
    ] {
        let refusal = refused(secret, format, password);
        assert!(refusal.contains(told), "{refusal}");
    }
}

#[test]
fn what_no_secret_of_a_type_could_be_written_as_is_known_without_its_content() {
    let all = |kind: &str, names: &[&str], format: Format| {
        let kind = Kind::from_name(kind).unwrap();
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        format.fits(kind, &names)
    };
    use Format::{Der, Dotenv, JavaTruststore, Json, Pem, PemBundle, Pkcs12, Raw};
    let fitting: &[(&str, &[&str], &[Format])] = &[
        ("keystore", &[], &[Pem, PemBundle, Der, Pkcs12]),
        ("keystore", &[CHAIN], &[Pem, PemBundle, Der, Raw]),
        (
            "truststore",
            &[],
            &[Pem, PemBundle, Der, Pkcs12, JavaTruststore, Raw],
        ),
        (
            "certificate",
            &[],
            &[Pem, PemBundle, Der, Pkcs12, JavaTruststore, Raw],
        ),
        ("crl-distributor", &[], &[Pem, PemBundle, Der]),
        ("private-key", &[], &[Pem, PemBundle, Der, Raw]),
        ("certificate-pin-set", &[], &[Raw]),
        ("tls-context", &[], &[Raw]),
        ("password", &[], &[Raw]),
        ("basic-auth", &[], &[]),
        ("api-key", &[], &[Raw]),
        ("jwt", &[], &[Raw]),
        ("symmetric-key", &[], &[]),
        ("symmetric-key", &["key"], &[Raw]),
        ("s3-credentials", &[], &[]),
        ("key-value", &[], &[Pem, PemBundle, Der, Raw]),
        ("key-value", &["a", "b"], &[Pem, PemBundle, Der]),
        ("key-value", &[CHAIN, KEY], &[Pem, PemBundle, Der]),
        ("blob", &[], &[Pem, PemBundle, Der, Raw]),
    ];
    for (kind, names, formats) in fitting {
        for format in Format::ALL {
            let expected = matches!(format, Json | Dotenv) || formats.contains(&format);
            let found = all(kind, names, format);
            assert_eq!(
                found.is_ok(),
                expected,
                "{kind} {names:?} {format:?}: {found:?}"
            );
        }
    }
    for kind in Kind::names() {
        assert!(fitting.iter().any(|(of, ..)| *of == kind), "{kind}");
    }
}

#[test]
fn what_begins_like_pem_in_a_field_that_is_none_is_not_written_as_pem() {
    let armoured = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let secret = stored("password", &[("password", armoured)]);
    assert!(refused(&secret, Format::Pem, None).contains("as PEM"));
    let secret = stored("blob", &[("content", armoured)]);
    let files = render(secret.0, &secret.1, Format::Pem, None).unwrap();
    assert_eq!(files.get("content.pem"), Some(&armoured[..]));
    let torn = [armoured, &b"\xb1"[..]].concat();
    let secret = stored("blob", &[("content", &torn)]);
    assert!(refused(&secret, Format::PemBundle, None).contains("as PEM"));
}

#[test]
fn a_rendering_does_not_print_its_password() {
    let password = Some(Zeroizing::new("hunter2".to_owned()));
    let rendering = Rendering::new(Format::Pkcs12, password).unwrap();
    assert_eq!(format!("{rendering:?}"), "Rendering { format: Pkcs12, .. }");
}

#[test]
fn json_and_raw_hold_what_is_stored() {
    let (kind, fields) = stored("blob", &[("content", b"a \"b\"\n")]);
    let files = render(kind, &fields, Format::Json, None).unwrap();
    assert_eq!(
        text(&files, "secret.json"),
        "{\"content\":\"a \\\"b\\\"\\n\"}\n"
    );
    let files = render(kind, &fields, Format::Raw, None).unwrap();
    assert_eq!(text(&files, "content"), "a \"b\"\n");
    let (kind, fields) = stored("blob", &[("content", b"\xff")]);
    let files = render(kind, &fields, Format::Json, None).unwrap();
    assert_eq!(
        text(&files, "secret.json"),
        "{\"content\":{\"base64\":\"/w==\"}}\n"
    );
}

#[test]
fn a_shell_reads_what_dotenv_writes() {
    let Some(bench) = Bench::with("sh") else {
        return;
    };
    for value in [
        "plain",
        "two\nlines",
        "$HOME `id` \\ \"",
        "it's $HOME `id` \\ \"",
        "",
    ] {
        let mut fields = Fields::default();
        fields.push("db.user-name".into(), value.into());
        let kind = Kind::from_name("blob").unwrap();
        let files = render(kind, &fields, Format::Dotenv, None).unwrap();
        bench.put("env", files.get("secret.env").unwrap());
        bench.put("script", ". ./env; printf %s \"$DB_USER_NAME\"");
        assert_eq!(bench.run("sh script"), value);
    }
}

#[test]
fn variables_that_would_be_one_are_refused() {
    let mut fields = Fields::default();
    fields.push("a.b".into(), b"1".to_vec());
    fields.push("A-B".into(), b"2".to_vec());
    let kind = Kind::from_name("blob").unwrap();
    let refusal = refused(&(kind, fields), Format::Dotenv, None);
    assert!(
        refusal.contains("\"a.b\" and \"A-B\" would both be"),
        "{refusal}"
    );
    let mut fields = Fields::default();
    fields.push("1a".into(), b"1".to_vec());
    assert!(refused(&(kind, fields), Format::Dotenv, None).contains("begins with a digit"));
}
