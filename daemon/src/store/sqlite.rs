//! SQLite: rows and contents in one file.

use std::{
    fs::{OpenOptions, Permissions},
    io,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use custody::{
    envelope::SealedContent,
    name::VersionId,
    row::{Row, System, Tag, Tagged},
    state::edit::Plan,
    store::Store,
    trustee::Trustee,
};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, TransactionBehavior, params};

use super::rows::{read, write};

mod copy;

/// A connection to the database.
#[derive(Debug)]
pub(crate) struct Sqlite(Connection);

/// Why the database is of no use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("database")]
    Sqlite(#[from] rusqlite::Error),
    #[error("a row of table {table} is not one of ours: {column} does not parse")]
    Malformed { table: &'static str, column: String },
    #[error("{path} cannot be opened")]
    Open { path: PathBuf, source: io::Error },
    #[error("{path} may be read or written by others: chmod 600 it, and find out who did")]
    Lax { path: PathBuf },
    #[error("the database has format {found}, and this custodyd knows up to {known}")]
    TooNew { found: u32, known: u32 },
    #[error("the database has its system row already")]
    Created,
    #[error("a thread could not be started")]
    Thread(#[source] io::Error),
}

impl Error {
    /// Whether what is stored is at fault, and not the database.
    pub(crate) fn is_bad_data(&self) -> bool {
        matches!(self, Self::Malformed { .. })
    }
}

/// Migrations: the n-th makes format n of the one before.
const MIGRATIONS: [&str; 1] = [include_str!("schema-1.sql")];

/// How long to wait for a lock that a backup holds.
const BUSY: Duration = Duration::from_secs(5);

/// How large the write-ahead log may stay once what is in it has been moved.
const LOG_LIMIT: i64 = 4 << 20;

impl Sqlite {
    /// What is stored of tokens with keys of the installation. It takes one of these keys to
    /// verify it.
    pub(crate) fn trustees(&mut self) -> Result<Vec<Trustee>, Error> {
        let mut trustees = Vec::new();
        read::trustees(&self.0, &mut |tagged| {
            if let Row::Trustee(trustee) = tagged.row {
                trustees.push(trustee);
            }
        })?;
        Ok(trustees)
    }

    /// Opens the database at `path`, which must be there, and brings it up to date.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let opened = |source| Error::Open {
            path: path.to_owned(),
            source,
        };
        let found = path.metadata().map_err(opened)?;
        if found.mode() & 0o077 != 0 {
            return Err(Error::Lax {
                path: path.to_owned(),
            });
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // With NORMAL a committed change could vanish with the power.
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.pragma_update(None, "trusted_schema", false)?;
        // What is deleted is overwritten, not only unlinked.
        connection.pragma_update(None, "secure_delete", true)?;
        // After one large change the log must not keep the room that the journal may need.
        connection.pragma_update(None, "journal_size_limit", LOG_LIMIT)?;
        connection.set_prepared_statement_cache_capacity(32);
        migrate(&mut connection)?;
        Ok(Self(connection))
    }

    /// Makes an empty database at `path`, where nothing may be.
    pub(crate) fn make(path: &Path) -> Result<Self, Error> {
        let opened = |source| Error::Open {
            path: path.to_owned(),
            source,
        };
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(opened)?;
        file.set_permissions(Permissions::from_mode(0o600))
            .map_err(opened)?;
        Self::open(path)
    }
}

impl Sqlite {
    /// Closes the connection, after which the file stands alone.
    pub(crate) fn close(self) -> Result<(), Error> {
        self.0.close().map_err(|(_, error)| error.into())
    }
}

fn migrate(connection: &mut Connection) -> Result<(), Error> {
    let known = u32::try_from(MIGRATIONS.len()).expect("a handful");
    let version = |connection: &Connection| {
        connection.pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0))
    };
    if version(connection)? == known {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
    let found = version(&transaction)?;
    if found > known {
        return Err(Error::TooNew { found, known });
    }
    for step in &MIGRATIONS[found as usize..] {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", known)?;
    transaction.commit()?;
    Ok(())
}

impl Store for Sqlite {
    type Error = Error;

    fn system(&mut self) -> Result<Option<(System, Tag)>, Error> {
        read::system(&self.0)
    }

    fn create(&mut self, system: &System, tag: Tag) -> Result<(), Error> {
        if self.system()?.is_some() {
            return Err(Error::Created);
        }
        write::system(&self.0, system, tag)
    }

    fn rows(&mut self, each: &mut dyn FnMut(Tagged)) -> Result<(), Error> {
        // One transaction, so that all rows are of one moment.
        let transaction = self.0.transaction()?;
        read::groups(&transaction, each)?;
        read::master_keys(&transaction, each)?;
        read::secrets(&transaction, each)?;
        read::versions(&transaction, each)?;
        read::wraps(&transaction, each)?;
        read::grants(&transaction, each)?;
        read::compliance(&transaction, each)?;
        read::roles(&transaction, each)?;
        read::trustees(&transaction, each)
    }

    fn change(&mut self) -> Result<u64, Error> {
        let change = "SELECT change FROM head";
        Ok(self
            .0
            .query_row(change, [], |row| row.get(0))
            .optional()?
            .unwrap_or(0))
    }

    fn apply(&mut self, plan: &Plan) -> Result<(), Error> {
        let transaction = self
            .0
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        for id in &plan.deletes {
            write::delete(&transaction, id)?;
        }
        for tagged in &plan.rows {
            write::row(&transaction, tagged)?;
        }
        for id in &plan.shreds {
            write::shred(&transaction, id)?;
        }
        for (id, sealed) in &plan.content {
            write::content(&transaction, id, sealed)?;
        }
        transaction
            .prepare_cached(
                "INSERT INTO head (only, change) VALUES (1, ?1)
                 ON CONFLICT (only) DO UPDATE SET change = excluded.change",
            )?
            .execute(params![plan.change])?;
        transaction.commit()?;
        Ok(())
    }

    fn content(&mut self, id: &VersionId) -> Result<Option<SealedContent>, Error> {
        read::content(&self.0, id)
    }
}

#[cfg(test)]
mod tests {
    use custody::store::contract;

    use super::*;

    #[test]
    fn the_contract_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        contract::keeps(Sqlite::make(&folder.path().join("db")).unwrap());
    }

    #[test]
    fn a_lax_database_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        drop(Sqlite::make(&path).unwrap());
        std::fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(Sqlite::open(&path), Err(Error::Lax { .. })));
    }

    #[test]
    fn a_newer_format_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let Sqlite(connection) = Sqlite::make(&path).unwrap();
        connection.pragma_update(None, "user_version", 99).unwrap();
        drop(connection);
        assert!(matches!(
            Sqlite::open(&path),
            Err(Error::TooNew { found: 99, .. })
        ));
    }

    #[test]
    fn a_database_is_not_made_over_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        drop(Sqlite::make(&path).unwrap());
        assert!(matches!(Sqlite::make(&path), Err(Error::Open { .. })));
        assert!(matches!(
            Sqlite::open(&folder.path().join("none")),
            Err(Error::Open { .. })
        ));
    }
}
