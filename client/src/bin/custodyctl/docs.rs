//! Completion scripts and manual pages, made from the command line's definition.

use std::path::Path;

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::{args::Cli, failure::Failure, output};

pub(crate) fn completions(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "custodyctl", &mut script);
    output::write(&script)
}

pub(crate) fn man(directory: &Path) -> Result<(), Failure> {
    clap_mangen::generate_to(Cli::command(), directory)
        .map_err(|error| Failure::Man(directory.display().to_string(), error))
}
