//! `custodyctl backup`: takes a backup from a running custodyd, and verifies backups without one.

mod save;
mod verify;

use std::{io, path::PathBuf};

use clap::Subcommand;
use custody::{backup, name::InstanceId};

use crate::{
    args::Global,
    failure::{Exit, Failure},
};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Take a backup of database and journal as they are now, and verify it.
    ///
    /// Services notice nothing of it. It is written aside, readable by you only, and gets its
    /// name once it is whole and verified. When it was interrupted, the same again goes on where
    /// it was, within an hour.
    Save {
        /// The file, which must not be there; or a folder, in which it is named after its time.
        #[arg(value_name = "FILE|DIR")]
        path: PathBuf,
        /// The journal key's public half, in PEM; custodyd is asked for it if missing.
        #[arg(long, value_name = "FILE")]
        public_key: Option<PathBuf>,
    },
    /// Verify that a backup is whole, and was made by whoever holds the journal key.
    ///
    /// With --public-key nothing is asked of custodyd. Without it custodyd is asked for the
    /// key, which finds accidents, not forgers: bring one that was noted when custodyd was set
    /// up. Whether its secrets open, 'custodyd drill' finds out.
    Verify {
        /// The backup.
        file: PathBuf,
        /// The journal key's public half, in PEM.
        #[arg(long, value_name = "FILE")]
        public_key: Option<PathBuf>,
        /// The installation that it must be of, as 'custodyctl status' shows it.
        #[arg(long, value_name = "HEX")]
        instance: Option<InstanceId>,
    },
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0} is there already")]
    Exists(PathBuf),
    #[error("cannot read {0}")]
    Read(PathBuf, #[source] io::Error),
    #[error("cannot write {0}")]
    Write(PathBuf, #[source] io::Error),
    #[error("another backup is being written to {0}")]
    Taken(PathBuf),
    #[error("{0} is not a backup that can be relied on")]
    Broken(PathBuf, #[source] backup::Error),
    #[error("this is a backup of the installation {found}, not of {expected}")]
    OtherInstance {
        expected: InstanceId,
        found: InstanceId,
    },
    #[error("custodyd sends other parts of the backup than it was asked for")]
    OtherParts,
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Exists(_) | Self::Taken(_) => Exit::Conflict,
            Self::Read(_, error) if error.kind() == io::ErrorKind::NotFound => Exit::NotFound,
            Self::Read(..) | Self::Write(..) | Self::OtherParts => Exit::Unexpected,
            Self::Broken(_, error) if !error.is_of_content() => Exit::Unexpected,
            Self::Broken(..) | Self::OtherInstance { .. } => Exit::Integrity,
            Self::Interrupted => Exit::Incomplete,
        }
    }

    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Exists(_) => Some("name another file, or a folder".to_owned()),
            Self::Interrupted | Self::Write(..) => {
                Some("the same again goes on from here, within an hour".to_owned())
            }
            _ => None,
        }
    }
}

pub(crate) async fn run(global: &Global, command: Command) -> Result<(), Failure> {
    match command {
        Command::Save { path, public_key } => save::run(global, &path, public_key).await,
        Command::Verify {
            file,
            public_key,
            instance,
        } => verify::run(global, file, public_key, instance).await,
    }
}
