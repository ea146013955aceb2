//! The token of custodyd: the worker process that alone holds it, and the client that talks to the worker.
//!
//! The vendor's PKCS#11 library runs in a process of its own, [`worker()`], which has one
//! life: initialise, find the token, log in once, resolve the keys, open the canaries,
//! serve, exit. A dead session is replaced within it; anything worse ends it, and
//! [`Client`] starts a successor. The PIN is known to workers only.
//!
//! A wrong PIN is tried once: see [`Settings::pin_latch`].
#![forbid(unsafe_code)]

mod client;
mod code;
pub mod doctor;
mod error;
mod latch;
pub mod pin;
mod profile;
pub mod settings;
mod succession;
pub mod token;
mod wire;
mod worker;

pub use client::{
    Client,
    canary::Canary,
    health::{Breaker, Health, WorkerHealth, WorkerState},
    holders::{Holder, Reads, unwrap_dek},
    known::{KeyRole, KnownKey, NewGmk, NewJournalKey},
    meters::Meters,
    reveal::Unopened,
};
pub use code::{Class, CodeOverride, CodeOverrideError};
pub use error::{Error, PinProblem, Refusal};
pub use profile::Profile;
pub use settings::{Codes, PinSource, Settings};
pub use token::{TokenDescription, TokenSelector};
pub use worker::{doctor::doctor, worker};
