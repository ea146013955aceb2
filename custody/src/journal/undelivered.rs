//! What keeps from a caller what it was allowed.

use serde::Serialize;

use crate::caller::observation::Drift;

/// Why something that was allowed did not reach the caller.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "cause", rename_all = "kebab-case")]
pub enum Undelivered {
    /// The caller is not the one that was attested any more.
    Drift {
        /// In what.
        drift: Drift,
    },
    /// The token did not unwrap.
    Token {
        /// Why not.
        problem: String,
    },
    /// What is stored is not what was written.
    Tampered {
        /// What is wrong with it.
        problem: String,
    },
    /// The database did not answer.
    Database {
        /// Why not.
        problem: String,
    },
    /// The content cannot be written in the format that was asked for.
    Format {
        /// Why not.
        problem: String,
    },
    /// The version was destroyed, its content renewed, or its secret deleted, meanwhile.
    Overtaken,
    /// Too many others waited to have theirs written in a format.
    Busy,
}
