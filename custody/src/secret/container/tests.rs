use std::num::NonZeroU32;

use aws_lc_rs::{digest, hmac};
use rcgen::PKCS_ECDSA_P256_SHA256;

use crate::secret::{
    Fields, Kind, format,
    pbe::kdf::{Passphrase, Purpose},
    tool::{Bench, accept, fields, intermediate, leaf, property, refusal, root},
};

mod hostile;

/// A folder with a key, its certificate, and an intermediate and a root out of order.
fn bench() -> Option<Bench> {
    let bench = Bench::with("openssl")?;
    let root = root("root");
    let middle = intermediate("middle", &root);
    let (certificate, key) = leaf(&middle, &PKCS_ECDSA_P256_SHA256);
    bench.put("key", key);
    bench.put("leaf", &certificate);
    bench.put("others", root.pem() + &middle.pem());
    bench.put("chain", certificate + &middle.pem() + &root.pem());
    Some(bench)
}

const EXPORT: &str =
    "openssl pkcs12 -export -inkey key -in leaf -certfile others -name web -out store";

#[test]
fn what_openssl_exports_is_read_and_its_chain_put_in_order() {
    let Some(bench) = bench() else { return };
    for options in [
        "-passout pass:geheim",
        "-legacy -passout pass:geheim",
        "-legacy -descert -passout pass:geheim",
        "-keypbe AES-128-CBC -certpbe AES-192-CBC -macalg sha384 -passout pass:geheim",
        "-keypbe PBE-SHA1-RC2-128 -certpbe PBE-SHA1-3DES -macalg sha1 -legacy -passout pass:geheim",
        "-macalg sha512 -iter 1 -passout pass:geheim",
        "-nomac -passout pass:geheim",
        "-keypbe NONE -certpbe NONE -passout pass:geheim",
        "-keypbe NONE -certpbe NONE -nomac -passout pass:geheim",
        "-passout pass:",
        "-legacy -passout pass:",
    ] {
        bench.run(&format!("{EXPORT} {options}"));
        let passphrase: &[u8] = if options.ends_with(':') {
            b""
        } else {
            b"geheim"
        };
        let given: &[(&str, &[u8])] =
            &[("pkcs12", &bench.take("store")), ("passphrase", passphrase)];
        let accepted = accept("keystore", given);
        let accepted = accepted.unwrap_or_else(|error| panic!("{options}: {error}"));
        let stored = Fields::decode(&accepted.content).unwrap();
        assert_eq!(
            stored.get("certificate-chain"),
            Some(&bench.take("chain")[..])
        );
        assert_eq!(
            stored.get("private-key"),
            Some(&bench.take("key")[..]),
            "{options}"
        );
        assert!(property(&accepted.properties, "chain").starts_with("complete"));
    }
}

#[test]
fn a_store_that_lacks_something_is_refused_for_what_it_lacks() {
    let Some(bench) = bench() else { return };
    let told = |passphrase: Option<&[u8]>| {
        let store = bench.take("store");
        let mut given: Vec<(&str, &[u8])> = vec![("pkcs12", &store)];
        given.extend(passphrase.map(|passphrase| ("passphrase", passphrase)));
        refusal("keystore", &given)
    };
    bench.run(&format!("{EXPORT} -passout pass:geheim"));
    assert!(told(Some(b"geheimer")).contains("does not open with that passphrase"));
    assert!(told(None).contains("is under a passphrase"));
    bench.run("openssl pkcs12 -export -nokeys -in chain -passout pass:a -out store");
    assert!(told(Some(b"a")).contains("holds no private key"));
    bench.run("openssl pkcs12 -export -nocerts -inkey key -passout pass:a -out store");
    assert!(told(Some(b"a")).contains("holds no certificate of the private key"));
}

/// `store` of two keys, "web" and "mail", made by keytool.
fn java(kind: &str) -> Option<Bench> {
    let bench = Bench::with("keytool")?;
    for (alias, algorithm) in [("web", "RSA -keysize 2048"), ("mail", "EC")] {
        let key = if kind == "JKS" {
            "other-one"
        } else {
            "changeit"
        };
        bench.run(&format!(
            "keytool -genkeypair -alias {alias} -keyalg {algorithm} -dname CN={alias} \
             -keystore store -storetype {kind} -storepass changeit -keypass {key}"
        ));
    }
    Some(bench)
}

#[test]
fn of_several_keys_one_is_chosen_by_alias() {
    for kind in ["JKS", "PKCS12"] {
        let Some(bench) = java(kind) else { return };
        let store = bench.take("store");
        let given = |alias: &'static [u8]| -> Vec<(&str, &[u8])> {
            let mut given: Vec<(&str, &[u8])> = vec![("jks", &store), ("passphrase", b"changeit")];
            if kind == "JKS" {
                given.push(("key-passphrase", b"other-one"));
            }
            given.push(("alias", alias));
            given
        };
        for (alias, subject) in [(&b"web"[..], "CN=web"), (b"MAIL\n", "CN=mail")] {
            let accepted = accept("keystore", &given(alias)).unwrap();
            assert_eq!(property(&accepted.properties, "subject"), subject);
        }
        let told = refusal("keystore", &given(b"db"));
        assert!(
            told.contains("no private key of that \"alias\"; there are: "),
            "{told}"
        );
        assert!(told.contains("web") && told.contains("mail"), "{told}");
        let told = refusal("keystore", &given(b"")[..given(b"").len() - 1]);
        assert!(
            told.contains("several private keys; say which by \"alias\": "),
            "{told}"
        );
    }
}

#[test]
fn a_key_under_a_passphrase_of_its_own_asks_for_it() {
    let Some(bench) = java("JKS") else { return };
    let given: &[(&str, &[u8])] = &[
        ("jks", &bench.take("store")),
        ("passphrase", b"changeit"),
        ("alias", b"web"),
    ];
    let told = refusal("keystore", given);
    assert!(told.contains("give it as \"key-passphrase\""), "{told}");
}

#[test]
fn a_store_that_is_cut_off_or_changed_is_refused() {
    let (Some(java), Some(bench)) = (java("JKS"), bench()) else {
        return;
    };
    bench.run(&format!("{EXPORT} -passout pass:geheim"));
    for (input, whole, passphrase) in [
        ("jks", java.take("store"), &b"changeit"[..]),
        ("pkcs12", bench.take("store"), b"geheim"),
    ] {
        let told =
            |bytes: &[u8]| refusal("keystore", &[(input, bytes), ("passphrase", passphrase)]);
        for length in (0..whole.len()).step_by(37) {
            told(&whole[..length]);
        }
        // The parameters of a MAC, at the end, are not looked at.
        for at in (4..whole.len() - 100).step_by(61) {
            let mut changed = whole.clone();
            changed[at] ^= 0x41;
            told(&changed);
        }
    }
}

#[test]
fn other_stores_of_java_are_refused_with_the_way_out() {
    let Some(bench) = Bench::with("keytool") else {
        return;
    };
    bench.run(
        "keytool -genkeypair -alias web -keyalg EC -dname CN=web -keystore store -storetype JCEKS \
         -storepass changeit -keypass changeit",
    );
    let given: &[(&str, &[u8])] = &[("jks", &bench.take("store")), ("passphrase", b"changeit")];
    assert!(refusal("keystore", given).contains("keytool -importkeystore -srcstoretype JCEKS"));
}

/// Writes DER anew with lengths left open and strings in pieces.
fn to_ber(der: &[u8]) -> Vec<u8> {
    let mut written = Vec::new();
    let mut rest = der;
    while let [tag, first, ..] = *rest {
        let (header, length) = match first {
            0x81..=0x84 => {
                let count = usize::from(first - 0x80);
                let length = rest[2..2 + count]
                    .iter()
                    .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
                (2 + count, length)
            }
            _ => (2, usize::from(first)),
        };
        let content = &rest[header..header + length];
        let is_octets = tag == 4 || tag == 0x80;
        if tag & 0x20 != 0 {
            written.extend([tag, 0x80]);
            written.extend(to_ber(content));
            written.extend([0, 0]);
        } else if is_octets {
            written.extend([tag | 0x20, 0x80]);
            for piece in content.chunks(100) {
                written.extend([4, u8::try_from(piece.len()).unwrap()]);
                written.extend(piece);
            }
            written.extend([0, 0]);
        } else {
            written.extend(&rest[..header + length]);
        }
        rest = &rest[header + length..];
    }
    written
}

#[test]
fn ber_of_unknown_lengths_and_strings_in_pieces_is_read() {
    let Some(bench) = bench() else { return };
    for options in ["", "-legacy", "-nomac", "-keypbe NONE -certpbe NONE"] {
        bench.run(&format!("{EXPORT} {options} -passout pass:geheim"));
        let store = to_ber(&bench.take("store"));
        bench.put("store", &store);
        bench.run("openssl pkcs12 -in store -legacy -passin pass:geheim -noenc");
        let given: &[(&str, &[u8])] = &[("pkcs12", &store), ("passphrase", b"geheim")];
        let accepted = accept("keystore", given);
        accepted.unwrap_or_else(|error| panic!("{options}: {error}"));
    }
}

#[test]
fn key_derivation_without_end_is_refused() {
    let Some(bench) = bench() else { return };
    for options in [
        "-nomac",
        "-nomac -certpbe NONE",
        "-nomac -legacy",
        "-keypbe NONE -certpbe NONE",
    ] {
        bench.run(&format!(
            "{EXPORT} -iter 80000 {options} -passout pass:geheim"
        ));
        let mut store = bench.take("store");
        let written = [2, 3, 0x01, 0x38, 0x80];
        let found = store.windows(5).position(|at| at == written);
        store[found.unwrap() + 2] = 0x7f;
        let given: &[(&str, &[u8])] = &[("pkcs12", &store), ("passphrase", b"geheim")];
        let told = refusal("keystore", given);
        assert!(
            told.contains("over 5000000 iterations"),
            "{options}: {told}"
        );
    }
}

/// A JKS of `count` entries that are all `entry`, without its digest.
fn jks(count: u32, entry: &[u8]) -> Vec<u8> {
    let mut store = vec![0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2];
    store.extend(count.to_be_bytes());
    for _ in 0..count {
        store.extend(entry);
    }
    store.extend([0; 20]);
    store
}

/// A DER element.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    [&[tag, 0x84], &length[..], content].concat()
}

/// A PKCS#12 without MAC of one part that holds `bags`.
fn pkcs12(bags: &[u8]) -> Vec<u8> {
    pkcs12_with_mac(bags, |_| Vec::new())
}

/// The same with the MAC that `mac` makes of its content.
fn pkcs12_with_mac(bags: &[u8], mac: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    const DATA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01";
    let data = |content: &[u8]| {
        let octets = der(0xa0, &der(4, content));
        der(0x30, &[DATA, &octets[..]].concat())
    };
    let safes = der(0x30, &data(&der(0x30, bags)));
    let mac = mac(&safes);
    der(0x30, &[&[2, 1, 3], &data(&safes)[..], &mac].concat())
}

const BAG: &[u8] = b"\x06\x0b\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x0a\x01";
const X509: &[u8] = b"\x06\x0a\x2a\x86\x48\x86\xf7\x0d\x01\x09\x16\x01";

fn bag(kind: u8, value: &[u8]) -> Vec<u8> {
    der(0x30, &[BAG, &[kind], &der(0xa0, value)[..]].concat())
}

#[test]
fn ten_thousand_certificates_are_refused_by_their_number() {
    let certificate = [0, 0, 0, 2, 0, 1, b'a', 0, 0, 0, 0, 0, 0, 0, 0, 0, 5]
        .into_iter()
        .chain(*b"X.509\0\0\0\x01x");
    let store = jks(10_000, &certificate.collect::<Vec<_>>());
    let told = refusal("truststore", &[("jks", &store)]);
    assert!(told.contains("has 10000 entries; at most 1000"), "{told}");
    let certificate = [X509, &der(0xa0, &der(4, b"x"))[..]].concat();
    let bags = bag(3, &der(0x30, &certificate)).repeat(10_000);
    let told = refusal("truststore", &[("pkcs12", &pkcs12(&bags))]);
    assert!(
        told.contains("has over 1000 certificates or keys"),
        "{told}"
    );
}

#[test]
fn a_number_of_entries_that_are_not_there_is_refused() {
    let mut store = jks(0, &[]);
    store[11] = 200;
    let told = refusal("truststore", &[("jks", &store)]);
    assert!(told.contains("in its entry 1"), "{told}");
}

#[test]
fn bags_in_bags_without_end_are_refused() {
    let mut bags = Vec::new();
    for _ in 0..1000 {
        bags = bag(6, &der(0x30, &bags));
    }
    let told = refusal("truststore", &[("pkcs12", &pkcs12(&bags))]);
    assert!(told.contains("nested too deep"), "{told}");
    let lengths = [0x30, 0x80].repeat(100_000);
    let told = refusal("truststore", &[("pkcs12", &lengths)]);
    assert!(told.contains("not a well-formed PKCS#12 file"), "{told}");
}

#[test]
fn a_broken_certificate_in_a_store_is_named_by_its_number() {
    let certificate = [X509, &der(0xa0, &der(4, b"x"))[..]].concat();
    let bags = bag(3, &der(0x30, &certificate)).repeat(2);
    let told = refusal("truststore", &[("pkcs12", &pkcs12(&bags))]);
    assert!(told.starts_with("certificate 1 of "), "{told}");
}

/// A MAC of one iteration.
fn mac(safes: &[u8], passphrase: &Passphrase<'_>, salt: &[u8]) -> Vec<u8> {
    const SHA256: &[u8] = b"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01";
    let once = NonZeroU32::MIN;
    let key = passphrase.derive(&digest::SHA256, Purpose::Mac, salt, once, 32);
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), safes);
    let info = [der(0x30, SHA256), der(4, tag.as_ref())].concat();
    der(0x30, &[der(0x30, &info), der(4, salt)].concat())
}

#[test]
fn a_store_under_no_passphrase_is_told_from_one_under_an_empty_one() {
    let authority = pem::parse(root("root").pem()).unwrap().into_contents();
    let certificate = [X509, &der(0xa0, &der(4, &authority))[..]].concat();
    let bags = bag(3, &der(0x30, &certificate));
    for passphrase in [Passphrase::none(), Passphrase::new("")] {
        let store = pkcs12_with_mac(&bags, |safes| mac(safes, &passphrase, b"salt"));
        assert!(accept("truststore", &[("pkcs12", &store)]).is_ok());
    }
}

#[test]
fn a_key_among_certificates_of_others_is_refused() {
    let authority = root("root");
    let (_, key) = leaf(&authority, &PKCS_ECDSA_P256_SHA256);
    let (stranger, _) = leaf(&authority, &PKCS_ECDSA_P256_SHA256);
    let kind = Kind::from_name("keystore").unwrap();
    let mixed = fields(&[
        ("certificate-chain", stranger.as_bytes()),
        ("private-key", key.as_bytes()),
    ]);
    let password = Some("geheim".to_owned().into());
    let pkcs12 = format::Rendering::new(format::Format::Pkcs12, password).unwrap();
    let files = format::render(kind, &mixed, &pkcs12).unwrap();
    let store = files.get("keystore.p12").unwrap();
    let told = refusal("keystore", &[("pkcs12", store), ("passphrase", b"geheim")]);
    assert!(
        told.contains("holds no certificate of the private key"),
        "{told}"
    );
}
