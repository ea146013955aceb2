//! Segments on a real disk.

use custody::{journal::change::Change, name::KeyId};

use super::*;

/// The public half of a key that signs nothing here.
const PEM: &str = "-----BEGIN PUBLIC KEY-----\n\
    MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAENI8K1Jeiyf/t4wlsHv75HJ+pTVbE\n\
    PlbYYCk7GeFPUaBONytpic2stTySwfVDTxZfJG8g3P574DKaKiMLL1GH4g==\n\
    -----END PUBLIC KEY-----\n";

fn create(directory: &Path, limit: u64) -> Segments {
    let origin = Origin {
        instance: custody::name::InstanceId::from_bytes(&[1; 16]).unwrap(),
        public_key: PEM.to_owned(),
    };
    Segments::create(directory, origin, limit).unwrap()
}

fn prepare(number: u64) -> Event {
    let key = KeyId::from_bytes(&[2; 16]).unwrap();
    Event::Prepare {
        number,
        operator: None,
        change: Change::Init {
            roles: Vec::new(),
            system_key: key,
            journal_key: key,
        },
        state: "5tate".into(),
    }
}

#[test]
fn what_was_appended_is_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("journal");
    let mut segments = create(&directory, 1 << 20);
    assert_eq!(segments.append(&[prepare(1), Event::Stop]).unwrap(), 2);
    let position = segments.position();
    drop(segments);
    let segments = Segments::open(&directory, 1 << 20).unwrap();
    assert_eq!(segments.position().head, position.head);
    assert_eq!(segments.changes().pending.as_ref().unwrap().number, 1);
    assert_eq!(segments.changes().settled, None);
}

#[test]
fn segments_follow_each_other_and_remember_what_is_settled() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("journal");
    let mut segments = create(&directory, 700);
    segments.append(&[prepare(1)]).unwrap();
    assert_eq!(list(&directory).unwrap().len(), 1, "a change is pending");
    segments.append(&[Event::Commit { number: 1 }]).unwrap();
    for _ in 0..9 {
        segments.append(&[Event::Stop]).unwrap();
    }
    let paths = list(&directory).unwrap();
    assert!(paths.len() > 1);
    let mut verifier = Verifier::new(None);
    for path in &paths {
        for line in fs::read_to_string(path).unwrap().lines() {
            verifier.line(line.as_bytes()).unwrap();
        }
    }
    assert_eq!(verifier.head(), Some(segments.position().head));
    drop(segments);
    let reopened = Segments::open(&directory, 700).unwrap();
    assert_eq!(reopened.changes().settled.as_ref().unwrap().number, 1);
}

#[test]
fn a_torn_entry_is_cut_off_and_a_changed_one_refused() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("journal");
    let mut segments = create(&directory, 1 << 20);
    segments.append(&[Event::Stop]).unwrap();
    let head = segments.position().head;
    drop(segments);
    let path = list(&directory).unwrap().pop().unwrap();
    let whole = fs::read(&path).unwrap();

    fs::write(&path, [&whole[..], b"{\"seq\":3,\"ti"].concat()).unwrap();
    let mut segments = Segments::open(&directory, 1 << 20).unwrap();
    assert_eq!(segments.position().head, head);
    assert_eq!(fs::read(&path).unwrap(), whole);
    segments.append(&[Event::Stop]).unwrap();
    drop(segments);

    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("\"stop\"", "\"stap\"", 1)).unwrap();
    assert!(matches!(
        Segments::open(&directory, 1 << 20),
        Err(Error::Broken { .. })
    ));
}

#[test]
fn a_segment_without_an_entry_is_begun_again() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("journal");
    let segments = create(&directory, 1 << 20);
    let head = segments.position().head;
    drop(segments);
    fs::write(
        directory.join("journal-00000000000000000002.jsonl"),
        "{\"se",
    )
    .unwrap();
    let segments = Segments::open(&directory, 1 << 20).unwrap();
    assert_eq!(segments.position().head, head);
    assert_eq!(list(&directory).unwrap().len(), 1);
}

#[test]
fn a_journal_that_others_may_write_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("journal");
    drop(create(&directory, 4096));
    let segment = list(&directory).unwrap().pop().unwrap();
    for (path, lax, strict) in [(segment, 0o660, 0o600), (directory.clone(), 0o770, 0o700)] {
        let set = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        set(lax);
        assert!(matches!(
            Segments::open(&directory, 4096),
            Err(Error::Lax(found)) if found == path
        ));
        set(strict);
    }
    Segments::open(&directory, 4096).unwrap();
}

#[test]
fn a_journal_that_is_there_is_not_begun_again() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("journal");
    let origin = create(&directory, 4096).origin().clone();
    assert!(matches!(
        Segments::create(&directory, origin, 4096),
        Err(Error::Exists(_))
    ));
    assert!(matches!(
        Segments::open(&folder.path().join("none"), 4096),
        Err(Error::Missing(_))
    ));
}

#[test]
fn each_segment_says_which_other_keys_may_sign() {
    use aws_lc_rs::{
        rand::SystemRandom,
        signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
    };
    use custody::journal::{public_key::PublicKey, signing::Signature, trust::Statement};

    let pair = || EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let (root, other) = (pair(), pair());
    let public = |pair: &EcdsaKeyPair| PublicKey::from_point(pair.public_key().as_ref()).unwrap();
    let instance = custody::name::InstanceId::from_bytes(&[1; 16]).unwrap();
    let origin = Origin {
        instance,
        public_key: public(&root).to_pem(),
    };
    let statement = Statement::new(&instance, public(&other));
    let signature = root
        .sign(&SystemRandom::new(), statement.message())
        .unwrap();
    let signature = Signature::from_bytes(signature.as_ref().to_vec()).unwrap();
    let voucher = statement.signed(&signature);

    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("journal");
    let mut segments = Segments::create(&directory, origin, 500).unwrap();
    segments
        .append(&[Event::JournalKey(voucher.clone())])
        .unwrap();
    segments.append(&[Event::Stop]).unwrap();
    segments.append(&[Event::Stop]).unwrap();
    let paths = list(&directory).unwrap();
    assert!(paths.len() > 1);
    drop(segments);
    // The last can be read alone, and goes on.
    for path in &paths[..paths.len() - 1] {
        fs::remove_file(path).unwrap();
    }
    let segments = Segments::open(&directory, 500).unwrap();
    assert_eq!(segments.vouchers(), [voucher]);
}
