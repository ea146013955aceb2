//! `make bench`: what the token can do, what the socket can do, and what share of the two a fetch gets.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what fails here ends the measurement, which is printed"
)]

use std::env;

mod attest;
mod empty;
mod groups;
mod installation;
mod load;
mod machine;
mod report;
mod rotation;
mod scale;
mod settings;
mod token;

use installation::{Installation, Place};
use report::Report;
use settings::{Part, Settings};

fn main() {
    let arguments: Vec<String> = env::args().collect();
    // This program is also the other process of its own measurements.
    match arguments.get(1).map(String::as_str) {
        Some(token::ROLE) => return token::measure(&arguments[2..]),
        Some(empty::ROLE) => return empty::serve(&arguments[2]),
        _ => {}
    }
    let settings = Settings::from_environment();
    let mut report = Report::begin(&settings);
    if settings.has(Part::Token) {
        report.token(&token::run(&settings));
    }
    runtime().block_on(calls(&settings, &mut report));
    report.limit();
    if settings.has(Part::Attest) {
        report::attest(&runtime().block_on(attest::run(&settings)));
    }
    if settings.has(Part::Scale) {
        report.scale(&runtime().block_on(scale::run(&settings)));
    }
    if settings.has(Part::Groups) {
        report::groups(&runtime().block_on(groups::run(&settings)));
    }
    if settings.has(Part::Rotation) {
        report::rotation(&runtime().block_on(rotation::run(&settings)));
    }
}

/// The rows of the table that are calls, in turns, so that a slow moment of the machine
/// falls on all of them.
async fn calls(settings: &Settings, report: &mut Report) {
    let empty = empty::Server::start();
    let disk = Installation::new(Place::Disk);
    let memory = Installation::new(Place::Memory);
    let (on_disk, in_memory) = (disk.start(), memory.start());
    let mut rows = Vec::new();
    if settings.has(Part::Empty) {
        rows.push((Part::Empty, empty.target()));
    }
    for (part, installation) in [(Part::Fetch, &disk), (Part::Memory, &memory)] {
        if settings.has(part) {
            installation.furnish(settings::FEW).await;
            rows.push((part, installation.target(settings::FEW)));
        }
    }
    report.calls(load::in_turns(settings, &rows).await);
    on_disk.stop();
    in_memory.stop();
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}
