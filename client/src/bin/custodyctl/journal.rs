//! `custodyctl journal`: verifies and shows the journal from its files, without custodyd.

mod line;
mod segment;
mod tail;
mod verify;

use std::{io, path::PathBuf};

use clap::Subcommand;
use client::v1;
use custody::{journal::chain, name::InstanceId};

use crate::{
    args::Global,
    failure::{Exit, Failure},
};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Verify that the journal is whole, in order, and signed by the journal key.
    ///
    /// With DIR and --public-key nothing is asked of custodyd. What is not given,
    /// custodyd is asked for; an auditor should bring a public key that was noted when
    /// custodyd was set up, since a forger's custodyd names the forger's key.
    Verify {
        /// The folder of the journal's segments.
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
        /// The folder of the journal's segments; custodyd is asked if it is missing.
        #[arg(value_name = "DIR")]
        directory: Option<PathBuf>,
        /// How many entries.
        #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
        lines: usize,
        /// Go on with new entries as they are written.
        #[arg(short, long)]
        follow: bool,
    },
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot read {0}")]
    Read(PathBuf, #[source] io::Error),
    #[error("there is no journal in {0}: no file is called journal-NUMBER.jsonl")]
    NoSegment(PathBuf),
    #[error("the file {0} holds no public key of P-256 in PEM")]
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
    #[error("custodyd does not say where its journal is")]
    NoStatus,
}

impl Error {
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Read(..) | Self::NoStatus => Exit::Unexpected,
            Self::NoSegment(_) => Exit::NotFound,
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
        } => {
            let status = match (&directory, &public_key) {
                (Some(_), Some(_)) => None,
                _ => Some(status(global).await?),
            };
            verify::run(global, directory, public_key, instance, status.as_ref())
        }
        Command::Tail {
            directory,
            lines,
            follow,
        } => {
            let directory = match directory {
                Some(directory) => directory,
                None => status(global).await?.journal.directory.into(),
            };
            tail::run(global, &directory, lines, follow)
        }
    }
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
