//! The two gRPC services, and the one table of what their callers may know of an error.

use std::sync::Arc;

use custody::secret::version::Which;
use tonic::Request;

use crate::{attest::Peer, custodian::Error};

pub(crate) mod gate;
pub(crate) mod manager;
pub(crate) mod provider;
pub(crate) mod status;
mod view;

/// The peer that a request came from.
fn peer<T>(request: &Request<T>) -> Arc<Peer> {
    let peer: Option<&Arc<Peer>> = request.extensions().get();
    Arc::clone(peer.expect("the listener pins the peer of every connection"))
}

/// A name, pattern, selector or id in a request.
fn parse<T>(field: &'static str, text: &str) -> Result<T, Error>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    let parsed = text.parse();
    parsed.map_err(|problem: T::Err| malformed(field, text, &problem.to_string()))
}

fn malformed(field: &'static str, text: &str, problem: &str) -> Error {
    Error::Malformed {
        field,
        text: text.chars().take(LONGEST_ECHO).collect(),
        problem: problem.to_owned(),
    }
}

/// The version that a request names: by number, by part, or not at all.
fn which(number: Option<u32>, part: Option<&str>) -> Result<Which, Error> {
    match (number, part) {
        (None, None) => Ok(Which::Current),
        (Some(number), None) => parse("version", &number.to_string()),
        (None, Some(part)) => parse("which", part),
        (Some(number), Some(part)) => {
            let problem = format!("version {number} is named already");
            Err(malformed("which", part, &problem))
        }
    }
}

/// How much of a malformed text comes back in the error.
const LONGEST_ECHO: usize = 100;
