//! The process `custodyd`: parses its arguments, does what they say, prints why not.

use std::{alloc::System, process::ExitCode};

use clap::Parser as _;
use zeroizing_alloc::ZeroAlloc;

mod api;
mod appoint;
mod attest;
mod backup;
mod change_pin;
mod cli;
mod config;
mod custodian;
mod dev;
mod doctor;
mod drill;
mod enroll;
mod harden;
mod history;
mod init;
mod journal;
mod kernel;
mod listen;
mod log;
mod metrics;
mod names;
mod progress;
mod restore;
mod row_key;
mod run;
mod store;
mod threads;
mod throttle;
mod tokens;
mod turns;
mod unpack;
mod vault;

/// Every block of memory is wiped when it is freed: buffers of tonic, prost and
/// cryptoki, too, which no type of ours reaches.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> ExitCode {
    cli::Arguments::parse().run()
}
