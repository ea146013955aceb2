//! Making a backup, in the order in which it is done: [`Source`], [`Pinned`], [`Copied`]. All of it
//! blocks.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use custody::{
    backup::{Member, MemberName, Sum},
    journal::chain::Head,
};
use tokio::sync::watch;

use super::{Error, Place, failed};
use crate::{
    journal::{Journal, Position, Segment},
    store::Sqlite,
};

/// What must stay free in the state directory: the journal has to go on.
const RESERVE: u64 = 16 << 20;

/// How much is read at once.
const CHUNK: usize = 1 << 20;

/// How far the making of a backup has come, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Preparing {
    pub(crate) done: u64,
    pub(crate) all: u64,
}

/// What a backup is to be made of.
#[derive(Debug)]
pub(crate) struct Source {
    place: Place,
    database: Sqlite,
}

/// The database of one moment; nothing else may change it, or end the change that it is at,
/// until the journal's position is known.
#[derive(Debug)]
pub(crate) struct Pinned {
    source: Source,
    change: u64,
}

/// The files of a backup.
#[derive(Debug)]
pub(crate) struct Copied {
    pub(crate) place: Place,
    pub(crate) members: Vec<Member>,
    /// Where the journal ends in it.
    pub(crate) end: Head,
}

impl Source {
    /// Opens the database in the state directory `state`, and copies what was drawn from the
    /// journal: before anything else, so that the journal of the backup goes at least as far.
    pub(crate) fn open(place: Place, state: &Path) -> Result<Self, Error> {
        let usage = state.join("usage.json");
        match fs::copy(&usage, place.path(MemberName::Usage)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("copied", &usage)(error));
            }
            _ => {}
        }
        let database = Sqlite::open(&state.join("custody.db"))?;
        Ok(Self { place, database })
    }

    /// Holds on to what is in the database now.
    pub(crate) fn pin(mut self) -> Result<Pinned, Error> {
        let change = self.database.pin()?;
        Ok(Pinned {
            source: self,
            change,
        })
    }
}

impl Pinned {
    /// Number of the newest change.
    pub(crate) fn change(&self) -> u64 {
        self.change
    }

    /// Copies the database, and takes hold of `journal` up to `end`.
    pub(crate) fn copy(
        self,
        journal: &Journal,
        end: Position,
        told: &watch::Sender<Preparing>,
    ) -> Result<Copied, Error> {
        let Source { place, database } = self.source;
        let segments = journal.segments_to(end)?;
        let size = database.size()?;
        check_room(place.folder.path(), size)?;
        let journal: u64 = segments.iter().map(|segment| segment.length).sum();
        // The database is copied, and read once more.
        told.send_modify(|so_far| so_far.all = 2 * size + journal);

        for Segment { first, path, .. } in &segments {
            let link = place.path(MemberName::Segment(*first));
            // Whoever moves it away does not take it from here.
            fs::hard_link(path, &link).map_err(failed("linked", path))?;
        }
        let copy = place.path(MemberName::Database);
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&copy)
            .map_err(failed("made", &copy))?;
        database.copy_to(&copy, |bytes| {
            told.send_modify(|so_far| so_far.done = bytes);
        })?;
        // From here on the log may shrink again.
        drop(database);

        let mut members = Vec::new();
        let mut add = |name, length| -> Result<(), Error> {
            members.push(member(&place, name, length, told)?);
            Ok(())
        };
        add(MemberName::Database, None)?;
        if place.path(MemberName::Usage).exists() {
            add(MemberName::Usage, None)?;
        }
        for Segment { first, length, .. } in segments {
            add(MemberName::Segment(first), Some(length))?;
        }
        Ok(Copied {
            place,
            members,
            end: end.head,
        })
    }
}

fn check_room(folder: &Path, size: u64) -> Result<(), Error> {
    let found = rustix::fs::statvfs(folder);
    let found = found.map_err(|error| failed("looked at", folder)(error.into()))?;
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    let needed = size.saturating_add(RESERVE);
    match free < needed {
        true => Err(Error::NoRoom { needed, free }),
        false => Ok(()),
    }
}

/// Sums up the first `length` bytes of a file, or all of it.
fn member(
    place: &Place,
    name: MemberName,
    length: Option<u64>,
    told: &watch::Sender<Preparing>,
) -> Result<Member, Error> {
    let path = place.path(name);
    let file = File::open(&path).map_err(failed("opened", &path))?;
    let mut read = file.take(length.unwrap_or(u64::MAX));
    let (mut sum, mut size) = (Sum::new(), 0);
    let mut buffer = vec![0; CHUNK];
    loop {
        let count = read.read(&mut buffer).map_err(failed("read", &path))?;
        if count == 0 {
            break;
        }
        sum.add(&buffer[..count]);
        size += count as u64;
        told.send_modify(|so_far| so_far.done += count as u64);
    }
    Ok(Member {
        name,
        size,
        sha256: sum.finish(),
    })
}
