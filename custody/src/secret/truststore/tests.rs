use super::*;
use crate::secret::tool::{Bench, accept, property, refusal, root};

fn ten() -> String {
    (0..10)
        .map(|number| root(&format!("ca {number}")).pem())
        .collect()
}

#[test]
fn a_collection_is_described_without_end_to_what_is_shown() {
    let several = ten().repeat(3);
    let accepted = accept("truststore", &[(CERTIFICATES, several.as_bytes())]).unwrap();
    let shown = |name| property(&accepted.properties, name);
    assert_eq!(shown("certificates"), "30");
    assert_eq!(shown("not-after"), "4096-01-01T00:00:00Z");
    assert!(shown("subjects").starts_with("CN=ca 0; CN=ca 1; "));
    assert!(shown("subjects").ends_with("; and 10 more"));
    assert_eq!(
        shown("sha256").split(' ').count(),
        20 + "and 10 more".split(' ').count()
    );
}

#[test]
fn over_a_thousand_certificates_are_refused() {
    let many = root("a").pem().repeat(MAX_COLLECTION + 1);
    let told = refusal("truststore", &[(CERTIFICATES, many.as_bytes())]);
    assert!(told.contains("over 1000 certificates"), "{told}");
    let der = pem::parse(root("a").pem()).unwrap().into_contents();
    let told = refusal(
        "truststore",
        &[(CERTIFICATES, &der.repeat(MAX_COLLECTION + 1))],
    );
    assert!(told.contains("over 1000 certificates"), "{told}");
}

#[test]
fn a_name_without_end_is_cut() {
    let long = root(&"a".repeat(300)).pem();
    let accepted = accept("truststore", &[(CERTIFICATES, long.as_bytes())]).unwrap();
    let cut = format!("CN={}…", "a".repeat(253));
    assert_eq!(property(&accepted.properties, "subjects"), cut);
}

#[test]
fn what_java_and_openssl_keep_trusted_certificates_in_is_read() {
    let (Some(bench), Some(_)) = (Bench::with("openssl"), Bench::with("keytool")) else {
        return;
    };
    let (one, two) = (root("one"), root("two"));
    bench.put("one", one.pem());
    bench.put("two", two.pem());
    bench.put("both", one.pem() + &two.pem());
    for (store, kind) in [("store.jks", "JKS"), ("store.p12", "PKCS12")] {
        for alias in ["one", "two"] {
            bench.run(&format!(
                "keytool -importcert -noprompt -alias {alias} -file {alias} -keystore {store} \
                 -storetype {kind} -storepass changeit"
            ));
        }
    }
    // Without Java's attribute of trust.
    bench.run("openssl pkcs12 -export -nokeys -in both -passout pass:changeit -out store.openssl");
    for (input, store) in [
        ("jks", "store.jks"),
        ("pkcs12", "store.p12"),
        ("pkcs12", "store.openssl"),
        ("jks", "store.p12"),
        ("pkcs12", "store.jks"),
    ] {
        let store = bench.take(store);
        let given: &[(&str, &[u8])] = &[(input, &store), ("passphrase", b"changeit")];
        let accepted = accept("truststore", given).unwrap();
        let subjects = property(&accepted.properties, "subjects");
        assert!(
            ["CN=one; CN=two", "CN=two; CN=one"].contains(&subjects),
            "{subjects}"
        );
        let told = refusal("truststore", &[(input, &store), ("passphrase", b"changed")]);
        assert!(
            told.contains("does not open with that passphrase"),
            "{told}"
        );
    }
    let public = accept("truststore", &[("jks", &bench.take("store.jks"))]);
    assert!(public.is_ok(), "a JKS of certificates is not encrypted");
}

#[test]
fn a_store_with_a_private_key_is_refused_with_its_alias() {
    let Some(bench) = Bench::with("keytool") else {
        return;
    };
    bench.run(
        "keytool -genkeypair -alias server -keyalg EC -dname CN=a -keystore store -storepass changeit",
    );
    let given: &[(&str, &[u8])] = &[
        ("pkcs12", &bench.take("store")),
        ("passphrase", b"changeit"),
    ];
    let told = refusal("truststore", given);
    assert!(told.contains("holds a private key (server)"), "{told}");
    let pem = root("a").pem();
    let given: &[(&str, &[u8])] = &[given[0], given[1], (CERTIFICATES, pem.as_bytes())];
    assert!(refusal("truststore", given).contains("not both"));
}
