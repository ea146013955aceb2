//! Reads a secret's content from files and standard input; it is never on the command line.

pub(crate) mod dotenv;

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, IsTerminal as _, Read},
    mem,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::PathBuf,
};

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use client::v1::Field;
use custody::{
    name::SecretId,
    secret::{Kind, Shape},
};
use zeroize::Zeroizing;

use crate::failure::Exit;

/// The most content that custodyd takes for one version, in bytes.
const MAX: u64 = 1 << 20;

/// A text that names no content, or content that cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("a {} needs several fields, so a file must say which it is for", .1.name())]
    WhichField(SecretId, Kind),
    #[error("the type {0:?} does not tell which field {1} is for; write FIELD=FILE")]
    UnknownField(String, String),
    #[error("the field {0} is given twice")]
    Twice(String),
    #[error("standard input cannot be two fields")]
    StdinTwice,
    #[error("no file is given, and standard input is a terminal, which would show what you type")]
    Typed,
    #[error("{0} is not public metadata of a {1}, so its value does not belong on a command line")]
    NotPublic(String, String),
    #[error("a {0} does not take the variables of a dotenv file; a key-value does")]
    NoVariables(String),
    #[error("cannot read what is typed for {0}")]
    Prompt(String, #[source] io::Error),
    #[error("what was typed for {0} the second time is something else")]
    Mistyped(String),
    #[error("cannot read {0}")]
    Read(String, #[source] io::Error),
    #[error("{0} is no text, as a password is")]
    NoText(String),
    #[error("{0} is no dotenv file")]
    Dotenv(String, #[source] dotenv::Error),
    #[error("the content is larger than 1 MiB, the most that custodyd keeps for a secret")]
    TooLarge,
}

impl Error {
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Read(..)
            | Self::NoText(_)
            | Self::Dotenv(..)
            | Self::Mistyped(_)
            | Self::TooLarge => Exit::Invalid,
            Self::Prompt(..) => Exit::Unexpected,
            _ => Exit::Usage,
        }
    }

    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::WhichField(secret, kind) => {
                let fields = required(*kind).map(|field| {
                    let option = if kind.is_public(field) { "--set " } else { "" };
                    let value = if kind.is_public(field) {
                        "TEXT"
                    } else {
                        "FILE"
                    };
                    format!(" {option}{field}={value}")
                });
                Some(format!(
                    "custodyctl secret put {secret} --type {}{}",
                    kind.name(),
                    fields.collect::<String>()
                ))
            }
            Self::NotPublic(field, _) => Some(format!(
                "give it as {field}=FILE or, to type it, with --prompt {field}; 'custodyctl types' \
                 tells what is public"
            )),
            Self::Prompt(field, _) => Some(format!("without a terminal, give it as {field}=FILE")),
            Self::Typed => Some("name a file, or pipe the content in".to_owned()),
            _ => None,
        }
    }
}

/// Where a version's content comes from.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Sources {
    /// The files that hold the fields; '-' is standard input.
    #[arg(
        value_name = "[FIELD=]FILE",
        value_parser = OsStringValueParser::new().map(Part)
    )]
    files: Vec<Part>,
    /// A field whose value is public metadata, such as a user name.
    #[arg(long, value_name = "FIELD=TEXT", value_parser = setting)]
    set: Vec<(String, String)>,
    /// Ask for a field on the terminal, without showing what is typed.
    #[arg(long, value_name = "FIELD")]
    prompt: Vec<String>,
    /// Take the variables of a dotenv file as fields of a key-value.
    #[arg(long, value_name = "FILE", value_parser = OsStringValueParser::new().map(|text| Input::from(&*text)))]
    dotenv: Option<Input>,
}

pub(crate) fn setting(text: &str) -> Result<(String, String), &'static str> {
    let (field, value) = text.split_once('=').ok_or("write FIELD=TEXT")?;
    Ok((field.to_owned(), value.to_owned()))
}

/// One `[FIELD=]FILE` of the command line.
#[derive(Clone, Debug)]
struct Part(OsString);

/// A file, or standard input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    Stdin,
    File(PathBuf),
}

impl Part {
    /// `a=b` is the file `b` for the field `a`; the file `a=b` is written `./a=b`.
    fn split(&self, kind: Option<Kind>) -> (Option<String>, Input) {
        let bytes = self.0.as_bytes();
        let named = bytes.iter().position(|&b| b == b'=').and_then(|at| {
            let field = str::from_utf8(&bytes[..at]).ok()?;
            let known = kind.is_some_and(|kind| kind.may_have(field));
            (known || is_field(&bytes[..at])).then_some((field, &bytes[at + 1..]))
        });
        match named {
            Some((field, file)) => (Some(field.to_owned()), Input::from(OsStr::from_bytes(file))),
            None => (None, Input::from(&*self.0)),
        }
    }
}

fn is_field(name: &[u8]) -> bool {
    name.first().is_some_and(u8::is_ascii_lowercase)
        && name
            .iter()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
}

impl From<&OsStr> for Input {
    fn from(text: &OsStr) -> Self {
        if text == "-" {
            Self::Stdin
        } else {
            Self::File(PathBuf::from(OsString::from_vec(text.as_bytes().to_vec())))
        }
    }
}

impl Input {
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Stdin => "standard input".to_owned(),
            Self::File(path) => path.display().to_string(),
        }
    }
}

/// Reads a password, whose file may end in a newline.
pub(crate) fn password(input: &Input) -> Result<Zeroizing<String>, Error> {
    let mut bytes = load(input, MAX)?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    let text = str::from_utf8(&bytes).map_err(|_| Error::NoText(input.name()))?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// Reads the fields of a secret of type `kind`.
pub(crate) fn read(secret: &SecretId, kind: &str, sources: Sources) -> Result<Vec<Field>, Error> {
    let known = Kind::from_name(kind).ok();
    let mut given = Given {
        kind: known,
        fields: Vec::new(),
        room: MAX,
    };
    for (field, value) in sources.set {
        if !known.is_some_and(|kind| kind.is_public(&field)) {
            return Err(Error::NotPublic(field, kind.to_owned()));
        }
        given.add(field, Zeroizing::new(value.into_bytes()))?;
    }
    let mut files: Vec<_> = sources.files.iter().map(|part| part.split(known)).collect();
    let is_named = !files.is_empty() || !sources.prompt.is_empty() || sources.dotenv.is_some();
    if !is_named && !given.is_enough() {
        files.push((None, Input::Stdin));
    }
    let from_stdin = files.iter().map(|(_, input)| input).chain(&sources.dotenv);
    if from_stdin.filter(|&input| *input == Input::Stdin).count() > 1 {
        return Err(Error::StdinTwice);
    }
    // Those that say what they are for tell what is left for one that does not.
    files.sort_by_key(|(field, _)| field.is_none());
    for (field, input) in files {
        let field = match field {
            Some(field) => field,
            None => given.left(secret, kind, &input)?,
        };
        if sources.files.is_empty() && io::stdin().is_terminal() {
            return Err(Error::Typed);
        }
        let value = load(&input, given.room)?;
        given.add(field, value)?;
    }
    if let Some(input) = sources.dotenv {
        if !known.is_some_and(|kind| matches!(kind.shape(), Shape::Free)) {
            return Err(Error::NoVariables(kind.to_owned()));
        }
        let text = load(&input, given.room)?;
        let variables = dotenv::parse(&text);
        for (name, value) in variables.map_err(|error| Error::Dotenv(input.name(), error))? {
            given.add(name, value)?;
        }
    }
    for field in sources.prompt {
        let is_input = known.is_some_and(|kind| kind.inputs().contains(&&*field));
        let value = ask(&field, is_input)?;
        given.add(field, value)?;
    }
    Ok(given.fields)
}

/// What is given so far.
struct Given {
    kind: Option<Kind>,
    fields: Vec<Field>,
    /// How many bytes more it may become.
    room: u64,
}

impl Given {
    /// Whether every field is there that must be.
    fn is_enough(&self) -> bool {
        let is_given = |name: &str| self.fields.iter().any(|field| field.name == name);
        match self.kind.map(Kind::shape) {
            Some(Shape::Fields(known)) => known
                .iter()
                .all(|field| !field.is_required || is_given(field.name)),
            Some(Shape::Free) | None => false,
        }
    }

    fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|field| field.name == name)
    }

    fn add(&mut self, name: String, mut value: Zeroizing<Vec<u8>>) -> Result<(), Error> {
        if self.has(&name) {
            return Err(Error::Twice(name));
        }
        if self.kind.is_some_and(|kind| kind.is_line(&name)) && value.last() == Some(&b'\n') {
            value.pop();
        }
        let left = self.room.checked_sub(value.len() as u64);
        self.room = left.ok_or(Error::TooLarge)?;
        let value = mem::take(&mut *value);
        self.fields.push(Field { name, value });
        Ok(())
    }

    /// The only field that is needed and not given.
    fn left(&self, secret: &SecretId, name: &str, input: &Input) -> Result<String, Error> {
        let unknown = || Error::UnknownField(name.to_owned(), input.name());
        let kind = self.kind.ok_or_else(unknown)?;
        let mut left = required(kind).filter(|field| !self.has(field));
        match (left.next(), left.next()) {
            (Some(field), None) => Ok(field.to_owned()),
            (None, _) => Err(unknown()),
            _ => Err(Error::WhichField(secret.clone(), kind)),
        }
    }
}

/// The fields that every secret of the type has.
fn required(kind: Kind) -> impl Iterator<Item = &'static str> {
    let fields = match kind.shape() {
        Shape::Fields(fields) => fields,
        Shape::Free => &[],
    };
    fields
        .iter()
        .filter(|field| field.is_required)
        .map(|field| field.name)
}

/// Has a field typed, twice if it is stored, since nobody will see a mistake.
fn ask(field: &str, is_input: bool) -> Result<Zeroizing<Vec<u8>>, Error> {
    let typed = |prompt: String| {
        let typed = rpassword::prompt_password(prompt);
        let typed = typed.map_err(|error| Error::Prompt(field.to_owned(), error))?;
        Ok(Zeroizing::new(typed.into_bytes()))
    };
    let value = typed(format!("{field}: "))?;
    if !is_input && typed(format!("{field} again: "))? != value {
        return Err(Error::Mistyped(field.to_owned()));
    }
    Ok(value)
}

/// Reads at most `room` bytes.
pub(crate) fn load(input: &Input, room: u64) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut bytes = Zeroizing::new(Vec::new());
    let mut read = |from: &mut dyn Read| from.take(room + 1).read_to_end(&mut bytes);
    let outcome = match input {
        Input::Stdin => read(&mut io::stdin().lock()),
        Input::File(path) => File::open(path).and_then(|mut file| read(&mut file)),
    };
    outcome.map_err(|error| Error::Read(input.name(), error))?;
    if bytes.len() as u64 > room {
        return Err(Error::TooLarge);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(text: &str, kind: &str) -> (Option<String>, Input) {
        Part(OsString::from(text)).split(Kind::from_name(kind).ok())
    }

    #[test]
    fn a_part_is_a_file_and_perhaps_its_field() {
        let file = |path: &str| Input::File(path.into());
        for (text, field, input) in [
            ("tls.pem", None, file("tls.pem")),
            ("-", None, Input::Stdin),
            ("private-key=k.pem", Some("private-key"), file("k.pem")),
            ("private-key=-", Some("private-key"), Input::Stdin),
            ("password=a=b", Some("password"), file("a=b")),
            ("./a=b", None, file("./a=b")),
            ("=b", None, file("=b")),
        ] {
            let expected = (field.map(str::to_owned), input);
            for kind in ["keystore", "key-value", "new"] {
                assert_eq!(part(text, kind), expected, "{text:?}");
            }
        }
        let variable = (Some("A_B".to_owned()), file("b"));
        assert_eq!(part("A_B=b", "key-value"), variable);
        assert_eq!(part("A_B=b", "keystore"), (None, file("A_B=b")));
    }

    #[test]
    fn a_file_without_a_field_is_for_the_one_that_is_missing() {
        let left = |kind: &str, has: &[&str]| {
            let has = has.iter().map(|name| Field {
                name: (*name).to_owned(),
                value: Vec::new(),
            });
            let given = Given {
                kind: Kind::from_name(kind).ok(),
                fields: has.collect(),
                room: 0,
            };
            let secret = crate::element::secret("web/x").unwrap();
            given.left(&secret, kind, &Input::Stdin).ok()
        };
        for (kind, has, field) in [
            ("password", &[][..], Some("password")),
            ("api-key", &["id"], Some("key")),
            ("basic-auth", &["username"], Some("password")),
            ("symmetric-key", &["algorithm"], Some("key")),
            ("keystore", &[], None),
            ("password", &["password"], None),
            ("key-value", &[], None),
            ("new", &[], None),
        ] {
            assert_eq!(left(kind, has).as_deref(), field, "{kind} {has:?}");
        }
    }
}
