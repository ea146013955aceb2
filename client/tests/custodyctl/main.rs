//! The command against a custodyd that fails on demand, over real sockets.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod about;
mod backup;
mod cache;
mod canned;
mod compliance;
mod context;
mod expiring;
mod failing;
mod grant;
mod hsm;
mod import;
mod inject;
mod journal;
mod keys;
mod lists;
mod output;
mod put;
mod released;
mod role;
mod rotate;
mod terminal;
