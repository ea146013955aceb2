use std::{collections::BTreeMap, io};

use super::*;
use crate::journal::{Event, pair::Pair, public_key::PublicKey, signing::Signing};

fn pair() -> Pair {
    Pair::of(Signing::EcdsaP256)
}

const TIME: &str = "2026-01-01T00:00:00Z";

/// Two segments, in the second of which a change is settled.
fn journal(pair: &Pair) -> (Vec<u8>, Vec<u8>, Head) {
    let segment = |settled| Event::Segment {
        instance: instance(),
        public_key: pair.public().to_pem(),
        settled,
    };
    let mut first = Vec::new();
    let head = Head::START.append(TIME, &segment(None), &mut first);
    let head = head.append(TIME, &Event::Stop, &mut first);
    let mut second = Vec::new();
    let head = head.append(TIME, &segment(Some(settled())), &mut second);
    let head = head.append(TIME, &Event::Stop, &mut second);
    (first, second, head)
}

fn instance() -> InstanceId {
    InstanceId::from_bytes(&[4; 16]).unwrap()
}

fn settled() -> Settled {
    Settled {
        number: 7,
        state: "ab".repeat(32),
    }
}

type Files = BTreeMap<MemberName, Vec<u8>>;

fn files(pair: &Pair) -> (Files, Head) {
    let (first, second, head) = journal(pair);
    let files = Files::from([
        (MemberName::Database, b"a database".repeat(100)),
        (MemberName::Usage, b"{}".to_vec()),
        (MemberName::Segment(1), first),
        (MemberName::Segment(3), second),
    ]);
    (files, head)
}

fn manifest(pair: &Pair, files: &Files, journal: Head) -> Manifest {
    let members = files.iter().map(|(&name, bytes)| Member {
        name,
        size: bytes.len() as u64,
        sha256: Hash::of(bytes),
    });
    Manifest {
        format: FORMAT,
        backup: BackupId::from_bytes(&[5; 8]).unwrap(),
        instance: instance(),
        created: TIME.to_owned(),
        version: "1".to_owned(),
        token_label: "token".to_owned(),
        token_serial: "1234".to_owned(),
        public_key: pair.public().to_pem(),
        vouchers: Vec::new(),
        settled: settled(),
        journal,
        members: members.collect(),
    }
}

fn seal(pair: &Pair, manifest: Manifest) -> Sealed {
    let unsigned = Unsigned::new(manifest);
    let signature = pair.sign(&unsigned.message());
    unsigned.sign(&signature)
}

fn archive(sealed: &Sealed, files: &Files, piece: usize) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let offset = out.len() as u64;
        let read = |member: &Member, from: u64, buffer: &mut [u8]| {
            let from = usize::try_from(from).unwrap();
            buffer.copy_from_slice(&files[&member.name][from..][..buffer.len()]);
            io::Result::Ok(())
        };
        let more = sealed.read_at(offset, piece, read).unwrap();
        if more.is_empty() {
            return out;
        }
        out.extend(more);
    }
}

fn read(bytes: &[u8], key: Option<&PublicKey>) -> Result<Files, Error> {
    let mut found = Files::new();
    let archive = Archive::open(bytes, key)?;
    archive.copy(|member, bytes| {
        found.entry(member.name).or_default().extend(bytes);
        Ok(())
    })?;
    Ok(found)
}

/// A backup, whose it is, and what is in it.
fn sample(signing: Signing) -> (Vec<u8>, Pair, Files) {
    let pair = Pair::of(signing);
    let (files, head) = files(&pair);
    let sealed = seal(&pair, manifest(&pair, &files, head));
    (archive(&sealed, &files, 1 << 20), pair, files)
}

#[test]
fn what_was_written_is_read_in_whatever_pieces_it_came() {
    for signing in Signing::ALL {
        let pair = Pair::of(signing);
        let (files, head) = files(&pair);
        let sealed = seal(&pair, manifest(&pair, &files, head));
        let whole = archive(&sealed, &files, 1 << 20);
        assert_eq!(whole.len() as u64, sealed.size());
        for piece in [1, 511, 512, 513, 1000] {
            assert!(archive(&sealed, &files, piece) == whole, "{piece}");
        }
        assert_eq!(read(&whole, None).unwrap(), files);
        assert_eq!(read(&whole, Some(&pair.public())).unwrap(), files);
    }
}

#[test]
fn no_byte_of_a_backup_can_be_another() {
    for signing in Signing::ALL {
        let (bytes, pair, _) = sample(signing);
        let key = pair.public();
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 1;
            assert!(read(&other, Some(&key)).is_err(), "{signing}: byte {at}");
        }
    }
}

#[test]
fn a_backup_that_is_cut_off_or_goes_on_is_none() {
    for signing in Signing::ALL {
        let (mut bytes, _, _) = sample(signing);
        for length in 0..bytes.len() {
            let error = read(&bytes[..length], None).unwrap_err();
            assert!(matches!(error, Error::CutOff), "{length}: {error}");
        }
        bytes.push(0);
        assert!(matches!(read(&bytes, None), Err(Error::TooLong)));
    }
}

#[test]
fn somebody_elses_key_makes_no_backup_of_ours() {
    let (bytes, _, _) = sample(Signing::EcdsaP256);
    let ours = pair().public();
    assert!(matches!(read(&bytes, Some(&ours)), Err(Error::OtherKey)));
    // Nor does a manifest that names our key and is signed by theirs.
    let theirs = pair();
    let pair = pair();
    let (files, head) = files(&pair);
    let sealed = seal(&theirs, manifest(&pair, &files, head));
    let bytes = archive(&sealed, &files, 1 << 20);
    assert!(matches!(read(&bytes, None), Err(Error::Signature)));
}

#[test]
fn database_and_journal_are_of_one_moment() {
    let pair = pair();
    let (files, head) = files(&pair);
    let whole = manifest(&pair, &files, head);
    let later = Settled {
        number: 8,
        ..settled()
    };
    let shorter = Head { seq: 3, ..head };
    let other = InstanceId::from_bytes(&[9; 16]).unwrap();
    for manifest in [
        Manifest {
            settled: later,
            ..whole.clone()
        },
        Manifest {
            journal: shorter,
            ..whole.clone()
        },
        Manifest {
            instance: other,
            ..whole.clone()
        },
    ] {
        let bytes = archive(&seal(&pair, manifest), &files, 1 << 20);
        assert!(matches!(read(&bytes, None), Err(Error::OtherMoment)));
    }
    let reversed = Manifest {
        members: whole.members.iter().rev().cloned().collect(),
        ..whole.clone()
    };
    let bytes = archive(&seal(&pair, reversed), &files, 1 << 20);
    assert!(matches!(read(&bytes, None), Err(Error::Members)));
    let newer = Manifest { format: 2, ..whole };
    let bytes = archive(&seal(&pair, newer), &files, 1 << 20);
    assert!(matches!(read(&bytes, None), Err(Error::Format(2))));
}

#[test]
fn only_files_of_a_backup_have_names() {
    for name in [
        "custody.db",
        "usage.json",
        "journal/journal-00000000000000000042.jsonl",
    ] {
        assert_eq!(name.parse::<MemberName>().unwrap().to_string(), name);
    }
    for name in [
        "",
        "../custody.db",
        "/custody.db",
        "journal/journal-42.jsonl",
        "journal/journal-+0000000000000000042.jsonl",
        "journal/../../x",
    ] {
        assert!(name.parse::<MemberName>().is_err(), "{name}");
    }
}

#[test]
fn long_files_have_their_length_in_the_header() {
    let pair = pair();
    let (files, head) = files(&pair);
    for (size, field) in [
        ((8 << 30) - 1, b"77777777777\0".to_vec()),
        (
            8 << 30,
            [&[0x80, 0, 0, 0][..], &(8u64 << 30).to_be_bytes()].concat(),
        ),
    ] {
        let mut manifest = manifest(&pair, &files, head);
        manifest.members[0].size = size;
        let sealed = seal(&pair, manifest);
        let Some(Part::Bytes(bytes)) = sealed.parts().first() else {
            panic!("it begins with a header");
        };
        let header = &bytes[bytes.len() - archive::BLOCK..];
        // Where a header has the length of its file (POSIX.1, "ustar Interchange Format").
        assert_eq!(header[124..136], field);
        assert_eq!(archive::length(header), Some(size));
    }
}
