//! Why the daemon, or one of its commands, ends, and what its exit code says of it.

use std::{io, path::PathBuf, process::ExitCode};

use crate::{
    attest::{CannotAttest, helper::CannotHelp},
    backup, change_pin, config, enroll, journal, listen, store,
};

/// Why the daemon, or one of its commands, came to an end it did not want.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("the configuration is not usable")]
    Config(#[from] config::Error),
    #[error("{} cannot be {what}", .path.display())]
    Folder {
        what: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("others may enter {}: chmod 700 it", .0.display())]
    LaxFolder(PathBuf),
    #[error("another custodyd works in {}", .0.display())]
    Locked(PathBuf),
    #[error("nothing is set up in {}: run `custodyd init` first", .0.display())]
    NotInitialised(PathBuf),
    #[error(
        "there is a journal in {}, and no database beside it: if an `init` was interrupted, \
         remove the journal and run `custodyd init` again; if not, put the database back from a backup",
        .0.display()
    )]
    NoDatabase(PathBuf),
    #[error("{} is there already: `init` is done once; nothing was changed", .0.display())]
    Initialised(PathBuf),
    #[error("{} is of a throw-away daemon: only `custodyd dev` runs it", .0.display())]
    Development(PathBuf),
    #[error("{} is no folder of a throw-away daemon", .0.display())]
    NotDevelopment(PathBuf),
    #[error(transparent)]
    Kernel(#[from] CannotAttest),
    #[error(transparent)]
    Helper(#[from] CannotHelp),
    #[error("the process that looks at callers is gone; only a restart brings it back")]
    HelperLost,
    #[error("the token is not usable")]
    Hsm(#[from] hsm::Error),
    #[error("the journal is not usable")]
    Journal(#[from] journal::Error),
    #[error("the database is not usable")]
    Database(#[from] store::Error),
    #[error(
        "the database or the journal is not what was written: {0}; \
         put both back from one backup, and find out who changed them"
    )]
    Tampered(String),
    #[error("what is left of an earlier backup is in the way")]
    Backup(#[from] backup::Error),
    #[error("{} is not a backup that can be relied on", .path.display())]
    Archive {
        path: PathBuf,
        source: custody::backup::Error,
    },
    #[error("{} cannot be used as a public key: {why}", .path.display())]
    PublicKey { path: PathBuf, why: String },
    #[error(
        "{} is in the way: a backup is restored to an empty state directory; nothing was changed",
        .0.display()
    )]
    NotEmpty(PathBuf),
    #[error("{0}")]
    Lost(String),
    #[error("the sockets are not usable")]
    Listen(#[from] listen::Error),
    #[error("the runtime could not be started")]
    Runtime(#[source] io::Error),
    #[error("the throw-away token could not be made: {0}")]
    SoftHsm(String),
    #[error("the server ended")]
    Server(#[from] tonic::transport::Error),
    #[error("the system's random number generator failed")]
    Random,
    #[error("the role cannot be given")]
    Appointment(#[from] custody::policy::rule::Senseless),
    #[error("the role cannot be given")]
    Change(#[from] custody::change::Error),
    #[error("the change could not be made")]
    Custodian(#[source] Box<crate::custodian::Error>),
    #[error("the token, or what is around it, is not to be used as it is")]
    Unfit,
    #[error(transparent)]
    Unnamed(#[from] config::Unnamed),
    #[error("no token was enrolled")]
    Enroll(#[from] enroll::Error),
    #[error("the PIN was not changed")]
    ChangePin(#[from] change_pin::Error),
    #[error(transparent)]
    Names(#[from] crate::names::Error),
}

impl Failure {
    /// As sysexits.h has them.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Tampered(_) | Self::Journal(journal::Error::Broken { .. }) => 65,
            Self::Hsm(error) if stays_refused(error) => 77,
            Self::Archive { source, .. } if source.is_of_content() => 65,
            Self::Enroll(enroll::Error::NoModule) => 2,
            Self::ChangePin(change_pin::Error::NotChanged) => 69,
            Self::ChangePin(change_pin::Error::SeveralTokens) | Self::Unnamed(_) => 2,
            Self::Hsm(_) | Self::SoftHsm(_) | Self::Unfit => 69,
            Self::Enroll(enroll::Error::NoToken(_) | enroll::Error::SeveralTokens(_)) => 69,
            Self::HelperLost => 70,
            Self::Initialised(_) | Self::NotEmpty(_) | Self::Enroll(enroll::Error::Exists(_)) => 73,
            Self::Lost(_) => 10,
            Self::Config(_)
            | Self::LaxFolder(_)
            | Self::Kernel(_)
            | Self::Journal(journal::Error::Lax(_))
            | Self::Database(store::Error::Lax { .. } | store::Error::TooNew { .. })
            | Self::NotInitialised(_)
            | Self::NoDatabase(_)
            | Self::Development(_)
            | Self::NotDevelopment(_)
            | Self::Appointment(_)
            | Self::Change(_)
            | Self::Enroll(enroll::Error::Toml(..))
            | Self::Names(_) => 78,
            _ => 1,
        })
    }
}

/// Whether another start would only try a PIN again that the token has refused.
fn stays_refused(error: &hsm::Error) -> bool {
    matches!(
        error,
        hsm::Error::PinRefused { .. } | hsm::Error::PinLatched { .. } | hsm::Error::PinLocked
    )
}
