//! The configuration file: TOML, then `Raw`, then [`Config`].

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read as _},
    num::NonZeroUsize,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use custody::{caller::Operators, envelope::Wrapping, journal::CheckpointPolicy};
use hsm::{PinSource, TokenSelector};
use jiff::SignedDuration;
use nix::unistd::geteuid;
use serde::Deserialize;

use crate::log;

/// A configuration that makes sense. [`read`] is its only maker.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) state_directory: PathBuf,
    pub(crate) manager: PathBuf,
    pub(crate) provider: PathBuf,
    pub(crate) token: Token,
    pub(crate) segment_size: u64,
    pub(crate) connections: usize,
    pub(crate) log_format: log::Format,
    pub(crate) live: Live,
    /// Where it came from, to be read again.
    pub(crate) path: PathBuf,
}

/// What a running daemon can change to.
#[derive(Clone, Debug)]
pub(crate) struct Live {
    pub(crate) operators: Operators,
    pub(crate) checkpoint: CheckpointPolicy,
    pub(crate) log_level: log::Level,
    pub(crate) drain: Duration,
}

/// The token, and how to use it.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) module: PathBuf,
    pub(crate) selector: TokenSelector,
    pub(crate) pin: PinSource,
    pub(crate) sessions: NonZeroUsize,
    pub(crate) queue: NonZeroUsize,
    pub(crate) deadline: Duration,
    pub(crate) start_deadline: Duration,
    pub(crate) wrappings: Vec<Wrapping>,
    pub(crate) environment: Vec<(String, String)>,
}

/// A configuration that makes no sense.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", .path.display())]
pub(crate) struct Error {
    path: PathBuf,
    problem: Problem,
}

#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("it cannot be read: {0}")]
    Unreadable(io::Error),
    #[error("others than its owner may write it: chmod go-w it")]
    Lax,
    #[error("it belongs to uid {0}; it must be root's or the daemon's own")]
    Owner(u32),
    #[error("{0}")]
    Toml(Box<toml::de::Error>),
    #[error("{0} must be an absolute path, not {1:?}")]
    Relative(&'static str, PathBuf),
    #[error("listen.manager and listen.provider must be two sockets")]
    OneSocket,
    #[error("token needs label and serial, or uri; not both and not neither")]
    TokenName,
    #[error("token.uri: {0}")]
    TokenUri(hsm::token::ParseError),
    #[error("token.pin wants {{ credential = NAME }}, {{ file = PATH }}, {{ descriptor = N }} or \"prompt\"")]
    Pin,
    #[error("token.wrapping knows {known}; {0:?} is not among them", known = Wrapping::ALL.map(Wrapping::name).join(", "))]
    Wrapping(String),
    #[error("token.wrapping must name at least one algorithm")]
    NoWrapping,
    #[error("{0} must be more than nothing")]
    Zero(&'static str),
    #[error("{0} wants a size such as \"64MiB\", not {1:?}")]
    Size(&'static str, String),
    #[error("operators names nobody: nobody could use the manager socket")]
    NoOperators,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Raw {
    state_directory: PathBuf,
    listen: RawListen,
    operators: RawOperators,
    token: RawToken,
    #[serde(default)]
    journal: RawJournal,
    #[serde(default)]
    log: RawLog,
    #[serde(default)]
    limits: RawLimits,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawListen {
    manager: PathBuf,
    provider: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawOperators {
    #[serde(default)]
    uids: Vec<u32>,
    #[serde(default)]
    gids: Vec<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawToken {
    module: PathBuf,
    label: Option<String>,
    serial: Option<String>,
    uri: Option<String>,
    pin: RawPin,
    #[serde(default = "two")]
    sessions: NonZeroUsize,
    #[serde(default = "queue")]
    queue: NonZeroUsize,
    #[serde(default = "five_seconds")]
    deadline: SignedDuration,
    #[serde(default = "a_minute")]
    start_deadline: SignedDuration,
    #[serde(default = "all_wrappings")]
    wrapping: Vec<String>,
    #[serde(default)]
    environment: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawPin {
    Word(String),
    Source(RawPinSource),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
enum RawPinSource {
    Credential(String),
    File(PathBuf),
    Descriptor(i32),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct RawJournal {
    segment_size: String,
    checkpoint_entries: u64,
    checkpoint_interval: SignedDuration,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct RawLog {
    format: log::Format,
    level: log::Level,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct RawLimits {
    connections: usize,
    drain: SignedDuration,
}

fn two() -> NonZeroUsize {
    NonZeroUsize::MIN.saturating_add(1)
}

fn queue() -> NonZeroUsize {
    NonZeroUsize::MIN.saturating_add(1023)
}

fn five_seconds() -> SignedDuration {
    SignedDuration::from_secs(5)
}

fn a_minute() -> SignedDuration {
    SignedDuration::from_mins(1)
}

fn all_wrappings() -> Vec<String> {
    Wrapping::ALL.map(|wrapping| wrapping.name().to_owned()).into()
}

impl Default for RawJournal {
    fn default() -> Self {
        Self {
            segment_size: "64MiB".to_owned(),
            checkpoint_entries: 1000,
            checkpoint_interval: SignedDuration::from_mins(5),
        }
    }
}

impl Default for RawLimits {
    fn default() -> Self {
        Self {
            connections: 1024,
            drain: SignedDuration::from_secs(10),
        }
    }
}

/// Reads the configuration at `path`.
///
/// # Errors
///
/// One problem, and what would do.
pub(crate) fn read(path: &Path) -> Result<Config, Error> {
    let wrong = |problem| Error {
        path: path.to_owned(),
        problem,
    };
    let text = read_text(path).map_err(wrong)?;
    let raw: Raw = toml::from_str(&text).map_err(|error| wrong(Problem::Toml(error.into())))?;
    raw.check(path).map_err(wrong)
}

fn read_text(path: &Path) -> Result<String, Problem> {
    let mut file = File::open(path).map_err(Problem::Unreadable)?;
    let found = file.metadata().map_err(Problem::Unreadable)?;
    // Whoever writes it chooses the module that runs with the PIN.
    if found.mode() & 0o022 != 0 {
        return Err(Problem::Lax);
    }
    if found.uid() != 0 && found.uid() != geteuid().as_raw() {
        return Err(Problem::Owner(found.uid()));
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(Problem::Unreadable)?;
    Ok(text)
}

impl Raw {
    fn check(self, path: &Path) -> Result<Config, Problem> {
        let state_directory = absolute("state-directory", self.state_directory)?;
        let manager = absolute("listen.manager", self.listen.manager)?;
        let provider = absolute("listen.provider", self.listen.provider)?;
        if manager == provider {
            return Err(Problem::OneSocket);
        }
        let operators = Operators {
            uids: self.operators.uids,
            gids: self.operators.gids,
        };
        if operators == Operators::default() {
            return Err(Problem::NoOperators);
        }
        if self.journal.checkpoint_entries == 0 {
            return Err(Problem::Zero("journal.checkpoint-entries"));
        }
        if self.limits.connections == 0 {
            return Err(Problem::Zero("limits.connections"));
        }
        let checkpoint = CheckpointPolicy {
            entries: self.journal.checkpoint_entries,
            interval: positive("journal.checkpoint-interval", self.journal.checkpoint_interval)?,
        };
        Ok(Config {
            state_directory,
            manager,
            provider,
            token: self.token.check()?,
            segment_size: size("journal.segment-size", &self.journal.segment_size)?,
            connections: self.limits.connections,
            log_format: self.log.format,
            live: Live {
                operators,
                checkpoint,
                log_level: self.log.level,
                drain: positive("limits.drain", self.limits.drain)?,
            },
            path: path.to_owned(),
        })
    }
}

impl RawToken {
    fn check(self) -> Result<Token, Problem> {
        let selector = match (self.label, self.serial, self.uri) {
            (Some(label), Some(serial), None) => TokenSelector::new(label, serial),
            (None, None, Some(uri)) => uri.parse().map_err(Problem::TokenUri)?,
            _ => return Err(Problem::TokenName),
        };
        let pin = match self.pin {
            RawPin::Source(RawPinSource::Credential(name)) => PinSource::Credential(name),
            RawPin::Source(RawPinSource::File(file)) => {
                PinSource::File(absolute("token.pin.file", file)?)
            }
            RawPin::Source(RawPinSource::Descriptor(number)) => PinSource::Descriptor(number),
            RawPin::Word(word) if word == "prompt" => PinSource::Prompt,
            RawPin::Word(_) => return Err(Problem::Pin),
        };
        let wrapping = |name: String| Wrapping::from_name(&name).ok_or(Problem::Wrapping(name));
        let wrappings: Vec<_> = self
            .wrapping
            .into_iter()
            .map(wrapping)
            .collect::<Result<_, _>>()?;
        if wrappings.is_empty() {
            return Err(Problem::NoWrapping);
        }
        Ok(Token {
            module: absolute("token.module", self.module)?,
            selector,
            pin,
            sessions: self.sessions,
            queue: self.queue,
            deadline: positive("token.deadline", self.deadline)?,
            start_deadline: positive("token.start-deadline", self.start_deadline)?,
            wrappings,
            environment: self.environment.into_iter().collect(),
        })
    }
}

fn absolute(key: &'static str, path: PathBuf) -> Result<PathBuf, Problem> {
    if path.is_absolute() {
        Ok(path)
    } else {
        Err(Problem::Relative(key, path))
    }
}

fn positive(key: &'static str, duration: SignedDuration) -> Result<Duration, Problem> {
    match Duration::try_from(duration) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err(Problem::Zero(key)),
    }
}

/// The least size of a segment: smaller ones would cost more in folders than they hold.
const MIN_SEGMENT: u64 = 4096;

fn size(key: &'static str, text: &str) -> Result<u64, Problem> {
    let units = [("KiB", 10), ("MiB", 20), ("GiB", 30)];
    units
        .iter()
        .find_map(|(unit, shift)| {
            let number: u64 = text.strip_suffix(unit)?.trim_end().parse().ok()?;
            number.checked_mul(1 << shift)
        })
        .filter(|&bytes| bytes >= MIN_SEGMENT)
        .ok_or_else(|| Problem::Size(key, text.to_owned()))
}

impl Config {
    /// The first setting in which `other` differs that a running daemon cannot change.
    pub(crate) fn needs_restart(&self, other: &Self) -> Option<&'static str> {
        let settings = [
            ("state-directory", self.state_directory == other.state_directory),
            ("listen", (&self.manager, &self.provider) == (&other.manager, &other.provider)),
            ("token", format!("{:?}", self.token) == format!("{:?}", other.token)),
            ("journal.segment-size", self.segment_size == other.segment_size),
            ("limits.connections", self.connections == other.connections),
            ("log.format", self.log_format == other.log_format),
        ];
        settings
            .into_iter()
            .find_map(|(name, same)| (!same).then_some(name))
    }

    /// The database.
    pub(crate) fn database(&self) -> PathBuf {
        self.state_directory.join("custody.db")
    }

    /// The folder of the journal's segments.
    pub(crate) fn journal(&self) -> PathBuf {
        self.state_directory.join("journal")
    }

    /// The journal key's public half.
    pub(crate) fn public_key(&self) -> PathBuf {
        self.state_directory.join("journal.pub")
    }

    /// How the worker is started, logging as we do.
    pub(crate) fn worker(&self) -> hsm::Settings {
        let token = self.token.clone();
        let mut environment = token.environment;
        environment.extend(log::environment(self.log_format, self.live.log_level));
        hsm::Settings {
            worker: vec!["/proc/self/exe".into(), "hsm-worker".into()],
            module: token.module,
            environment,
            token: token.selector,
            pin: token.pin,
            sessions: token.sessions,
            queue: token.queue,
            deadline: token.deadline,
            start_deadline: token.start_deadline,
            wrappings: token.wrappings,
            pin_latch: self.state_directory.join("pin-refused"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, os::unix::fs::PermissionsExt as _};

    use super::*;

    const FINE: &str = r#"
        state-directory = "/s"
        [listen]
        manager = "/m"
        provider = "/p"
        [operators]
        uids = [0]
        [token]
        module = "/x.so"
        label = "l"
        serial = "1"
        pin = { credential = "pin" }
    "#;

    fn parse(text: &str) -> Result<Config, Error> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        read(file.path())
    }

    #[test]
    fn a_short_file_is_enough() {
        let config = parse(FINE).unwrap();
        assert_eq!(config.segment_size, 64 << 20);
        assert_eq!(config.token.deadline, Duration::from_secs(5));
        assert_eq!(config.token.wrappings, Wrapping::ALL);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (from, to, named) in [
            ("\"/s\"", "\"s\"", "state-directory"),
            ("\"/p\"", "\"/m\"", "two sockets"),
            ("uids = [0]", "uids = []", "nobody"),
            ("uids = [0]", "uid = [0]", "uid"),
            ("serial = \"1\"", "", "label and serial"),
            ("{ credential = \"pin\" }", "\"1234\"", "token.pin"),
            ("label", "sessions = 0\nlabel", "sessions"),
            ("label", "deadline = \"0s\"\nlabel", "token.deadline"),
            ("label", "wrapping = [\"rot13\"]\nlabel", "rot13"),
            ("[token]", "[journal]\nsegment-size = \"1\"\n[token]", "segment-size"),
        ] {
            let error = parse(&FINE.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn a_pin_in_the_file_is_not_repeated_in_the_error() {
        let error = parse(&FINE.replace("{ credential = \"pin\" }", "\"5ecret\""));
        assert!(!error.unwrap_err().to_string().contains("5ecret"));
    }

    #[test]
    fn a_file_that_others_may_write_is_refused() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(FINE.as_bytes()).unwrap();
        let lax = std::fs::Permissions::from_mode(0o620);
        file.as_file().set_permissions(lax).unwrap();
        assert!(read(file.path()).unwrap_err().to_string().contains("chmod"));
    }

    #[test]
    fn what_needs_a_restart_is_told_from_what_does_not() {
        let running = parse(FINE).unwrap();
        let operators = parse(&FINE.replace("uids = [0]", "uids = [0, 5]")).unwrap();
        assert_eq!(running.needs_restart(&operators), None);
        for (from, to, named) in [
            ("\"/s\"", "\"/t\"", "state-directory"),
            ("serial = \"1\"", "serial = \"2\"", "token"),
            ("\"/m\"", "\"/n\"", "listen"),
        ] {
            let other = parse(&FINE.replace(from, to)).unwrap();
            assert_eq!(running.needs_restart(&other), Some(named));
        }
    }
}
