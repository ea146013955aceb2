//! Backups as they are taken from a custodyd that breaks off, or lies.

use std::{fs, os::unix::fs::PermissionsExt as _};

use aws_lc_rs::{
    digest::{SHA256, digest},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use client::v1::{BackupBegun, BackupRequest, backup_response::Step};
use custody::{
    backup::{FORMAT, Manifest, Member, MemberName, Sealed, Unsigned},
    canonical::Encoder,
    journal::{
        Event,
        chain::{Hash, Head},
        change::Settled,
        public_key::PublicKey,
        signing::Signature,
    },
    name::{BackupId, InstanceId},
};
use tonic::Status;

use crate::canned::Daemon;

/// A backup, and a daemon that has it.
struct Backup {
    daemon: Daemon,
    sealed: Sealed,
    bytes: Vec<u8>,
}

impl Backup {
    fn make() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let key = PublicKey::from_point(pair.public_key().as_ref()).unwrap();
        let instance = InstanceId::random().unwrap();
        let settled = Settled {
            number: 1,
            state: "00".repeat(32),
        };
        let mut journal = Vec::new();
        let segment = Event::Segment {
            instance,
            public_key: key.to_pem(),
            settled: Some(settled.clone()),
        };
        let head = Head::START.append("2026-01-01T00:00:00Z", &segment, &mut journal);
        let database = b"no database".repeat(1000);
        let member = |name, bytes: &[u8]| Member {
            name,
            size: bytes.len() as u64,
            sha256: Hash::of(bytes),
        };
        let unsigned = Unsigned::new(Manifest {
            format: FORMAT,
            backup: BackupId::random().unwrap(),
            instance,
            created: "2026-01-01T00:00:00Z".into(),
            version: "0.1.0".into(),
            token_label: "token".into(),
            token_serial: "1".into(),
            public_key: key.to_pem(),
            vouchers: Vec::new(),
            settled,
            journal: head,
            members: vec![
                member(MemberName::Database, &database),
                member(MemberName::Segment(1), &journal),
            ],
        });
        let daemon = Daemon::start();
        fs::write(daemon.path("journal.pub"), key.to_pem()).unwrap();
        let signed = sign(&pair, &unsigned);
        let sealed = unsigned.sign(&signed);
        let read = |member: &Member, from: u64, buffer: &mut [u8]| {
            let all = match member.name {
                MemberName::Database => &database,
                _ => &journal,
            };
            buffer.copy_from_slice(&all[usize::try_from(from).unwrap()..][..buffer.len()]);
            Ok(())
        };
        let bytes = sealed.read_at(0, 1 << 20, read).unwrap();
        Self {
            daemon,
            sealed,
            bytes,
        }
    }

    fn name(&self) -> String {
        self.sealed.manifest().backup.to_string()
    }

    fn begun(&self, offset: usize) -> Step {
        Step::Begun(BackupBegun {
            backup: self.name(),
            size: self.sealed.size(),
            offset: offset as u64,
        })
    }

    fn data(&self, part: std::ops::Range<usize>) -> Step {
        Step::Data(self.bytes[part].to_vec())
    }

    /// Takes it; gives the exit code and what was said.
    fn save(&self) -> (Option<i32>, String) {
        let key = self.daemon.path("journal.pub");
        let key = key.to_str().unwrap();
        let output = self
            .daemon
            .run(["backup", "save", "b.tar", "--public-key", key]);
        let said = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), said)
    }
}

/// What the token would do: it signs a digest.
fn sign(pair: &EcdsaKeyPair, unsigned: &Unsigned) -> Signature {
    let text = manifest_text(unsigned);
    let message = Encoder::new("custodyd backup").bytes(&text).finish();
    assert_eq!(digest(&SHA256, &message).as_ref(), unsigned.digest());
    let signature = pair.sign(&SystemRandom::new(), &message).unwrap();
    Signature::from_bytes(signature.as_ref().to_vec()).unwrap()
}

/// The manifest as it stands in an archive after its header.
fn manifest_text(unsigned: &Unsigned) -> Vec<u8> {
    let none = Signature::from_bytes(vec![0; 64]).unwrap();
    let sealed = unsigned.clone().sign(&none);
    let bytes = sealed.read_at(0, 1 << 20, |_, _, _| Ok(())).unwrap();
    let length = std::str::from_utf8(&bytes[124..135]).unwrap();
    let length = usize::from_str_radix(length, 8).unwrap();
    bytes[512..][..length].to_vec()
}

#[test]
fn what_broke_off_goes_on_where_it_was() {
    let backup = Backup::make();
    let (size, half) = (backup.bytes.len(), backup.bytes.len() / 2);
    backup.daemon.back_up([
        vec![backup.begun(0), backup.data(0..100), backup.data(100..half)],
        vec![backup.begun(half), backup.data(half..size)],
    ]);
    let (code, said) = backup.save();
    assert_eq!(code, Some(0), "{said}");
    let file = backup.daemon.path("b.tar");
    assert!(fs::read(&file).unwrap() == backup.bytes);
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!backup.daemon.path("b.tar.part").exists());
    let rest = BackupRequest {
        backup: Some(backup.name()),
        offset: half as u64,
    };
    assert_eq!(
        backup.daemon.asked().backups,
        [BackupRequest::default(), rest]
    );
}

#[test]
fn another_command_goes_on_with_what_one_left() {
    let backup = Backup::make();
    let (size, half) = (backup.bytes.len(), backup.bytes.len() / 2);
    fs::write(backup.daemon.path("b.tar.part"), &backup.bytes[..half]).unwrap();
    let rest = vec![backup.begun(half), backup.data(half..size)];
    backup.daemon.back_up([rest]);
    assert_eq!(backup.save().0, Some(0));
    assert!(fs::read(backup.daemon.path("b.tar")).unwrap() == backup.bytes);

    // All of it was there, and only its name was missing.
    let there = fs::rename(
        backup.daemon.path("b.tar"),
        backup.daemon.path("b.tar.part"),
    );
    there.unwrap();
    assert_eq!(backup.save().0, Some(0));
    assert_eq!(backup.daemon.asked().backups.len(), 1);
}

#[test]
fn what_is_kept_no_longer_begins_anew() {
    let backup = Backup::make();
    let size = backup.bytes.len();
    fs::write(backup.daemon.path("b.tar.part"), &backup.bytes[..size / 2]).unwrap();
    backup
        .daemon
        .fail([Status::not_found("there is no backup")]);
    // The first is not sent: it was not found.
    backup
        .daemon
        .back_up([vec![], vec![backup.begun(0), backup.data(0..size)]]);
    let (code, said) = backup.save();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("begins anew"), "{said}");
    assert!(fs::read(backup.daemon.path("b.tar")).unwrap() == backup.bytes);
}

#[test]
fn what_is_not_the_backup_is_not_kept() {
    let backup = Backup::make();
    let size = backup.bytes.len();
    let mut other = backup.bytes.clone();
    other[size / 2] ^= 1;
    backup
        .daemon
        .back_up([vec![backup.begun(0), Step::Data(other)]]);
    let (code, said) = backup.save();
    assert_eq!(code, Some(8), "{said}");
    assert!(said.contains("custody.db is not the one"), "{said}");
    for name in ["b.tar", "b.tar.part"] {
        assert!(!backup.daemon.path(name).exists(), "{name}");
    }
}

#[test]
fn what_comes_from_elsewhere_in_it_is_not_taken() {
    let backup = Backup::make();
    let size = backup.bytes.len();
    for steps in [
        vec![backup.begun(5), backup.data(5..size)],
        vec![backup.data(0..size)],
        vec![backup.begun(0), backup.data(0..size), backup.data(0..1)],
    ] {
        backup.daemon.back_up([steps]);
        let (code, said) = backup.save();
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("other parts"), "{said}");
        drop(fs::remove_file(backup.daemon.path("b.tar.part")));
    }
    assert!(!backup.daemon.path("b.tar").exists());
}

#[test]
fn nothing_is_written_over() {
    let backup = Backup::make();
    fs::write(backup.daemon.path("b.tar"), "older").unwrap();
    let (code, said) = backup.save();
    assert_eq!(code, Some(5), "{said}");
    assert_eq!(fs::read(backup.daemon.path("b.tar")).unwrap(), b"older");
    assert_eq!(backup.daemon.calls(), [""; 0]);
}

#[test]
fn a_call_that_is_refused_leaves_nothing() {
    let backup = Backup::make();
    backup
        .daemon
        .fail([Status::permission_denied("backup takes the role auditor")]);
    let (code, said) = backup.save();
    assert_eq!(code, Some(3), "{said}");
    assert!(!backup.daemon.path("b.tar.part").exists());
}
