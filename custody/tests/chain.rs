//! The journal's chain: what a verifier notices.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use custody::{
    journal::{
        Event,
        chain::{Broken, Head, Verifier, checkpoint_message},
        public_key::PublicKey,
        signing::Signature,
        trust::{Statement, Voucher},
    },
    name::InstanceId,
};

fn pair() -> EcdsaKeyPair {
    EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()
}

fn pem(pair: &EcdsaKeyPair) -> String {
    let point = pair.public_key().as_ref();
    PublicKey::from_point(point).unwrap().to_pem()
}

fn instance() -> InstanceId {
    InstanceId::from_bytes(&[4; 16]).unwrap()
}

/// A segment entry, three others, a checkpoint over the first four, and one more.
fn journal(pair: &EcdsaKeyPair) -> Vec<String> {
    journal_signed(pair, pair, None)
}

/// The word of `by` for `key`.
fn voucher(by: &EcdsaKeyPair, key: &EcdsaKeyPair) -> Voucher {
    let key = PublicKey::from_pem(&pem(key)).unwrap();
    let statement = Statement::new(&instance(), key);
    let signature = by.sign(&SystemRandom::new(), statement.message()).unwrap();
    let signature = Signature::from_bytes(signature.as_ref().to_vec()).unwrap();
    statement.signed(&signature)
}

/// That journal, signed by `signer` and with the voucher as its second entry.
fn journal_signed(
    pair: &EcdsaKeyPair,
    signer: &EcdsaKeyPair,
    voucher: Option<Voucher>,
) -> Vec<String> {
    let mut out = Vec::new();
    let time = "2026-01-01T00:00:00Z";
    let segment = Event::Segment {
        instance: instance(),
        public_key: pem(pair),
        settled: None,
    };
    let mut head = Head::START.append(time, &segment, &mut out);
    let others = voucher.map(Event::JournalKey).into_iter();
    for event in others.chain(std::iter::repeat_n(Event::Stop, 3)).take(3) {
        head = head.append(time, &event, &mut out);
    }
    let message = checkpoint_message(&instance(), head);
    let signature = signer.sign(&SystemRandom::new(), &message).unwrap();
    let checkpoint = Event::Checkpoint {
        covers: head.seq,
        hash: head.hash.to_string(),
        signature: hex::encode(signature),
    };
    head = head.append(time, &checkpoint, &mut out);
    head.append(time, &Event::Stop, &mut out);
    String::from_utf8(out)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

fn verify(lines: &[String], key: Option<PublicKey>) -> Result<Verifier, Broken> {
    let mut verifier = Verifier::new(key);
    for line in lines {
        verifier.line(line.as_bytes())?;
    }
    Ok(verifier)
}

#[test]
fn a_public_key_in_pem_is_what_others_write() {
    use aws_lc_rs::encoding::AsDer as _;
    let pair = pair();
    let der = pair.public_key().as_der().unwrap();
    let theirs = pem::Pem::new("PUBLIC KEY", der.as_ref());
    assert_eq!(pem::parse(pem(&pair)).unwrap(), theirs);
}

#[test]
fn a_whole_journal_verifies() {
    let pair = pair();
    let key = PublicKey::from_pem(&pem(&pair)).unwrap();
    let verifier = verify(&journal(&pair), Some(key)).unwrap();
    let report = verifier.report();
    assert_eq!((report.first, report.last), (1, 6));
    assert_eq!((report.checkpoints, report.covered), (1, 4));
}

#[test]
fn another_key_signs_once_one_that_is_trusted_vouches_for_it() {
    let (ours, second, stranger) = (pair(), pair(), pair());
    let key = || Some(PublicKey::from_pem(&pem(&ours)).unwrap());
    let vouched = voucher(&ours, &second);
    let whole = journal_signed(&ours, &second, Some(vouched.clone()));
    let verifier = verify(&whole, key()).unwrap();
    assert_eq!(verifier.report().covered, 4);

    let unvouched = journal_signed(&ours, &second, None);
    let verified = verify(&unvouched, key());
    assert!(matches!(verified, Err(Broken::Signature { seq: 5 })));
    let of_another = journal_signed(&ours, &stranger, Some(vouched));
    let verified = verify(&of_another, key());
    assert!(matches!(verified, Err(Broken::Signature { seq: 5 })));
    for by in [&second, &stranger] {
        let forged = journal_signed(&ours, &second, Some(voucher(by, &second)));
        let verified = verify(&forged, key());
        assert!(matches!(verified, Err(Broken::Unvouched { seq: 2 })));
    }
}

#[test]
fn every_character_counts() {
    let pair = pair();
    let whole = journal(&pair);
    let text = whole.join("\n");
    // the last line is vouched for by nothing yet
    let covered = text.len() - whole[5].len() - 1;
    for at in (0..covered).step_by(7) {
        let mut bent = text.clone().into_bytes();
        if bent[at] == b'\n' {
            continue;
        }
        bent[at] = if bent[at] == b'1' { b'2' } else { b'1' };
        if bent == text.as_bytes() {
            continue;
        }
        let lines: Vec<_> = String::from_utf8(bent)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect();
        assert!(verify(&lines, None).is_err(), "byte {at}");
    }
}

#[test]
fn a_line_taken_out_put_in_or_moved_is_noticed() {
    let pair = pair();
    let whole = journal(&pair);
    for at in 0..5 {
        let mut less = whole.clone();
        less.remove(at);
        assert!(verify(&less, None).is_err(), "without {at}");
        let mut more = whole.clone();
        more.insert(at, whole[at].clone());
        assert!(verify(&more, None).is_err(), "twice {at}");
        let mut moved = whole.clone();
        moved.swap(at, at + 1);
        assert!(verify(&moved, None).is_err(), "moved {at}");
    }
}

#[test]
fn a_journal_rewritten_under_another_key_is_noticed() {
    let (ours, theirs) = (pair(), pair());
    let key = PublicKey::from_pem(&pem(&ours)).unwrap();
    let forged = journal(&theirs);
    assert!(verify(&forged, None).is_ok(), "it is whole in itself");
    assert!(matches!(
        verify(&forged, Some(key)),
        Err(Broken::OtherOrigin { seq: 1 })
    ));
}

#[test]
fn a_checkpoint_for_another_history_is_noticed() {
    let pair = pair();
    let mut out = Vec::new();
    let segment = Event::Segment {
        instance: instance(),
        public_key: pem(&pair),
        settled: None,
    };
    let head = Head::START.append("t", &segment, &mut out);
    let other = Head::START.append("u", &segment, &mut Vec::new());
    let message = checkpoint_message(&instance(), other);
    let signature = pair.sign(&SystemRandom::new(), &message).unwrap();
    let checkpoint = Event::Checkpoint {
        covers: other.seq,
        hash: other.hash.to_string(),
        signature: hex::encode(signature),
    };
    head.append("t", &checkpoint, &mut out);
    let lines: Vec<_> = String::from_utf8(out)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    assert!(matches!(
        verify(&lines, None),
        Err(Broken::Covers { seq: 2, covers: 1 })
    ));
}
