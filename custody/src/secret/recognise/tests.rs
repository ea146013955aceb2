//! Files that openssl and keytool make, and others.

use rcgen::{CertificateRevocationListParams, KeyIdMethod, PKCS_ECDSA_P256_SHA256, SerialNumber};

use super::*;
use crate::secret::tool::{Bench, intermediate, leaf, root};

/// What was found, in a word each.
fn told(found: &[Found]) -> Vec<String> {
    let word = |one: &Found| match one {
        Found::Key(key) => format!("key {:?} {}", key.alias, key.chain.len()),
        Found::Certificate(one) if one.is_authority() => format!("authority {}", one.subject()),
        Found::Certificate(one) => format!("certificate {}", one.subject()),
        Found::Crl(crl) => format!("crl of {}", crl.issuer()),
        Found::Public(what) => (*what).to_owned(),
        Found::Refused(Refused::Locked(_)) => "locked".to_owned(),
        Found::Refused(refused) => format!("refused: {refused}"),
    };
    found.iter().map(word).collect()
}

fn recognised(bytes: impl AsRef<[u8]>, passphrase: Option<&str>) -> Vec<String> {
    told(&recognise(bytes.as_ref(), passphrase))
}

const KEY: &str = "key None 0";

#[test]
fn pem_is_taken_apart_in_order_whatever_is_between() {
    let root = root("root");
    let (certificate, key) = leaf(&root, &PKCS_ECDSA_P256_SHA256);
    let all = format!(
        "Bag Attributes\n{key}subject=x\n{certificate}{}",
        root.pem()
    );
    let expected = [
        KEY,
        "certificate CN=rcgen self signed cert",
        "authority CN=root",
    ];
    assert_eq!(recognised(all, None), expected);
    assert_eq!(recognised("no PEM", None), [""; 0]);
    assert_eq!(recognised("", None), [""; 0]);
}

#[test]
fn what_is_no_secret_is_told_from_what_is_none_that_is_kept() {
    let section = |tag: &str| format!("-----BEGIN {tag}-----\nMAA=\n-----END {tag}-----\n");
    for (tag, expected) in [
        ("PUBLIC KEY", Some("a public key")),
        ("RSA PUBLIC KEY", Some("a public key")),
        ("CERTIFICATE REQUEST", Some("a certificate request")),
        ("DH PARAMETERS", Some("parameters")),
        ("EC PARAMETERS", None),
    ] {
        let found = recognised(section(tag), None);
        assert_eq!(found.first().map(String::as_str), expected, "{tag}");
    }
    for (tag, part) in [
        ("OPENSSH PRIVATE KEY", "OpenSSH"),
        ("TRUSTED CERTIFICATE", "openssl x509"),
        ("PKCS7", "openssl pkcs7"),
        ("AGE ENCRYPTED FILE", "which is not known"),
        ("PRIVATE KEY", "\"private-key\""),
        ("ENCRYPTED PRIVATE KEY", "\"private-key\""),
        ("CERTIFICATE", "\"certificate\""),
        ("X509 CRL", "\"crls\""),
    ] {
        let found = recognised(section(tag), None);
        assert!(
            found[0].starts_with("refused: ") && found[0].contains(part),
            "{tag}: {found:?}"
        );
    }
    let cut = recognised("-----BEGIN PRIVATE KEY-----\nMAA=\n", None);
    assert!(
        cut[0].contains("of 1 sections that begin, 0 can be read"),
        "{cut:?}"
    );
    let many = recognised(section("CERTIFICATE").repeat(10_000), None);
    assert!(
        many.len() == 1 && many[0].contains("has over 1000"),
        "{many:?}"
    );
}

#[test]
fn every_form_of_a_key_and_an_encrypted_one_is_recognised() {
    let Some(bench) = Bench::with("openssl") else {
        return;
    };
    bench.run("openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key");
    for (command, passphrase, expected) in [
        ("openssl pkey -in key -out out", None, KEY),
        ("openssl pkey -in key -outform DER -out out", None, KEY),
        ("openssl ec -in key -out out", None, KEY),
        ("openssl ec -in key -outform DER -out out", None, KEY),
        (
            "openssl pkcs8 -topk8 -in key -passout pass:secret -out out",
            Some("secret"),
            KEY,
        ),
        (
            "openssl pkcs8 -topk8 -in key -passout pass:secret -out out",
            Some("other"),
            "locked",
        ),
        (
            "openssl pkcs8 -topk8 -in key -passout pass:secret -out out",
            None,
            "locked",
        ),
        (
            "openssl pkcs8 -topk8 -outform DER -in key -passout pass:secret -out out",
            Some("secret"),
            KEY,
        ),
        (
            "openssl pkcs8 -topk8 -outform DER -in key -passout pass:secret -out out",
            None,
            "locked",
        ),
    ] {
        bench.run(command);
        assert_eq!(
            recognised(bench.take("out"), passphrase),
            [expected],
            "{command}"
        );
    }
    bench.run("openssl ec -in key -aes128 -passout pass:secret -out out");
    let old = recognised(bench.take("out"), Some("secret"));
    assert!(old[0].contains("in the way of old OpenSSL"), "{old:?}");
    bench.run("openssl pkey -in key -pubout -out out");
    assert_eq!(recognised(bench.take("out"), None), ["a public key"]);
}

#[test]
fn a_container_is_opened_key_by_key_and_what_is_no_keys_is_told_apart() {
    let Some(bench) = Bench::with("openssl") else {
        return;
    };
    let (other, root) = (root("other"), root("root"));
    let middle = intermediate("middle", &root);
    let (certificate, key) = leaf(&middle, &PKCS_ECDSA_P256_SHA256);
    bench.put("leaf", certificate);
    bench.put("key", key);
    bench.put("more", middle.pem() + &root.pem() + &other.pem());
    bench.run(
        "openssl pkcs12 -export -in leaf -inkey key -certfile more -name web -passout \
         pass:changeit -out out",
    );
    let store = bench.take("out");
    let expected = ["key Some(\"web\") 3", "authority CN=other"];
    assert_eq!(recognised(&store, Some("changeit")), expected);
    assert_eq!(recognised(&store, None), ["locked"]);
    assert_eq!(recognised(&store, Some("wrong")), ["locked"]);
    let cut = recognised(&store[..store.len() / 2], Some("changeit"));
    assert!(cut[0].starts_with("refused: "), "{cut:?}");
}

#[test]
fn a_key_under_a_passphrase_of_its_own_keeps_no_other_closed() {
    let Some(bench) = Bench::with("keytool") else {
        return;
    };
    for (alias, own) in [("one", "changeit"), ("two", "different")] {
        bench.run(&format!(
            "keytool -genkeypair -alias {alias} -keyalg EC -dname CN={alias} -storetype JKS \
             -keystore out -storepass changeit -keypass {own}"
        ));
    }
    bench.put("root", root("root").pem());
    bench.run(
        "keytool -importcert -noprompt -alias ca -file root -keystore out -storepass changeit",
    );
    let mut found = recognised(bench.take("out"), Some("changeit"));
    found.sort();
    assert_eq!(
        found,
        ["authority CN=root", "key Some(\"one\") 1", "locked"]
    );
    let mut found = recognised(bench.take("out"), None);
    found.sort();
    assert_eq!(found, ["authority CN=root", "locked", "locked"]);
}

#[test]
fn a_key_fits_its_certificate_and_a_chain_is_found_among_others() {
    let (namesake, root) = (root("root"), root("root"));
    let middle = intermediate("middle", &root);
    let (certificate, key) = leaf(&middle, &PKCS_ECDSA_P256_SHA256);
    let (other, _) = leaf(&root, &PKCS_ECDSA_P256_SHA256);
    let all = [root.pem(), other, middle.pem(), certificate, namesake.pem()].concat();
    let pool: Vec<_> = recognise(all.as_bytes(), None)
        .into_iter()
        .map(|found| match found {
            Found::Certificate(certificate) => certificate,
            other => panic!("{other:?}"),
        })
        .collect();
    let Some(Found::Key(key)) = recognise(key.as_bytes(), None).pop() else {
        panic!("there is a key");
    };
    let fitting: Vec<_> = (0..pool.len()).filter(|at| key.fits(&pool[*at])).collect();
    assert_eq!(fitting, [3]);
    assert_eq!(chain(&pool, 3), [3, 2, 0], "by name and signature");
    assert_eq!(chain(&pool, 0), [0]);
    assert!(pool[0].is_self_issued() && !pool[2].is_self_issued());
}

#[test]
fn a_revocation_list_names_its_issuer() {
    let root = root("root");
    let params = CertificateRevocationListParams {
        this_update: rcgen::date_time_ymd(2026, 1, 1),
        next_update: rcgen::date_time_ymd(2027, 1, 1),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let crl = params.signed_by(&root).unwrap().pem().unwrap();
    for bytes in [crl.as_bytes(), pem::parse(&crl).unwrap().contents()] {
        let mut found = recognise(bytes, None);
        let Some(Found::Crl(crl)) = found.pop() else {
            panic!("{:?}", told(&found));
        };
        let issuer = Certificate::read(root.der()).unwrap();
        assert!(crl.names(&issuer) && found.is_empty());
    }
}

#[test]
fn nothing_that_is_found_shows_a_key() {
    let (_, key) = leaf(&root("root"), &PKCS_ECDSA_P256_SHA256);
    let printed = format!("{:?}", recognise(key.as_bytes(), None));
    let line = key.lines().nth(1).unwrap();
    assert!(
        printed.starts_with("[Key(") && !printed.contains(line),
        "{printed}"
    );
}

/// The certificates of authorities, each of which issued the one before.
fn ladder(length: usize) -> Vec<Certificate> {
    let mut authorities = vec![root("0")];
    for number in 1..length {
        let above = authorities.last().unwrap();
        authorities.push(intermediate(&number.to_string(), above));
    }
    let pool = authorities.iter().rev();
    pool.map(|one| Certificate::read(one.der()).unwrap())
        .collect()
}

#[test]
fn a_chain_longer_than_any_honest_one_is_not_followed_to_its_end() {
    let pool = ladder(20);
    assert_eq!(chain(&pool, 0), (0..16).collect::<Vec<_>>());
    assert_eq!(chain(&pool, 10), (10..20).collect::<Vec<_>>());
}

#[test]
fn of_many_issuers_of_one_name_only_some_are_tried() {
    let top = root("top");
    let middle = intermediate("middle", &top);
    let (leaf, _) = leaf(&middle, &PKCS_ECDSA_P256_SHA256);
    let leaf = pem::parse(leaf).unwrap().into_contents();
    let read = |der: &[u8]| Certificate::read(der).unwrap();
    let pool = |namesakes: usize, behind: bool| {
        let other = intermediate("middle", &top);
        let mut pool = vec![read(&leaf)];
        pool.extend(vec![read(other.der()); namesakes]);
        pool.insert(if behind { namesakes + 1 } else { 1 }, read(middle.der()));
        pool.push(read(top.der()));
        pool
    };
    assert_eq!(chain(&pool(7, true), 0), [0, 8, 9]);
    assert_eq!(
        chain(&pool(8, true), 0),
        [0, 1, 10],
        "the ninth is not tried"
    );
    // Nor are the issuers looked at of as many as that.
    assert_eq!(chain(&pool(126, false), 0), [0, 1]);
    assert_eq!(chain(&pool(125, false), 0), [0, 1, 127]);
}
