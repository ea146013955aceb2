//! The words grants use to name callers.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::caller::{Evidence, cgroup};

/// One property of a caller. A grant demands all of several; there is no negation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Selector {
    /// `unix:uid:N`: every user id of the process is `N`.
    Uid(u32),
    /// `unix:gid:N`: every group id of the process is `N`.
    Gid(u32),
    /// `systemd:id:UNIT`: the process is in this unit of the system's manager.
    Unit(String),
    /// `unix:path:PATH`: the process executes the file at this path. It names the
    /// program, not the code in it: whoever has the same uid can borrow it.
    Path(String),
}

/// A text that is no selector.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// No such kind.
    #[error(
        "{0:?} is no selector; there are unix:uid:N, unix:gid:N, systemd:id:UNIT and unix:path:PATH"
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
}

impl Selector {
    /// Whether the caller that `evidence` proves has this property.
    pub fn matches(&self, evidence: &Evidence) -> bool {
        match self {
            Self::Uid(uid) => evidence.uid == *uid,
            Self::Gid(gid) => evidence.gid == *gid,
            Self::Unit(unit) => evidence.unit.as_ref() == Some(unit),
            Self::Path(path) => evidence.exe.as_ref() == Some(path),
        }
    }

    /// Whether a caller can be told from others by this alone: an executable can be
    /// run, and a group joined, by too many.
    pub fn identifies(&self) -> bool {
        matches!(self, Self::Uid(_) | Self::Unit(_))
    }
}

impl FromStr for Selector {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        // The kernel uses the highest id for "none".
        let number = |digits: &str| match digits.parse() {
            Ok(id) if id != u32::MAX && digits.bytes().all(|b| b.is_ascii_digit()) => Ok(id),
            _ => Err(Error::Number(text.to_owned())),
        };
        if let Some(digits) = text.strip_prefix("unix:uid:") {
            number(digits).map(Self::Uid)
        } else if let Some(digits) = text.strip_prefix("unix:gid:") {
            number(digits).map(Self::Gid)
        } else if let Some(unit) = text.strip_prefix("systemd:id:") {
            cgroup::is_unit(unit)
                .then(|| Self::Unit(unit.to_owned()))
                .ok_or_else(|| Error::Unit(text.to_owned()))
        } else if let Some(path) = text.strip_prefix("unix:path:") {
            is_plain(path)
                .then(|| Self::Path(path.to_owned()))
                .ok_or_else(|| Error::Path(text.to_owned()))
        } else {
            Err(Error::Unknown(text.to_owned()))
        }
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
            Self::Unit(unit) => write!(f, "systemd:id:{unit}"),
            Self::Path(path) => write!(f, "unix:path:{path}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn selectors_survive_their_text() {
        for text in [
            "unix:uid:0",
            "unix:gid:4294967294",
            "systemd:id:foo@a\\x2db.service",
            "unix:path:/usr/sbin/nginx",
        ] {
            assert_eq!(text.parse::<Selector>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_selector_is_refused() {
        for text in [
            "",
            "uid:1",
            "unix:uid:",
            "unix:uid:-1",
            "unix:uid:+1",
            "unix:uid:4294967295",
            "unix:uid:1 ",
            "systemd:id:nginx",
            "systemd:id:a.slice",
            "unix:path:nginx",
            "unix:path:/",
            "unix:path:/usr/../bin/x",
            "unix:path:/usr//bin",
            "unix:path:/a\nb",
            "unix:sha256:00",
        ] {
            assert!(text.parse::<Selector>().is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_is_undone_by_printing(text in "\\PC{0,60}") {
            if let Ok(selector) = text.parse::<Selector>() {
                prop_assert_eq!(selector.to_string().parse::<Selector>(), Ok(selector));
            }
        }
    }
}
