//! Selectors as text.

use std::{fmt, str::FromStr};

use super::{Namespace, Selector};
use crate::caller::cgroup;

/// A text that is no selector.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// No such kind.
    #[error(
        "{0:?} is no selector; there are unix:uid, unix:user, unix:gid, unix:group, \
         unix:supplementary_gid, unix:supplementary_group, unix:path, unix:sha256, unix:verity, \
         systemd:id, systemd:fragment_path, systemd:invocation_id, systemd:user_unit, \
         container:id, k8s:pod-uid, namespace:mnt:host, namespace:user:host, \
         namespace:pid:host, lsm:label and process:traced:no"
    )]
    Unknown(String),
    /// The number is none.
    #[error("{0:?} wants a number below 4294967295")]
    Number(String),
    /// Not the name of a unit.
    #[error("{0:?} wants the full name of a unit, such as nginx.service")]
    Unit(String),
    /// Not an absolute path in its simplest form.
    #[error("{0:?} wants an absolute path without '.', '..', '//' or control characters")]
    Path(String),
    /// Not so many hexadecimal digits.
    #[error("{0:?} wants {1} hexadecimal digits in lower case")]
    Digits(String, usize),
    /// No digest that fs-verity makes.
    #[error("{0:?} wants sha256: and 64, or sha512: and 128 hexadecimal digits in lower case")]
    Verity(String),
    /// Not a UUID.
    #[error("{0:?} wants a UUID in lower case, such as 2c48913c-b29f-11e7-9350-020968147796")]
    Uuid(String),
    /// Not a label.
    #[error("{0:?} wants a label without control characters, of at most 255 bytes")]
    Label(String),
    /// Not the name of a user or group.
    #[error("{0:?} wants the name of a user or group")]
    Name(String),
}

impl FromStr for Selector {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let unknown = || Error::Unknown(text.to_owned());
        let (kind, value) = split(text).ok_or_else(unknown)?;
        let checked = |fine: bool, error: fn(String) -> Error| {
            fine.then(|| value.to_owned())
                .ok_or_else(|| error(text.to_owned()))
        };
        let digits = |count: usize| {
            let fine = value.len() == count && value.bytes().all(cgroup::is_hex);
            fine.then(|| value.to_owned())
                .ok_or_else(|| Error::Digits(text.to_owned(), count))
        };
        Ok(match kind {
            "unix:uid" => Self::Uid(number(text, value)?),
            "unix:gid" => Self::Gid(number(text, value)?),
            "unix:supplementary_gid" => Self::SupplementaryGid(number(text, value)?),
            "systemd:id" => Self::Unit(checked(cgroup::is_unit(value), Error::Unit)?),
            "systemd:fragment_path" => Self::Fragment(checked(is_plain(value), Error::Path)?),
            "systemd:invocation_id" => Self::Invocation(digits(32)?),
            "systemd:user_unit" => Self::UserUnit(checked(cgroup::is_unit(value), Error::Unit)?),
            "container:id" => Self::Container(digits(64)?),
            "k8s:pod-uid" => {
                let uuid = cgroup::pod_uid(value).as_deref() == Some(value);
                Self::Pod(checked(uuid, Error::Uuid)?)
            }
            "unix:path" => Self::Path(checked(is_plain(value), Error::Path)?),
            "unix:sha256" => Self::Sha256(digits(64)?),
            "unix:verity" => Self::Verity(checked(is_verity(value), Error::Verity)?),
            "lsm:label" => Self::Label(checked(is_label(value), Error::Label)?),
            "process:traced" if value == "no" => Self::Untraced,
            "namespace:mnt" | "namespace:user" | "namespace:pid" if value == "host" => {
                let mut kinds = Namespace::ALL.into_iter();
                let named = kinds.find(|namespace| kind.ends_with(namespace.name()));
                Self::Host(named.ok_or_else(unknown)?)
            }
            _ => return Err(unknown()),
        })
    }
}

/// Type and kind, and the value behind them.
pub(super) fn split(text: &str) -> Option<(&str, &str)> {
    let (at, _) = text.match_indices(':').nth(1)?;
    Some((&text[..at], &text[at + 1..]))
}

fn number(text: &str, digits: &str) -> Result<u32, Error> {
    match digits.parse() {
        // The kernel uses the highest id for "none".
        Ok(id) if id != u32::MAX && digits.bytes().all(|byte| byte.is_ascii_digit()) => Ok(id),
        _ => Err(Error::Number(text.to_owned())),
    }
}

/// The longest path (Linux's `PATH_MAX`).
const PATH_MAX: usize = 4096;

fn is_plain(path: &str) -> bool {
    path.len() < PATH_MAX
        && !path.chars().any(char::is_control)
        && path.strip_prefix('/').is_some_and(|rest| {
            rest.split('/')
                .all(|component| !matches!(component, "" | "." | ".."))
        })
}

fn is_verity(digest: &str) -> bool {
    let lengths = [("sha256:", 64), ("sha512:", 128)];
    let mut digits = lengths
        .iter()
        .filter_map(|(algorithm, length)| Some((digest.strip_prefix(algorithm)?, *length)));
    digits.any(|(digits, length)| digits.len() == length && digits.bytes().all(cgroup::is_hex))
}

/// The longest label there is room for in the journal and in tables.
const LABEL_MAX: usize = 255;

fn is_label(label: &str) -> bool {
    !label.is_empty() && label.len() <= LABEL_MAX && !label.chars().any(char::is_control)
}

impl TryFrom<String> for Selector {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Selector> for String {
    fn from(selector: Selector) -> Self {
        selector.to_string()
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uid(uid) => write!(f, "unix:uid:{uid}"),
            Self::Gid(gid) => write!(f, "unix:gid:{gid}"),
            Self::SupplementaryGid(gid) => write!(f, "unix:supplementary_gid:{gid}"),
            Self::Unit(unit) => write!(f, "systemd:id:{unit}"),
            Self::Fragment(path) => write!(f, "systemd:fragment_path:{path}"),
            Self::Invocation(id) => write!(f, "systemd:invocation_id:{id}"),
            Self::UserUnit(unit) => write!(f, "systemd:user_unit:{unit}"),
            Self::Container(id) => write!(f, "container:id:{id}"),
            Self::Pod(uid) => write!(f, "k8s:pod-uid:{uid}"),
            Self::Path(path) => write!(f, "unix:path:{path}"),
            Self::Sha256(hash) => write!(f, "unix:sha256:{hash}"),
            Self::Verity(digest) => write!(f, "unix:verity:{digest}"),
            Self::Host(namespace) => write!(f, "namespace:{}:host", namespace.name()),
            Self::Label(label) => write!(f, "lsm:label:{label}"),
            Self::Untraced => f.write_str("process:traced:no"),
        }
    }
}
