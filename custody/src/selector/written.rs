//! Selectors as people write them: with names of users and groups in place of numbers.

use std::str::FromStr;

use super::{Error, Selector, text};

/// A selector, or a name that stands for one until it is looked up.
///
/// A grant holds the number: whoever has it decides, and a name could come to mean
/// someone else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// A selector.
    Selector(Selector),
    /// `unix:user:NAME`.
    User(String),
    /// `unix:group:NAME`.
    Group(String),
    /// `unix:supplementary_group:NAME`.
    SupplementaryGroup(String),
}

/// The longest name (`LOGIN_NAME_MAX` of Linux).
const NAME_MAX: usize = 256;

impl FromStr for Written {
    type Err = Error;

    fn from_str(written: &str) -> Result<Self, Error> {
        let named: fn(String) -> Self = match text::split(written) {
            Some(("unix:user", _)) => Self::User,
            Some(("unix:group", _)) => Self::Group,
            Some(("unix:supplementary_group", _)) => Self::SupplementaryGroup,
            _ => return written.parse().map(Self::Selector),
        };
        let name = text::split(written).map_or("", |(_, name)| name);
        let fine = !name.is_empty()
            && name.len() < NAME_MAX
            && !name.contains([':', '/'])
            && !name.chars().any(|c| c.is_control() || c.is_whitespace());
        fine.then(|| named(name.to_owned()))
            .ok_or_else(|| Error::Name(written.to_owned()))
    }
}
