//! Why a command failed: the exit code, and the way out where there is one.

use std::{io, process::ExitCode};

use client::Error as Call;
use custody::name::SecretId;

use crate::{
    backup, compliance, content, fetch, files, finding::Refusal, group::Unsettled, hsm, import,
    inject, journal, when,
};

/// Exit codes, which scripts can tell apart. Those of the command line are clap's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    Unexpected = 1,
    Usage = 2,
    Denied = 3,
    NotFound = 4,
    Conflict = 5,
    Unavailable = 6,
    Invalid = 7,
    Integrity = 8,
    Declined = 9,
    Found = 10,
    Incomplete = 11,
}

impl Exit {
    /// That of a call without an answer.
    pub(crate) fn of(call: &Call) -> Self {
        match call {
            Call::Denied | Call::NoRole(_) => Self::Denied,
            Call::NotFound(_) => Self::NotFound,
            Call::Exists(_) | Call::Precondition(_) | Call::InUse { .. } => Self::Conflict,
            Call::Connect { .. } | Call::Unavailable(_) => Self::Unavailable,
            Call::Invalid(_) => Self::Invalid,
            Call::DataLoss(_) => Self::Integrity,
            Call::Other(..) => Self::Unexpected,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Manager(Call),
    #[error(transparent)]
    Provider(Call),
    #[error(transparent)]
    Content(#[from] content::Error),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    When(#[from] when::Error),
    #[error("there is no grant {0} that you may see")]
    NoGrant(String),
    #[error("{secret} is {}", if *can_be_forced { "in use" } else { "referred to" })]
    InUse {
        secret: String,
        /// Who uses it and what refers to it, a line each.
        by: Vec<String>,
        can_be_forced: bool,
    },
    #[error(transparent)]
    Fetch(#[from] fetch::Error),
    #[error(transparent)]
    Inject(#[from] inject::Error),
    #[error(transparent)]
    Files(#[from] files::Error),
    #[error(transparent)]
    Journal(#[from] journal::Error),
    #[error(transparent)]
    Backup(#[from] backup::Error),
    #[error(transparent)]
    Import(#[from] import::Error),
    #[error(transparent)]
    Hsm(#[from] hsm::Error),
    #[error(transparent)]
    Unsettled(#[from] Unsettled),
    #[error(transparent)]
    Noncompliant(#[from] compliance::Refused),
    #[error(transparent)]
    Rules(#[from] compliance::Error),
    /// What was looked for is there, and was shown.
    #[error("{0}")]
    Found(String),
    #[error("--output json shows no content; it needs --out to write it somewhere")]
    JsonContent,
    #[error("declined")]
    Declined,
    #[error("cannot ask whether to {question}: standard input is no terminal")]
    NobodyToAsk {
        question: String,
        way_out: &'static str,
    },
    #[error("cannot ask on the terminal")]
    Terminal(#[source] io::Error),
    #[error("cannot write to standard output")]
    Output(#[source] io::Error),
    #[error("cannot write the manual pages into {0}")]
    Man(String, #[source] io::Error),
    #[error("cannot disable core dumps, which would hold secrets")]
    CoreLimit(#[source] nix::Error),
    #[error("cannot start the async runtime")]
    Runtime(#[source] io::Error),
}

impl Failure {
    /// Why `secret`, or a version of it, is not changed.
    pub(crate) fn of_change(call: Call, secret: &SecretId) -> Self {
        match call {
            Call::InUse {
                by, can_be_forced, ..
            } => Self::InUse {
                secret: secret.to_string(),
                by,
                can_be_forced,
            },
            call => compliance::explain(call, &secret.group),
        }
    }

    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Manager(call) | Self::Provider(call) => Exit::of(call),
            Self::Inject(error) => error.exit(),
            Self::Content(error) => error.exit(),
            Self::Fetch(error) => error.exit(),
            Self::Journal(error) => error.exit(),
            Self::Backup(error) => error.exit(),
            Self::Import(error) => error.exit(),
            Self::Refused(refusal) => refusal.exit(),
            Self::When(_) => Exit::Usage,
            Self::NoGrant(_) => Exit::NotFound,
            Self::InUse { .. } => Exit::Conflict,
            Self::Found(_) => Exit::Found,
            Self::Noncompliant(_) => Exit::Conflict,
            Self::Unsettled(_) => Exit::Incomplete,
            Self::Rules(error) => error.exit(),
            Self::Declined => Exit::Declined,
            Self::NobodyToAsk { .. } | Self::JsonContent => Exit::Usage,
            Self::Files(_)
            | Self::Hsm(_)
            | Self::Terminal(_)
            | Self::Output(_)
            | Self::Man(..)
            | Self::CoreLimit(_)
            | Self::Runtime(_) => Exit::Unexpected,
        }
    }

    /// What there is to say besides, a line each.
    pub(crate) fn details(&self) -> &[String] {
        match self {
            Self::Refused(refusal) => &refusal.lines,
            Self::Noncompliant(refused) => &refused.findings,
            Self::Unsettled(unsettled) => unsettled.tokens(),
            Self::InUse { by, .. } => by,
            _ => &[],
        }
    }

    /// One line that says what to do about it.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Manager(call) => hint(call, "--manager-socket").or_else(|| {
                match call {
                Call::Denied | Call::NoRole(_) => Some(
                    "'custodyctl role whoami' shows your roles; a crypto officer assigns them with \
                     'custodyctl role assign'"
                        .to_owned(),
                ),
                _ => None,
            }
            }),
            Self::Provider(call) => hint_of_provider(call),
            Self::Inject(error) => error.call().and_then(hint_of_provider),
            Self::Content(error) => error.hint(),
            Self::Fetch(error) => error.hint(),
            Self::Journal(error) => error.hint(),
            Self::Backup(error) => error.hint(),
            Self::Import(error) => error.hint(),
            Self::Refused(refusal) => Some(refusal.hint()),
            Self::Noncompliant(refused) => Some(refused.hint()),
            Self::Unsettled(unsettled) => Some(unsettled.hint()),
            Self::NoGrant(_) => Some("'custodyctl grant list' shows those there are".to_owned()),
            Self::InUse {
                secret,
                can_be_forced: true,
                ..
            } => Some(format!(
                "'custodyctl consumers {secret}' and 'custodyctl secret references {secret}' show \
                 who would miss it; --force does it all the same"
            )),
            Self::InUse { secret, .. } => Some(format!(
                "'custodyctl secret references {secret}' shows them all; write what refers to it \
                 anew, or delete that first; 'custodyctl secret restore' takes back what is yet \
                 to be destroyed"
            )),
            Self::NobodyToAsk { way_out, .. } => Some((*way_out).to_owned()),
            _ => None,
        }
    }
}

fn hint_of_provider(call: &Call) -> Option<String> {
    match call {
        Call::Denied => Some(
            "'custodyctl whoami' shows what custodyd sees of you; an operator sees what is \
             missing with 'custodyctl grant explain GROUP/NAME --pid N'"
                .to_owned(),
        ),
        call => hint(call, "--provider-socket"),
    }
}

fn hint(call: &Call, option: &str) -> Option<String> {
    match call {
        Call::Connect { source, .. } => Some(match source.kind() {
            io::ErrorKind::PermissionDenied => {
                "the socket is closed to you: run this as a user it is open to".to_owned()
            }
            _ => format!("is custodyd running? {option} names another socket"),
        }),
        Call::Unavailable(_) => {
            Some("try again in a moment; 'custodyctl status' says what custodyd waits for".into())
        }
        _ => None,
    }
}
