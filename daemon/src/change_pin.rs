//! `custodyd hsm change-pin`: the token takes the next PIN of its configuration.

use std::path::PathBuf;

use hsm::doctor::Outcome;

use crate::{
    cli::say,
    config::{self, Config},
    doctor::{document, lines, quiet},
    harden, log,
    run::Failure,
};

/// The arguments of `hsm change-pin`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The configuration.
    #[arg(value_name = "FILE", default_value = crate::cli::CONFIG)]
    config: PathBuf,
    /// Which token, by label or serial number, if the configuration has several.
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// One JSON document in place of a table.
    #[arg(long)]
    json: bool,
}

/// Why no PIN was changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the configuration has several tokens: say which by --token")]
    SeveralTokens,
    #[error("the token is not known to have the next PIN")]
    NotChanged,
}

/// Changes the PIN, and says what was done.
pub(crate) fn change_pin(options: &Options) -> Result<(), Failure> {
    log::install(log::Format::default(), log::Level::Error);
    harden::shield();
    let config = config::read(&options.config)?;
    let settings = quiet(chosen(&config, options.token.as_deref())?);
    let report = hsm::pin::change(&settings);
    let changed = report.outcome() != Outcome::Refused;
    let verdict = match changed {
        true => {
            "The token has the next PIN, and logins of custodyd are with it. Reload custodyd, which shows that it serves; then make it token.pin, take token.next-pin out, and reload once more."
        }
        false => "The token is not known to have the next PIN.",
    };
    match options.json {
        true => say(&document(&report, "changed", changed)),
        false => say(&format!("{}\n{verdict}", lines(&report))),
    }
    match changed {
        true => Ok(()),
        false => Err(Error::NotChanged.into()),
    }
}

fn chosen(config: &Config, name: Option<&str>) -> Result<hsm::Settings, Failure> {
    match (name, config.tokens.len()) {
        (Some(name), _) => Ok(config.worker(config.place_of(name)?)),
        (None, 1) => Ok(config.worker(0)),
        (None, _) => Err(Error::SeveralTokens.into()),
    }
}
