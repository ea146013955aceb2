//! `custodyctl secret`: content goes in, metadata comes out.

mod view;

use clap::Subcommand;
use client::{Error as Call, v1};
use custody::name::{GroupName, SecretId};

use crate::{
    args::Global,
    confirm::confirm,
    content::{self, Sources},
    element,
    failure::Failure,
    output,
};
use view::{Deleted, Secret, Secrets, Stored, Versions};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Store a new version of a secret, which becomes its current one.
    ///
    /// Content is read from files or from standard input ('-'), never from the command
    /// line; what is public may stand there, with --set. It is 1 MiB at most. A file needs no
    /// FIELD= if one field only is needed and not given, and standard input is read if no
    /// file is named. 'custodyctl types' lists the types and their fields. From the end of a
    /// file for a field that is one line of text, such as a password, a newline is taken.
    ///
    /// A dotenv file has lines NAME=VALUE, with 'export' or without, comments, and values in
    /// single quotes, double quotes or none. Substitutions are refused, not made.
    ///
    /// A file whose own name looks like FIELD=FILE is written ./FIELD=FILE.
    Put {
        #[arg(value_name = "GROUP/NAME", value_parser = element::secret, help = "The secret")]
        secret: SecretId,
        /// The type, such as keystore, password or blob.
        #[arg(long = "type", value_name = "TYPE")]
        kind: String,
        #[command(flatten)]
        sources: Sources,
    },
    /// List the secrets of a group.
    List {
        /// The group.
        group: GroupName,
    },
    /// Show a secret's metadata.
    Show {
        #[arg(value_name = "GROUP/NAME", value_parser = element::secret, help = "The secret")]
        secret: SecretId,
    },
    /// List the versions of a secret.
    Versions {
        #[arg(value_name = "GROUP/NAME", value_parser = element::secret, help = "The secret")]
        secret: SecretId,
    },
    /// Destroy a secret with all its versions, for good.
    Delete {
        #[arg(value_name = "GROUP/NAME", value_parser = element::secret, help = "The secret")]
        secret: SecretId,
        /// Don't ask.
        #[arg(long)]
        yes: bool,
        /// Destroy it although somebody used it of late; 'custodyctl consumers' shows who.
        #[arg(long)]
        force: bool,
    },
}

pub(crate) async fn run(global: &Global, command: Command) -> Result<(), Failure> {
    match command {
        Command::Put {
            secret,
            kind,
            sources,
        } => put(global, secret, kind, sources).await,
        Command::List { group } => {
            let request = v1::ListSecretsRequest {
                group: group.into(),
            };
            let answer = global.manager().await?.list_secrets(request).await;
            let secrets = answer.map_err(Failure::Manager)?.secrets;
            output::show(global.output, &Secrets::from(secrets))
        }
        Command::Show { secret } => {
            let (group, name) = (secret.group.into(), secret.name.into());
            let request = v1::GetSecretRequest { group, name };
            let answer = global.manager().await?.get_secret(request).await;
            let secret = answer.map_err(Failure::Manager)?;
            output::show(global.output, &Secret::from(secret))
        }
        Command::Versions { secret } => {
            let (group, name) = (secret.group.into(), secret.name.into());
            let request = v1::ListVersionsRequest { group, name };
            let answer = global.manager().await?.list_versions(request).await;
            let versions = answer.map_err(Failure::Manager)?.versions;
            output::show(global.output, &Versions::from(versions))
        }
        Command::Delete { secret, yes, force } => delete(global, secret, yes, force).await,
    }
}

async fn put(
    global: &Global,
    secret: SecretId,
    kind: String,
    sources: Sources,
) -> Result<(), Failure> {
    let fields = content::read(&secret, &kind, sources)?;
    let request = v1::PutSecretRequest {
        group: secret.group.to_string(),
        name: secret.name.to_string(),
        r#type: kind.clone(),
        fields,
    };
    let answer = global.manager().await?.put_secret(request).await;
    let version = answer.map_err(Failure::Manager)?;
    output::show(global.output, &Stored::new(&secret, kind, version))
}

async fn delete(global: &Global, secret: SecretId, yes: bool, force: bool) -> Result<(), Failure> {
    if !yes {
        confirm(
            &format!("destroy {secret} and all its versions for good"),
            "--yes destroys it without asking",
        )?;
    }
    let request = v1::DeleteSecretRequest {
        group: secret.group.to_string(),
        name: secret.name.to_string(),
        force,
    };
    let answer = global.manager().await?.delete_secret(request).await;
    let failed = |call| match call {
        Call::Precondition(message) if !force => {
            let mut lines = message.lines().map(|line| line.trim().to_owned());
            Failure::InUse {
                problem: lines.next().unwrap_or_default(),
                users: lines.collect(),
                secret: secret.to_string(),
            }
        }
        call => Failure::Manager(call),
    };
    let versions = answer.map_err(failed)?.versions;
    output::show(global.output, &Deleted::new(&secret, versions))
}
