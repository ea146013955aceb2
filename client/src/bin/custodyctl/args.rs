//! The command line: global options, the commands, and how to reach custodyd.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use client::{MANAGER_SOCKET, Manager, PROVIDER_SOCKET, Provider};
use custody::name::GroupName;

use crate::{
    backup, element::Scope, failure::Failure, fetch, grant, group, hsm, import, inject, journal,
    output::Format, role, secret, when::Stretch,
};

const AFTER_HELP: &str = "\
Exit codes:
  0  done
  1  something unexpected
  2  the command line makes no sense
  3  denied: no grant, or for an operator no role
  4  no such group, secret, version, grant, role or entry
  5  exists already, is in use, is weak, or something else must be done first
  6  custodyd is not there or cannot serve right now: try again
  7  the input is not valid, or the grant cannot do what it says
  8  an integrity check failed
  9  declined at the prompt
  10 done, and something was found: it ends soon, or falls foul of rules
  11 not all is done: an import left something out, or a token is waited for

With --output json a command prints one document with the field names of the
custody.v1 messages; times are RFC 3339 in UTC, what is missing is null, and
content is never in it.";

const EXAMPLES: &str = "\
Examples:
  custodyctl group create web
  custodyctl secret put web/tls --type keystore certificate-chain=tls.crt private-key=tls.key
  custodyctl secret generate web/db --type password
  custodyctl secret rotate web/db --overlap 1h
  custodyctl secret search www.example.org
  custodyctl import /etc/app/tls app.env --group web --dry-run
  custodyctl grant suggest --unit nginx.service web tls
  custodyctl grant add web tls --unit nginx.service --user www-data
  custodyctl grant explain web/tls --pid 4711
  custodyctl consumers web
  custodyctl expiring --within 30d
  custodyctl role assign auditor --user carol
  custodyctl backup save /srv/backup/
  custodyctl fetch web/tls --out /run/nginx/
  custodyctl inject --in app.conf.tmpl --out /run/app/app.conf

";

/// Keeps secrets in an HSM's custody and says which services get them.
#[derive(Debug, Parser)]
#[command(
    name = "custodyctl",
    version,
    after_help = AFTER_HELP,
    after_long_help = [EXAMPLES, AFTER_HELP].concat(),
    arg_required_else_help = true,
    max_term_width = 100
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make and look at groups; each has its own master key in the HSM.
    #[command(subcommand)]
    Group(group::Command),
    /// Write, list and delete secrets; content goes in and never comes out here.
    #[command(subcommand)]
    Secret(secret::Command),
    /// List the types of secrets: their fields, and what is public of each.
    ///
    /// A field in brackets is optional. Instead of its fields a type may take what they are
    /// made of. A property that is called like a field has its value.
    Types,
    /// Say which callers get which secrets, and take it back.
    #[command(subcommand)]
    Grant(grant::Command),
    /// Say which operators may do what, and take it back.
    #[command(subcommand)]
    Role(role::Command),
    /// Show who fetched what when, and which grants nobody ever used.
    ///
    /// The last sentence says what would stop if it were deleted: those who fetched of
    /// late or watch.
    Consumers {
        /// The group, or one secret of it.
        #[arg(value_name = "GROUP[/NAME]")]
        scope: Scope,
    },
    /// Take over secrets from files: keys and certificates, key stores, dotenv, Kubernetes.
    ///
    /// Folders are searched for PEM and DER, PKCS#12 and JKS files, dotenv files ('.env',
    /// '*.env', '.env.*') and manifests of Kubernetes Secrets (.yaml, .yml, .json). Keys are
    /// matched with their certificates over all of them. Secrets are called like their files;
    /// what is left out is listed with the reason.
    ///
    /// What would be stored is shown first. --dry-run ends there, and needs no custodyd; --yes
    /// does not ask. An import that was interrupted goes on where it stopped when it is run
    /// again: what custodyd has already is unchanged. Files are never removed.
    Import(import::Import),
    /// Show what ends soon: certificates, tokens, CRLs, and versions whose delivery has a
    /// limit.
    ///
    /// Ends with exit code 10 if there is anything, for monitoring. What has ended already
    /// and is still current or pending comes first.
    Expiring {
        /// The group; all that you have a role for when missing.
        group: Option<GroupName>,
        /// How far ahead to look, such as 30d or 12h.
        #[arg(long, value_name = "SPAN", default_value = "30d")]
        within: Stretch,
    },
    /// List what falls foul of the rules of its group.
    ///
    /// Ends with exit code 10 if there is anything, for monitoring. 'custodyctl group rules'
    /// shows and sets the rules.
    Compliance {
        /// The group; all that you have a role for when missing.
        group: Option<GroupName>,
    },
    /// Fetch a secret that is granted to this process.
    Fetch(fetch::Fetch),
    /// Fill a file in with the secrets that it refers to.
    Inject(inject::Inject),
    /// Show what custodyd sees of this process, as selectors for grants.
    ///
    /// Strength is what it takes to satisfy a selector without being meant, weakest first:
    /// claimed (to say so), shared (to be of the same user or group), user (to run as that
    /// user), root. For what you are as an operator see 'custodyctl role whoami'.
    Whoami,
    /// Show the state of custodyd, its token and its journal.
    Status,
    /// Examine the HSM's token, or put one into custodyd's configuration.
    #[command(subcommand)]
    Hsm(hsm::Command),
    /// Verify and show the journal, from its files or from custodyd.
    #[command(subcommand)]
    Journal(journal::Command),
    /// Take a backup of database and journal while custodyd runs, and verify it.
    ///
    /// It holds nothing that opens without the token, and is restored with 'custodyd restore'.
    /// 'custodyd drill' proves that everything in it opens.
    #[command(subcommand)]
    Backup(backup::Command),
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Write the manual pages into a folder.
    #[command(hide = true)]
    Man {
        /// The folder; it must exist.
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
}

/// Options of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// The socket for operators.
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        env = "CUSTODY_MANAGER",
        hide_env_values = true,
        default_value = MANAGER_SOCKET
    )]
    pub(crate) manager_socket: PathBuf,
    /// The socket for services.
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        env = "CUSTODY_PROVIDER",
        hide_env_values = true,
        default_value = PROVIDER_SOCKET
    )]
    pub(crate) provider_socket: PathBuf,
    /// A table for people, or a JSON document for programs.
    #[arg(
        short,
        long,
        global = true,
        value_name = "FORMAT",
        value_enum,
        default_value_t
    )]
    pub(crate) output: Format,
}

impl Global {
    pub(crate) async fn manager(&self) -> Result<Manager, Failure> {
        Manager::connect(&self.manager_socket)
            .await
            .map_err(Failure::Manager)
    }

    pub(crate) async fn provider(&self) -> Result<Provider, Failure> {
        Provider::connect(&self.provider_socket)
            .await
            .map_err(Failure::Provider)
    }
}
