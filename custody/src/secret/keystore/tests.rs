use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};

use super::*;
use crate::secret::tool::{self, Bench, intermediate, leaf, property, refusal, root};

fn accept(chain: &str, key: &str) -> Result<Properties, Refused> {
    let given = [(CHAIN, chain.as_bytes()), (KEY, key.as_bytes())];
    tool::accept("keystore", &given).map(|accepted| accepted.properties)
}

fn refused(chain: &str, key: &str) -> String {
    accept(chain, key).unwrap_err().to_string()
}

#[test]
fn a_chain_and_its_key_are_described() {
    let authority = root("an authority");
    for (algorithm, shown) in [
        (&PKCS_ECDSA_P256_SHA256, "EC 256"),
        (&PKCS_ECDSA_P384_SHA384, "EC 384"),
        (&PKCS_ED25519, "Ed25519"),
    ] {
        let (certificate, key) = leaf(&authority, algorithm);
        let properties = accept(&(certificate + &authority.pem()), &key).unwrap();
        for (name, value) in [
            ("names", "www.example.org"),
            ("issuer", "CN=an authority"),
            ("certificates", "2"),
            ("chain", "complete (ends in a self-signed root)"),
            ("key-algorithm", shown),
            ("not-after", "4096-01-01T00:00:00Z"),
        ] {
            assert_eq!(property(&properties, name), value);
        }
        let base64 = key.lines().nth(1).unwrap();
        assert!(properties.iter().all(|(_, value)| !value.contains(base64)));
    }
}

#[test]
fn how_far_a_chain_goes_is_shown() {
    let root = root("root");
    let middle = intermediate("middle", &root);
    let (certificate, key) = leaf(&middle, &PKCS_ECDSA_P256_SHA256);
    let shown = |chain: &str| property(&accept(chain, &key).unwrap(), "chain").to_owned();
    assert_eq!(shown(&certificate), "only the leaf, issued by CN=middle");
    let longer = certificate + &middle.pem();
    assert_eq!(shown(&longer), "ends in an intermediate issued by CN=root");
    assert!(shown(&(longer + &root.pem())).starts_with("complete"));
}

#[test]
fn the_key_of_another_certificate_is_refused() {
    let authority = root("an authority");
    let (certificate, _) = leaf(&authority, &PKCS_ECDSA_P256_SHA256);
    let (_, other) = leaf(&authority, &PKCS_ECDSA_P256_SHA256);
    assert!(refused(&certificate, &other).contains("is not the key of the first certificate"));
}

#[test]
fn a_chain_in_the_wrong_order_is_refused() {
    let authority = root("an authority");
    let (certificate, key) = leaf(&authority, &PKCS_ECDSA_P256_SHA256);
    let (stranger, _) = leaf(&authority, &PKCS_ECDSA_P256_SHA256);
    let refusal = refused(&(certificate + &stranger), &key);
    assert!(refusal.starts_with("certificate 1 of "), "{refusal}");
    assert!(refusal.contains("put the leaf first"), "{refusal}");
}

#[test]
fn an_issuer_of_the_right_name_and_another_key_is_refused() {
    let authority = root("an authority");
    let namesake = root("an authority");
    let (certificate, key) = leaf(&authority, &PKCS_ECDSA_P256_SHA256);
    let refusal = refused(&(certificate + &namesake.pem()), &key);
    assert!(refusal.contains("is not signed by its key"), "{refusal}");
}

#[test]
fn what_is_no_certificate_or_key_is_refused_for_what_it_is() {
    let authority = root("an authority");
    let (certificate, key) = leaf(&authority, &PKCS_ECDSA_P256_SHA256);
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\
               DEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    let trusted = certificate.replace("CERTIFICATE", "TRUSTED CERTIFICATE");
    let pkcs7 = certificate.replace("CERTIFICATE", "PKCS7");
    let twice = key.repeat(2);
    let long = certificate.repeat(MAX_CHAIN + 1);
    let mixed = certificate.clone() + &key;
    for (chain, key, told) in [
        ("x", key.as_str(), "holds no certificate"),
        (broken, &key, "certificate 1 of "),
        (&broken[..40], &key, "is not well-formed PEM"),
        (&long, &key, "has over 16 certificates"),
        (
            &mixed,
            &key,
            "holds a private key; it takes certificates only",
        ),
        (&trusted, &key, "openssl x509 -in"),
        (&pkcs7, &key, "openssl pkcs7 -in"),
        (&certificate, "x", "holds no private key"),
        (&certificate, &certificate, "holds no private key"),
        (&certificate, &twice, "holds more than one private key"),
        (&certificate, old, "openssl pkcs8 -topk8"),
    ] {
        let refusal = refused(chain, key);
        assert!(refusal.contains(told), "{refusal}");
    }
}

#[test]
fn what_does_not_go_together_is_refused() {
    let told = |given: &[(&str, &[u8])]| refusal("keystore", given);
    assert!(told(&[(PKCS12, b"x"), (JKS, b"y")]).contains("not both"));
    assert!(told(&[(ALIAS, b"x")]).contains("go with"));
    assert!(told(&[(PKCS12, b"x")]).contains("neither a PKCS#12 file nor"));
    assert!(told(&[(CHAIN, b"")]).contains("is empty"));
    assert!(told(&[(PASSPHRASE, b"\xff")]).contains("not UTF-8"));
    assert!(told(&[(PASSPHRASE, &[b'x'; 1025])]).contains("over 1024 bytes"));
}

#[test]
fn keys_of_every_form_that_openssl_writes_are_stored_as_pkcs8() {
    let Some(bench) = Bench::with("openssl") else {
        return;
    };
    for (algorithm, shown) in [
        ("RSA -pkeyopt rsa_keygen_bits:2048", "RSA 2048"),
        ("EC -pkeyopt ec_paramgen_curve:P-384", "EC 384"),
        ("EC -pkeyopt ec_paramgen_curve:P-521", "EC 521"),
        ("ED25519", "Ed25519"),
    ] {
        bench.run(&format!("openssl genpkey -algorithm {algorithm} -out key"));
        bench.run("openssl req -x509 -key key -subj /CN=a -out chain");
        bench.run("openssl x509 -in chain -outform DER -out chain.der");
        let mut forms = vec![
            "openssl pkey -in key -out form",
            "openssl pkey -in key -outform DER -out form",
            "openssl pkcs8 -topk8 -in key -v2 aes256 -passout pass:secret -out form",
            "openssl pkcs8 -topk8 -in key -v2 aes-192-cbc -v2prf hmacWithSHA512 -passout pass:secret -out form",
            "openssl pkcs8 -topk8 -in key -v2 des3 -v2prf hmacWithSHA1 -passout pass:secret -out form",
            "openssl pkcs8 -topk8 -in key -v1 PBE-SHA1-3DES -passout pass:secret -outform DER -out form",
        ];
        if shown != "Ed25519" {
            forms.push("openssl pkey -in key -traditional -out form");
            forms.push("openssl pkey -in key -traditional -outform DER -out form");
        }
        for form in forms {
            bench.run(form);
            for chain in ["chain", "chain.der"] {
                let given: &[(&str, &[u8])] = &[
                    (CHAIN, &bench.take(chain)),
                    (KEY, &bench.take("form")),
                    (PASSPHRASE, b"secret\n"),
                ];
                let accepted = tool::accept("keystore", given);
                let accepted = accepted.unwrap_or_else(|error| panic!("{form}: {error}"));
                assert_eq!(property(&accepted.properties, "key-algorithm"), shown);
                let stored = Fields::decode(&accepted.content).unwrap();
                assert_eq!(stored.get(CHAIN), Some(&bench.take("chain")[..]));
                bench.put("stored", stored.get(KEY).unwrap());
                let public = bench.run("openssl pkey -in stored -pubout");
                assert_eq!(public, bench.run("openssl pkey -in key -pubout"));
            }
        }
    }
}

#[test]
fn an_encrypted_key_does_not_open_without_its_passphrase() {
    let Some(bench) = Bench::with("openssl") else {
        return;
    };
    bench.run("openssl genpkey -algorithm ED25519 -aes256 -pass pass:secret -out key");
    let key = bench.take("key");
    assert!(refusal("keystore", &[(KEY, &key)]).contains("give its passphrase as"));
    let wrong = refusal("keystore", &[(KEY, &key), (PASSPHRASE, b"wrong")]);
    assert!(
        wrong.contains("does not open") || wrong.contains("is no RSA key"),
        "one wrong passphrase in 256 gives padding that is right by chance: {wrong}"
    );
    bench.run(
        "openssl pkcs8 -topk8 -in key -passin pass:secret -scrypt -passout pass:secret -out scrypt",
    );
    let scrypt = bench.take("scrypt");
    let other = refusal("keystore", &[(KEY, &scrypt), (PASSPHRASE, b"secret")]);
    assert!(
        other.contains("1.3.6.1.4.1.11591.4.11 is not read here"),
        "{other}"
    );
}
