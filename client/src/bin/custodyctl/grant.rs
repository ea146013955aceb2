//! `custodyctl grant`: which callers get which secrets.

mod add;
mod explain;
mod lint;
mod list;
mod suggest;
mod terms;
pub(crate) mod view;

use clap::Subcommand;
use custody::name::GroupName;

use crate::{args::Global, element::Wanted, failure::Failure};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Let callers fetch secrets of a group.
    ///
    /// A caller must satisfy everything that is given here, and that must tell it from
    /// others. 'custodyctl whoami', run as the caller, shows what it is; 'custodyctl grant
    /// suggest' drafts a grant for a unit. What is weak is refused, unless --allow-weak
    /// insists; what cannot do what it says is refused in any case.
    #[command(
        after_help = add::EXAMPLES,
        override_usage = "custodyctl grant add [OPTIONS] <GROUP> <PATTERN>... <WHO>..."
    )]
    Add(Box<add::Add>),
    /// List the grants of a group, or of all that you have a role for.
    List {
        /// The group.
        group: Option<GroupName>,
    },
    /// Show one grant.
    Show {
        /// The grant, as 'grant list' shows it.
        id: String,
    },
    /// Take a grant back; what was fetched under it is not called back.
    Revoke {
        /// The grant, as 'grant list' shows it.
        id: String,
        /// Don't ask.
        #[arg(long)]
        yes: bool,
    },
    /// Say what is weak about the grants there are, as they would be judged now.
    Lint {
        /// The group; all that you have a role for if it is missing.
        group: Option<GroupName>,
    },
    /// Say whether a process would get a secret, and by which grant or what is missing.
    ///
    /// Nothing is released. A process that would be denied is no failure of this command.
    Explain {
        /// The secret; its current version, unless one is given.
        #[arg(value_name = "GROUP/NAME[@VERSION]")]
        wanted: Wanted,
        /// The process, by its id as custodyd sees it.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
        pid: i32,
    },
    /// Draft a grant from a unit's running processes, as a command line to copy.
    ///
    /// It is a draft: whatever runs in the unit now is taken for what should. Nothing is
    /// added.
    Suggest {
        /// The unit of the system's systemd.
        #[arg(long, value_name = "X.service")]
        unit: String,
        /// The group, for the command line.
        group: Option<GroupName>,
        /// The secrets' names, or beginnings of them followed by '*', likewise.
        #[arg(value_name = "PATTERN")]
        patterns: Vec<String>,
    },
}

pub(crate) async fn run(global: &Global, command: Command) -> Result<(), Failure> {
    match command {
        Command::Add(add) => add::run(global, *add).await,
        Command::List { group } => list::list(global, group).await,
        Command::Show { id } => list::show(global, id).await,
        Command::Revoke { id, yes } => list::revoke(global, id, yes).await,
        Command::Lint { group } => lint::run(global, group).await,
        Command::Explain { wanted, pid } => explain::run(global, wanted, pid).await,
        Command::Suggest {
            unit,
            group,
            patterns,
        } => suggest::run(global, unit, group, &patterns).await,
    }
}
