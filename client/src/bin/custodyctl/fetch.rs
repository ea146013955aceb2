//! `custodyctl fetch`: the one command that handles content on its way out.

use std::{
    io::{self, IsTerminal as _},
    path::PathBuf,
};

use clap::Args;
use client::{Fetched, v1};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::{
    args::Global,
    confirm::confirm,
    element::{self, Wanted},
    failure::{Exit, Failure},
    files::{self, Target},
    output::{self, Format, View},
};

/// Fetch a secret that is granted to this process.
///
/// Without --out the content goes to standard output, as it is; a keystore as one PEM
/// text, the certificate chain before the private key. A terminal asks first. Each
/// fetch is an entry in custodyd's journal.
#[derive(Debug, Args)]
pub(crate) struct Fetch {
    /// The secret; its current version, unless one is given.
    #[arg(value_name = "GROUP/NAME[@VERSION]")]
    wanted: Wanted,
    /// Only this field, such as private-key. May be given several times; the others do
    /// not leave custodyd.
    #[arg(long = "field", value_name = "FIELD")]
    fields: Vec<String>,
    /// Write to this file, or with a file for each field into this folder.
    ///
    /// A path that ends in a slash is a folder, which is made if it is missing. Files
    /// are called certificate-chain.pem, private-key.pem, password, content; they are
    /// readable by their owner only, and each is replaced in one step.
    #[arg(long, value_name = "DIR|FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("--output json shows no content; it needs --out to write it somewhere")]
    JsonContent,
    #[error("the secret, of type {1:?}, came without a field {0}")]
    NoField(String, String),
    #[error("a secret of type {0:?} has several fields and no common file format: {1}")]
    NoBundle(String, String),
    #[error("custodyd sent a field called {0:?}, which cannot be a file's name")]
    FieldName(String),
}

impl Error {
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::JsonContent | Self::NoBundle(..) => Exit::Usage,
            Self::NoField(..) => Exit::NotFound,
            Self::FieldName(_) => Exit::Unexpected,
        }
    }

    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::NoBundle(..) => {
                Some("choose one with --field, or write each with --out DIR/".to_owned())
            }
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
        if global.output == Format::Json {
            return Err(Error::JsonContent.into());
        }
        if io::stdout().is_terminal() {
            confirm(
                &format!("print the secret {} to this terminal", args.wanted.secret),
                "redirect standard output, or write to a file with --out",
            )?;
        }
    }
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
        })
        .await
        .map_err(Failure::Provider)?;
    if !args.fields.is_empty() {
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
                receipt: fetched.receipt,
                files: write(&target, &fetched)?,
            };
            output::show(global.output, &release)
        }
    }
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

fn file_name(field: &str) -> Result<String, Error> {
    match field {
        "certificate-chain" | "private-key" => Ok(format!("{field}.pem")),
        plain
            if !plain.is_empty()
                && plain
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-') =>
        {
            Ok(plain.to_owned())
        }
        other => Err(Error::FieldName(other.to_owned())),
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
        assert!(file_name("../../etc/cron.d/x").is_err());
        assert!(file_name(".bashrc").is_err());
        assert_eq!(file_name("password").unwrap(), "password");
        assert_eq!(file_name("private-key").unwrap(), "private-key.pem");
    }
}
