//! The command against a custodyd that fails on demand, over real sockets.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod about;
mod canned;
mod compliance;
mod expiring;
mod failing;
mod grant;
mod import;
mod journal;
mod output;
mod put;
mod released;
mod role;
mod rotate;
mod terminal;
