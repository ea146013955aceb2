//! What opens, and where.

use super::*;

fn id(text: &str, number: u32) -> VersionId {
    let (group, name) = text.split_once('/').unwrap();
    VersionId {
        secret: crate::name::SecretId {
            group: group.parse().unwrap(),
            name: name.parse().unwrap(),
        },
        number,
    }
}

#[test]
fn content_opens_in_its_place_and_nowhere_else() {
    let dek = PlaintextDek::generate().unwrap();
    let home = id("web/tls", 1);
    fn at(version: &VersionId) -> Context<'_> {
        Context::Content {
            version,
            kind: "blob",
        }
    }
    let sealed = SealedContent::seal(&Content::take(b"key".to_vec()), &dek, at(&home)).unwrap();

    let opened = sealed.clone().open(&dek, at(&home)).unwrap();
    assert_eq!(opened.expose(), b"key");

    for elsewhere in [id("web/tls", 2), id("web/tlt", 1), id("wec/tls", 1)] {
        let result = sealed.clone().open(&dek, at(&elsewhere));
        assert_eq!(result.unwrap_err(), Failed::DoesNotOpen, "{elsewhere}");
    }
    let other_kind = Context::Content {
        version: &home,
        kind: "password",
    };
    assert!(sealed.clone().open(&dek, other_kind).is_err());
    let other_dek = PlaintextDek::generate().unwrap();
    assert!(sealed.open(&other_dek, at(&home)).is_err());
}

#[test]
fn every_bit_of_sealed_content_counts() {
    let dek = PlaintextDek::generate().unwrap();
    let home = id("web/tls", 1);
    let context = Context::Content {
        version: &home,
        kind: "blob",
    };
    let sealed = SealedContent::seal(&Content::take(vec![7; 5]), &dek, context).unwrap();
    for bit in 0..sealed.ciphertext.len() * 8 {
        let mut bent = sealed.clone();
        bent.ciphertext[bit / 8] ^= 1 << (bit % 8);
        assert!(bent.digest() != sealed.digest());
        assert!(bent.open(&dek, context).is_err(), "bit {bit}");
    }
}

#[test]
fn purposes_do_not_mix() {
    let gmk = KeyId::from_bytes(&[1; 16]).unwrap();
    let instance = InstanceId::from_bytes(&[2; 16]).unwrap();
    let version = id("a/b", 1);
    let encodings = [
        Context::Content {
            version: &version,
            kind: "blob",
        }
        .encode(),
        Context::Dek {
            version: &version,
            kind: "blob",
            gmk: &gmk,
        }
        .encode(),
        Context::RowKey {
            instance: &instance,
            gmk: &gmk,
        }
        .encode(),
        Context::Canary { gmk: &gmk }.encode(),
    ];
    for (i, one) in encodings.iter().enumerate() {
        for other in &encodings[i + 1..] {
            assert_ne!(one, other);
        }
    }
}

#[test]
fn a_dek_of_the_wrong_length_is_refused_and_wiped() {
    let mut short = [7; 31];
    assert!(PlaintextDek::take(&mut short).is_none());
    assert_eq!(short, [0; 31]);
}

#[test]
fn secrets_do_not_print() {
    let dek = PlaintextDek::take(&mut [0x61; 32]).unwrap();
    let content = Content::take(vec![0x61; 3]);
    let printed = format!("{dek:?} {content:?}");
    assert_eq!(printed, "PlaintextDek(..) Content(..)");
}
