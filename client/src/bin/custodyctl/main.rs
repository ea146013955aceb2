//! `custodyctl`: puts secrets into custodyd's custody, says who gets them, and fetches them.
#![forbid(unsafe_code)]

mod about;
mod args;
mod backup;
mod callers;
mod compliance;
mod confirm;
mod consumers;
mod content;
mod daemon;
mod docs;
mod element;
mod evidence;
mod expiring;
mod failure;
mod fetch;
mod files;
mod filter;
mod finding;
mod grant;
mod group;
mod hsm;
mod import;
mod inject;
mod journal;
mod lost;
mod output;
mod role;
mod secret;
mod token;
mod types;
mod when;

use std::{alloc::System, process::ExitCode};

use clap::Parser as _;
use nix::sys::resource::{Resource, setrlimit};
use zeroizing_alloc::ZeroAlloc;

use args::{Cli, Command};
use failure::Failure;

/// Wipes what it frees: content passes through buffers of libraries that do not.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::report(&failure);
            failure.exit().into()
        }
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    // A core dump would hold what this process handles.
    setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(Failure::CoreLimit)?;
    let global = cli.global;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::Runtime)?;
    match cli.command {
        Command::Group(command) => runtime.block_on(group::run(&global, command)),
        Command::Secret(command) => runtime.block_on(secret::run(&global, command)),
        Command::Grant(command) => runtime.block_on(grant::run(&global, command)),
        Command::Role(command) => runtime.block_on(role::run(&global, command)),
        Command::Consumers { scope } => runtime.block_on(consumers::run(&global, scope)),
        Command::Expiring { group, within } => {
            runtime.block_on(expiring::run(&global, group, within))
        }
        Command::Compliance { group } => runtime.block_on(compliance::list(&global, group)),
        Command::Fetch(args) => runtime.block_on(fetch::run(&global, args)),
        Command::Inject(args) => runtime.block_on(inject::run(&global, args)),
        Command::Import(args) => runtime.block_on(import::run(&global, args)),
        Command::Whoami => runtime.block_on(daemon::whoami(&global)),
        Command::Status => runtime.block_on(daemon::status(&global)),
        Command::Hsm(command) => runtime.block_on(hsm::run(&global, command)),
        Command::Types => types::run(&global),
        Command::Journal(command) => runtime.block_on(journal::run(&global, command)),
        Command::Backup(command) => runtime.block_on(backup::run(&global, command)),
        Command::Completions { shell } => docs::completions(shell),
        Command::Man { directory } => docs::man(&directory),
    }
}
