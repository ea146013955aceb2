//! `hsm status` and `hsm lost`; and `hsm doctor`, `hsm enroll` and `hsm change-pin`, which `custodyd` does, since a client loads no
//! vendor's library.

use std::{env, ffi::OsString, io, os::unix::process::CommandExt as _, path::PathBuf, process};

use clap::Subcommand;

use crate::{args::Global, failure::Failure, lost, token};

const DAEMON: &str = "custodyd";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show how the token does: its workers, what becomes of requests, and the master keys of
    /// the groups that you have a role for.
    ///
    /// Ends with exit code 10 if something is amiss, for monitoring: a worker does not serve or
    /// could not be replaced, a canary did not open, or a key is refused.
    Status,
    /// Give a token up that is lost for good.
    ///
    /// Its keys are held to be gone, and what is wrapped under them goes from the database. Refused
    /// if a group, or the installation, would be left without a token: have another hold it first
    /// (custodyctl group hold). If there are versions that no other token has, they are named, and
    /// the token is only given up if you say how many they are.
    Lost {
        /// The token, by label or serial number. It need not be in the configuration any more.
        token: String,
        /// How many versions may be lost.
        #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
        accept_loss: u64,
        /// Don't ask.
        #[arg(long)]
        yes: bool,
    },
    /// Try everything that custodyd wants of its token, and say what to do about what is amiss.
    ///
    /// Runs 'custodyd hsm doctor', which is looked for beside custodyctl and then in PATH, with
    /// the same arguments: see its --help.
    #[command(disable_help_flag = true)]
    Doctor(Arguments),
    /// Find a token, examine it, and write it into custodyd's configuration.
    ///
    /// Runs 'custodyd hsm enroll', which is looked for beside custodyctl and then in PATH, with
    /// the same arguments: see its --help.
    #[command(disable_help_flag = true)]
    Enroll(Arguments),
    /// Change the PIN of custodyd's token to the next one of its configuration.
    ///
    /// Runs 'custodyd hsm change-pin', which is looked for beside custodyctl and then in PATH, with
    /// the same arguments: see its --help.
    #[command(disable_help_flag = true)]
    ChangePin(Arguments),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// What to pass on.
    #[arg(
        value_name = "ARGUMENT",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    passed: Vec<OsString>,
}

#[derive(Debug, thiserror::Error)]
#[error("{} cannot be run", .program.display())]
pub(crate) struct Error {
    program: PathBuf,
    source: io::Error,
}

pub(crate) async fn run(global: &Global, command: Command) -> Result<(), Failure> {
    match command {
        Command::Status => token::health(global).await,
        Command::Lost {
            token,
            accept_loss,
            yes,
        } => lost::run(global, token, accept_loss, yes).await,
        Command::Doctor(arguments) => Err(become_daemon("doctor", arguments)),
        Command::Enroll(arguments) => Err(become_daemon("enroll", arguments)),
        Command::ChangePin(arguments) => Err(become_daemon("change-pin", arguments)),
    }
}

/// Does not return unless that fails.
fn become_daemon(name: &str, Arguments { passed }: Arguments) -> Failure {
    let program = beside().unwrap_or_else(|| DAEMON.into());
    let source = process::Command::new(&program)
        .args(["hsm", name])
        .args(passed)
        .exec();
    Error { program, source }.into()
}

fn beside() -> Option<PathBuf> {
    let program = env::current_exe().ok()?.with_file_name(DAEMON);
    program.is_file().then_some(program)
}
