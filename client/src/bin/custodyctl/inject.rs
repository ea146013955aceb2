//! `custodyctl inject`: what people's own files refer to, put in place.

use std::{collections::BTreeSet, path::PathBuf};

use clap::{
    Args,
    builder::{OsStringValueParser, TypedValueParser as _},
};
use client::{Error as Call, Fetched, Provider, v1};
use custody::{name::SecretId, reference::Reference, secret::version::Which};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::{
    args::Global,
    confirm::show_content,
    content::{self, Input},
    element,
    failure::{Exit, Failure},
    files::{self, Target},
    output::{self, View},
};

pub(crate) mod template;

use template::{Piece, Placeholder, Position};

/// The largest template.
const MAX: u64 = 1 << 20;

/// Fill a file in with the secrets that it refers to.
///
/// A placeholder is a reference in double braces, on one line:
///
///   password = "{{custody:web/db#password}}"
///
/// Without #FIELD the secret must have one field only. What stands in its place is the
/// field's bytes, as they are: quoting is up to the file. '{{!custody:...}}' is text, and
/// comes out without the '!'; braces around anything else are left alone.
///
/// Each secret is fetched once, however often it is referred to, so that its fields are of
/// one version. Nothing is written unless every reference is granted and there.
#[derive(Debug, Args)]
pub(crate) struct Inject {
    /// The file with placeholders; '-' is standard input.
    #[arg(
        long = "in",
        value_name = "FILE",
        value_parser = OsStringValueParser::new().map(|text| Input::from(&*text))
    )]
    template: Input,
    /// Write to this file, readable by its owner only, in one step; to standard output
    /// without it.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{}: {error}", place(.name, *.at))]
    Template {
        name: String,
        at: Position,
        error: template::Error,
    },
    #[error("{}: {reference}: {problem}", place(.name, *.at))]
    Unfit {
        name: String,
        at: Position,
        reference: Box<Reference>,
        problem: String,
    },
    #[error("{}: {reference}", place(.name, *.at))]
    Fetch {
        name: String,
        at: Position,
        reference: Box<Reference>,
        #[source]
        call: Call,
    },
    #[error("{0} is a folder; name a file")]
    Folder(PathBuf),
}

fn place(name: &str, at: Position) -> String {
    format!("{name}:{}:{}", at.line, at.column)
}

impl Error {
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Template { .. } => Exit::Invalid,
            Self::Unfit { .. } => Exit::NotFound,
            Self::Fetch { call, .. } => Exit::of(call),
            Self::Folder(_) => Exit::Usage,
        }
    }

    /// The call that failed, if one did.
    pub(crate) fn call(&self) -> Option<&Call> {
        match self {
            Self::Fetch { call, .. } => Some(call),
            _ => None,
        }
    }
}

/// What was put in place; never the content.
#[derive(Debug, Serialize)]
struct Injected {
    path: PathBuf,
    bytes: usize,
    secrets: Vec<Used>,
}

#[derive(Debug, Serialize)]
struct Used {
    group: String,
    name: String,
    version: u32,
    receipt: u64,
}

impl View for Injected {
    fn text(&self) -> Option<String> {
        let secrets = self.secrets.iter().map(|used| {
            let Used {
                group,
                name,
                version,
                receipt,
            } = used;
            format!("fetched {group}/{name}@{version}, journal entry {receipt}")
        });
        let wrote = std::iter::once(format!("wrote {}", self.path.display()));
        Some(wrote.chain(secrets).collect::<Vec<_>>().join("\n"))
    }
}

pub(crate) async fn run(global: &Global, args: Inject) -> Result<(), Failure> {
    let target = match &args.out {
        Some(path) => match Target::of(path)? {
            Target::Folder(path) => return Err(Error::Folder(path).into()),
            target => Some((path, target)),
        },
        None => None,
    };
    let template = content::load(&args.template, MAX)?;
    let name = args.template.name();
    let pieces = template::parse(&template).map_err(|(at, error)| Error::Template {
        name: name.clone(),
        at,
        error,
    })?;
    if let Some((_, target)) = &target {
        // A release that cannot be kept should not be on record.
        target.probe()?;
    } else {
        show_content(global.output, "the secrets that it refers to")?;
    }
    let wishes = wishes(&pieces);
    let mut fetched = Vec::with_capacity(wishes.len());
    if !wishes.is_empty() {
        let provider = global.provider().await?;
        for wish in wishes {
            fetched.push(wish.fetch(&provider, &name).await?);
        }
    }
    let filled = fill(&pieces, &fetched, &name)?;
    let Some((path, _)) = target else {
        return output::write(&filled);
    };
    files::replace(&[(path.clone(), &filled)])?;
    let secrets = fetched.into_iter().map(|got| Used {
        group: got.secret.group.into(),
        name: got.secret.name.into(),
        version: got.fetched.version,
        receipt: got.fetched.receipt,
    });
    let injected = Injected {
        path: path.clone(),
        bytes: filled.len(),
        secrets: secrets.collect(),
    };
    output::show(global.output, &injected)
}

/// A version that is referred to, once or more often.
struct Wish {
    first: Placeholder,
    /// The fields that are wanted; all if that is not said everywhere.
    fields: Option<BTreeSet<String>>,
}

/// A version that came.
struct Got {
    secret: SecretId,
    version: Which,
    fetched: Fetched,
}

/// What is to be fetched for `pieces`, each once, in order.
fn wishes(pieces: &[Piece<'_>]) -> Vec<Wish> {
    let mut wishes: Vec<Wish> = Vec::new();
    for piece in pieces {
        let Piece::Placeholder(placeholder) = piece else {
            continue;
        };
        let Reference {
            secret,
            version,
            field,
        } = &placeholder.reference;
        let known = wishes.iter_mut().find(|wish| {
            let first = &wish.first.reference;
            first.secret == *secret && first.version == *version
        });
        match known {
            None => wishes.push(Wish {
                first: placeholder.clone(),
                fields: field.clone().map(|field| [field].into()),
            }),
            Some(wish) => match (&mut wish.fields, field) {
                (Some(fields), Some(field)) => {
                    fields.insert(field.clone());
                }
                _ => wish.fields = None,
            },
        }
    }
    wishes
}

impl Wish {
    async fn fetch(self, provider: &Provider, name: &str) -> Result<Got, Error> {
        let Placeholder { reference, at } = self.first;
        let version = Some(reference.version);
        let request = v1::FetchRequest {
            group: reference.secret.group.to_string(),
            name: reference.secret.name.to_string(),
            version: element::number(version),
            which: element::part(version),
            fields: self.fields.into_iter().flatten().collect(),
            unresolved: true,
            ..v1::FetchRequest::default()
        };
        match provider.fetch_with(request).await {
            Ok(fetched) => Ok(Got {
                secret: reference.secret,
                version: reference.version,
                fetched,
            }),
            Err(call) => Err(Error::Fetch {
                name: name.to_owned(),
                at,
                reference: Box::new(reference),
                call,
            }),
        }
    }
}

/// The template with content in place of its placeholders.
fn fill(pieces: &[Piece<'_>], fetched: &[Got], name: &str) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut contents = Vec::with_capacity(pieces.len());
    for piece in pieces {
        contents.push(match piece {
            Piece::Text(text) => *text,
            Piece::Placeholder(placeholder) => {
                let Placeholder { reference, at } = placeholder;
                content_of(reference, fetched).map_err(|problem| Error::Unfit {
                    name: name.to_owned(),
                    at: *at,
                    reference: Box::new(reference.clone()),
                    problem,
                })?
            }
        });
    }
    // Enough room from the start, so that growing leaves no copies behind.
    let size = contents.iter().map(|content| content.len()).sum();
    let mut filled = Zeroizing::new(Vec::with_capacity(size));
    for content in contents {
        filled.extend_from_slice(content);
    }
    Ok(filled)
}

/// The one field that is meant, or what is in the way.
fn content_of<'a>(reference: &Reference, fetched: &'a [Got]) -> Result<&'a [u8], String> {
    let got = fetched
        .iter()
        .find(|got| got.secret == reference.secret && got.version == reference.version)
        .ok_or("it was not fetched")?;
    let fields = &got.fetched.fields;
    match (&reference.field, &fields[..]) {
        (Some(field), _) => got
            .fetched
            .field(field)
            .ok_or_else(|| "it came without that field".to_owned()),
        (None, [(_, content)]) => Ok(content),
        (None, fields) => {
            let names: Vec<_> = fields.iter().map(|(name, _)| output::plain(name)).collect();
            Err(format!(
                "it has several fields; write #FIELD behind it with one of {}",
                names.join(", ")
            ))
        }
    }
}
