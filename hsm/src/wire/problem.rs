//! Errors on the wire: a code and its parts, never a sentence to be parsed.

use std::{
    ffi::OsString,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::{Path, PathBuf},
};

use custody::{envelope::Wrapping, name::KeyId};
use prost::{Enumeration, Message};

use super::Token;
use crate::{Error, PinProblem, Refusal, TokenDescription};

/// An [`Error`] in parts.
#[derive(Message)]
pub(crate) struct Problem {
    #[prost(enumeration = "Code", tag = "1")]
    code: i32,
    #[prost(bytes = "vec", tag = "2")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    path: Vec<u8>,
    #[prost(uint32, tag = "4")]
    number: u32,
    #[prost(uint32, tag = "5")]
    other: u32,
    #[prost(string, tag = "6")]
    text: String,
    #[prost(string, tag = "7")]
    more: String,
    #[prost(message, repeated, tag = "8")]
    tokens: Vec<Token>,
    #[prost(message, repeated, tag = "9")]
    tried: Vec<Tried>,
}

#[derive(Message)]
pub(crate) struct Tried {
    #[prost(string, tag = "1")]
    wrapping: String,
    #[prost(string, tag = "2")]
    why: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Enumeration)]
#[repr(i32)]
enum Code {
    Unknown = 0,
    NoSuchToken = 1,
    AmbiguousToken = 2,
    PinRefused = 3,
    PinLatched = 4,
    PinUnanswered = 5,
    LatchUnusable = 6,
    PinLocked = 7,
    PinFinalTry = 8,
    PinNoCredential = 9,
    PinLax = 10,
    PinForeign = 11,
    PinUnreadable = 12,
    PinNoTerminal = 13,
    PinEmpty = 14,
    PinTooLong = 15,
    NoSuchKey = 16,
    AmbiguousKey = 17,
    NonConforming = 18,
    CanaryDoesNotOpen = 19,
    KeyRefused = 20,
    KeyNotLoaded = 21,
    NoWrapping = 22,
    Deadline = 23,
    Restarting = 24,
    Busy = 25,
    Stopped = 26,
    DoesNotOpen = 27,
    ContentDoesNotOpen = 28,
    Token = 29,
    ModuleUnusable = 30,
    WorkerUnusable = 31,
    OtherVersion = 32,
    Outage = 33,
    NoSigning = 34,
}

impl From<&TokenDescription> for Token {
    fn from(token: &TokenDescription) -> Self {
        Self {
            label: token.label.clone(),
            serial: token.serial.clone(),
            manufacturer: token.manufacturer.clone(),
            model: token.model.clone(),
            module: bytes(&token.module),
        }
    }
}

impl From<Token> for TokenDescription {
    fn from(token: Token) -> Self {
        Self {
            label: token.label,
            serial: token.serial,
            manufacturer: token.manufacturer,
            model: token.model,
            module: path(token.module),
        }
    }
}

pub(crate) fn bytes(path: &Path) -> Vec<u8> {
    path.as_os_str().as_bytes().to_vec()
}

pub(crate) fn path(bytes: Vec<u8>) -> PathBuf {
    OsString::from_vec(bytes).into()
}

impl From<&Error> for Problem {
    fn from(error: &Error) -> Self {
        let mut parts = Self::default();
        let code = match error {
            Error::NoSuchToken { wanted, candidates } => {
                parts.text = wanted.to_string();
                parts.tokens = candidates.iter().map(Into::into).collect();
                Code::NoSuchToken
            }
            Error::AmbiguousToken { wanted, candidates } => {
                parts.text = wanted.to_string();
                parts.tokens = candidates.iter().map(Into::into).collect();
                Code::AmbiguousToken
            }
            Error::PinRefused { path } => parts.at(path, Code::PinRefused),
            Error::PinLatched { path } => parts.at(path, Code::PinLatched),
            Error::PinUnanswered { path } => parts.at(path, Code::PinUnanswered),
            Error::LatchUnusable { path, why } => {
                parts.text = why.clone();
                parts.at(path, Code::LatchUnusable)
            }
            Error::PinLocked => Code::PinLocked,
            Error::PinFinalTry => Code::PinFinalTry,
            Error::PinUnavailable(problem) => parts.pin(problem),
            Error::NoSuchKey { id } => parts.of(id, Code::NoSuchKey),
            Error::AmbiguousKey { id, count } => {
                parts.number = *count;
                parts.of(id, Code::AmbiguousKey)
            }
            Error::NonConforming { id, why } => {
                parts.text = why.clone();
                parts.of(id, Code::NonConforming)
            }
            Error::CanaryDoesNotOpen { id } => parts.of(id, Code::CanaryDoesNotOpen),
            Error::KeyRefused { id, reason } => {
                parts.text = reason.clone();
                parts.of(id, Code::KeyRefused)
            }
            Error::KeyNotLoaded { id } => parts.of(id, Code::KeyNotLoaded),
            Error::NoWrapping { tried } => {
                parts.tried = tried.iter().map(Into::into).collect();
                Code::NoWrapping
            }
            Error::NoSigning { tried } => {
                parts.text = tried.clone();
                Code::NoSigning
            }
            Error::Deadline => Code::Deadline,
            Error::Restarting => Code::Restarting,
            Error::Outage { problem } => {
                parts.text = problem.clone();
                Code::Outage
            }
            Error::Busy => Code::Busy,
            Error::Stopped => Code::Stopped,
            Error::DoesNotOpen { gmk } => parts.of(gmk, Code::DoesNotOpen),
            Error::ContentDoesNotOpen => Code::ContentDoesNotOpen,
            Error::Token { function, code } => {
                (parts.text, parts.more) = (function.clone(), code.clone());
                Code::Token
            }
            Error::ModuleUnusable { module, why } => {
                parts.text = why.clone();
                parts.at(module, Code::ModuleUnusable)
            }
            Error::WorkerUnusable(why) => {
                parts.text = why.clone();
                Code::WorkerUnusable
            }
            Error::OtherVersion { ours, theirs } => {
                (parts.number, parts.other) = (*ours, *theirs);
                Code::OtherVersion
            }
        };
        parts.set_code(code);
        parts
    }
}

impl Problem {
    fn of(&mut self, id: &KeyId, code: Code) -> Code {
        self.key = id.as_bytes().to_vec();
        code
    }

    fn at(&mut self, path: &Path, code: Code) -> Code {
        self.path = bytes(path);
        code
    }

    fn pin(&mut self, problem: &PinProblem) -> Code {
        match problem {
            PinProblem::Lax { path, mode } => {
                self.number = *mode;
                self.at(path, Code::PinLax)
            }
            PinProblem::Foreign { path, owner } => {
                self.number = *owner;
                self.at(path, Code::PinForeign)
            }
            PinProblem::Unreadable { what, why } => {
                (self.text, self.more) = (what.clone(), why.clone());
                Code::PinUnreadable
            }
            PinProblem::NoCredential(text) => self.saying(text, Code::PinNoCredential),
            PinProblem::NoTerminal(text) => self.saying(text, Code::PinNoTerminal),
            PinProblem::Empty(text) => self.saying(text, Code::PinEmpty),
            PinProblem::TooLong(text) => self.saying(text, Code::PinTooLong),
        }
    }

    fn saying(&mut self, text: &str, code: Code) -> Code {
        text.clone_into(&mut self.text);
        code
    }

    /// The error again; `None` if the parts do not fit together.
    fn put_together(self) -> Option<Error> {
        let code = self.code();
        let key = KeyId::from_bytes(&self.key);
        let tokens = self.tokens.into_iter().map(Into::into).collect();
        let path = path(self.path);
        let (text, number) = (self.text, self.number);
        Some(match code {
            Code::Unknown => return None,
            Code::NoSuchToken => Error::NoSuchToken {
                wanted: Box::new(text.parse().ok()?),
                candidates: tokens,
            },
            Code::AmbiguousToken => Error::AmbiguousToken {
                wanted: Box::new(text.parse().ok()?),
                candidates: tokens,
            },
            Code::PinRefused => Error::PinRefused { path },
            Code::PinLatched => Error::PinLatched { path },
            Code::PinUnanswered => Error::PinUnanswered { path },
            Code::LatchUnusable => Error::LatchUnusable { path, why: text },
            Code::PinLocked => Error::PinLocked,
            Code::PinFinalTry => Error::PinFinalTry,
            Code::PinNoCredential => PinProblem::NoCredential(text).into(),
            Code::PinLax => PinProblem::Lax { path, mode: number }.into(),
            Code::PinForeign => PinProblem::Foreign {
                path,
                owner: number,
            }
            .into(),
            Code::PinUnreadable => PinProblem::Unreadable {
                what: text,
                why: self.more,
            }
            .into(),
            Code::PinNoTerminal => PinProblem::NoTerminal(text).into(),
            Code::PinEmpty => PinProblem::Empty(text).into(),
            Code::PinTooLong => PinProblem::TooLong(text).into(),
            Code::NoSuchKey => Error::NoSuchKey { id: key? },
            Code::AmbiguousKey => Error::AmbiguousKey {
                id: key?,
                count: number,
            },
            Code::NonConforming => Error::NonConforming {
                id: key?,
                why: text,
            },
            Code::CanaryDoesNotOpen => Error::CanaryDoesNotOpen { id: key? },
            Code::KeyRefused => Error::KeyRefused {
                id: key?,
                reason: text,
            },
            Code::KeyNotLoaded => Error::KeyNotLoaded { id: key? },
            Code::NoSigning => Error::NoSigning { tried: text },
            Code::NoWrapping => Error::NoWrapping {
                tried: self
                    .tried
                    .into_iter()
                    .map(Tried::refusal)
                    .collect::<Option<_>>()?,
            },
            Code::Deadline => Error::Deadline,
            Code::Restarting => Error::Restarting,
            Code::Outage => Error::Outage { problem: text },
            Code::Busy => Error::Busy,
            Code::Stopped => Error::Stopped,
            Code::DoesNotOpen => Error::DoesNotOpen { gmk: key? },
            Code::ContentDoesNotOpen => Error::ContentDoesNotOpen,
            Code::Token => Error::Token {
                function: text,
                code: self.more,
            },
            Code::ModuleUnusable => Error::ModuleUnusable {
                module: path,
                why: text,
            },
            Code::WorkerUnusable => Error::WorkerUnusable(text),
            Code::OtherVersion => Error::OtherVersion {
                ours: number,
                theirs: self.other,
            },
        })
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        let unclear = || Self::WorkerUnusable("it reported a problem of no known kind".to_owned());
        problem.put_together().unwrap_or_else(unclear)
    }
}

impl From<&Refusal> for Tried {
    fn from(refusal: &Refusal) -> Self {
        Self {
            wrapping: refusal.wrapping.name().to_owned(),
            why: refusal.why.clone(),
        }
    }
}

impl Tried {
    fn refusal(self) -> Option<Refusal> {
        Some(Refusal {
            wrapping: Wrapping::from_name(&self.wrapping)?,
            why: self.why,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TokenSelector;

    #[test]
    fn an_error_survives_the_wire() {
        let id = KeyId::from_bytes(&[1; 16]).unwrap();
        let token = TokenDescription {
            label: "a b".into(),
            serial: "1".into(),
            manufacturer: "m".into(),
            model: "n".into(),
            module: "/m.so".into(),
        };
        for error in [
            Error::NoSuchToken {
                wanted: Box::new(TokenSelector::new("a;b%".into(), "1".into())),
                candidates: vec![token.clone(), token],
            },
            Error::PinRefused { path: "/l".into() },
            PinProblem::Lax {
                path: "/p".into(),
                mode: 0o644,
            }
            .into(),
            Error::AmbiguousKey { id, count: 2 },
            Error::NoWrapping {
                tried: vec![Refusal {
                    wrapping: Wrapping::AesKwp,
                    why: "w".into(),
                }],
            },
            Error::NoSigning { tried: "t".into() },
            Error::Token {
                function: "C_Sign".into(),
                code: "CKR_X".into(),
            },
            Error::OtherVersion { ours: 1, theirs: 2 },
        ] {
            let sent = Problem::from(&error).encode_to_vec();
            let received = Problem::decode(&*sent).unwrap();
            assert_eq!(Error::from(received), error);
        }
    }
}
