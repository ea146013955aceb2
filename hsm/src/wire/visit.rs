//! Messages of an examination: what is to be examined, and what is found, one by one.

use prost::{Enumeration, Message, Oneof};

use super::{Hello, Token};

/// The only message to the process that examines.
#[derive(Message)]
pub(crate) struct Visit {
    #[prost(message, optional, tag = "1")]
    pub(crate) hello: Option<Hello>,
    #[prost(enumeration = "Task", tag = "2")]
    pub(crate) task: i32,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Enumeration)]
#[repr(i32)]
pub(crate) enum Task {
    /// Try everything that is wanted of the token.
    Examine = 0,
    /// Only say which tokens there are: no token is named, and nobody logs in.
    List = 1,
    /// Change the PIN to the next one.
    ChangePin = 2,
    /// Only log in.
    LogIn = 3,
}

/// What it says.
#[derive(Message)]
pub(crate) struct Word {
    #[prost(oneof = "Said", tags = "1, 2, 3, 4, 5, 6, 7")]
    pub(crate) said: Option<Said>,
}

/// A word's content.
#[derive(Oneof)]
pub(crate) enum Said {
    /// What is tried from here on: what is to blame for a silence.
    #[prost(string, tag = "1")]
    Step(String),
    #[prost(message, tag = "2")]
    Finding(Finding),
    /// A token that the module offers.
    #[prost(message, tag = "3")]
    Offered(Token),
    /// The token that is examined.
    #[prost(message, tag = "4")]
    Chosen(Token),
    /// The module's profile.
    #[prost(string, tag = "5")]
    Profile(String),
    /// Whether somebody is being asked for the PIN.
    #[prost(bool, tag = "6")]
    Asking(bool),
    /// That is all.
    #[prost(bool, tag = "7")]
    End(bool),
}

/// What came of a step.
#[derive(Message)]
pub(crate) struct Finding {
    #[prost(enumeration = "Grade", tag = "1")]
    pub(crate) grade: i32,
    #[prost(string, tag = "2")]
    pub(crate) found: String,
    #[prost(string, tag = "3")]
    pub(crate) advice: String,
}

/// How good that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Enumeration)]
#[repr(i32)]
pub(crate) enum Grade {
    Fine = 0,
    Note = 1,
    Warning = 2,
    Refused = 3,
}
