//! `custodyctl secret`: content goes in, metadata comes out.

mod certify;
mod life;
mod references;
mod rotate;
mod view;

use std::path::PathBuf;

use clap::{ArgGroup, Subcommand};
use client::v1;
use custody::{
    name::{GroupName, SecretId},
    secret::version::Which,
};

use crate::{
    about::{About, Said},
    args::Global,
    confirm::confirm,
    content::{self, Sources},
    element::{self, Wanted},
    failure::Failure,
    filter::Filter,
    output,
    when::{Grace, Stretch},
};
use life::Terms;
use rotate::Order;
use view::{Deleted, Secret, Secrets, Stored, Versions};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Store a new version of a secret, which becomes its current one.
    ///
    /// Content is read from files or from standard input ('-'), never from the command
    /// line; what is public may stand there, with --set. It is 1 MiB at most. A file needs no
    /// FIELD= if one field only is needed and not given, and standard input is read if no
    /// file is named and a field is still needed. 'custodyctl types' lists the types and their fields. From the end of a
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
        #[command(flatten)]
        terms: Terms,
        #[command(flatten)]
        about: About,
        /// Write a version even if the current one has the same content.
        #[arg(long)]
        even_if_same: bool,
    },
    /// Have custodyd make the first version of a secret: a password, basic-auth, api-key or
    /// symmetric-key.
    ///
    /// Nobody sees what was made but those who fetch it.
    Generate {
        #[arg(value_name = "GROUP/NAME", value_parser = element::secret, help = "The secret")]
        secret: SecretId,
        /// The type, such as password or api-key.
        #[arg(long = "type", value_name = "TYPE")]
        kind: String,
        #[command(flatten)]
        about: About,
        #[command(flatten)]
        order: Order,
    },
    /// Have custodyd make a new version of a secret: a password, basic-auth, api-key or
    /// symmetric-key; or, with --csr, the key of a keystore and a request for its certificate.
    ///
    /// A key that is requested for is not delivered before 'custodyctl secret certify' has
    /// brought its certificate. What is public of it, such as a user name, stays as it was, and a key is for the same
    /// algorithm and as long. Those who watch are told at once. 'custodyctl secret activate
    /// GROUP/NAME@previous' rolls back.
    Rotate {
        #[arg(value_name = "GROUP/NAME", value_parser = element::secret, help = "The secret")]
        secret: SecretId,
        #[command(flatten)]
        about: About,
        #[command(flatten)]
        order: Order,
        #[command(flatten)]
        csr: certify::Csr,
        #[command(flatten)]
        terms: Terms,
    },
    /// Store the certificate that an authority signed for 'secret rotate --csr'.
    ///
    /// With its key it becomes the current version; those who watch are told.
    Certify {
        #[arg(value_name = "GROUP/NAME", value_parser = element::secret, help = "The secret")]
        secret: SecretId,
        /// The certificate and its chain, leaf first, PEM or DER; '-' is standard input.
        #[arg(value_name = "FILE")]
        chain: PathBuf,
        #[command(flatten)]
        terms: Terms,
    },
    /// Write the certificate request that waits for its certificate once more.
    Csr {
        #[arg(value_name = "GROUP/NAME", value_parser = element::secret, help = "The secret")]
        secret: SecretId,
    },
    /// List secrets.
    List {
        /// The group; all that you have a role for when missing.
        group: Option<GroupName>,
        #[command(flatten)]
        filter: Filter,
    },
    /// Look for secrets by what is public of them; content is never looked at.
    ///
    /// The text may be anywhere in a secret's name, description or labels, or in the properties
    /// of one of its versions, such as a certificate's subject, names, serial number or
    /// fingerprint. '*' in it stands for any characters; upper and lower case are the same.
    Search {
        /// The text.
        text: String,
        /// Only in this group.
        #[arg(long)]
        group: Option<GroupName>,
        #[command(flatten)]
        filter: Filter,
    },
    /// Show a secret's metadata.
    Show {
        #[arg(value_name = "GROUP/NAME", value_parser = element::secret, help = "The secret")]
        secret: SecretId,
    },
    /// Say something else about a secret; what is not given stays as it is.
    ///
    /// No version is written.
    #[command(group(ArgGroup::new("change").required(true).multiple(true).args(
        ["description", "labels", "removed"],
    )))]
    Update {
        #[arg(value_name = "GROUP/NAME", value_parser = element::secret, help = "The secret")]
        secret: SecretId,
        #[command(flatten)]
        said: Said,
    },
    /// List the versions of a secret.
    Versions {
        #[arg(value_name = "GROUP/NAME", value_parser = element::secret, help = "The secret")]
        secret: SecretId,
    },
    /// Show what a secret refers to, what refers to it, and who uses that.
    ///
    /// What is referred to cannot be deleted, nor the version that is meant be destroyed:
    /// write what refers to it anew, or delete that first.
    References {
        #[arg(value_name = "GROUP/NAME", value_parser = element::secret, help = "The secret")]
        secret: SecretId,
    },
    /// Make a version the current one: a pending one, or a former one to roll back to.
    ///
    /// Those who watch the secret are told at once. Without @VERSION, the pending version.
    Activate {
        /// The secret and the version: a number, previous or pending.
        #[arg(value_name = "GROUP/NAME[@VERSION]")]
        wanted: Wanted,
        /// How long the version that was current stays valid, such as 7d; for ever unless it
        /// is said.
        #[arg(long, value_name = "SPAN")]
        overlap: Option<Stretch>,
    },
    /// Deliver a disabled version again.
    Enable {
        /// The secret and the version; the current one unless it is said.
        #[arg(value_name = "GROUP/NAME[@VERSION]")]
        wanted: Wanted,
    },
    /// Deliver a version no more, until it is enabled.
    Disable {
        /// The secret and the version; the current one unless it is said.
        #[arg(value_name = "GROUP/NAME[@VERSION]")]
        wanted: Wanted,
        /// Although somebody fetched it of late or another secret refers to it;
        /// 'custodyctl consumers' and 'custodyctl secret references' show who and which.
        #[arg(long)]
        force: bool,
    },
    /// Deliver a version no more, and destroy its key and content after some time.
    Destroy {
        /// The secret and the version.
        #[arg(value_name = "GROUP/NAME@VERSION")]
        wanted: Wanted,
        /// How long it can be restored, such as 30d; 7 days unless it is said.
        #[arg(long, value_name = "SPAN", conflicts_with = "now")]
        grace: Option<Stretch>,
        /// Destroy it now, for good.
        #[arg(long)]
        now: bool,
        /// Don't ask.
        #[arg(long)]
        yes: bool,
        /// Although somebody fetched it of late; 'custodyctl consumers' shows who.
        #[arg(long)]
        force: bool,
    },
    /// Take back that a version is to be destroyed; it is disabled then.
    Restore {
        /// The secret and the version.
        #[arg(value_name = "GROUP/NAME@VERSION")]
        wanted: Wanted,
    },
    /// Delete a secret with all its versions, for good.
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
            terms,
            about,
            even_if_same,
        } => {
            let request = v1::PutSecretRequest {
                expected: terms.expect,
                pending: terms.pending,
                overlap_seconds: life::seconds(terms.overlap)?,
                keep: terms.keep,
                even_if_same,
                labels: about.labels(),
                description: about.description,
                ..Default::default()
            };
            put(global, secret, kind, sources, request).await
        }
        Command::Generate {
            secret,
            kind,
            about,
            order,
        } => rotate::generate(global, secret, kind, about, order).await,
        Command::Rotate {
            secret,
            about,
            order,
            csr,
            terms,
        } => match csr.into_request(&secret, &about) {
            Some((request, file)) => certify::request(global, secret, request, &file).await,
            None => rotate::rotate(global, secret, about, order, terms).await,
        },
        Command::Certify {
            secret,
            chain,
            terms,
        } => certify::certify(global, secret, &chain, terms).await,
        Command::Csr { secret } => certify::show(global, &secret).await,
        Command::Update { secret, said } => {
            let request = v1::UpdateSecretRequest {
                group: secret.group.to_string(),
                name: secret.name.to_string(),
                labels: said.labels(),
                remove_labels: said.removed(),
                description: said.description,
            };
            let answer = global.manager().await?.update_secret(request).await;
            let answer = answer.map_err(|call| Failure::of_change(call, &secret))?;
            output::show(global.output, &Secret::from(answer))
        }
        Command::List { group, filter } => list(global, group, None, filter).await,
        Command::Search {
            text,
            group,
            filter,
        } => list(global, group, Some(text), filter).await,
        Command::Show { secret } => {
            let (group, name) = (secret.group.into(), secret.name.into());
            let request = v1::GetSecretRequest { group, name };
            let answer = global.manager().await?.get_secret(request).await;
            let secret = answer.map_err(Failure::Manager)?;
            output::show(global.output, &Secret::from(secret))
        }
        Command::Versions { secret } => {
            let (group, name) = (secret.group.into(), secret.name.into());
            let request = v1::ListVersionsRequest {
                group,
                name,
                ..v1::ListVersionsRequest::default()
            };
            let listed = global.manager().await?.versions(request, usize::MAX).await;
            let versions = listed.map_err(Failure::Manager)?.items;
            output::show(global.output, &Versions::from(versions))
        }
        Command::References { secret } => references::run(global, &secret).await,
        Command::Activate { wanted, overlap } => {
            let version = wanted.version.or(Some(Which::Pending));
            let wanted = Wanted { version, ..wanted };
            life::activate(global, wanted, overlap).await
        }
        Command::Enable { wanted } => life::enable(global, wanted).await,
        Command::Disable { wanted, force } => life::disable(global, wanted, force).await,
        Command::Destroy {
            wanted,
            grace,
            now,
            yes,
            force,
        } => {
            let grace = Grace::new(grace, now);
            life::destroy(global, wanted, grace, yes, force).await
        }
        Command::Restore { wanted } => life::restore(global, wanted).await,
        Command::Delete { secret, yes, force } => delete(global, secret, yes, force).await,
    }
}

async fn list(
    global: &Global,
    group: Option<GroupName>,
    text: Option<String>,
    filter: Filter,
) -> Result<(), Failure> {
    let most = filter.limit.most();
    let request = filter.into_request(group.clone(), text);
    let is_filtered = request
        != v1::ListSecretsRequest {
            group: group.map(Into::into),
            ..v1::ListSecretsRequest::default()
        };
    let listed = global.manager().await?.secrets(request, most).await;
    let listed = listed.map_err(Failure::Manager)?;
    output::show(global.output, &Secrets::new(listed, is_filtered))
}

async fn put(
    global: &Global,
    secret: SecretId,
    kind: String,
    sources: Sources,
    terms: v1::PutSecretRequest,
) -> Result<(), Failure> {
    let fields = content::read(&secret, &kind, sources)?;
    let request = v1::PutSecretRequest {
        group: secret.group.to_string(),
        name: secret.name.to_string(),
        r#type: kind.clone(),
        fields,
        ..terms
    };
    let answer = global.manager().await?.put_secret(request).await;
    let version = answer.map_err(|call| Failure::of_change(call, &secret))?;
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
    let answer = answer.map_err(|call| Failure::of_change(call, &secret))?;
    let versions = answer.versions;
    output::show(global.output, &Deleted::new(&secret, versions))
}
