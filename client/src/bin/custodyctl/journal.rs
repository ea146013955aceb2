//! `custodyctl journal`: verifies and shows the journal, from its files without custodyd, or
//! as custodyd reads it to auditors.

mod line;
mod segment;
mod show;
mod tail;
mod verify;

use std::{
    io,
    path::{Path, PathBuf},
};

use clap::Subcommand;
use client::v1;
use custody::{
    journal::{chain, public_key::PublicKey},
    name::InstanceId,
};

use crate::{
    args::Global,
    failure::{Exit, Failure},
};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Verify that the journal is whole, in order, and signed by the journal key.
    ///
    /// With DIR and --public-key nothing is asked of custodyd. Without DIR custodyd reads
    /// its journal out, to auditors, and --public-key must be given: a key from the same
    /// custodyd would prove nothing. With DIR alone custodyd is asked for the key, which
    /// finds accidents, not forgers: bring one that was noted when custodyd was set up.
    Verify {
        /// The folder of the journal's segments; custodyd reads it out if it is missing.
        #[arg(value_name = "DIR")]
        directory: Option<PathBuf>,
        /// The journal key's public half, in PEM.
        #[arg(long, value_name = "FILE")]
        public_key: Option<PathBuf>,
        /// The installation whose journal it must be, as 'custodyctl status' shows it.
        #[arg(long, value_name = "HEX")]
        instance: Option<InstanceId>,
    },
    /// Show the newest entries, unverified.
    ///
    /// With --output json each entry is one line, exactly as it is in the journal.
    Tail {
        /// The folder of the journal's segments; custodyd reads it out if it is missing.
        #[arg(value_name = "DIR")]
        directory: Option<PathBuf>,
        /// How many entries.
        #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
        lines: usize,
        /// Go on with new entries as they are written.
        #[arg(short, long)]
        follow: bool,
    },
    /// Show one entry in full, unverified.
    ///
    /// With --output json it is one line, exactly as it is in the journal.
    Show {
        /// The entry's number, such as 'custodyctl fetch' tells.
        number: u64,
        /// The folder of the journal's segments; custodyd reads it out if it is missing.
        #[arg(value_name = "DIR")]
        directory: Option<PathBuf>,
    },
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot read {0}")]
    Read(PathBuf, #[source] io::Error),
    #[error("there is no journal in {0}: no file is called journal-NUMBER.jsonl")]
    NoSegment(PathBuf),
    #[error(
        "the file {0} holds no public key of a journal in PEM: P-256, or RSA with 2048 to 4096 bits"
    )]
    PublicKey(PathBuf),
    #[error("the journal is broken in {0}")]
    Broken(PathBuf, #[source] chain::Broken),
    #[error("the last line of {0} has no end, and the journal goes on after it")]
    Torn(PathBuf),
    #[error("this is the journal of the installation {found}, not of {expected}")]
    OtherInstance {
        expected: InstanceId,
        found: InstanceId,
    },
    #[error("the journal is whole, but no entry of it is signed: nothing shows who wrote it")]
    Unsigned,
    #[error("the journal ends at entry {last}, but custodyd has written {written}")]
    Short { last: u64, written: u64 },
    #[error("entry {0} is not the one that custodyd has written")]
    OtherEntry(u64),
    #[error("custodyd says nothing of its journal")]
    NoStatus,
    #[error("a journal that custodyd reads out is verified with a public key from elsewhere")]
    KeyWanted,
    #[error("there is no entry {0} in the journal")]
    NoEntry(u64),
}

impl Error {
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Read(..) | Self::NoStatus => Exit::Unexpected,
            Self::NoSegment(_) | Self::NoEntry(_) => Exit::NotFound,
            Self::KeyWanted => Exit::Usage,
            Self::PublicKey(_) => Exit::Invalid,
            Self::Broken(..)
            | Self::Torn(_)
            | Self::OtherInstance { .. }
            | Self::Unsigned
            | Self::Short { .. }
            | Self::OtherEntry(_) => Exit::Integrity,
        }
    }

    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Read(_, error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Some("run this as the user that custodyd runs as, or on a copy".to_owned())
            }
            Self::KeyWanted => Some(
                "a key from the same custodyd would prove nothing; give the journal.pub that was \
                 put aside after 'custodyd init' with --public-key"
                    .to_owned(),
            ),
            Self::Unsigned => {
                Some("custodyd signs after a while: try again, or look whether it does".to_owned())
            }
            _ => None,
        }
    }
}

pub(crate) async fn run(global: &Global, command: Command) -> Result<(), Failure> {
    match command {
        Command::Verify {
            directory,
            public_key,
            instance,
        } => verify::run(global, directory, public_key, instance).await,
        Command::Tail {
            directory,
            lines,
            follow,
        } => match directory {
            Some(directory) => tail::of_files(global, &directory, lines, follow),
            None => tail::over_the_socket(global, lines, follow).await,
        },
        Command::Show { number, directory } => show::run(global, number, directory).await,
    }
}

/// The journal key's public half in the file at `path`.
pub(crate) fn load_key(path: &Path) -> Result<PublicKey, Error> {
    verify::load_key(path)
}

/// What a running custodyd says is its journal key's public half.
pub(crate) async fn key_of_custodyd(global: &Global) -> Result<PublicKey, Failure> {
    let told = status(global).await?;
    Ok(verify::parse_key(&told.journal.public_key, "of custodyd")?)
}

/// What a running custodyd says about its journal.
#[derive(Debug)]
struct Told {
    instance: String,
    journal: v1::JournalStatus,
}

async fn status(global: &Global) -> Result<Told, Failure> {
    let manager = global.manager().await?;
    let answer = manager.status(v1::StatusRequest {}).await;
    let status = answer.map_err(Failure::Manager)?;
    Ok(Told {
        instance: status.instance,
        journal: status.journal.ok_or(Error::NoStatus)?,
    })
}
