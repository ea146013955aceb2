//! The file as it is written, and the checks that make a [`Config`] of it.

use std::{
    collections::BTreeMap,
    num::{NonZeroU32, NonZeroUsize},
    path::{Path, PathBuf},
    time::Duration,
};

use custody::{envelope::Wrapping, journal::chain::CheckpointPolicy};
use hsm::{CodeOverride, PinSource, Profile, TokenSelector};
use jiff::SignedDuration;
use serde::Deserialize;

use super::{Attestation, Config, Limits, Live, Problem, Rate, Senders, Token, Worker};
use crate::{attest, log};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Raw {
    state_directory: PathBuf,
    listen: RawListen,
    token: RawToken,
    #[serde(default)]
    journal: RawJournal,
    #[serde(default)]
    log: RawLog,
    #[serde(default)]
    attestation: RawAttestation,
    #[serde(default)]
    limits: RawLimits,
    #[serde(default)]
    metrics: RawMetrics,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawListen {
    manager: PathBuf,
    provider: PathBuf,
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
    workers: NonZeroUsize,
    #[serde(default = "a_day")]
    worker_age: SignedDuration,
    #[serde(default = "worker_growth")]
    worker_growth: String,
    #[serde(default = "two")]
    sessions: NonZeroUsize,
    #[serde(default = "queue")]
    queue: NonZeroUsize,
    #[serde(default = "five_seconds")]
    deadline: SignedDuration,
    #[serde(default = "a_minute")]
    start_deadline: SignedDuration,
    #[serde(default = "five_seconds")]
    longest_wait: SignedDuration,
    #[serde(default = "half_a_minute")]
    canary_interval: SignedDuration,
    #[serde(default = "all_wrappings")]
    wrapping: Vec<String>,
    #[serde(default)]
    environment: BTreeMap<String, String>,
    #[serde(default = "auto")]
    profile: String,
    #[serde(default)]
    ckr_overrides: BTreeMap<String, String>,
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
struct RawAttestation {
    strict: bool,
    recheck: SignedDuration,
    legacy_kernel: bool,
    hash_limit: String,
    traced: RawTraced,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RawTraced {
    Refuse,
    Allow,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct RawLimits {
    connections: usize,
    connections_per_uid: usize,
    handshake: SignedDuration,
    requests_per_second: u32,
    burst: u32,
    drain: SignedDuration,
    rewrap_share: u32,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct RawMetrics {
    socket: Option<PathBuf>,
}

fn two() -> NonZeroUsize {
    NonZeroUsize::MIN.saturating_add(1)
}

fn a_day() -> SignedDuration {
    SignedDuration::from_hours(24)
}

fn worker_growth() -> String {
    "256MiB".to_owned()
}

fn queue() -> NonZeroUsize {
    NonZeroUsize::MIN.saturating_add(1023)
}

fn five_seconds() -> SignedDuration {
    SignedDuration::from_secs(5)
}

fn half_a_minute() -> SignedDuration {
    SignedDuration::from_secs(30)
}

fn a_minute() -> SignedDuration {
    SignedDuration::from_mins(1)
}

/// The profile that the module's library tells.
const AUTO: &str = "auto";

fn auto() -> String {
    AUTO.to_owned()
}

fn all_wrappings() -> Vec<String> {
    Wrapping::ALL
        .map(|wrapping| wrapping.name().to_owned())
        .into()
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

impl Default for RawAttestation {
    fn default() -> Self {
        Self {
            strict: true,
            recheck: SignedDuration::from_mins(5),
            legacy_kernel: false,
            hash_limit: "256MiB".to_owned(),
            traced: RawTraced::Refuse,
        }
    }
}

impl Default for RawLimits {
    fn default() -> Self {
        Self {
            connections: 1024,
            connections_per_uid: 256,
            handshake: SignedDuration::from_secs(5),
            requests_per_second: 1000,
            burst: 2000,
            drain: SignedDuration::from_secs(10),
            rewrap_share: 25,
        }
    }
}

impl Raw {
    pub(super) fn check(self, path: &Path) -> Result<Config, Problem> {
        let state_directory = absolute("state-directory", self.state_directory)?;
        let manager = absolute("listen.manager", self.listen.manager)?;
        let provider = absolute("listen.provider", self.listen.provider)?;
        let metrics = self.metrics.socket;
        let metrics = metrics
            .map(|socket| absolute("metrics.socket", socket))
            .transpose()?;
        let is_other = |socket: &PathBuf| *socket != manager && *socket != provider;
        if manager == provider || !metrics.as_ref().is_none_or(is_other) {
            return Err(Problem::OneSocket);
        }
        if self.journal.checkpoint_entries == 0 {
            return Err(Problem::Zero("journal.checkpoint-entries"));
        }
        let checkpoint = CheckpointPolicy {
            entries: self.journal.checkpoint_entries,
            interval: positive(
                "journal.checkpoint-interval",
                self.journal.checkpoint_interval,
            )?,
        };
        let (token, worker) = self.token.check()?;
        Ok(Config {
            state_directory,
            manager,
            provider,
            metrics,
            token,
            segment_size: size("journal.segment-size", &self.journal.segment_size)?,
            attestation: self.attestation.check()?,
            log_format: self.log.format,
            live: Live {
                checkpoint,
                log_level: self.log.level,
                drain: positive("limits.drain", self.limits.drain)?,
                rewrap_share: self.limits.share()?,
                limits: self.limits.check()?,
                worker,
            },
            path: path.to_owned(),
        })
    }
}

impl RawAttestation {
    fn check(self) -> Result<Attestation, Problem> {
        Ok(Attestation {
            senders: if self.strict {
                Senders::Checked
            } else {
                Senders::Unchecked
            },
            recheck: positive("attestation.recheck", self.recheck)?,
            attestor: attest::Settings {
                legacy_kernel: self.legacy_kernel,
                hash_limit: size("attestation.hash-limit", &self.hash_limit)?,
                tracers: match self.traced {
                    RawTraced::Refuse => attest::Tracers::Refused,
                    RawTraced::Allow => attest::Tracers::Allowed,
                },
            },
        })
    }
}

impl RawLimits {
    fn share(&self) -> Result<u32, Problem> {
        match self.rewrap_share {
            share @ 1..=100 => Ok(share),
            other => Err(Problem::Share(other)),
        }
    }

    fn check(&self) -> Result<Limits, Problem> {
        let some = |key, number: usize| match number {
            0 => Err(Problem::Zero(key)),
            _ => Ok(number),
        };
        let rate = |key, number| NonZeroU32::new(number).ok_or(Problem::Zero(key));
        Ok(Limits {
            connections: some("limits.connections", self.connections)?,
            connections_per_uid: some("limits.connections-per-uid", self.connections_per_uid)?,
            handshake: positive("limits.handshake", self.handshake)?,
            rate: Rate {
                per_second: rate("limits.requests-per-second", self.requests_per_second)?,
                burst: rate("limits.burst", self.burst)?,
            },
        })
    }
}

impl RawToken {
    fn check(self) -> Result<(Token, Worker), Problem> {
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
        let profile = match &*self.profile {
            AUTO => None,
            name => Some(Profile::from_name(name).ok_or(Problem::Profile(self.profile))?),
        };
        let overrides = self.ckr_overrides.iter();
        let overrides = overrides.map(|(code, class)| CodeOverride::new(code, class));
        let token = Token {
            selector,
            workers: self.workers,
            sessions: self.sessions,
            queue: self.queue,
            deadline: positive("token.deadline", self.deadline)?,
            longest_wait: positive("token.longest-wait", self.longest_wait)?,
            canary_interval: positive("token.canary-interval", self.canary_interval)?,
        };
        let worker = Worker {
            module: absolute("token.module", self.module)?,
            environment: self.environment.into_iter().collect(),
            pin,
            age: positive("token.worker-age", self.worker_age)?,
            growth: size("token.worker-growth", &self.worker_growth)?,
            start_deadline: positive("token.start-deadline", self.start_deadline)?,
            wrappings,
            codes: hsm::Codes {
                profile,
                overrides: overrides.collect::<Result<_, _>>()?,
            },
        };
        Ok((token, worker))
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

/// The least size: smaller segments would cost more in folders than they hold, and no
/// executable is smaller.
const MIN_SIZE: u64 = 4096;

fn size(key: &'static str, text: &str) -> Result<u64, Problem> {
    let units = [("KiB", 10), ("MiB", 20), ("GiB", 30)];
    units
        .iter()
        .find_map(|(unit, shift)| {
            let number: u64 = text.strip_suffix(unit)?.trim_end().parse().ok()?;
            number.checked_mul(1 << shift)
        })
        .filter(|&bytes| bytes >= MIN_SIZE)
        .ok_or_else(|| Problem::Size(key, text.to_owned()))
}
