//! Containers that were made to cost more than any honest one.

use super::*;

#[test]
fn more_certificates_or_keys_than_anything_honest_has_are_refused() {
    let certificate = [X509, &der(0xa0, &der(4, b"x"))[..]].concat();
    let certificates = bag(3, &der(0x30, &certificate)).repeat(1_002);
    let keys = bag(1, &der(0x30, b"")).repeat(2_001);
    for (bags, kind) in [(certificates, "truststore"), (keys, "keystore")] {
        let told = refusal(kind, &[("pkcs12", &pkcs12(&bags))]);
        assert!(
            told.contains("has over 1000 certificates or keys"),
            "{told}"
        );
    }
}

#[test]
fn a_key_with_more_certificates_than_any_chain_has_is_refused() {
    let mut entry = vec![0, 0, 0, 1, 0, 1, b'a', 0, 0, 0, 0, 0, 0, 0, 0];
    entry.extend(*b"\0\0\0\x01x\0\0\0\x11");
    entry.extend(b"\0\x05X.509\0\0\0\x01x".repeat(17));
    let told = refusal("keystore", &[("jks", &jks(1, &entry))]);
    assert!(
        told.contains("not a well-formed JKS key store in its entry 1"),
        "{told}"
    );
}

#[test]
fn key_derivations_that_are_too_long_in_all_are_refused() {
    let Some(bench) = bench() else { return };
    bench.run(&format!(
        "{EXPORT} -iter 80000 -nomac -certpbe AES-256-CBC -passout pass:geheim"
    ));
    let mut store = bench.take("store");
    let written = [2, 3, 0x01, 0x38, 0x80];
    // That of the key, behind that of the certificates: with it 5,000,001.
    let last = store.windows(5).rposition(|at| at == written).unwrap();
    store[last + 2..last + 5].copy_from_slice(&4_920_001_u32.to_be_bytes()[1..]);
    let given: &[(&str, &[u8])] = &[("pkcs12", &store), ("passphrase", b"geheim")];
    let told = refusal("keystore", given);
    assert!(told.contains("over 5000000 iterations"), "{told}");
}

#[test]
fn more_salt_than_anything_honest_has_is_refused() {
    let authority = pem::parse(root("root").pem()).unwrap().into_contents();
    let certificate = [X509, &der(0xa0, &der(4, &authority))[..]].concat();
    let bags = bag(3, &der(0x30, &certificate));
    let store =
        |salt: &[u8]| pkcs12_with_mac(&bags, |safes| mac(safes, &Passphrase::new(""), salt));
    assert!(accept("truststore", &[("pkcs12", &store(&[7; 1024]))]).is_ok());
    let told = refusal("truststore", &[("pkcs12", &store(&[7; 1025]))]);
    assert!(told.contains("are not well-formed"), "{told}");
}

#[test]
fn an_algorithm_without_end_is_not_told() {
    let algorithm = der(0x30, &der(6, &[0x2a; 100_000]));
    let key = der(0x30, &[algorithm, der(4, b"x")].concat());
    let given: &[(&str, &[u8])] = &[("private-key", &key), ("passphrase", b"geheim")];
    let told = refusal("private-key", given);
    assert!(
        told.contains("its algorithm (unknown) is not read here"),
        "{told}"
    );
}
