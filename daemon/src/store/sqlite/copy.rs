//! A copy of the database as it was at one moment, while it goes on to change.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use custody::store::Store as _;
use rusqlite::{
    Connection,
    backup::{Backup, StepResult},
};

use super::{Error, Sqlite};

/// How many pages are copied before others have the disk for as long.
const PAGES: i32 = 256;

/// How long to wait for a lock.
const PAUSE: Duration = Duration::from_millis(20);

impl Sqlite {
    /// Sees the database from now on as it is now, whatever others write; says the number of
    /// its newest change. The write-ahead log grows meanwhile.
    pub(crate) fn pin(&mut self) -> Result<u64, Error> {
        self.0.execute_batch("BEGIN DEFERRED")?;
        // The first look is what pins it.
        self.change()
    }

    /// Length of the database in bytes, as it is seen.
    pub(crate) fn size(&self) -> Result<u64, Error> {
        let pragma = |name| self.0.pragma_query_value(None, name, |row| row.get(0));
        let (pages, page): (u64, u64) = (pragma("page_count")?, pragma("page_size")?);
        Ok(pages.saturating_mul(page))
    }

    /// Copies the database as it is seen over the empty file at `path`, and takes half of the
    /// time for it. `each` is told how many bytes there are by then.
    pub(crate) fn copy_to(&self, path: &Path, mut each: impl FnMut(u64)) -> Result<(), Error> {
        let mut copy = Connection::open(path)?;
        // Half a copy is of no use, and is removed.
        copy.pragma_update(None, "journal_mode", "OFF")?;
        copy.pragma_update(None, "synchronous", "OFF")?;
        let size = self.size()?;
        let backup = Backup::new(&self.0, &mut copy)?;
        loop {
            let began = Instant::now();
            let pause = match backup.step(PAGES)? {
                StepResult::Done => break,
                StepResult::More => began.elapsed(),
                _ => PAUSE,
            };
            let progress = backup.progress();
            let (left, all) = (progress.remaining, progress.pagecount.max(1));
            let left = u64::try_from(left).unwrap_or(0);
            let page = size / u64::try_from(all).unwrap_or(1);
            each(size.saturating_sub(left.saturating_mul(page)));
            thread::sleep(pause);
        }
        drop(backup);
        copy.close().map_err(|(_, error)| error.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(path: &Path) -> u64 {
        let connection = Connection::open(path).unwrap();
        let whole =
            connection.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0));
        assert_eq!(whole.unwrap(), "ok");
        let count = "SELECT count(*) FROM t";
        connection.query_row(count, [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn a_copy_is_of_the_moment_it_was_pinned_at() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let writer = Sqlite::make(&path).unwrap();
        let fill = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 1000)
                    INSERT INTO t SELECT randomblob(4000) FROM n";
        writer.0.execute_batch("CREATE TABLE t (b BLOB)").unwrap();
        writer.0.execute_batch(fill).unwrap();

        let mut reader = Sqlite::open(&path).unwrap();
        assert_eq!(reader.pin().unwrap(), 0);
        writer.0.execute_batch("DELETE FROM t").unwrap();
        let copy = folder.path().join("copy");
        let mut told = Vec::new();
        reader
            .copy_to(&copy, |bytes| {
                // And goes on to be, with writes in between.
                writer
                    .0
                    .execute_batch("INSERT INTO t VALUES (x'00')")
                    .unwrap();
                told.push(bytes);
            })
            .unwrap();
        assert_eq!(rows(&copy), 1000);
        assert!(told.len() > 2 && told.is_sorted(), "{told:?}");
        drop(reader);
        assert_eq!(rows(&path), told.len() as u64);
    }
}
