//! Reads a secret's content from files and standard input; it is never on the command line.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, IsTerminal as _, Read},
    mem,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::PathBuf,
};

use client::v1::Field;
use custody::name::SecretId;
use zeroize::Zeroizing;

use crate::failure::Exit;

/// The most content that custodyd takes for one version, in bytes.
const MAX: u64 = 1 << 20;

/// A text that names no content, or content that cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("a keystore has two fields, so a file must say which it is for")]
    KeystoreField(SecretId),
    #[error("the type {0:?} does not tell which field {1} is for; write FIELD=FILE")]
    UnknownField(String, String),
    #[error("the field {0} is given twice")]
    Twice(String),
    #[error("standard input cannot be two fields")]
    StdinTwice,
    #[error("no file is given, and standard input is a terminal, which would show what you type")]
    Typed,
    #[error("cannot read {0}")]
    Read(String, #[source] io::Error),
    #[error("the content is larger than 1 MiB, the most that custodyd keeps for a secret")]
    TooLarge,
}

impl Error {
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Read(..) | Self::TooLarge => Exit::Invalid,
            _ => Exit::Usage,
        }
    }

    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::KeystoreField(secret) => Some(format!(
                "custodyctl secret put {secret} --type keystore certificate-chain=tls.crt \
                 private-key=tls.key"
            )),
            Self::Typed => Some("name a file, or pipe the content in".to_owned()),
            _ => None,
        }
    }
}

/// One `[FIELD=]FILE` of the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    field: Option<String>,
    input: Input,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Input {
    Stdin,
    File(PathBuf),
}

impl From<OsString> for Part {
    /// `a=b` is the file `b` for the field `a`; the file `a=b` is written `./a=b`.
    fn from(text: OsString) -> Self {
        let bytes = text.as_bytes();
        let split = bytes
            .iter()
            .position(|&b| b == b'=')
            .filter(|&at| is_field(&bytes[..at]));
        match split {
            Some(at) => Self {
                field: Some(String::from_utf8_lossy(&bytes[..at]).into_owned()),
                input: Input::from(OsStr::from_bytes(&bytes[at + 1..])),
            },
            None => Self {
                field: None,
                input: Input::from(&*text),
            },
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
    fn name(&self) -> String {
        match self {
            Self::Stdin => "standard input".to_owned(),
            Self::File(path) => path.display().to_string(),
        }
    }
}

/// Reads the fields of a secret of type `kind`.
pub(crate) fn read(secret: &SecretId, kind: &str, parts: Vec<Part>) -> Result<Vec<Field>, Error> {
    let parts = if parts.is_empty() {
        vec![piped(secret, kind)?]
    } else {
        parts
    };
    if parts.iter().filter(|p| p.input == Input::Stdin).count() > 1 {
        return Err(Error::StdinTwice);
    }
    let mut fields: Vec<Field> = Vec::new();
    let mut room = MAX;
    for Part { field, input } in parts {
        let name = match field {
            Some(name) => name,
            None => only_field(secret, kind, &input)?.to_owned(),
        };
        if fields.iter().any(|field| field.name == name) {
            return Err(Error::Twice(name));
        }
        let mut value = load(&input, room)?;
        room -= value.len() as u64;
        if kind == "password" && value.last() == Some(&b'\n') {
            value.pop();
        }
        fields.push(Field {
            name,
            value: mem::take(&mut *value),
        });
    }
    Ok(fields)
}

/// What no file at all means.
fn piped(secret: &SecretId, kind: &str) -> Result<Part, Error> {
    let field = only_field(secret, kind, &Input::Stdin)?;
    if io::stdin().is_terminal() {
        return Err(Error::Typed);
    }
    Ok(Part {
        field: Some(field.to_owned()),
        input: Input::Stdin,
    })
}

/// The field of a type that has one. What a type really holds, custodyd knows.
fn only_field(secret: &SecretId, kind: &str, input: &Input) -> Result<&'static str, Error> {
    match kind {
        "password" => Ok("password"),
        "blob" => Ok("content"),
        "keystore" => Err(Error::KeystoreField(secret.clone())),
        _ => Err(Error::UnknownField(kind.to_owned(), input.name())),
    }
}

fn load(input: &Input, room: u64) -> Result<Zeroizing<Vec<u8>>, Error> {
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

    fn part(text: &str) -> (Option<String>, Input) {
        let Part { field, input } = Part::from(OsString::from(text));
        (field, input)
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
            ("A=b", None, file("A=b")),
        ] {
            let expected = (field.map(str::to_owned), input);
            assert_eq!(part(text), expected, "{text:?}");
        }
    }
}
