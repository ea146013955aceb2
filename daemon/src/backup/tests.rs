//! How long a backup is kept: as long as it may be wanted, and no longer.

use custody::{
    backup::{FORMAT, Manifest, Unsigned},
    journal::{
        chain::{Hash, Head},
        change::Settled,
        signing::Signature,
    },
    name::InstanceId,
};

use super::*;

const CONTENT: &[u8] = b"a database";

/// Longer than a test takes.
const LONG: Duration = Duration::from_secs(60 * 60);

/// What is to be gone by then is waited for; what is to be there is looked at after it.
const SHORT: Duration = Duration::from_millis(100);

struct Room {
    state: TempDir,
    shelf: Arc<Shelf>,
}

impl Room {
    fn new(some: Duration, all: Duration) -> Self {
        let state = tempfile::tempdir().unwrap();
        let mut shelf = Shelf::empty(state.path()).unwrap();
        shelf.stays = Stays { some, all };
        Self {
            state,
            shelf: Arc::new(shelf),
        }
    }

    fn make(&self) -> BackupId {
        let place = self.shelf.place().unwrap();
        fs::write(place.path(MemberName::Database), CONTENT).unwrap();
        self.shelf.keep(place, sealed()).name()
    }

    /// Reads it, all or the first byte.
    fn read(&self, backup: BackupId, all: bool) {
        let kept = self.shelf.find(backup).unwrap();
        let limit = if all { kept.size() } else { 1 };
        let limit = usize::try_from(limit).unwrap();
        assert_eq!(kept.read(0, limit).unwrap().len(), limit);
    }

    /// How many copies of the database there are.
    fn copies(&self) -> usize {
        let folder = fs::read_dir(self.state.path().join("backup"));
        folder.map_or(0, Iterator::count)
    }

    fn is_there(&self, backup: BackupId) -> bool {
        let found = self.shelf.find(backup);
        assert_eq!(self.copies(), usize::from(found.is_ok()));
        found.is_ok()
    }

    async fn until_gone(&self) {
        for _ in 0..1000 {
            if self.shelf.lock().is_none() && self.copies() == 0 {
                return;
            }
            tokio::time::sleep(SHORT / 10).await;
        }
        panic!("it is still there");
    }
}

fn sealed() -> Sealed {
    let unsigned = Unsigned::new(Manifest {
        format: FORMAT,
        backup: BackupId::random().unwrap(),
        instance: InstanceId::from_bytes(&[1; InstanceId::LEN]).unwrap(),
        created: "2026-01-02T03:04:05Z".to_owned(),
        version: "1".to_owned(),
        token_label: "token".to_owned(),
        token_serial: "1234".to_owned(),
        public_key: String::new(),
        vouchers: Vec::new(),
        settled: Settled {
            number: 1,
            state: "ab".repeat(32),
        },
        journal: Head::START,
        members: vec![Member {
            name: MemberName::Database,
            size: CONTENT.len() as u64,
            sha256: Hash::of(CONTENT),
        }],
    });
    unsigned.sign(&Signature::from_bytes(vec![7; 64]).unwrap())
}

#[test]
fn a_backup_is_kept_for_an_hour_and_for_a_minute_once_it_was_had() {
    let minute = Duration::from_secs(60);
    assert_eq!((STAYS.some, STAYS.all), (60 * minute, minute));
}

#[tokio::test]
async fn what_nobody_wants_is_removed() {
    for reads in [0, 2] {
        let room = Room::new(SHORT, LONG);
        let backup = room.make();
        for _ in 0..reads {
            room.read(backup, false);
        }
        room.until_gone().await;
        let gone = room.shelf.find(backup);
        assert!(matches!(gone, Err(Error::NoSuchBackup(name)) if name == backup));
    }
}

#[tokio::test]
async fn what_was_read_as_a_whole_goes_sooner_than_what_was_not() {
    let room = Room::new(LONG, SHORT);
    let backup = room.make();
    room.read(backup, false);
    tokio::time::sleep(5 * SHORT).await;
    assert!(room.is_there(backup));
    room.read(backup, true);
    // Its end may have been lost on the way, and is asked for again.
    room.read(backup, false);
    tokio::time::sleep(5 * SHORT).await;
    assert!(room.is_there(backup));
    room.read(backup, true);
    room.until_gone().await;
}

#[tokio::test]
async fn what_somebody_reads_is_there_until_that_is_done() {
    let room = Room::new(SHORT, SHORT);
    let backup = room.make();
    let reader = room.shelf.find(backup).unwrap();
    tokio::time::sleep(5 * SHORT).await;
    assert!(room.is_there(backup));
    assert!(matches!(room.shelf.place(), Err(Error::Occupied)));
    assert_eq!(reader.read(0, 1).unwrap().len(), 1);
    drop(reader);
    room.until_gone().await;
}

#[tokio::test]
async fn another_takes_the_place_of_one_that_nobody_reads_and_stays() {
    let room = Room::new(LONG, LONG);
    let first = room.make();
    let second = room.make();
    assert!(matches!(
        room.shelf.find(first),
        Err(Error::NoSuchBackup(name)) if name == first
    ));
    assert!(room.is_there(second));
}
