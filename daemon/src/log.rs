//! The log, on standard error: text for people, JSON for collectors.

use std::{
    env,
    io::{self, IsTerminal as _},
    str::FromStr,
    sync::OnceLock,
};

use serde::Deserialize;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    Layer as _, Registry, layer::SubscriberExt as _, reload, util::SubscriberInitExt as _,
};

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Format {
    #[default]
    Text,
    Json,
}

/// How much is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Level {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
}

/// The worker is told by its environment how to log; nothing else is in there.
const FORMAT: &str = "CUSTODYD_LOG_FORMAT";
const LEVEL: &str = "CUSTODYD_LOG_LEVEL";

impl Format {
    pub(crate) fn from_environment() -> Self {
        match env::var(FORMAT).as_deref() {
            Ok("json") => Self::Json,
            _ => Self::Text,
        }
    }
}

impl Level {
    pub(crate) fn from_environment() -> Self {
        let value = env::var(LEVEL).unwrap_or_default();
        match LevelFilter::from_str(&value) {
            Ok(LevelFilter::ERROR) => Self::Error,
            Ok(LevelFilter::WARN) => Self::Warn,
            Ok(LevelFilter::DEBUG) => Self::Debug,
            _ => Self::Info,
        }
    }

    fn filter(self) -> LevelFilter {
        match self {
            Self::Error => LevelFilter::ERROR,
            Self::Warn => LevelFilter::WARN,
            Self::Info => LevelFilter::INFO,
            Self::Debug => LevelFilter::DEBUG,
        }
    }
}

/// What makes a worker log like its daemon.
pub(crate) fn environment(format: Format, level: Level) -> Vec<(String, String)> {
    let format = match format {
        Format::Text => "text",
        Format::Json => "json",
    };
    vec![
        (FORMAT.into(), format.into()),
        (LEVEL.into(), level.filter().to_string()),
    ]
}

static HANDLE: OnceLock<reload::Handle<LevelFilter, Registry>> = OnceLock::new();

/// Installs the log. The first call counts.
pub(crate) fn install(format: Format, level: Level) {
    let (filter, handle) = reload::Layer::new(level.filter());
    if HANDLE.set(handle).is_err() {
        return set_level(level);
    }
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    let lines = match format {
        Format::Text => lines.with_target(false).boxed(),
        Format::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .init();
}

/// Changes how much is said from now on.
pub(crate) fn set_level(level: Level) {
    if let Some(handle) = HANDLE.get() {
        // It fails only if the log is gone, which is when the process ends.
        drop(handle.reload(level.filter()));
    }
}
