//! `custodyctl fetch`: content on its way out.

use std::path::PathBuf;

use clap::{
    Args,
    builder::{OsStringValueParser, PossibleValuesParser, TypedValueParser as _},
};
use client::v1;
use custody::secret::{
    Refused,
    format::{Format, Rendering},
};
use zeroize::Zeroizing;

use crate::{
    args::Global,
    confirm::show_content,
    content::{self, Input},
    element::{self, Detail},
    failure::{Exit, Failure},
    files::Target,
    output,
};

mod release;
mod write;

use release::Release;
use write::{bundle, plain_name, write};

/// Fetch a secret that is granted to this process.
///
/// Without --out the content goes to standard output: as it is stored, or in the format
/// that --format names. A keystore comes as one PEM text then, the certificate chain
/// before the private key. A terminal asks first. Each fetch is an entry in custodyd's
/// journal.
///
/// With --out DIR/ what the secret refers to comes with it, if that is granted as well: of a
/// tls-context the keystore, the truststore and so on, all of one moment. Each is in a folder
/// that is called like the field that refers to it (keystore/private-key.pem), the context's
/// own fields are in the folder context, and a newer fetch replaces all of them at once.
#[derive(Debug, Args)]
pub(crate) struct Fetch {
    /// The secret; its current version, unless one is given. '#FIELD' is as --field. A
    /// reference as it stands in a file, with custody: in front, does as well.
    #[arg(value_name = "GROUP/NAME[@VERSION][#FIELD]")]
    wanted: Detail,
    /// Only this field, such as private-key. May be given several times; the others do
    /// not leave custodyd.
    #[arg(long = "field", value_name = "FIELD")]
    fields: Vec<String>,
    /// Have it written in this format by custodyd. Which types can be written in which is
    /// in types.md.
    #[arg(
        long,
        value_name = "FORMAT",
        value_parser = PossibleValuesParser::new(Format::ALL.map(Format::name))
            .try_map(|name| Format::from_name(&name).ok_or("there is no such format"))
    )]
    format: Option<Format>,
    /// Put the key store under the password in this file; '-' is standard input. Otherwise
    /// one is made, and written to the file password in the folder.
    #[arg(
        long,
        value_name = "FILE",
        requires = "format",
        value_parser = OsStringValueParser::new().map(|text| Input::from(&*text))
    )]
    password_file: Option<Input>,
    /// Write to this file, or with a file for each field into this folder.
    ///
    /// A path that ends in a slash is a folder, which is made if it is missing. Files
    /// are called certificate-chain.pem, private-key.pem, password, content; bundle.pem,
    /// keystore.p12, truststore.p12, secret.json, secret.env; they are readable by their
    /// owner only, and each is replaced in one step.
    #[arg(long, value_name = "DIR|FILE")]
    out: Option<PathBuf>,
    /// Only the secret itself, without what it refers to.
    #[arg(long)]
    unresolved: bool,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the secret, of type {1:?}, came without a field {0}")]
    NoField(String, String),
    #[error("what came of a secret of type {0:?} is several files: {1}")]
    NoBundle(String, String),
    #[error("{0:?} cannot be a file's name here")]
    FileName(String),
    #[error("a key store and the password that is made for it are two files")]
    MadePassword,
    #[error(transparent)]
    Rendering(#[from] Refused),
}

impl Error {
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::NoBundle(..) | Self::MadePassword | Self::FileName(_) => Exit::Usage,
            Self::NoField(..) => Exit::NotFound,
            Self::Rendering(_) => Exit::Invalid,
        }
    }

    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::NoBundle(..) => {
                Some(
                    "choose one with --field, write each with --out DIR/, or ask for a --format \
                     that is one file, such as pem-bundle or json"
                        .to_owned(),
                )
            }
            Self::MadePassword => Some(
                "write both with --out DIR/, or give a password with --password-file".to_owned(),
            ),
            Self::FileName(_) => Some(
                "a file's name has letters, digits, '.', '_' and '-', and does not begin with '.'; \
                 write such a field with --field NAME --out FILE"
                    .to_owned(),
            ),
            Self::NoField(..) => {
                Some("'custodyctl secret put --help' lists the fields of each type".to_owned())
            }
            _ => None,
        }
    }
}

pub(crate) async fn run(global: &Global, mut args: Fetch) -> Result<(), Failure> {
    args.fields.extend(args.wanted.field.take());
    let args = args;
    let target = args.out.as_deref().map(Target::of).transpose()?;
    if let Some(target) = &target {
        // A release that cannot be kept should not be on record.
        target.probe()?;
    } else {
        show_content(
            global.output,
            &format!("the secret {}", args.wanted.wanted.secret),
        )?;
    }
    let password = args.password_file.as_ref().map(content::password);
    let password = password.transpose()?;
    let format = form(&args, target.as_ref(), password.clone())?;
    let wanted = &args.wanted.wanted;
    let secret = &wanted.secret;
    let mut fetched = global
        .provider()
        .await?
        .fetch_with(v1::FetchRequest {
            group: secret.group.to_string(),
            name: secret.name.to_string(),
            version: element::number(wanted.version),
            which: element::part(wanted.version),
            fields: args.fields.clone(),
            format: format.map(|format| format.name().to_owned()),
            password: password.map(|password| v1::StorePassword {
                value: password.as_str().to_owned(),
            }),
            // One stream or file holds one secret.
            unresolved: args.unresolved || !matches!(target, Some(Target::Folder(_))),
        })
        .await
        .map_err(Failure::Provider)?;
    if !args.fields.is_empty() && format.is_none() {
        fetched
            .fields
            .retain(|(name, _)| args.fields.contains(name));
        let missing = |field: &String| fetched.field(field).is_none();
        if let Some(field) = args.fields.into_iter().find(missing) {
            return Err(Error::NoField(field, fetched.kind.clone()).into());
        }
    }
    match target {
        None => output::write(&bundle(&fetched)?),
        Some(target) => {
            let files = write(&target, &fetched)?;
            output::show(global.output, &Release::of(secret, &fetched, files))
        }
    }
}

/// The format to ask for. What would fail only once the release is on record is refused
/// here, as far as it is known.
fn form(
    args: &Fetch,
    target: Option<&Target>,
    password: Option<Zeroizing<String>>,
) -> Result<Option<Format>, Error> {
    let is_folder = matches!(target, Some(Target::Folder(_)));
    if is_folder {
        for field in &args.fields {
            plain_name(field)?;
        }
    }
    let Some(format) = args.format else {
        return Ok(None);
    };
    if format.takes_password() && password.is_none() && !is_folder {
        return Err(Error::MadePassword);
    }
    Rendering::new(format, password)?;
    Ok(Some(match format {
        // One file holds what would be several.
        Format::Pem if !is_folder => Format::PemBundle,
        format => format,
    }))
}
