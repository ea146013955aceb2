//! The two gRPC services, and the one table of what their callers may know of an error.

use std::sync::Arc;

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
    text.parse().map_err(|problem: T::Err| Error::Malformed {
        field,
        text: text.chars().take(LONGEST_ECHO).collect(),
        problem: problem.to_string(),
    })
}

/// How much of a malformed text comes back in the error.
const LONGEST_ECHO: usize = 100;
