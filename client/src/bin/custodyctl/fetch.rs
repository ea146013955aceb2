//! `custodyctl fetch`: the one command that handles content on its way out.

use std::{
    io::{self, IsTerminal as _},
    path::PathBuf,
};

use clap::{
    Args,
    builder::{OsStringValueParser, PossibleValuesParser, TypedValueParser as _},
};
use client::{Fetched, v1};
use custody::secret::{
    Refused,
    format::{Format, Rendering},
};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::{
    args::Global,
    confirm::confirm,
    content::{self, Input},
    element::{self, Wanted},
    failure::{Exit, Failure},
    files::{self, Target},
    output::{self, View},
};

/// Fetch a secret that is granted to this process.
///
/// Without --out the content goes to standard output: as it is stored, or in the format
/// that --format names. A keystore comes as one PEM text then, the certificate chain
/// before the private key. A terminal asks first. Each fetch is an entry in custodyd's
/// journal.
#[derive(Debug, Args)]
pub(crate) struct Fetch {
    /// The secret; its current version, unless one is given.
    #[arg(value_name = "GROUP/NAME[@VERSION]")]
    wanted: Wanted,
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
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("--output json shows no content; it needs --out to write it somewhere")]
    JsonContent,
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
            Self::JsonContent | Self::NoBundle(..) | Self::MadePassword | Self::FileName(_) => {
                Exit::Usage
            }
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

/// What was released and where it was written; never the content.
#[derive(Debug, Serialize)]
struct Release {
    group: String,
    name: String,
    version: u32,
    r#type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<String>,
    receipt: u64,
    files: Vec<Written>,
}

#[derive(Debug, Serialize)]
struct Written {
    path: PathBuf,
    fields: Vec<String>,
    bytes: usize,
}

impl View for Release {
    fn text(&self) -> Option<String> {
        let files: Vec<_> = self
            .files
            .iter()
            .map(|file| {
                let fields = output::plain(&file.fields.join(", "));
                format!("wrote {} ({fields})", file.path.display())
            })
            .collect();
        Some(format!(
            "{}\nfetched {}/{}@{}, journal entry {}",
            files.join("\n"),
            self.group,
            self.name,
            self.version,
            self.receipt
        ))
    }
}

pub(crate) async fn run(global: &Global, args: Fetch) -> Result<(), Failure> {
    let target = args.out.as_deref().map(Target::of).transpose()?;
    if let Some(target) = &target {
        // A release that cannot be kept should not be on record.
        target.probe()?;
    } else {
        if global.output == output::Format::Json {
            return Err(Error::JsonContent.into());
        }
        if io::stdout().is_terminal() {
            confirm(
                &format!("print the secret {} to this terminal", args.wanted.secret),
                "redirect standard output, or write to a file with --out",
            )?;
        }
    }
    let password = args.password_file.as_ref().map(content::password);
    let password = password.transpose()?;
    let format = form(&args, target.as_ref(), password.clone())?;
    let secret = &args.wanted.secret;
    let mut fetched = global
        .provider()
        .await?
        .fetch_with(v1::FetchRequest {
            group: secret.group.to_string(),
            name: secret.name.to_string(),
            version: element::number(args.wanted.version),
            which: element::part(args.wanted.version),
            fields: args.fields.clone(),
            format: format.map(|format| format.name().to_owned()),
            password: password.map(|password| v1::StorePassword {
                value: password.as_str().to_owned(),
            }),
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
            let release = Release {
                group: secret.group.to_string(),
                name: secret.name.to_string(),
                version: fetched.version,
                r#type: fetched.kind.clone(),
                format: fetched.format.clone(),
                receipt: fetched.receipt,
                files: write(&target, &fetched)?,
            };
            output::show(global.output, &release)
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
            file_name(field)?;
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

fn names(fetched: &Fetched) -> Vec<String> {
    fetched
        .fields
        .iter()
        .map(|(name, _)| name.clone())
        .collect()
}

fn write(target: &Target, fetched: &Fetched) -> Result<Vec<Written>, Failure> {
    match target {
        Target::File(path) => {
            let content = bundle(fetched)?;
            files::replace(&[(path.clone(), &content)])?;
            Ok(vec![Written {
                path: path.clone(),
                fields: names(fetched),
                bytes: content.len(),
            }])
        }
        Target::Folder(folder) => {
            let mut files = Vec::new();
            for (field, content) in &fetched.fields {
                files.push((folder.join(file_name(field)?), content.as_slice()));
            }
            files::make_folder(folder)?;
            files::replace(&files)?;
            let written = files.into_iter().zip(names(fetched));
            Ok(written
                .map(|((path, content), field)| Written {
                    path,
                    fields: vec![field],
                    bytes: content.len(),
                })
                .collect())
        }
    }
}

/// The name of a field's file. Documents in a format have theirs from custodyd.
fn file_name(field: &str) -> Result<String, Error> {
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    match field {
        "certificate-chain" | "private-key" => Ok(format!("{field}.pem")),
        plain if plain.is_empty() || plain.starts_with('.') || !plain.bytes().all(is_fine) => {
            Err(Error::FileName(plain.to_owned()))
        }
        plain => Ok(plain.to_owned()),
    }
}

/// The content as one sequence of bytes.
fn bundle(fetched: &Fetched) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut all = Zeroizing::new(Vec::new());
    match &fetched.fields[..] {
        [(_, content)] => all.extend_from_slice(content),
        // Programs that read a bundle take the first certificate for their own.
        fields if fetched.kind == "keystore" => {
            for wanted in ["certificate-chain", "private-key"] {
                for (_, content) in fields.iter().filter(|(name, _)| name == wanted) {
                    all.extend_from_slice(content);
                    if all.last() != Some(&b'\n') {
                        all.push(b'\n');
                    }
                }
            }
        }
        _ => {
            return Err(Error::NoBundle(
                fetched.kind.clone(),
                names(fetched).join(", "),
            ));
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_cannot_name_a_file_elsewhere() {
        for name in [
            "../../etc/cron.d/x",
            "..",
            ".bashrc",
            "a/b",
            "",
            "a\0b",
            "a b",
        ] {
            assert!(file_name(name).is_err(), "{name:?}");
        }
        for name in ["password", "DB_PASSWORD", "tls.key", "keystore.p12", "a..b"] {
            assert_eq!(file_name(name).unwrap(), name);
        }
        assert_eq!(file_name("private-key").unwrap(), "private-key.pem");
    }
}
