//! The database, behind the threads that may wait for it.

use std::path::Path;

use custody::{envelope::SealedContent, name::VersionId, state::edit::Plan, store::Store as _};

use crate::threads::{Unavailable, Workers};

mod rows;
pub(crate) mod sqlite;

pub(crate) use sqlite::{Error, Sqlite};

/// Threads that read; one more writes.
const READERS: usize = 2;

/// How many reads, or writes, may wait.
const DEPTH: usize = 1024;

/// The open database.
#[derive(Clone, Debug)]
pub(crate) struct Database {
    writer: Workers<Sqlite>,
    readers: Workers<Sqlite>,
}

/// Why the database did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed {
    #[error(transparent)]
    Busy(#[from] Unavailable),
    #[error(transparent)]
    Database(#[from] Error),
}

impl Failed {
    /// Whether what is stored is at fault, and not the database.
    pub(crate) fn is_bad_data(&self) -> bool {
        matches!(self, Self::Database(error) if error.is_bad_data())
    }
}

impl Database {
    /// Takes over `writer`, and opens as many more connections to read from.
    pub(crate) fn start(writer: Sqlite, path: &Path) -> Result<Self, Error> {
        let readers: Vec<_> = (0..READERS)
            .map(|_| Sqlite::open(path))
            .collect::<Result<_, _>>()?;
        let start =
            |name, connections| Workers::start(name, connections, DEPTH).map_err(Error::Thread);
        Ok(Self {
            writer: start("db-writer", vec![writer])?,
            readers: start("db-reader", readers)?,
        })
    }

    /// The content of a version, if there is one. It is being read from now on, whether
    /// or not the future is polled yet.
    pub(crate) fn content(
        &self,
        id: VersionId,
    ) -> impl Future<Output = Result<Option<SealedContent>, Failed>> + Send + use<> {
        let reading = self.readers.run(move |db| db.content(&id));
        async { Ok(reading.await??) }
    }

    /// Writes what `plan` says, which comes back.
    pub(crate) async fn apply(&self, plan: Plan) -> (Plan, Result<(), Failed>) {
        let plan = std::sync::Arc::new(plan);
        let shared = std::sync::Arc::clone(&plan);
        let result = self.writer.run(move |db| db.apply(&shared)).await;
        let result = match result {
            Ok(result) => result.map_err(Failed::from),
            Err(busy) => Err(busy.into()),
        };
        let plan = std::sync::Arc::into_inner(plan).expect("the job that shared it has ended");
        (plan, result)
    }

    /// Number of the newest change.
    pub(crate) async fn change(&self) -> Result<u64, Failed> {
        Ok(self.writer.run(Sqlite::change).await??)
    }
}
